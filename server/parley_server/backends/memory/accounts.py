"""Accounts in memory: gone with the process. For tests, and the plain model of the other backends."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from parley_server.ports.accounts import DeviceAdded, DeviceRow, ProfileChange, UserAdded, UserRow

if TYPE_CHECKING:
    from collections.abc import Sequence


class MemoryAccounts:
    """Keeps the laws of `Accounts`, but for durability."""

    def __init__(self) -> None:
        self._users: dict[str, UserRow] = {}
        self._user_ids: dict[str, str] = {}
        self._password_hashes: dict[str, str] = {}
        self._devices: dict[str, DeviceRow] = {}

    async def ping(self) -> None:
        """The memory always answers."""

    async def add_user(self, user: UserRow, password_hash: str) -> UserAdded:
        if user.user_id in self._users:
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

    async def change_profile(self, user_id: str, change: ProfileChange) -> UserRow | None:
        user = self._users.get(user_id)
        if user is None:
            return None
        user = self._users[user_id] = change.applied_to(user)
        return user

    async def search(self, folded_prefix: str, *, after: str, limit: int) -> tuple[UserRow, ...]:
        found = [
            user
            for user in self._users.values()
            if user.folded_username > after
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
        self, device: DeviceRow, *, device_limit: int, now_ms: int, forget_before_ms: int
    ) -> DeviceAdded:
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
