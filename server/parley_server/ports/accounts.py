"""The port to the accounts: users, their passwords, their devices, and whom they know."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class UserRow:
    """A user. The folded names are what the store compares and sorts by, code point by code point.

    `suspend_time_ms` is None while the account is in good standing.
    """

    user_id: str
    username: str
    folded_username: str
    display_name: str
    folded_display_name: str
    about: str
    avatar_url: str
    operator: bool
    create_time_ms: int
    suspend_time_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ProfileChange:
    """New values of a profile; None leaves a value as it is. The two display names change together."""

    display_name: str | None = None
    folded_display_name: str | None = None
    about: str | None = None
    avatar_url: str | None = None

    def applied_to(self, user: UserRow) -> UserRow:
        """The user with these values."""
        named = {
            "display_name": self.display_name,
            "folded_display_name": self.folded_display_name,
            "about": self.about,
            "avatar_url": self.avatar_url,
        }
        given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        return replace(user, **given)


def tombstone(user: UserRow) -> UserRow:
    """What stays of a user who deleted the account: the id, and nothing that the user wrote or chose.

    But for the folded username, which keeps the name from others until the deletion is finished.
    """
    return replace(
        user,
        username=f"deleted-{user.user_id[:9]}",
        display_name="",
        folded_display_name="",
        about="",
        avatar_url="",
        operator=False,
    )


def nobodys_name(user_id: str) -> str:
    """The folded username of a user whose deletion is finished. No user can choose it: names have no `!`."""
    return f"!{user_id}"


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A log-in. It is live until it is revoked or until `refresh_expire_time_ms`.

    `refresh_state` is opaque to the store. `version` counts the renewals. `access_expire_time_ms` is when
    the newest access token that was made with a renewal runs out.
    """

    device_id: str
    user_id: str
    device_name: str
    create_time_ms: int
    refresh_time_ms: int
    access_expire_time_ms: int
    refresh_expire_time_ms: int
    refresh_state: bytes = field(repr=False)
    version: int = 1
    revoke_time_ms: int | None = None

    def live(self, now_ms: int) -> bool:
        """Whether the device is logged in at `now_ms`."""
        return self.revoke_time_ms is None and self.refresh_expire_time_ms > now_ms

    def forgettable(self, before_ms: int) -> bool:
        """Whether the device was revoked or expired before `before_ms`, and its last access token expired
        too.
        """
        end_ms = self.refresh_expire_time_ms if self.revoke_time_ms is None else self.revoke_time_ms
        return max(end_ms, self.access_expire_time_ms) < before_ms


class UserAdded(enum.Enum):
    """What became of an `add_user`."""

    ADDED = "added"
    USER_ID_EXISTS = "user id exists"
    USERNAME_TAKEN = "username taken"


@dataclass(frozen=True, slots=True)
class DeviceAdded:
    """What became of an `add_device`. `added` is False when the device id was there already: nothing
    changed then.

    `refused` is True when the user has deleted the account, or the password is another by now. `logged_out`
    are the devices that had to make room, as they are now.
    """

    added: bool
    refused: bool = False
    logged_out: tuple[DeviceRow, ...] = ()


class Relation(enum.Enum):
    """What one user may be to another."""

    CONTACT = "contact"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class RelatedRow:
    """A user that another one has a relation to, since `create_time_ms`."""

    user: UserRow
    create_time_ms: int


class RelationAdded(enum.Enum):
    """What became of an `add_relation`. All but ADDED changed nothing."""

    ADDED = "added"
    THERE_ALREADY = "there already"
    USER_NOT_FOUND = "user not found"
    BLOCKED = "blocked"
    TOO_MANY = "too many"


class Deletion(enum.Enum):
    """What became of a `delete_user`. All but DELETED changed nothing."""

    DELETED = "deleted"
    USER_NOT_FOUND = "user not found"
    PASSWORD_CHANGED = "password changed"
    LAST_OPERATOR = "last operator"


@dataclass(frozen=True, slots=True)
class UserDeleted:
    """What became of a `delete_user`; `revoked` are the user's devices, which are all revoked then."""

    outcome: Deletion
    revoked: tuple[DeviceRow, ...] = ()


class Accounts(Protocol):
    """Users, their devices and relations.

    Laws: every change is durable before the call returns, all of it or nothing; a read that starts after it
    sees it. At most one user has a user id, at most one a folded username, whatever happens at once. A
    user id, once used, is never free again. A deleted user is there for no method but `add_user`,
    `deleting_users` and `deletion_finished`; a deleted user has no live device and no relation to anybody,
    nor has anybody one to him. `renew_device` is a compare-and-set: of several renewals from one version
    exactly one succeeds. A revoked device is never live again. Order of text is by code point. All methods
    raise StoreUnavailable (see message_log) when the store cannot answer; a change may then have happened
    or not.
    """

    async def ping(self) -> None:
        """Returns when the store answers."""
        ...

    async def add_user(self, user: UserRow, password_hash: str) -> UserAdded:
        """Add the user. USER_ID_EXISTS and USERNAME_TAKEN (in this order) change nothing. An empty hash: no
        password.

        The id of a deleted user exists for ever, the name is taken until the deletion is finished.
        """
        ...

    async def user(self, user_id: str) -> UserRow | None:
        """The user, or None."""
        ...

    async def user_named(self, folded_username: str) -> UserRow | None:
        """The user with this folded name, or None."""
        ...

    async def users(self, user_ids: Sequence[str]) -> tuple[UserRow, ...]:
        """Those of the users that exist, each once, in any order. Any number of ids."""
        ...

    async def password_hash(self, user_id: str) -> str:
        """The user's password hash; empty without a password or without such a user."""
        ...

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
        """Replace the password hash and, if `revoke`, revoke all devices but `keep_device_id` (empty: all).

        Returns the user's revoked devices, those that were revoked before included, in any order: a repeat of
        a change whose answer was lost returns them too. None when there is no such user, or when
        `former_hash` is given and the hash is another by now: nothing changed then.
        """
        ...

    async def change_profile(self, user_id: str, change: ProfileChange) -> UserRow | None:
        """Change the profile. Returns the user as it is now, or None when there is none."""
        ...

    async def search(
        self, folded_prefix: str, *, seeker_id: str, after: str, limit: int
    ) -> tuple[UserRow, ...]:
        """Users whose folded username or folded display name starts with the prefix, taken literally.

        Without those who blocked `seeker_id`. Ascending by folded username, only those greater than `after`,
        at most `limit`.
        """
        ...

    async def set_suspended(self, user_id: str, suspend_time_ms: int | None) -> UserRow | None:
        """Suspend the user, or lift the suspension with None. Returns the user as it is now, or None when
        there is none.
        """
        ...

    async def suspended_users(self, *, since_ms: int, access_after_ms: int) -> tuple[UserRow, ...]:
        """Users that were suspended at `since_ms` or later, or have a device with an access token beyond
        `access_after_ms`.

        Only those who are suspended now.
        """
        ...

    async def add_device(
        self,
        device: DeviceRow,
        *,
        device_limit: int,
        now_ms: int,
        forget_before_ms: int,
        password_hash: str | None = None,
    ) -> DeviceAdded:
        """Add a device of a user, and revoke (at `now_ms`) as many others as exceed
        `device_limit` live ones.

        Those go first that were renewed longest ago, then by device id. Other rows of this user that were
        revoked or expired before `forget_before_ms`, the access token of their last renewal too, are
        dropped for good. Refused for a deleted user, and when `password_hash` is given and is not the user's.
        """
        ...

    async def device(self, device_id: str) -> DeviceRow | None:
        """The device, live or not, or None."""
        ...

    async def devices(
        self, user_id: str, *, now_ms: int, before: tuple[int, str] | None, limit: int
    ) -> tuple[DeviceRow, ...]:
        """The user's live devices, greatest (create_time_ms, device_id) first, only those smaller than
        `before`.
        """
        ...

    async def renew_device(self, device: DeviceRow) -> bool:
        """Replace the device's times, refresh state and version if it stands at `device.version - 1` and is
        not revoked.

        False means that nothing was changed.
        """
        ...

    async def revoke_device(self, user_id: str, device_id: str, *, now_ms: int) -> DeviceRow | None:
        """Revoke the user's device; the first time stands. Returns it as it is now, or None when the user
        has no such device.
        """
        ...

    async def revoked_devices(self, *, since_ms: int, access_after_ms: int) -> tuple[DeviceRow, ...]:
        """Devices revoked at `since_ms` or later, and revoked ones with an access token beyond
        `access_after_ms`.
        """
        ...

    async def add_relation(
        self, user_id: str, relation: Relation, other_id: str, *, limit: int, now_ms: int
    ) -> RelationAdded:
        """Give `user_id` this relation to `other_id`, another user. A BLOCK ends the CONTACT of the same two.

        THERE_ALREADY; USER_NOT_FOUND when either is none; BLOCKED for a CONTACT with whom `user_id` blocked;
        TOO_MANY when `user_id` has `limit` of them.
        """
        ...

    async def remove_relation(self, user_id: str, relation: Relation, other_id: str) -> bool:
        """End the relation. False when there was none."""
        ...

    async def relations(
        self, user_id: str, relation: Relation, *, after: str, limit: int
    ) -> tuple[RelatedRow, ...]:
        """Whom the user has this relation to, ascending by folded username, only those greater than
        `after`, at most `limit`.
        """
        ...

    async def related_ids(self, user_id: str, relation: Relation) -> frozenset[str]:
        """The ids of all whom the user has this relation to."""
        ...

    async def related_to(self, other_id: str, relation: Relation, among: Sequence[str]) -> set[str]:
        """Those among the users who have this relation to `other_id`. Any number of ids."""
        ...

    async def delete_user(self, user_id: str, *, password_hash: str, now_ms: int) -> UserDeleted:
        """Mark the user as deleted: the row becomes its `tombstone` without a password, all relations of and
        to the user end, every device is revoked (at `now_ms`; the first time stands) and loses its name and
        refresh state.

        USER_NOT_FOUND; PASSWORD_CHANGED when the hash is another by now; LAST_OPERATOR for an operator when
        no other is in good standing.
        """
        ...

    async def deleting_users(self, *, after: str, limit: int) -> tuple[str, ...]:
        """Users that were deleted and whose deletion is not finished: ascending ids greater than `after`, at
        most `limit`.
        """
        ...

    async def deletion_finished(self, user_id: str) -> None:
        """Free the name of a user that was deleted: nothing personal is left in the rows then. Repeating it
        is fine.
        """
        ...

    async def compact(self) -> bool:
        """Leave nothing in the store's files of users whose deletion was finished before this call.

        False when there are none since the last time, counted over restarts: that costs nothing. Else it
        takes seconds per gigabyte, in which changes wait.
        """
        ...
