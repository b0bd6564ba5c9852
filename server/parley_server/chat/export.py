"""What a user wrote, for the user to take along."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parley.chat.v1 import event_pb2
from parley_server.chat.presenting import Presenter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from parley_server.ports.message_log import MessageLog
    from parley_server.ports.projections import MemberRow, Projections

MEMBERSHIPS_PAGE = 200
PAGE_ROWS = 256
PAGE_BYTES = 1024 * 1024


class ChatExport:
    """Reads a user's channels and own messages, page by page: memory does not grow with their number."""

    def __init__(self, log: MessageLog, projections: Projections) -> None:
        self._log = log
        self._projections = projections
        self._presenter = Presenter(log, projections)

    async def channels(self, user_id: str) -> AsyncIterator[dict[str, Any]]:
        """The user's channels, present and former, by id. Raises StoreUnavailable."""
        after_channel_id = ""
        while page := await self._projections.memberships_of(
            user_id, after_channel_id=after_channel_id, limit=MEMBERSHIPS_PAGE
        ):
            for membership in page:
                yield await self._channel(membership)
            after_channel_id = page[-1].channel_id

    async def messages(self, user_id: str, channel_id: str) -> AsyncIterator[dict[str, Any]]:
        """What the user wrote in the channel and did not take back, as it reads now, oldest first."""
        to_seq = await self._projections.watermark(channel_id)
        from_seq = 1
        while from_seq <= to_seq:
            page = await self._log.read(channel_id, from_seq, to_seq, limit=PAGE_ROWS, limit_bytes=PAGE_BYTES)
            if not page.rows:
                return
            for row in page.rows:
                if not row.is_message:
                    continue
                if event_pb2.Event.FromString(row.event).actor_id != user_id:
                    continue
                shown = await self._presenter.present(channel_id, (row,), viewer_id=user_id, limit_bytes=0)
                event = event_pb2.Event.FromString(shown[0].event)
                if not event.message.state.delete_seq:
                    yield _message(event)
            from_seq = page.rows[-1].seq + 1

    async def _channel(self, membership: MemberRow) -> dict[str, Any]:
        row = await self._projections.channel(membership.channel_id)
        return {
            "channel_id": membership.channel_id,
            "kind": row.kind.name.lower() if row else "",
            "title": row.title if row and membership.role is not None else "",
            "role": membership.role.name.lower() if membership.role else "",
            "joined_seq": membership.joined_seq,
        }


def _message(event: event_pb2.Event) -> dict[str, Any]:
    content = event.message
    found: dict[str, Any] = {
        "seq": event.seq,
        "create_time_ms": event.create_time_ms,
        "client_message_id": event.client_message_id,
        "text": content.text,
        "attributes": dict(content.attributes),
    }
    if content.mentions:
        found["mentions"] = list(content.mentions)
    if content.reply_to_seq:
        found["reply_to_seq"] = content.reply_to_seq
    if content.thread_root_seq:
        found["thread_root_seq"] = content.thread_root_seq
    if content.state.edit_time_ms:
        found["edit_time_ms"] = content.state.edit_time_ms
    return found
