"""Accounts in memory: gone with the process. For tests, and the plain model of the other backends."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from parley_server.ports.accounts import (
    Deletion,
    DeviceAdded,
    DeviceRow,
    ProfileChange,
    RelatedRow,
    Relation,
    RelationAdded,
    UserAdded,
    UserDeleted,
    UserRow,
    nobodys_name,
    tombstone,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


class MemoryAccounts:
    """Keeps the laws of `Accounts`, but for durability."""

    def __init__(self) -> None:
        self._users: dict[str, UserRow] = {}
        self._user_ids: dict[str, str] = {}
        self._password_hashes: dict[str, str] = {}
        self._devices: dict[str, DeviceRow] = {}
        # (who, relation, to whom) → since when
        self._relations: dict[tuple[str, Relation, str], int] = {}
        self._tombstones: dict[str, UserRow] = {}
        self._deleting: set[str] = set()

    async def ping(self) -> None:
        """The memory always answers."""

    async def add_user(self, user: UserRow, password_hash: str) -> UserAdded:
        if user.user_id in self._users or user.user_id in self._tombstones:
            return UserAdded.USER_ID_EXISTS
        if user.folded_username in self._user_ids:
            return UserAdded.USERNAME_TAKEN
        self._users[user.user_id] = user
        self._user_ids[user.folded_username] = user.user_id
        self._password_hashes[user.user_id] = password_hash
        return UserAdded.ADDED

    async def user(self, user_id: str) -> UserRow | None:
        return self._users.get(user_id)

    async def user_named(self, folded_username: str) -> UserRow | None:
        return self._users.get(self._user_ids.get(folded_username, ""))

    async def users(self, user_ids: Sequence[str]) -> tuple[UserRow, ...]:
        return tuple(self._users[user_id] for user_id in set(user_ids) if user_id in self._users)

    async def password_hash(self, user_id: str) -> str:
        return self._password_hashes.get(user_id, "")

    async def set_password(
        self,
        user_id: str,
        password_hash: str,
        *,
        former_hash: str | None,
        revoke: bool,
        keep_device_id: str,
        now_ms: int,
    ) -> tuple[DeviceRow, ...] | None:
        if user_id not in self._users or former_hash not in (None, self._password_hashes[user_id]):
            return None
        self._password_hashes[user_id] = password_hash
        if revoke:
            self._revoke_all(user_id, keep_device_id, now_ms)
        return tuple(
            device
            for device in self._devices.values()
            if device.user_id == user_id and device.revoke_time_ms is not None
        )

    async def change_profile(self, user_id: str, change: ProfileChange) -> UserRow | None:
        user = self._users.get(user_id)
        if user is None:
            return None
        user = self._users[user_id] = change.applied_to(user)
        return user

    async def search(
        self, folded_prefix: str, *, seeker_id: str, after: str, limit: int
    ) -> tuple[UserRow, ...]:
        found = [
            user
            for user in self._users.values()
            if user.folded_username > after
            and (user.user_id, Relation.BLOCK, seeker_id) not in self._relations
            and (
                user.folded_username.startswith(folded_prefix)
                or user.folded_display_name.startswith(folded_prefix)
            )
        ]
        return tuple(sorted(found, key=lambda user: user.folded_username)[:limit])

    async def set_suspended(self, user_id: str, suspend_time_ms: int | None) -> UserRow | None:
        user = self._users.get(user_id)
        if user is None:
            return None
        user = self._users[user_id] = replace(user, suspend_time_ms=suspend_time_ms)
        return user

    async def suspended_users(self, *, since_ms: int, access_after_ms: int) -> tuple[UserRow, ...]:
        running = {
            device.user_id
            for device in self._devices.values()
            if device.access_expire_time_ms > access_after_ms
        }
        return tuple(
            user
            for user in self._users.values()
            if user.suspend_time_ms is not None
            and (user.suspend_time_ms >= since_ms or user.user_id in running)
        )

    async def add_device(
        self,
        device: DeviceRow,
        *,
        device_limit: int,
        now_ms: int,
        forget_before_ms: int,
        password_hash: str | None = None,
    ) -> DeviceAdded:
        if device.user_id not in self._users or password_hash not in (
            None,
            self._password_hashes[device.user_id],
        ):
            return DeviceAdded(added=False, refused=True)
        if device.device_id in self._devices:
            return DeviceAdded(added=False)
        others = [other for other in self._devices.values() if other.user_id == device.user_id]
        live = sorted(
            (other for other in others if other.live(now_ms)),
            key=lambda other: (other.refresh_time_ms, other.device_id),
        )
        logged_out = tuple(
            replace(other, revoke_time_ms=now_ms) for other in live[: max(0, len(live) + 1 - device_limit)]
        )
        for other in others:
            if other.forgettable(forget_before_ms):
                del self._devices[other.device_id]
        self._devices.update({other.device_id: other for other in logged_out})
        self._devices[device.device_id] = device
        return DeviceAdded(added=True, logged_out=logged_out)

    async def device(self, device_id: str) -> DeviceRow | None:
        return self._devices.get(device_id)

    async def devices(
        self, user_id: str, *, now_ms: int, before: tuple[int, str] | None, limit: int
    ) -> tuple[DeviceRow, ...]:
        found = [
            device
            for device in self._devices.values()
            if device.user_id == user_id
            and device.live(now_ms)
            and (before is None or (device.create_time_ms, device.device_id) < before)
        ]
        found.sort(key=lambda device: (device.create_time_ms, device.device_id), reverse=True)
        return tuple(found[:limit])

    async def renew_device(self, device: DeviceRow) -> bool:
        kept = self._devices.get(device.device_id)
        if kept is None or kept.version != device.version - 1 or kept.revoke_time_ms is not None:
            return False
        self._devices[device.device_id] = replace(
            kept,
            refresh_time_ms=device.refresh_time_ms,
            access_expire_time_ms=device.access_expire_time_ms,
            refresh_expire_time_ms=device.refresh_expire_time_ms,
            refresh_state=device.refresh_state,
            version=device.version,
        )
        return True

    async def revoke_device(self, user_id: str, device_id: str, *, now_ms: int) -> DeviceRow | None:
        device = self._devices.get(device_id)
        if device is None or device.user_id != user_id:
            return None
        if device.revoke_time_ms is None:
            device = self._devices[device_id] = replace(device, revoke_time_ms=now_ms)
        return device

    async def revoked_devices(self, *, since_ms: int, access_after_ms: int) -> tuple[DeviceRow, ...]:
        return tuple(
            device
            for device in self._devices.values()
            if device.revoke_time_ms is not None
            and (device.revoke_time_ms >= since_ms or device.access_expire_time_ms > access_after_ms)
        )

    async def add_relation(
        self, user_id: str, relation: Relation, other_id: str, *, limit: int, now_ms: int
    ) -> RelationAdded:
        if user_id not in self._users or other_id not in self._users:
            return RelationAdded.USER_NOT_FOUND
        if (user_id, relation, other_id) in self._relations:
            return RelationAdded.THERE_ALREADY
        if relation is Relation.CONTACT and (user_id, Relation.BLOCK, other_id) in self._relations:
            return RelationAdded.BLOCKED
        if len(self._related(user_id, relation)) >= limit:
            return RelationAdded.TOO_MANY
        if relation is Relation.BLOCK:
            self._relations.pop((user_id, Relation.CONTACT, other_id), None)
        self._relations[user_id, relation, other_id] = now_ms
        return RelationAdded.ADDED

    async def remove_relation(self, user_id: str, relation: Relation, other_id: str) -> bool:
        return self._relations.pop((user_id, relation, other_id), None) is not None

    async def relations(
        self, user_id: str, relation: Relation, *, after: str, limit: int
    ) -> tuple[RelatedRow, ...]:
        found = [
            RelatedRow(self._users[other_id], create_time_ms)
            for other_id, create_time_ms in self._related(user_id, relation).items()
            if self._users[other_id].folded_username > after
        ]
        return tuple(sorted(found, key=lambda related: related.user.folded_username)[:limit])

    async def related_ids(self, user_id: str, relation: Relation) -> frozenset[str]:
        return frozenset(self._related(user_id, relation))

    async def related_to(self, other_id: str, relation: Relation, among: Sequence[str]) -> set[str]:
        return {user_id for user_id in among if (user_id, relation, other_id) in self._relations}

    async def delete_user(self, user_id: str, *, password_hash: str, now_ms: int) -> UserDeleted:
        user = self._users.get(user_id)
        if user is None:
            return UserDeleted(Deletion.USER_NOT_FOUND)
        if self._password_hashes[user_id] != password_hash:
            return UserDeleted(Deletion.PASSWORD_CHANGED)
        if user.operator and not any(
            other.operator and other.suspend_time_ms is None and other.user_id != user_id
            for other in self._users.values()
        ):
            return UserDeleted(Deletion.LAST_OPERATOR)
        self._tombstones[user_id] = tombstone(user)
        self._deleting.add(user_id)
        del self._users[user_id], self._password_hashes[user_id]
        for who, relation, to_whom in list(self._relations):
            if user_id in (who, to_whom):
                del self._relations[who, relation, to_whom]
        self._revoke_all(user_id, "", now_ms)
        revoked = tuple(
            replace(device, device_name="", refresh_state=b"")
            for device in self._devices.values()
            if device.user_id == user_id
        )
        self._devices.update({device.device_id: device for device in revoked})
        return UserDeleted(Deletion.DELETED, revoked)

    async def deleting_users(self, *, after: str, limit: int) -> tuple[str, ...]:
        return tuple(sorted(user_id for user_id in self._deleting if user_id > after)[:limit])

    async def deletion_finished(self, user_id: str) -> None:
        if user_id in self._deleting:
            self._deleting.discard(user_id)
            user = self._tombstones[user_id]
            self._tombstones[user_id] = replace(user, folded_username=nobodys_name(user_id))
            del self._user_ids[user.folded_username]

    async def compact(self) -> bool:
        """There are no files."""
        return False

    def _related(self, user_id: str, relation: Relation) -> dict[str, int]:
        return {
            other_id: create_time_ms
            for (who, kind, other_id), create_time_ms in self._relations.items()
            if (who, kind) == (user_id, relation)
        }

    def _revoke_all(self, user_id: str, keep_device_id: str, now_ms: int) -> None:
        for device in list(self._devices.values()):
            if (
                device.user_id == user_id
                and device.device_id != keep_device_id
                and device.revoke_time_ms is None
            ):
                self._devices[device.device_id] = replace(device, revoke_time_ms=now_ms)
