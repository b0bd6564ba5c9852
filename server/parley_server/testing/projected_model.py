"""What a log says, worked out the slow and plain way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_server.chat.event import (
    AuthorErased,
    BanChanged,
    ChannelChanged,
    ChannelDeleted,
    HistoryVisibility,
    InviteChanged,
    MemberChanged,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    PinChanged,
    ReactionChanged,
)
from parley_server.ports.projections import (
    BanRow,
    ChannelRow,
    InviteRow,
    MemberRow,
    MessageState,
    MessageStates,
    ReactionRow,
    Window,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parley_server.chat.event import Event


class ProjectedModel:
    """What a log says, worked out anew from all its events for each question. It shares no code with the
    backends.
    """

    def __init__(self, channel_id: str, events: Sequence[Event]) -> None:
        self.channel_id = channel_id
        self.events = events
        self.ended = bool(events) and isinstance(events[-1].body, ChannelDeleted)
        # Of a deleted channel all but the fact is gone.
        self._told: Sequence[Event] = () if self.ended else events

    def channel(self) -> ChannelRow | None:
        """The channel's row."""
        if not self.events:
            return None
        last = [event.body for event in self.events if isinstance(event.body, ChannelChanged)][-1]
        posted = [event.seq for event in self.events if isinstance(event.body, MessagePosted)]
        return ChannelRow(
            self.channel_id,
            last.kind,
            "" if self.ended else last.title,
            last.history_visibility,
            last.member_limit,
            self.events[0].actor_id,
            self.events[0].create_time_ms,
            len([row for row in self.members().values() if row.role is not None]),
            self.events[-1].seq,
            len(posted),
            max(event.create_time_ms for event in self.events),
            posted[-1] if posted else 0,
            "" if self.ended else last.description,
            last.slow_mode_seconds,
            self.ended,
        )

    def members(self) -> dict[str, MemberRow]:
        """All memberships, over and present."""
        rows: dict[str, MemberRow] = {}
        visibility = HistoryVisibility.FROM_JOINING
        messages = 0
        for event in self.events:
            body = event.body
            messages += isinstance(body, MessagePosted)
            if isinstance(body, ChannelChanged):
                visibility = body.history_visibility
            if isinstance(body, ChannelDeleted):
                only = (Window(event.seq, event.seq),)
                rows = {
                    user_id: MemberRow(self.channel_id, user_id, None, row.joined_seq, messages, only)
                    for user_id, row in rows.items()
                    if row.role is not None
                }
            if not isinstance(body, MemberChanged):
                continue
            held = rows.get(body.user_id)
            present = held is not None and held.role is not None
            past = list(held.windows) if held is not None else []
            if body.role is not None and not present:
                if visibility is HistoryVisibility.FROM_START or messages == 0:
                    windows, messages_before = [Window(1, None)], 0
                else:
                    windows, messages_before = [*past, Window(event.seq, None)], messages
                rows[body.user_id] = MemberRow(
                    self.channel_id, body.user_id, body.role, event.seq, messages_before, tuple(windows[-64:])
                )
            elif held is not None and present:
                if body.role is None:
                    past[-1] = Window(past[-1].from_seq, event.seq)
                rows[body.user_id] = MemberRow(
                    self.channel_id,
                    body.user_id,
                    body.role,
                    held.joined_seq,
                    held.joined_message_no,
                    tuple(past),
                )
        return rows

    def message_states(self, viewer_id: str) -> MessageStates:
        """The states of all messages."""
        states = {}
        for event in self._told:
            if isinstance(event.body, MessagePosted) and self._about(event.seq):
                states[event.seq] = self._state(event.seq, viewer_id)
        erased = {
            event.body.user_id: event.seq for event in self._told if isinstance(event.body, AuthorErased)
        }
        return MessageStates(len(self.events), states, erased, self.ended)

    def edits_of(self, seq: int) -> tuple[int, ...]:
        """The seqs of its edits."""
        return tuple(event.seq for event in self._about(seq) if isinstance(event.body, MessageEdited))

    def own_reactions(self, seq: int, user_id: str) -> frozenset[str]:
        """What the user has on the message."""
        return frozenset(emoji for _, emoji, other in self._reactions(seq)[0] if other == user_id)

    def thread(self, root_seq: int) -> tuple[int, ...]:
        """The seqs of its replies, descending."""
        replies = [event.seq for event in self._about(root_seq) if isinstance(event.body, MessagePosted)]
        return tuple(reversed(replies))

    def pins(self) -> tuple[tuple[int, str], ...]:
        """Pinned messages with their authors, the newest pin first."""
        authors = {event.seq: event.actor_id for event in self._told if isinstance(event.body, MessagePosted)}
        pinned = [(self._pin_seq(seq), seq) for seq in authors]
        return tuple((seq, authors[seq]) for pin_seq, seq in sorted(pinned, reverse=True) if pin_seq)

    def invites(self) -> tuple[InviteRow, ...]:
        """Invites that can be used."""
        made: dict[str, Event] = {}
        uses: dict[str, int] = {}
        for event in self._told:
            body = event.body
            if isinstance(body, InviteChanged):
                made.pop(body.invite_id, None)
                uses[body.invite_id] = 0
                if not body.revoked:
                    made[body.invite_id] = event
            elif isinstance(body, MemberChanged) and body.invite_id:
                uses[body.invite_id] += 1
        rows = []
        for invite_id, event in made.items():
            invite = event.body
            if not isinstance(invite, InviteChanged):
                raise AssertionError
            if invite.expire_time_ms <= max(other.create_time_ms for other in self.events):
                continue
            if invite.use_limit and uses[invite_id] >= invite.use_limit:
                continue
            rows.append(
                InviteRow(
                    invite_id,
                    event.actor_id,
                    event.create_time_ms,
                    invite.expire_time_ms,
                    invite.use_limit,
                    uses[invite_id],
                )
            )
        return tuple(sorted(rows, key=lambda row: (row.create_time_ms, row.invite_id)))

    def bans(self) -> tuple[BanRow, ...]:
        """The bans that hold."""
        newest = {event.body.user_id: event for event in self._told if isinstance(event.body, BanChanged)}
        return tuple(
            BanRow(user_id, event.actor_id, event.create_time_ms)
            for user_id, event in sorted(newest.items())
            if isinstance(event.body, BanChanged) and event.body.banned
        )

    def erasures(self) -> tuple[tuple[str, int], ...]:
        """The events that took text back."""
        kinds = MessageDeleted | AuthorErased | ChannelDeleted
        return tuple((self.channel_id, event.seq) for event in self.events if isinstance(event.body, kinds))

    def _about(self, seq: int) -> list[Event]:
        """Every event that says something of the message at `seq`."""
        found: list[Event] = []
        # A reply to no message is about none.
        for event in self._told if seq > 0 else ():
            match event.body:
                case (
                    MessageEdited(target_seq=target_seq)
                    | MessageDeleted(target_seq=target_seq)
                    | ReactionChanged(target_seq=target_seq)
                    | PinChanged(target_seq=target_seq)
                    | MessagePosted(thread_root_seq=target_seq)
                ) if target_seq == seq:
                    found.append(event)
        return found

    def _pin_seq(self, seq: int) -> int:
        pin_seq = 0
        author_id = self.events[seq - 1].actor_id
        for event in self._told:
            match event.body:
                case PinChanged(target_seq=target_seq, pinned=pinned) if target_seq == seq:
                    pin_seq = event.seq if pinned else 0
                case MessageDeleted(target_seq=target_seq) if target_seq == seq:
                    pin_seq = 0
                case AuthorErased(user_id=user_id) if user_id == author_id:
                    pin_seq = 0
        return pin_seq

    def _reactions(self, seq: int) -> tuple[list[tuple[int, str, str]], list[str]]:
        """Who has what on the message, by seq; and the emojis in the order in which they came."""
        held: list[tuple[int, str, str]] = []
        order: list[str] = []
        for event in self._about(seq):
            match event.body:
                case ReactionChanged(emoji=emoji, added=True):
                    held.append((event.seq, emoji, event.actor_id))
                    if emoji not in order:
                        order.append(emoji)
                case ReactionChanged(emoji=emoji):
                    held = [known for known in held if known[1:] != (emoji, event.actor_id)]
                    order = [other for other in order if any(known[1] == other for known in held)]
                case MessageDeleted():
                    held, order = [], []
        return held, order

    def _state(self, seq: int, viewer_id: str) -> MessageState:
        about = self._about(seq)
        edits = [event for event in about if isinstance(event.body, MessageEdited)]
        deleted = [event.seq for event in about if isinstance(event.body, MessageDeleted)]
        replies = self.thread(seq)
        held, order = self._reactions(seq)
        reactions = []
        for emoji in order:
            users = [user_id for _, other, user_id in held if other == emoji]
            reactions.append(ReactionRow(emoji, len(users), tuple(users[:10]), viewer_id in users))
        return MessageState(
            seq,
            edits[-1].seq if edits else 0,
            edits[-1].create_time_ms if edits else 0,
            deleted[-1] if deleted else 0,
            self._pin_seq(seq),
            len(replies),
            replies[0] if replies else 0,
            tuple(reactions),
        )
