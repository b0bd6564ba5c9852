"""Projections in this process's memory: lost when it ends, rebuilt from the logs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parley_server.backends.projected import advance_channel, pending
from parley_server.chat.event import ChannelKind, MemberChanged
from parley_server.chat.membership import after_change
from parley_server.ports.projections import ChannelRow, InboxRow, MemberRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parley_server.chat.event import Event


@dataclass(slots=True)
class _Channel:
    row: ChannelRow | None = None
    members: dict[str, MemberRow] = field(default_factory=dict)
    client_ids: dict[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)


class MemoryProjections:
    """Projections as dictionaries. No call suspends, so each is one atomic step."""

    def __init__(self) -> None:
        self._channels: dict[str, _Channel] = {}
        self._channels_of: dict[str, set[str]] = {}

    async def apply(self, channel_id: str, events: Sequence[Event]) -> None:
        """See Projections. Raises ValueError for events that no log can hold in this order."""
        channel = self._channels.get(channel_id)
        row = None if channel is None else channel.row
        fresh = pending(channel_id, 0 if row is None else row.watermark, events)
        # Everything is worked out aside first: a refused event leaves nothing of its batch behind.
        members: dict[str, MemberRow] = {}
        client_ids: dict[tuple[str, str], tuple[int, ...]] = {}
        known = _Channel() if channel is None else channel
        count = 0 if row is None else row.member_count
        for event in fresh:
            body = event.body
            if isinstance(body, MemberChanged) and row is not None:
                before = members.get(body.user_id) or known.members.get(body.user_id)
                after = after_change(before, event, body, row.history_visibility)
                count += (after.role is not None) - (before is not None and before.role is not None)
                members[body.user_id] = after
            row = advance_channel(row, event, count)
            if event.client_message_id:
                key = (event.actor_id, event.client_message_id)
                seqs = client_ids.get(key) or known.client_ids.get(key, ())
                client_ids[key] = (*seqs, event.seq)
        if row is None:
            return
        known.row = row
        known.members.update(members)
        known.client_ids.update(client_ids)
        self._channels[channel_id] = known
        for member in members.values():
            mine = self._channels_of.setdefault(member.user_id, set())
            if member.role is None:
                mine.discard(channel_id)
            else:
                mine.add(channel_id)

    async def watermark(self, channel_id: str) -> int:
        """See Projections."""
        row = await self.channel(channel_id)
        return 0 if row is None else row.watermark

    async def channel(self, channel_id: str) -> ChannelRow | None:
        """See Projections."""
        channel = self._channels.get(channel_id)
        return None if channel is None else channel.row

    async def member(self, channel_id: str, user_id: str) -> MemberRow | None:
        """See Projections."""
        channel = self._channels.get(channel_id)
        return None if channel is None else channel.members.get(user_id)

    async def members(self, channel_id: str, *, after_user_id: str, limit: int) -> tuple[MemberRow, ...]:
        """See Projections."""
        channel = self._channels.get(channel_id)
        if channel is None:
            return ()
        present = (
            row for row in channel.members.values() if row.role is not None and row.user_id > after_user_id
        )
        return tuple(sorted(present, key=lambda row: row.user_id)[:limit])

    async def channels_of(self, user_id: str, *, after_channel_id: str, limit: int) -> tuple[InboxRow, ...]:
        """See Projections."""
        ids = sorted(known for known in self._channels_of.get(user_id, ()) if known > after_channel_id)
        return tuple(self._inbox_row(user_id, channel_id) for channel_id in ids[:limit])

    async def inbox(
        self, user_id: str, *, before: tuple[int, str] | None, limit: int
    ) -> tuple[InboxRow, ...]:
        """See Projections."""
        rows = [self._inbox_row(user_id, channel_id) for channel_id in self._channels_of.get(user_id, ())]
        rows.sort(key=_activity, reverse=True)
        return tuple([row for row in rows if before is None or _activity(row) < before][:limit])

    async def seqs_of(self, channel_id: str, actor_id: str, client_message_id: str) -> tuple[int, ...]:
        """See Projections."""
        channel = self._channels.get(channel_id)
        return () if channel is None else channel.client_ids.get((actor_id, client_message_id), ())

    def _inbox_row(self, user_id: str, channel_id: str) -> InboxRow:
        channel = self._channels[channel_id]
        if channel.row is None:
            raise AssertionError("a membership without its channel")
        peer = ""
        if channel.row.kind is ChannelKind.DIRECT:
            peer = min((other for other in channel.members if other != user_id), default="")
        return InboxRow(channel.row, channel.members[user_id], peer)


def _activity(row: InboxRow) -> tuple[int, str]:
    return row.channel.last_activity_ms, row.channel.channel_id
