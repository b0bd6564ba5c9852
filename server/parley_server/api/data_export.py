"""All that the server keeps of one user, as one JSON document in pieces."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from parley_runtime.refusal import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from parley_server.accounts.service import AccountService
    from parley_server.chat.export import ChatExport

CHUNK_BYTES = 64 * 1024
FORMAT = "parley-export-1"


class DataExport:
    """Makes exports: one of a user at a time, and `exports_limit` of all users at work at once. One that
    waits for its reader holds up nobody else.
    """

    def __init__(self, accounts: AccountService, chat: ChatExport, *, exports_limit: int) -> None:
        self._accounts = accounts
        self._chat = chat
        self._at_work = asyncio.Semaphore(exports_limit)
        self._users: set[str] = set()

    async def chunks(self, user_id: str) -> AsyncGenerator[bytes, None]:
        """The document in pieces of about 64 KiB. Nothing is kept of what was yielded.

        Raises Refusal (SERVER_BUSY) before the first piece while another export of the user goes on, and
        StoreUnavailable.
        """
        if user_id in self._users:
            raise Refusal(
                Reason.SERVER_BUSY,
                "Your data are being exported already. Read that export to its end or cancel it, then try "
                "again.",
                retry_after_seconds=60.0,
            )
        self._users.add(user_id)
        try:
            async with aclosing(self._pieces(user_id)) as pieces:
                while chunk := await self._next_chunk(pieces):
                    yield chunk
        finally:
            self._users.discard(user_id)

    async def _next_chunk(self, pieces: AsyncIterator[bytes]) -> bytes:
        async with self._at_work:
            chunk = bytearray()
            async for piece in pieces:
                chunk += piece
                if len(chunk) >= CHUNK_BYTES:
                    break
            return bytes(chunk)

    async def _pieces(self, user_id: str) -> AsyncGenerator[bytes, None]:
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
