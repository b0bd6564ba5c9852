"""Users and their passwords in a SQL database."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, exists, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from parley_server.backends.sql.accounts_devices import revoke_all, revoked_of
from parley_server.backends.sql.schema import devices, relations, users
from parley_server.backends.sql.store import IDS_PER_STATEMENT, SqlStore, transaction
from parley_server.ports.accounts import DeviceRow, ProfileChange, Relation, UserAdded, UserRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Select

USER_COLUMNS = [users.c[field.name] for field in fields(UserRow)]
PRESENT = users.c.delete_time_ms.is_(None)
"""Whether the user has not deleted the account."""
_LAST_CODE_POINT = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)


class SqlUsers(SqlStore):
    """The part of `Accounts` about users and their passwords."""

    async def add_user(self, user: UserRow, password_hash: str) -> UserAdded:
        try:
            await self._insert_user(user, password_hash)
        except IntegrityError:
            # Deleted users count here.
            if await self._users(select(*USER_COLUMNS).where(users.c.user_id == user.user_id)):
                return UserAdded.USER_ID_EXISTS
            named = users.c.folded_username == user.folded_username
            if await self._users(select(*USER_COLUMNS).where(named)):
                return UserAdded.USERNAME_TAKEN
            raise
        return UserAdded.ADDED

    async def user(self, user_id: str) -> UserRow | None:
        return await self._one_user(users.c.user_id == user_id)

    async def user_named(self, folded_username: str) -> UserRow | None:
        return await self._one_user(users.c.folded_username == folded_username)

    async def users(self, user_ids: Sequence[str]) -> tuple[UserRow, ...]:
        wanted = list(dict.fromkeys(user_ids))
        found: list[UserRow] = []
        for start in range(0, len(wanted), IDS_PER_STATEMENT):
            some = wanted[start : start + IDS_PER_STATEMENT]
            found += await self._users(select(*USER_COLUMNS).where(users.c.user_id.in_(some), PRESENT))
        return tuple(found)

    async def password_hash(self, user_id: str) -> str:
        rows = await self._rows(select(users.c.password_hash).where(users.c.user_id == user_id))
        return rows[0].password_hash if rows else ""

    @transaction
    def set_password(
        self,
        connection: Connection,
        user_id: str,
        password_hash: str,
        *,
        former_hash: str | None,
        revoke: bool,
        keep_device_id: str,
        now_ms: int,
    ) -> tuple[DeviceRow, ...] | None:
        chosen = [users.c.user_id == user_id, PRESENT]
        if former_hash is not None:
            chosen.append(users.c.password_hash == former_hash)
        change = update(users).where(*chosen).values(password_hash=password_hash)
        if connection.execute(change).rowcount != 1:
            return None
        if revoke:
            revoke_all(connection, user_id, keep_device_id=keep_device_id, now_ms=now_ms)
        return revoked_of(connection, user_id)

    @transaction
    def change_profile(self, connection: Connection, user_id: str, change: ProfileChange) -> UserRow | None:
        chosen = and_(users.c.user_id == user_id, PRESENT)
        query = select(*USER_COLUMNS).where(chosen).with_for_update()
        row = connection.execute(query).one_or_none()
        if row is None:
            return None
        user = change.applied_to(UserRow(**row._mapping))
        connection.execute(update(users).where(chosen).values(**asdict(user)))
        return user

    async def search(
        self, folded_prefix: str, *, seeker_id: str, after: str, limit: int
    ) -> tuple[UserRow, ...]:
        blocked = exists().where(
            relations.c.user_id == users.c.user_id,
            relations.c.relation == Relation.BLOCK.value,
            relations.c.other_id == seeker_id,
        )
        query = (
            select(*USER_COLUMNS)
            .where(
                PRESENT,
                ~blocked,
                users.c.folded_username > after,
                or_(
                    _starts_with(users.c.folded_username, folded_prefix),
                    _starts_with(users.c.folded_display_name, folded_prefix),
                ),
            )
            .order_by(users.c.folded_username)
            .limit(limit)
        )
        return await self._users(query)

    @transaction
    def set_suspended(
        self, connection: Connection, user_id: str, suspend_time_ms: int | None
    ) -> UserRow | None:
        chosen = and_(users.c.user_id == user_id, PRESENT)
        connection.execute(update(users).where(chosen).values(suspend_time_ms=suspend_time_ms))
        row = connection.execute(select(*USER_COLUMNS).where(chosen)).one_or_none()
        return None if row is None else UserRow(**row._mapping)

    async def suspended_users(self, *, since_ms: int, access_after_ms: int) -> tuple[UserRow, ...]:
        running = exists().where(
            devices.c.user_id == users.c.user_id, devices.c.access_expire_time_ms > access_after_ms
        )
        query = select(*USER_COLUMNS).where(
            PRESENT, users.c.suspend_time_ms.is_not(None), or_(users.c.suspend_time_ms >= since_ms, running)
        )
        return await self._users(query)

    @transaction
    def _insert_user(self, connection: Connection, user: UserRow, password_hash: str) -> None:
        connection.execute(insert(users).values(**asdict(user), password_hash=password_hash))

    async def _one_user(self, condition: ColumnElement[bool]) -> UserRow | None:
        found = await self._users(select(*USER_COLUMNS).where(condition, PRESENT))
        return found[0] if found else None

    async def _users(self, query: Select[Any]) -> tuple[UserRow, ...]:
        return tuple(UserRow(**row._mapping) for row in await self._rows(query))


def _starts_with(column: ColumnElement[str], prefix: str) -> ColumnElement[bool]:
    # A range and not LIKE: it takes every character literally, and an index serves it on both databases.
    end = _after_prefix(prefix)
    return column >= prefix if end is None else and_(column >= prefix, column < end)


def _after_prefix(prefix: str) -> str | None:
    """The least text greater than all that start with `prefix`, by code point; None when there is none."""
    kept = prefix.rstrip(chr(_LAST_CODE_POINT))
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    return kept[:-1] + chr(_SURROGATES.stop if following in _SURROGATES else following)
