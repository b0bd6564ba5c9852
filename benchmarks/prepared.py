"""Data folders filled before a node opens them, through the node's own ports: channels, members, messages.

No accounts are made: nothing that is measured reads one. Tokens are signed with the folder's own keys.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from benchmarks.client_ids import client_ids
from benchmarks.clients import Device

from parley_runtime.clock import SystemClock
from parley_runtime.tokens import AccessClaims, KeyRing, TokenIssuer
from parley_server.accounts.ids import device_id_for, user_id_for
from parley_server.accounts.settings import AccountSettings
from parley_server.backends.sql.migrate import migrate
from parley_server.backends.sqlite.database import ChatDatabase
from parley_server.backends.sqlite.folder import DataFolder
from parley_server.backends.sqlite.message_log import SqliteMessageLog
from parley_server.backends.sqlite.projections import SqliteProjections
from parley_server.chat import codec
from parley_server.chat.channel import decide
from parley_server.chat.channel_state import ChannelState
from parley_server.chat.channels import direct_channel_id, group_channel_id
from parley_server.chat.command import CreateChannel
from parley_server.chat.event import ChannelKind, Event, HistoryVisibility, MessagePosted
from parley_server.chat.known_ids import KnownIds
from parley_server.chat.message_rules import digest_of
from parley_server.ports.message_log import Committed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

TOKEN_LIFETIME_MS = 3600 * 1000
ROWS_PER_APPEND = 256
CHANNELS_AT_ONCE = 256
EVENT_BYTES = 300
WRITER = user_id_for("bench 0")


def user_ids(count: int) -> list[str]:
    """As many users as wanted, the same ones every time."""
    return [user_id_for(f"bench {number}") for number in range(count)]


def message_text(channel_id: str) -> str:
    """A text that makes an event of about 300 bytes in this channel."""
    return "x" * (EVENT_BYTES - len(codec.encode(_message(channel_id, 1000, 1000, "x" * 100))) + 100)


class PreparedFolder:
    """A data folder that no node has open yet. Made by `prepared_folder`."""

    def __init__(self, database: ChatDatabase, issuer: TokenIssuer) -> None:
        self._log = SqliteMessageLog(database)
        self._projections = SqliteProjections(database)
        self._issuer = issuer

    def device(self, user_id: str, number: int, channel_id: str = "", cursor: str = "") -> Device:
        """A log-in of the user, with an access token for an hour."""
        device_id = device_id_for(user_id, str(number))
        now_ms = SystemClock().now_ms()
        claims = AccessClaims(user_id, device_id, False, now_ms + TOKEN_LIFETIME_MS)
        return Device(self._issuer.issue(claims, now_ms), channel_id, cursor)

    async def direct_channels(self, pairs: Sequence[tuple[str, str]]) -> list[str]:
        """Make the direct channels of these pairs."""
        ids = [direct_channel_id(*pair) for pair in pairs]
        made = [self._make(ids[i], pair, ChannelKind.DIRECT, 2, "") for i, pair in enumerate(pairs)]
        for start in range(0, len(made), CHANNELS_AT_ONCE):
            await asyncio.gather(*made[start : start + CHANNELS_AT_ONCE])
        return ids

    async def group(self, members: Sequence[str]) -> str:
        """Make a group; the first member owns it."""
        client_id = next(client_ids(secrets.token_bytes(8))).decode()
        channel_id = group_channel_id(members[0], client_id)
        await self._make(channel_id, members, ChannelKind.GROUP, len(members), client_id)
        return channel_id

    async def fill(self, channel_id: str, count: int) -> None:
        """Write this many messages of about 300 bytes, as an owner would."""
        text = message_text(channel_id)
        row = await self._projections.channel(channel_id)
        assert row is not None
        head, left = row.watermark, count
        ids = client_ids(secrets.token_bytes(8))
        while left:
            size = min(left, ROWS_PER_APPEND)
            events = list(_messages(channel_id, head, row.message_no + count - left, size, text, ids))
            await self._write(channel_id, head, events)
            head += size
            left -= size

    async def _make(
        self, channel_id: str, members: Sequence[str], kind: ChannelKind, limit: int, client_id: str
    ) -> None:
        command = CreateChannel(
            actor_id=members[0],
            kind=kind,
            title="bench" if kind is ChannelKind.GROUP else "",
            member_ids=tuple(members),
            history_visibility=HistoryVisibility.FROM_START,
            member_limit=limit,
            client_channel_id=client_id,
            digest=digest_of(client_id) if client_id else b"",
        )
        events = decide(ChannelState(channel_id, KnownIds(1)), command, SystemClock().now_ms())
        assert isinstance(events, tuple)
        await self._write(channel_id, 0, events)

    async def _write(self, channel_id: str, head: int, events: Sequence[Event]) -> None:
        rows = [codec.row_of(event) for event in events]
        result = await self._log.append(channel_id, head, rows, secrets.token_bytes(16))
        if not isinstance(result, Committed):
            raise RuntimeError(f"a prepared channel could not be written: {result}")
        await self._projections.apply(channel_id, events)


@asynccontextmanager
async def prepared_folder(path: Path) -> AsyncIterator[PreparedFolder]:
    """Make the folder or open one that this function made; whole and closed when the block ends."""
    settings = AccountSettings()
    with DataFolder(path) as folder:
        keys = await asyncio.to_thread(
            KeyRing.load_or_create, path / "keys.json", SystemClock().now_ms(), secrets.token_bytes
        )
        issuer = TokenIssuer(
            keys,
            issuer=settings.token_issuer,
            audience=settings.token_audience,
            random_bytes=secrets.token_bytes,
        )
        # As of a node's second start: the first one imports what makes the schema, and keeps it.
        await migrate(f"sqlite:///{folder.accounts_database}")
        database = await ChatDatabase.open(folder.chat_database)
        try:
            yield PreparedFolder(database, issuer)
        finally:
            await database.close()


def _messages(
    channel_id: str, head: int, message_no: int, count: int, text: str, ids: Iterator[bytes]
) -> Iterator[Event]:
    for offset in range(1, count + 1):
        yield _message(channel_id, head + offset, message_no + offset, text, next(ids).decode())


def _message(channel_id: str, seq: int, message_no: int, text: str, client_id: str = "0" * 36) -> Event:
    return Event(
        channel_id=channel_id,
        seq=seq,
        message_no=message_no,
        create_time_ms=time.time_ns() // 1_000_000,
        actor_id=WRITER,
        client_message_id=client_id,
        digest=digest_of(text),
        body=MessagePosted(text),
    )
