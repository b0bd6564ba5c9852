"""Deleting accounts in a SQL database."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, or_, select, update

from parley_server.backends.sql.accounts_devices import revoke_all, revoked_of
from parley_server.backends.sql.accounts_users import PRESENT, USER_COLUMNS
from parley_server.backends.sql.schema import deletions, devices, relations, users
from parley_server.backends.sql.store import IDS_PER_STATEMENT, SqlStore, transaction
from parley_server.ports.accounts import Deletion, UserDeleted, UserRow, nobodys_name, tombstone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection


class SqlDeletion(SqlStore):
    """The part of `Accounts` about deleted users."""

    @transaction
    def delete_user(
        self, connection: Connection, user_id: str, *, password_hash: str, now_ms: int
    ) -> UserDeleted:
        # With every operator locked two of them cannot both find the other one there.
        concerned = (
            select(*USER_COLUMNS, users.c.password_hash)
            .where(PRESENT, or_(users.c.user_id == user_id, users.c.operator))
            .order_by(users.c.user_id)
            .with_for_update()
        )
        rows = [dict(row._mapping) for row in connection.execute(concerned)]
        hashes = {row["user_id"]: row.pop("password_hash") for row in rows}
        found = {row["user_id"]: UserRow(**row) for row in rows}
        user = found.get(user_id)
        if user is None:
            return UserDeleted(Deletion.USER_NOT_FOUND)
        if hashes[user_id] != password_hash:
            return UserDeleted(Deletion.PASSWORD_CHANGED)
        if user.operator and not any(
            other.operator and other.suspend_time_ms is None and other.user_id != user_id
            for other in found.values()
        ):
            return UserDeleted(Deletion.LAST_OPERATOR)
        revoke_all(connection, user_id, keep_device_id="", now_ms=now_ms)
        _forget(connection, user, now_ms)
        return UserDeleted(Deletion.DELETED, revoked_of(connection, user_id))

    async def deleting_users(self, *, after: str, limit: int) -> tuple[str, ...]:
        query = (
            select(deletions.c.user_id)
            .where(deletions.c.user_id > after, ~deletions.c.finished)
            .order_by(deletions.c.user_id)
            .limit(limit)
        )
        return tuple(row.user_id for row in await self._rows(query))

    @transaction
    def deletion_finished(self, connection: Connection, user_id: str) -> None:
        chosen = (deletions.c.user_id == user_id, ~deletions.c.finished)
        done = connection.execute(update(deletions).where(*chosen).values(finished=True))
        if done.rowcount == 1:
            name = nobodys_name(user_id)
            named = users.c.user_id == user_id
            connection.execute(update(users).where(named).values(folded_username=name))

    async def compact(self) -> bool:
        rows = await self._rows(select(deletions.c.user_id).where(deletions.c.finished))
        finished = [row.user_id for row in rows]
        if not finished:
            return False
        await self._rewrite()
        await self._forget_deletions(finished)
        return True

    @transaction
    def _forget_deletions(self, connection: Connection, user_ids: Sequence[str]) -> None:
        for start in range(0, len(user_ids), IDS_PER_STATEMENT):
            some = user_ids[start : start + IDS_PER_STATEMENT]
            connection.execute(delete(deletions).where(deletions.c.user_id.in_(some)))


def _forget(connection: Connection, user: UserRow, now_ms: int) -> None:
    """Put the user's tombstone in place, and drop all that names others."""
    user_id = user.user_id
    bare = {**asdict(tombstone(user)), "password_hash": "", "delete_time_ms": now_ms}
    connection.execute(update(users).where(users.c.user_id == user_id).values(**bare))
    connection.execute(
        update(devices).where(devices.c.user_id == user_id).values(device_name="", refresh_state=b"")
    )
    either = or_(relations.c.user_id == user_id, relations.c.other_id == user_id)
    connection.execute(delete(relations).where(either))
    connection.execute(insert(deletions).values(user_id=user_id, delete_time_ms=now_ms))
