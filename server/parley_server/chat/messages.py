"""Writing messages and read positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_runtime.refusal import channel_not_found, invalid_field
from parley_server.chat import client_id, codec
from parley_server.chat.command import Done, PostMessage
from parley_server.chat.message_rules import check_content, digest_of
from parley_server.ports.positions import Positions, ReadMark

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from parley_runtime.clock import Clock
    from parley_server.chat.owners import Owners
    from parley_server.ports.message_log import MessageLog
    from parley_server.ports.projections import Projections


class Messages:
    """Takes messages and read positions from members."""

    def __init__(
        self,
        owners: Owners,
        log: MessageLog,
        projections: Projections,
        positions: Positions,
        clock: Clock,
        *,
        text_limit_code_points: int,
    ) -> None:
        self._owners = owners
        self._log = log
        self._projections = projections
        self._positions = positions
        self._clock = clock
        self._text_limit_code_points = text_limit_code_points

    def post(
        self, user_id: str, channel_id: str, client_message_id: str, text: str, attributes: Mapping[str, str]
    ) -> asyncio.Future[Done]:
        """Check the message and queue it; messages of one channel are ordered by this call.

        The future answers once the message is durable and visible. Raises Refusal at once for what is wrong
        in itself.
        """
        if not channel_id:
            raise invalid_field("channel_id", "is required")
        refusal = client_id.check("client_message_id", client_message_id, self._clock.now_ms())
        refusal = refusal or check_content(
            text, attributes, text_limit_code_points=self._text_limit_code_points
        )
        if refusal is not None:
            raise refusal
        content = tuple(sorted(attributes.items()))
        digest = digest_of(text, *(part for pair in content for part in pair))
        command = PostMessage(user_id, client_message_id, digest, text, content)
        return self._owners.submit(channel_id, command)

    async def mark_read(self, user_id: str, channel_id: str, seq: int) -> ReadMark:
        """Raise the user's read position to `seq`, at most the head. Returns what holds now."""
        if not channel_id:
            raise invalid_field("channel_id", "is required")
        if seq <= 0:
            raise invalid_field("seq", "must be greater than 0")
        member = await self._projections.member(channel_id, user_id)
        channel = await self._projections.channel(channel_id)
        if member is None or member.role is None or channel is None:
            raise channel_not_found()
        if seq >= channel.watermark:
            mark = ReadMark(channel.watermark, channel.message_no)
        else:
            page = await self._log.read(channel_id, seq, seq, limit=1, limit_bytes=1)
            mark = ReadMark(seq, codec.event_of(page.rows[0]).message_no)
        return await self._positions.mark_read(user_id, channel_id, mark)
