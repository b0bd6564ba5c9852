"""Read positions, mutes and acknowledged cursors in `chat.db`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from parley_server.backends.sqlite.channel_keys import KEY_OF, make_key
from parley_server.backends.sqlite.writer import Write
from parley_server.ports.positions import NOTHING_READ, FeedCursor, ReadMark

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from parley_server.backends.sqlite.database import ChatDatabase


class SqlitePositions:
    """Positions in one file. A write waits for the sync of the transaction that carries it."""

    def __init__(self, database: ChatDatabase) -> None:
        self._database = database
        self._mark_read = _MarkReadWrite()
        self._acknowledge = _AcknowledgeWrite()
        self._forget_device = _ForgetDeviceWrite()
        self._set_mute = _SetMuteWrite()
        self._forget_user = _ForgetUserWrite()

    async def mark_read(self, user_id: str, channel_id: str, mark: ReadMark) -> ReadMark:
        """See Positions."""
        return await self._database.write(self._mark_read, (user_id, channel_id, mark))

    async def read_marks(self, user_id: str, channel_ids: Sequence[str]) -> dict[str, ReadMark]:
        """See Positions."""
        return await self._database.read(_read_marks, user_id, channel_ids)

    async def readers(self, channel_id: str, user_ids: Sequence[str]) -> dict[str, ReadMark]:
        """See Positions."""
        return await self._database.read(_readers, channel_id, user_ids)

    async def acknowledge(self, user_id: str, device_id: str, cursor: FeedCursor) -> FeedCursor:
        """See Positions."""
        return await self._database.write(self._acknowledge, (user_id, device_id, cursor))

    async def acknowledged(self, user_id: str, device_id: str) -> FeedCursor | None:
        """See Positions."""
        return await self._database.read(_acknowledged, user_id, device_id)

    async def set_mute(self, user_id: str, channel_id: str, mute_until_ms: int) -> None:
        """See Positions."""
        await self._database.write(self._set_mute, (user_id, channel_id, mute_until_ms))

    async def mutes(self, user_id: str, channel_ids: Sequence[str]) -> dict[str, int]:
        """See Positions."""
        return await self._database.read(_mutes, user_id, channel_ids)

    async def forget_user(self, user_id: str) -> None:
        """See Positions."""
        await self._database.write(self._forget_user, user_id)

    async def forget_device(self, user_id: str, device_id: str) -> None:
        """See Positions."""
        await self._database.write(self._forget_device, (user_id, device_id))


class _MarkReadWrite(Write[tuple[str, str, ReadMark], ReadMark]):
    def run(
        self, connection: apsw.Connection, requests: Sequence[tuple[str, str, ReadMark]]
    ) -> list[ReadMark | Exception]:
        return [self._raise(connection, *request) for request in requests]

    def _raise(self, connection: apsw.Connection, user_id: str, channel_id: str, mark: ReadMark) -> ReadMark:
        found = connection.execute(
            "SELECT seq, message_no FROM read_mark WHERE user_id = ? AND channel = " + KEY_OF,
            (user_id, channel_id),
        ).fetchone()
        held = NOTHING_READ if found is None else ReadMark(*found)
        if mark.seq <= held.seq:
            return held
        connection.execute(
            "INSERT OR REPLACE INTO read_mark (user_id, channel, seq, message_no) VALUES (?, ?, ?, ?)",
            (user_id, make_key(connection, channel_id), mark.seq, mark.message_no),
        )
        return mark


class _AcknowledgeWrite(Write[tuple[str, str, FeedCursor], FeedCursor]):
    def run(
        self, connection: apsw.Connection, requests: Sequence[tuple[str, str, FeedCursor]]
    ) -> list[FeedCursor | Exception]:
        return [self._raise(connection, *request) for request in requests]

    def _raise(
        self, connection: apsw.Connection, user_id: str, device_id: str, cursor: FeedCursor
    ) -> FeedCursor:
        held = _acknowledged(connection, user_id, device_id)
        if held is not None and held.epoch == cursor.epoch and held.position >= cursor.position:
            return held
        connection.execute(
            "INSERT OR REPLACE INTO device_cursor (user_id, device_id, epoch, position) VALUES (?, ?, ?, ?)",
            (user_id, device_id, cursor.epoch, cursor.position),
        )
        return cursor


class _ForgetDeviceWrite(Write[tuple[str, str], None]):
    def run(self, connection: apsw.Connection, requests: Sequence[tuple[str, str]]) -> list[Exception | None]:
        for request in requests:
            connection.execute("DELETE FROM device_cursor WHERE user_id = ? AND device_id = ?", request)
        return [None] * len(requests)


class _SetMuteWrite(Write[tuple[str, str, int], None]):
    def run(
        self, connection: apsw.Connection, requests: Sequence[tuple[str, str, int]]
    ) -> list[Exception | None]:
        for user_id, channel_id, mute_until_ms in requests:
            if mute_until_ms:
                connection.execute(
                    "INSERT OR REPLACE INTO mute (user_id, channel, until_ms) VALUES (?, ?, ?)",
                    (user_id, make_key(connection, channel_id), mute_until_ms),
                )
            else:
                connection.execute(
                    "DELETE FROM mute WHERE user_id = ? AND channel = " + KEY_OF, (user_id, channel_id)
                )
        return [None] * len(requests)


class _ForgetUserWrite(Write[str, None]):
    def run(self, connection: apsw.Connection, requests: Sequence[str]) -> list[Exception | None]:
        for user_id in requests:
            for table in ("read_mark", "mute", "device_cursor"):
                connection.execute(f"DELETE FROM {table} WHERE user_id = ?", (user_id,))
        return [None] * len(requests)


def _mutes(connection: apsw.Connection, user_id: str, channel_ids: Sequence[str]) -> dict[str, int]:
    found = connection.execute(
        "SELECT wanted.value, until_ms FROM json_each(?) AS wanted "
        "JOIN channel_key ON channel_id = wanted.value "
        "JOIN mute ON user_id = ? AND channel = channel_key.key",
        (json.dumps(list(channel_ids)), user_id),
    )
    return dict(found)


def _read_marks(connection: apsw.Connection, user_id: str, channel_ids: Sequence[str]) -> dict[str, ReadMark]:
    found = connection.execute(
        "SELECT wanted.value, seq, message_no FROM json_each(?) AS wanted "
        "JOIN channel_key ON channel_id = wanted.value "
        "JOIN read_mark ON user_id = ? AND channel = channel_key.key",
        (json.dumps(list(channel_ids)), user_id),
    )
    return {channel_id: ReadMark(seq, message_no) for channel_id, seq, message_no in found}


def _readers(connection: apsw.Connection, channel_id: str, user_ids: Sequence[str]) -> dict[str, ReadMark]:
    found = connection.execute(
        "SELECT wanted.value, seq, message_no FROM json_each(?) AS wanted "
        "JOIN read_mark ON user_id = wanted.value AND channel = " + KEY_OF,
        (json.dumps(list(user_ids)), channel_id),
    )
    return {user_id: ReadMark(seq, message_no) for user_id, seq, message_no in found}


def _acknowledged(connection: apsw.Connection, user_id: str, device_id: str) -> FeedCursor | None:
    found = connection.execute(
        "SELECT epoch, position FROM device_cursor WHERE user_id = ? AND device_id = ?", (user_id, device_id)
    ).fetchone()
    return None if found is None else FeedCursor(*found)
