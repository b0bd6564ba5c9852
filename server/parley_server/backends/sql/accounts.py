"""Accounts in a SQL database: a SQLite file, or PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, exists, func, insert, or_, select, tuple_, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from parley_server.backends.sql.engine import open_engine, shown_url
from parley_server.backends.sql.migrate import migrate
from parley_server.backends.sql.schema import devices, users
from parley_server.ports.accounts import DeviceAdded, DeviceRow, ProfileChange, UserAdded, UserRow
from parley_server.ports.message_log import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from sqlalchemy import ColumnElement, Row, Select
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_USER_COLUMNS = [users.c[field.name] for field in fields(UserRow)]
_DEVICE_COLUMNS = [devices.c[field.name] for field in fields(DeviceRow)]
# Below the number of parameters that any SQLite or PostgreSQL driver takes in one statement.
_IDS_PER_STATEMENT = 500
_LAST_CODE_POINT = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)


class SqlAccounts:
    """Keeps the laws of `Accounts`. Open it with `SqlAccounts.open`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._writer = engine.execution_options(parley_write=True)
        # SQLite takes one writer at a time and makes others wait by polling: queueing here is fair and quick.
        serial = engine.dialect.name == "sqlite"
        self._writing: contextlib.AbstractAsyncContextManager[Any] = (
            asyncio.Lock() if serial else contextlib.nullcontext()
        )
        self._closed = False

    @classmethod
    async def open(cls, url: str) -> SqlAccounts:
        """Open the database, made or brought to the newest schema if need be:
        `sqlite+aiosqlite:///path/accounts.db`.

        Raises SchemaTooNew when a newer Parley wrote it, StoreUnavailable when it cannot be opened.
        """
        try:
            await migrate(url)
            return cls(open_engine(url))
        except (DBAPIError, OSError) as error:
            raise StoreUnavailable(f"{shown_url(url)} cannot be opened: {_cause(error)}") from error

    async def close(self) -> None:
        """Close all connections. Every later call raises StoreUnavailable."""
        self._closed = True
        await self._engine.dispose()

    async def ping(self) -> None:
        await self._rows(select(users.c.user_id).limit(1))

    async def add_user(self, user: UserRow, password_hash: str) -> UserAdded:
        try:
            async with self._write() as connection:
                await connection.execute(insert(users).values(**asdict(user), password_hash=password_hash))
        except IntegrityError:
            if await self.user(user.user_id) is not None:
                return UserAdded.USER_ID_EXISTS
            if await self.user_named(user.folded_username) is not None:
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
        for start in range(0, len(wanted), _IDS_PER_STATEMENT):
            some = wanted[start : start + _IDS_PER_STATEMENT]
            found += await self._users(select(*_USER_COLUMNS).where(users.c.user_id.in_(some)))
        return tuple(found)

    async def password_hash(self, user_id: str) -> str:
        async with self._read() as connection:
            query = select(users.c.password_hash).where(users.c.user_id == user_id)
            return (await connection.execute(query)).scalar_one_or_none() or ""

    async def change_profile(self, user_id: str, change: ProfileChange) -> UserRow | None:
        chosen = users.c.user_id == user_id
        async with self._write() as connection:
            query = select(*_USER_COLUMNS).where(chosen).with_for_update()
            row = (await connection.execute(query)).one_or_none()
            if row is None:
                return None
            user = change.applied_to(UserRow(**row._mapping))
            await connection.execute(update(users).where(chosen).values(**asdict(user)))
            return user

    async def search(self, folded_prefix: str, *, after: str, limit: int) -> tuple[UserRow, ...]:
        query = (
            select(*_USER_COLUMNS)
            .where(
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

    async def set_suspended(self, user_id: str, suspend_time_ms: int | None) -> UserRow | None:
        chosen = users.c.user_id == user_id
        async with self._write() as connection:
            await connection.execute(update(users).where(chosen).values(suspend_time_ms=suspend_time_ms))
            row = (await connection.execute(select(*_USER_COLUMNS).where(chosen))).one_or_none()
            return None if row is None else UserRow(**row._mapping)

    async def suspended_users(self, *, since_ms: int, access_after_ms: int) -> tuple[UserRow, ...]:
        running = exists().where(
            devices.c.user_id == users.c.user_id, devices.c.access_expire_time_ms > access_after_ms
        )
        query = select(*_USER_COLUMNS).where(
            users.c.suspend_time_ms.is_not(None), or_(users.c.suspend_time_ms >= since_ms, running)
        )
        return await self._users(query)

    async def add_device(
        self, device: DeviceRow, *, device_limit: int, now_ms: int, forget_before_ms: int
    ) -> DeviceAdded:
        own = devices.c.user_id == device.user_id
        try:
            async with self._write() as connection:
                # Log-ins of one user one after the other, or several at once could exceed the limit together.
                user_lock = select(users.c.user_id).where(users.c.user_id == device.user_id).with_for_update()
                await connection.execute(user_lock)
                oldest_first = (
                    select(devices.c.device_id)
                    .where(own, *_live(now_ms), devices.c.device_id != device.device_id)
                    .order_by(devices.c.refresh_time_ms, devices.c.device_id)
                )
                live = (await connection.execute(oldest_first)).scalars().all()
                await connection.execute(insert(devices).values(**asdict(device)))
                await connection.execute(
                    delete(devices).where(
                        own,
                        devices.c.access_expire_time_ms < forget_before_ms,
                        func.coalesce(devices.c.revoke_time_ms, devices.c.refresh_expire_time_ms)
                        < forget_before_ms,
                    )
                )
                excess = live[: max(0, len(live) + 1 - device_limit)]
                chosen = devices.c.device_id.in_(excess)
                if excess:
                    await connection.execute(update(devices).where(chosen).values(revoke_time_ms=now_ms))
                rows = await connection.execute(select(*_DEVICE_COLUMNS).where(chosen))
                logged_out = tuple(DeviceRow(**row._mapping) for row in rows)
        except IntegrityError:
            if await self.device(device.device_id) is None:
                raise
            return DeviceAdded(added=False)
        return DeviceAdded(added=True, logged_out=logged_out)

    async def device(self, device_id: str) -> DeviceRow | None:
        found = await self._devices(select(*_DEVICE_COLUMNS).where(devices.c.device_id == device_id))
        return found[0] if found else None

    async def devices(
        self, user_id: str, *, now_ms: int, before: tuple[int, str] | None, limit: int
    ) -> tuple[DeviceRow, ...]:
        place = tuple_(devices.c.create_time_ms, devices.c.device_id)
        query = select(*_DEVICE_COLUMNS).where(devices.c.user_id == user_id, *_live(now_ms))
        if before is not None:
            query = query.where(place < before)
        newest_first = (devices.c.create_time_ms.desc(), devices.c.device_id.desc())
        return await self._devices(query.order_by(*newest_first).limit(limit))

    async def renew_device(self, device: DeviceRow) -> bool:
        statement = (
            update(devices)
            .where(
                devices.c.device_id == device.device_id,
                devices.c.version == device.version - 1,
                devices.c.revoke_time_ms.is_(None),
            )
            .values(
                refresh_time_ms=device.refresh_time_ms,
                access_expire_time_ms=device.access_expire_time_ms,
                refresh_expire_time_ms=device.refresh_expire_time_ms,
                refresh_state=device.refresh_state,
                version=device.version,
            )
        )
        async with self._write() as connection:
            return (await connection.execute(statement)).rowcount == 1

    async def revoke_device(self, user_id: str, device_id: str, *, now_ms: int) -> DeviceRow | None:
        own = and_(devices.c.device_id == device_id, devices.c.user_id == user_id)
        async with self._write() as connection:
            await connection.execute(
                update(devices).where(own, devices.c.revoke_time_ms.is_(None)).values(revoke_time_ms=now_ms)
            )
            row = (await connection.execute(select(*_DEVICE_COLUMNS).where(own))).one_or_none()
            return None if row is None else DeviceRow(**row._mapping)

    async def revoked_devices(self, *, since_ms: int, access_after_ms: int) -> tuple[DeviceRow, ...]:
        query = select(*_DEVICE_COLUMNS).where(
            devices.c.revoke_time_ms.is_not(None),
            or_(devices.c.revoke_time_ms >= since_ms, devices.c.access_expire_time_ms > access_after_ms),
        )
        return await self._devices(query)

    async def _one_user(self, condition: ColumnElement[bool]) -> UserRow | None:
        found = await self._users(select(*_USER_COLUMNS).where(condition))
        return found[0] if found else None

    async def _users(self, query: Select[Any]) -> tuple[UserRow, ...]:
        return tuple(UserRow(**row._mapping) for row in await self._rows(query))

    async def _devices(self, query: Select[Any]) -> tuple[DeviceRow, ...]:
        return tuple(DeviceRow(**row._mapping) for row in await self._rows(query))

    async def _rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        async with self._read() as connection:
            rows: Sequence[Row[Any]] = (await connection.execute(query)).all()
            return rows

    @contextlib.asynccontextmanager
    async def _read(self) -> AsyncIterator[AsyncConnection]:
        with self._unavailable():
            async with self._engine.connect() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def _write(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction that is committed, durably, when the block ends without an error."""
        with self._unavailable():
            async with self._writing, self._writer.begin() as connection:
                yield connection

    @contextlib.contextmanager
    def _unavailable(self) -> Iterator[None]:
        """Turn the failures of a store into StoreUnavailable. Defects of ours, wrong SQL say, stay what
        they are.
        """
        if self._closed:
            raise StoreUnavailable("the accounts are closed")
        try:
            yield
        except (IntegrityError, ProgrammingError, DataError, NotSupportedError):
            raise
        except (DBAPIError, PoolTimeoutError, OSError) as error:
            raise StoreUnavailable(f"the accounts cannot be reached: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    # The driver's own words: SQLAlchemy's would quote the statement with its values.
    return str(error.orig) if isinstance(error, DBAPIError) else str(error)


def _live(now_ms: int) -> tuple[ColumnElement[bool], ...]:
    return devices.c.revoke_time_ms.is_(None), devices.c.refresh_expire_time_ms > now_ms


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
