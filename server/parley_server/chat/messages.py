"""Writing messages, changing them, and read positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_runtime.refusal import Refusal, channel_not_found, invalid_field
from parley_server.chat import client_id, codec
from parley_server.chat.command import DeleteMessage, EditMessage, Forbidden, Pin, PostMessage, React
from parley_server.chat.message_rules import (
    Content,
    change_digest,
    check_content,
    check_emoji,
    digest_of,
)
from parley_server.ports.positions import Positions, ReadMark

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection

    from parley_runtime.clock import Clock
    from parley_server.chat.command import Done, MessageChangeCommand
    from parley_server.chat.direct_blocks import DirectBlocks
    from parley_server.chat.history import History
    from parley_server.chat.owners import Owners
    from parley_server.ports.message_log import MessageLog
    from parley_server.ports.projections import Projections


class Messages:
    """Takes messages, changes of them, and read positions from members."""

    def __init__(
        self,
        owners: Owners,
        log: MessageLog,
        projections: Projections,
        positions: Positions,
        history: History,
        direct_blocks: DirectBlocks,
        clock: Clock,
        *,
        text_limit_code_points: int,
    ) -> None:
        self._owners = owners
        self._log = log
        self._projections = projections
        self._positions = positions
        self._history = history
        self._direct_blocks = direct_blocks
        self._clock = clock
        self._text_limit_code_points = text_limit_code_points

    async def post(
        self,
        user_id: str,
        channel_id: str,
        client_message_id: str,
        content: Content,
        *,
        reply_to_seq: int = 0,
        thread_root_seq: int = 0,
    ) -> asyncio.Future[Done]:
        """Check the message and queue it; messages of one channel are ordered by the returns of this call.

        The future answers once the message is durable and visible. Raises Refusal at once for what is wrong
        in itself.
        """
        self._check(channel_id, client_message_id, content)
        targets = _seqs(reply_to_seq=reply_to_seq, thread_root_seq=thread_root_seq)
        links = ["\0links", str(reply_to_seq), str(thread_root_seq)] if targets else []
        command = PostMessage(
            user_id,
            client_message_id,
            digest_of(*content.fields(), *links),
            content.text,
            content.sorted_attributes(),
            content.unique_mentions(),
            content.mention_all,
            reply_to_seq,
            thread_root_seq,
        )
        return await self._submit(channel_id, command, targets)

    def posts_at_once(self, user_id: str, channel_id: str) -> bool:
        """Whether `post`, of what is no answer to anything, asks no store and waits for nothing."""
        return self._direct_blocks.knows(user_id, channel_id)

    async def edit(
        self, user_id: str, channel_id: str, client_message_id: str, seq: int, content: Content
    ) -> asyncio.Future[Done]:
        """Check the new content and queue the change, as `post` does."""
        self._check(channel_id, client_message_id, content)
        targets = _target(seq)
        command = EditMessage(
            user_id,
            client_message_id,
            change_digest("edit", str(seq), *content.fields()),
            seq,
            content.text,
            content.sorted_attributes(),
            content.unique_mentions(),
            content.mention_all,
        )
        return await self._submit(channel_id, command, targets)

    async def delete(
        self, user_id: str, channel_id: str, client_message_id: str, seq: int
    ) -> asyncio.Future[Done]:
        """Queue a deletion, as `post` does. Somebody who blocked or is blocked may still take back."""
        self._check(channel_id, client_message_id)
        targets = _target(seq)
        command = DeleteMessage(user_id, client_message_id, change_digest("delete", str(seq)), seq)
        return await self._submit(channel_id, command, targets, though_blocked=True)

    async def react(
        self, user_id: str, channel_id: str, client_message_id: str, seq: int, emoji: str, *, added: bool
    ) -> asyncio.Future[Done]:
        """Queue a reaction, or that it goes, as `post` does."""
        self._check(channel_id, client_message_id)
        if (refusal := check_emoji(emoji)) is not None:
            raise refusal
        targets = _target(seq)
        digest = change_digest("react", str(seq), emoji, str(added))
        command = React(user_id, client_message_id, digest, seq, emoji, added)
        return await self._submit(channel_id, command, targets)

    async def pin(
        self, user_id: str, channel_id: str, client_message_id: str, seq: int, *, pinned: bool
    ) -> asyncio.Future[Done]:
        """Queue a pin, or that it goes, as `post` does."""
        self._check(channel_id, client_message_id)
        targets = _target(seq)
        digest = change_digest("pin", str(seq), str(pinned))
        return await self._submit(channel_id, Pin(user_id, client_message_id, digest, seq, pinned), targets)

    def _check(self, channel_id: str, client_message_id: str, content: Content | None = None) -> None:
        if not channel_id:
            raise invalid_field("channel_id", "is required")
        refusal = client_id.check("client_message_id", client_message_id, self._clock.now_ms())
        if refusal is None and content is not None:
            refusal = check_content(content, text_limit_code_points=self._text_limit_code_points)
        if refusal is not None:
            raise refusal

    async def _submit(
        self,
        channel_id: str,
        command: PostMessage | MessageChangeCommand,
        targets: Collection[int],
        *,
        though_blocked: bool = False,
    ) -> asyncio.Future[Done]:
        user_id = command.actor_id
        refusal = None
        try:
            if targets:
                await self._history.check_visible(user_id, channel_id, targets)
            if not though_blocked:
                refusal = await self._direct_blocks.refusal(user_id, channel_id)
        except Refusal as invisible:
            refusal = invisible
        if refusal is None:
            return self._owners.submit(channel_id, command)
        # It may be the repeat of what was written before a block, or before the channel ended: that is
        # answered as the first try was, which only the channel's owner can tell.
        forbidden = Forbidden(user_id, command.client_message_id, command.digest, refusal)
        return self._owners.submit(channel_id, forbidden)

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


def _target(seq: int) -> tuple[int, ...]:
    if seq <= 0:
        raise invalid_field("seq", "must be greater than 0")
    return (seq,)


def _seqs(**fields: int) -> tuple[int, ...]:
    for name, seq in fields.items():
        if seq < 0:
            raise invalid_field(name, "must not be negative")
    return tuple(seq for seq in fields.values() if seq)
