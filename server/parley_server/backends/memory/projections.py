"""Projections in this process's memory: lost when it ends, rebuilt from the logs."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from parley_server.backends.projected import Held, Needed, derive, needed, pending, usable
from parley_server.backends.projected_messages import REACTING_USERS_SHOWN, EmojiRow, MessageRow
from parley_server.chat.event import ChannelKind
from parley_server.chat.membership import after_end
from parley_server.ports.projections import (
    BanRow,
    ChannelRow,
    InboxRow,
    InviteRow,
    MemberRow,
    MessageState,
    MessageStates,
    ReactionRow,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from parley_server.backends.projected import Changes
    from parley_server.backends.projected_messages import MessageChanges
    from parley_server.chat.event import Event

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(slots=True)
class _Channel:
    row: ChannelRow | None = None
    members: dict[str, MemberRow] = field(default_factory=dict)
    client_ids: dict[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
    messages: dict[int, MessageRow] = field(default_factory=dict)
    emojis: dict[int, dict[str, EmojiRow]] = field(default_factory=dict)
    # By message: who has which emoji there since which seq.
    reactions: dict[int, dict[tuple[str, str], int]] = field(default_factory=dict)
    edits: dict[int, list[int]] = field(default_factory=dict)
    replies: dict[int, list[int]] = field(default_factory=dict)
    invites: dict[str, InviteRow] = field(default_factory=dict)
    bans: dict[str, BanRow] = field(default_factory=dict)
    erased_authors: dict[str, int] = field(default_factory=dict)


class MemoryProjections:
    """Projections as dictionaries. No call suspends, so each is one atomic step."""

    def __init__(self) -> None:
        self._channels: dict[str, _Channel] = {}
        # Every channel of which a user is or was a member.
        self._channels_of: dict[str, set[str]] = {}
        self._due: set[tuple[str, int]] = set()

    async def apply(self, channel_id: str, events: Sequence[Event]) -> None:
        """See Projections. Raises ValueError for events that no log can hold in this order."""
        channel = self._channels.get(channel_id) or _Channel()
        fresh = pending(channel_id, 0 if channel.row is None else channel.row.watermark, events)
        if not fresh:
            return
        # Everything is worked out aside first: a refused event leaves nothing of its batch behind.
        changes = derive(_held(channel, needed(fresh)), fresh)
        self._channels[channel_id] = channel
        for event in fresh:
            if event.client_message_id:
                key = (event.actor_id, event.client_message_id)
                channel.client_ids[key] = (*channel.client_ids.get(key, ()), event.seq)
        self._keep(channel, changes)

    async def watermark(self, channel_id: str) -> int:
        """See Projections."""
        row = await self.channel(channel_id)
        return 0 if row is None else row.watermark

    async def channel(self, channel_id: str) -> ChannelRow | None:
        """See Projections."""
        return self._channel(channel_id).row

    async def member(self, channel_id: str, user_id: str) -> MemberRow | None:
        """See Projections."""
        return self._channel(channel_id).members.get(user_id)

    async def members(self, channel_id: str, *, after_user_id: str, limit: int) -> tuple[MemberRow, ...]:
        """See Projections."""
        rows = self._channel(channel_id).members
        present = (row for row in rows.values() if row.role is not None and row.user_id > after_user_id)
        return tuple(sorted(present, key=lambda row: row.user_id)[:limit])

    async def channels_of(self, user_id: str, *, after_channel_id: str, limit: int) -> tuple[InboxRow, ...]:
        """See Projections."""
        ids = sorted(known for known in self._present_in(user_id) if known > after_channel_id)
        return tuple(self._inbox_row(user_id, channel_id) for channel_id in ids[:limit])

    async def inbox(
        self, user_id: str, *, before: tuple[int, str] | None, limit: int
    ) -> tuple[InboxRow, ...]:
        """See Projections."""
        rows = [self._inbox_row(user_id, channel_id) for channel_id in self._present_in(user_id)]
        rows.sort(key=_activity, reverse=True)
        return tuple([row for row in rows if before is None or _activity(row) < before][:limit])

    async def message_states(self, channel_id: str, seqs: Sequence[int], *, viewer_id: str) -> MessageStates:
        """See Projections."""
        channel = self._channel(channel_id)
        row = channel.row
        return MessageStates(
            as_of_seq=0 if row is None else row.watermark,
            states={seq: _state(channel, seq, viewer_id) for seq in seqs if seq in channel.messages},
            erased_authors=dict(channel.erased_authors),
            deleted=row is not None and row.deleted,
        )

    async def edits_of(self, channel_id: str, seq: int) -> tuple[int, ...]:
        """See Projections."""
        return tuple(self._channel(channel_id).edits.get(seq, ()))

    async def own_reactions(self, channel_id: str, seq: int, user_id: str) -> frozenset[str]:
        """See Projections."""
        held = self._channel(channel_id).reactions.get(seq, {})
        return frozenset(emoji for emoji, other in held if other == user_id)

    async def thread(self, channel_id: str, root_seq: int, *, before_seq: int, limit: int) -> tuple[int, ...]:
        """See Projections."""
        seqs = self._channel(channel_id).replies.get(root_seq, [])
        end = bisect_left(seqs, before_seq)
        return tuple(seqs[max(0, end - limit) : end][::-1])

    async def pins(self, channel_id: str) -> tuple[tuple[int, str], ...]:
        """See Projections."""
        messages = self._channel(channel_id).messages
        pinned = sorted(((row.pin_seq, seq) for seq, row in messages.items() if row.pin_seq), reverse=True)
        return tuple((seq, messages[seq].pin_author_id) for _, seq in pinned)

    async def invites(self, channel_id: str) -> tuple[InviteRow, ...]:
        """See Projections."""
        channel = self._channel(channel_id)
        if channel.row is None:
            return ()
        at_ms = channel.row.last_activity_ms
        rows = [row for row in channel.invites.values() if usable(row, at_ms)]
        return tuple(sorted(rows, key=lambda row: (row.create_time_ms, row.invite_id)))

    async def bans(self, channel_id: str, *, after_user_id: str, limit: int) -> tuple[BanRow, ...]:
        """See Projections."""
        rows = [row for row in self._channel(channel_id).bans.values() if row.user_id > after_user_id]
        return tuple(sorted(rows, key=lambda row: row.user_id)[:limit])

    async def memberships_of(
        self, user_id: str, *, after_channel_id: str, limit: int
    ) -> tuple[MemberRow, ...]:
        """See Projections."""
        ids = sorted(known for known in self._channels_of.get(user_id, ()) if known > after_channel_id)
        return tuple(self._channels[channel_id].members[user_id] for channel_id in ids[:limit])

    async def erasures_due(self, *, after: tuple[str, int], limit: int) -> tuple[tuple[str, int], ...]:
        """See Projections."""
        return tuple(sorted(due for due in self._due if due > after)[:limit])

    async def erasure_done(self, channel_id: str, seq: int) -> None:
        """See Projections."""
        self._due.discard((channel_id, seq))

    async def seqs_of(self, channel_id: str, actor_id: str, client_message_id: str) -> tuple[int, ...]:
        """See Projections."""
        return self._channel(channel_id).client_ids.get((actor_id, client_message_id), ())

    def _channel(self, channel_id: str) -> _Channel:
        """The channel; an empty one, which nobody keeps, where there is none."""
        return self._channels.get(channel_id) or _Channel()

    def _present_in(self, user_id: str) -> Iterable[str]:
        for channel_id in self._channels_of.get(user_id, ()):
            if self._channels[channel_id].members[user_id].role is not None:
                yield channel_id

    def _inbox_row(self, user_id: str, channel_id: str) -> InboxRow:
        channel = self._channels[channel_id]
        if channel.row is None:
            raise AssertionError("a membership without its channel")
        peer = ""
        if channel.row.kind is ChannelKind.DIRECT:
            peer = min((other for other in channel.members if other != user_id), default="")
        return InboxRow(channel.row, channel.members[user_id], peer)

    def _keep(self, channel: _Channel, changes: Changes) -> None:
        channel_id = changes.channel.channel_id
        channel.row = changes.channel
        _put(channel.members, changes.members)
        _put(channel.invites, changes.invites)
        _put(channel.bans, changes.bans)
        _put(channel.erased_authors, changes.erased_authors)
        _keep_messages(channel, changes.messages)
        self._due.update((channel_id, seq) for seq in changes.due)
        for user_id in changes.members:
            self._channels_of.setdefault(user_id, set()).add(channel_id)
        if changes.ended is not None:
            self._end(channel, changes.channel, changes.ended)

    def _end(self, channel: _Channel, row: ChannelRow, event: Event) -> None:
        members: dict[str, MemberRow] = {}
        for user_id, member in channel.members.items():
            after = after_end(member, event)
            if after is None:
                self._channels_of[user_id].discard(row.channel_id)
            else:
                members[user_id] = after
        self._channels[row.channel_id] = _Channel(row=row, members=members, client_ids=channel.client_ids)


def _held(channel: _Channel, rows: Needed) -> Held:
    seqs = set(rows.message_seqs)
    if rows.pins:
        seqs.update(seq for seq, row in channel.messages.items() if row.pin_seq)
    return Held(
        channel=channel.row,
        members={user_id: channel.members[user_id] for user_id in rows.user_ids & channel.members.keys()},
        messages={seq: channel.messages[seq] for seq in seqs & channel.messages.keys()},
        emojis={
            (seq, emoji): channel.emojis[seq][emoji]
            for seq, emoji in rows.emojis
            if emoji in channel.emojis.get(seq, {})
        },
        invites=dict(channel.invites) if rows.invites else {},
    )


def _keep_messages(channel: _Channel, changes: MessageChanges) -> None:
    _put(channel.messages, changes.messages)
    for seq in changes.cleared:
        channel.emojis.pop(seq, None)
        channel.reactions.pop(seq, None)
    for (seq, emoji), row in changes.emojis.items():
        _put(channel.emojis.setdefault(seq, {}), {emoji: row})
    for (seq, emoji, user_id), at_seq in changes.reactions.items():
        _put(channel.reactions.setdefault(seq, {}), {(emoji, user_id): at_seq})
    for seq, edit_seq in changes.edits:
        channel.edits.setdefault(seq, []).append(edit_seq)
    for seq, reply_seq in changes.replies:
        channel.replies.setdefault(seq, []).append(reply_seq)


def _put(rows: dict[Key, Value], changed: Mapping[Key, Value | None]) -> None:
    for key, row in changed.items():
        if row is None:
            rows.pop(key, None)
        else:
            rows[key] = row


def _state(channel: _Channel, seq: int, viewer_id: str) -> MessageState:
    row = channel.messages[seq]
    users = sorted((at_seq, *key) for key, at_seq in channel.reactions.get(seq, {}).items())
    reactions = []
    for emoji, found in sorted(channel.emojis.get(seq, {}).items(), key=lambda item: item[1].first_seq):
        user_ids = [user_id for _, other, user_id in users if other == emoji]
        reactions.append(
            ReactionRow(emoji, found.count, tuple(user_ids[:REACTING_USERS_SHOWN]), viewer_id in user_ids)
        )
    return MessageState(
        seq=seq,
        edit_seq=row.edit_seq,
        edit_time_ms=row.edit_time_ms,
        delete_seq=row.delete_seq,
        pin_seq=row.pin_seq,
        reply_count=row.reply_count,
        last_reply_seq=row.last_reply_seq,
        reactions=tuple(reactions),
    )


def _activity(row: InboxRow) -> tuple[int, str]:
    return row.channel.last_activity_ms, row.channel.channel_id
