"""All that the server keeps of one user, as one JSON document in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from parley_runtime.refusal import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from parley_server.accounts.service import AccountService
    from parley_server.chat.export import ChatExport

CHUNK_BYTES = 64 * 1024
FORMAT = "parley-export-1"


class DataExport:
    """Makes exports, at most `exports_limit` at a time."""

    def __init__(self, accounts: AccountService, chat: ChatExport, *, exports_limit: int) -> None:
        self._accounts = accounts
        self._chat = chat
        self._exports_limit = exports_limit
        self._running = 0

    async def chunks(self, user_id: str) -> AsyncIterator[bytes]:
        """The document in pieces of about 64 KiB. Nothing is kept of what was yielded.

        Raises Refusal (SERVER_BUSY) before the first piece, and StoreUnavailable.
        """
        if self._running >= self._exports_limit:
            raise Refusal(
                Reason.SERVER_BUSY,
                "Other users' data are being exported. Try again in a minute.",
                retry_after_seconds=60.0,
            )
        self._running += 1
        try:
            waiting = bytearray()
            async for piece in self._pieces(user_id):
                waiting += piece
                if len(waiting) >= CHUNK_BYTES:
                    yield bytes(waiting)
                    waiting.clear()
            yield bytes(waiting)
        finally:
            self._running -= 1

    async def _pieces(self, user_id: str) -> AsyncIterator[bytes]:
        head = {"format": FORMAT, **await self._accounts.export_of(user_id)}
        yield msgspec.json.encode(head)[:-1] + b',\n"channels":['
        separator = b"\n"
        async for channel in self._chat.channels(user_id):
            yield separator + msgspec.json.encode(channel)[:-1] + b',"messages":['
            separator = b",\n"
            async for piece in self._messages(user_id, channel):
                yield piece
            yield b"]}"
        yield b"\n]}\n"

    async def _messages(self, user_id: str, channel: dict[str, Any]) -> AsyncIterator[bytes]:
        separator = b"\n"
        async for message in self._chat.messages(user_id, channel["channel_id"]):
            yield separator + msgspec.json.encode(message)
            separator = b",\n"
