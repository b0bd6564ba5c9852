"""Devices in a SQL database."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, func, insert, or_, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from parley_server.backends.sql.schema import devices, users
from parley_server.backends.sql.store import SqlStore, transaction
from parley_server.ports.accounts import DeviceAdded, DeviceRow

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Select

_DEVICE_COLUMNS = [devices.c[field.name] for field in fields(DeviceRow)]


class SqlDevices(SqlStore):
    """The part of `Accounts` about devices."""

    async def add_device(
        self,
        device: DeviceRow,
        *,
        device_limit: int,
        now_ms: int,
        forget_before_ms: int,
        password_hash: str | None = None,
    ) -> DeviceAdded:
        try:
            return await self._insert_device(
                device,
                device_limit=device_limit,
                now_ms=now_ms,
                forget_before_ms=forget_before_ms,
                password_hash=password_hash,
            )
        except IntegrityError:
            if await self.device(device.device_id) is None:
                raise
            return DeviceAdded(added=False)

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

    @transaction
    def renew_device(self, connection: Connection, device: DeviceRow) -> bool:
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
        return connection.execute(statement).rowcount == 1

    @transaction
    def revoke_device(
        self, connection: Connection, user_id: str, device_id: str, *, now_ms: int
    ) -> DeviceRow | None:
        own = and_(devices.c.device_id == device_id, devices.c.user_id == user_id)
        connection.execute(
            update(devices).where(own, devices.c.revoke_time_ms.is_(None)).values(revoke_time_ms=now_ms)
        )
        row = connection.execute(select(*_DEVICE_COLUMNS).where(own)).one_or_none()
        return None if row is None else DeviceRow(**row._mapping)

    async def revoked_devices(self, *, since_ms: int, access_after_ms: int) -> tuple[DeviceRow, ...]:
        query = select(*_DEVICE_COLUMNS).where(
            devices.c.revoke_time_ms.is_not(None),
            or_(devices.c.revoke_time_ms >= since_ms, devices.c.access_expire_time_ms > access_after_ms),
        )
        return await self._devices(query)

    @transaction
    def _insert_device(
        self,
        connection: Connection,
        device: DeviceRow,
        *,
        device_limit: int,
        now_ms: int,
        forget_before_ms: int,
        password_hash: str | None,
    ) -> DeviceAdded:
        own = devices.c.user_id == device.user_id
        # Log-ins of one user one after the other, or several at once could exceed the limit together.
        user_lock = (
            select(users.c.password_hash)
            .where(users.c.user_id == device.user_id, users.c.delete_time_ms.is_(None))
            .with_for_update()
        )
        hash_now = connection.execute(user_lock).scalar_one_or_none()
        if hash_now is None or password_hash not in (None, hash_now):
            return DeviceAdded(added=False, refused=True)
        oldest_first = (
            select(devices.c.device_id)
            .where(own, *_live(now_ms), devices.c.device_id != device.device_id)
            .order_by(devices.c.refresh_time_ms, devices.c.device_id)
        )
        live = connection.execute(oldest_first).scalars().all()
        connection.execute(insert(devices).values(**asdict(device)))
        connection.execute(
            delete(devices).where(
                own,
                devices.c.access_expire_time_ms < forget_before_ms,
                func.coalesce(devices.c.revoke_time_ms, devices.c.refresh_expire_time_ms) < forget_before_ms,
            )
        )
        excess = live[: max(0, len(live) + 1 - device_limit)]
        chosen = devices.c.device_id.in_(excess)
        if excess:
            connection.execute(update(devices).where(chosen).values(revoke_time_ms=now_ms))
        rows = connection.execute(select(*_DEVICE_COLUMNS).where(chosen))
        logged_out = tuple(DeviceRow(**row._mapping) for row in rows)
        return DeviceAdded(added=True, logged_out=logged_out)

    async def _devices(self, query: Select[Any]) -> tuple[DeviceRow, ...]:
        return tuple(DeviceRow(**row._mapping) for row in await self._rows(query))


def revoke_all(connection: Connection, user_id: str, *, keep_device_id: str, now_ms: int) -> None:
    """Revoke what is not revoked of the user's devices, but for one."""
    chosen = (
        devices.c.user_id == user_id,
        devices.c.device_id != keep_device_id,
        devices.c.revoke_time_ms.is_(None),
    )
    connection.execute(update(devices).where(*chosen).values(revoke_time_ms=now_ms))


def revoked_of(connection: Connection, user_id: str) -> tuple[DeviceRow, ...]:
    """The user's revoked devices."""
    revoked = (devices.c.user_id == user_id, devices.c.revoke_time_ms.is_not(None))
    rows = connection.execute(select(*_DEVICE_COLUMNS).where(*revoked))
    return tuple(DeviceRow(**row._mapping) for row in rows)


def _live(now_ms: int) -> tuple[ColumnElement[bool], ...]:
    return devices.c.revoke_time_ms.is_(None), devices.c.refresh_expire_time_ms > now_ms
