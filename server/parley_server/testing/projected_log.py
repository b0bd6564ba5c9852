"""Logs for tests of projections, and what they say, worked out the slow and plain way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_server.chat.event import (
    ChannelChanged,
    ChannelKind,
    Event,
    EventBody,
    HistoryVisibility,
    MemberChange,
    MemberChanged,
    MessagePosted,
    Role,
)
from parley_server.ports.projections import ChannelRow, MemberRow, Window

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST_MS = 1_767_225_600_000


class LogWriter:
    """Makes the events of one channel, dense and with their message numbers."""

    def __init__(
        self,
        channel_id: str,
        *,
        kind: ChannelKind = ChannelKind.GROUP,
        visibility: HistoryVisibility = HistoryVisibility.FROM_JOINING,
        start_ms: int = FIRST_MS,
    ) -> None:
        self.channel_id = channel_id
        self.events: list[Event] = []
        self._message_no = 0
        self._time_ms = start_ms
        self.settings = ChannelChanged(True, kind, f"title of {channel_id}", visibility, 100)
        self.add(self.settings, actor_id="ann")

    def add(self, body: EventBody, *, actor_id: str = "ann", client_message_id: str = "") -> Event:
        """The next event, a second after the one before."""
        self._message_no += isinstance(body, MessagePosted)
        self._time_ms += 1000
        event = Event(
            self.channel_id,
            len(self.events) + 1,
            self._message_no,
            self._time_ms,
            actor_id,
            client_message_id,
            b"d" * 32 if client_message_id else b"",
            body,
        )
        self.events.append(event)
        return event

    def say(self, text: str = "hello", *, actor_id: str = "ann", client_message_id: str = "") -> Event:
        """A message."""
        return self.add(MessagePosted(text), actor_id=actor_id, client_message_id=client_message_id)

    def join(self, user_id: str, role: Role = Role.MEMBER) -> Event:
        """Somebody becomes a member, or gets another role."""
        return self.add(MemberChanged(user_id, MemberChange.ADDED, role))

    def leave(self, user_id: str) -> Event:
        """Somebody goes."""
        return self.add(MemberChanged(user_id, MemberChange.LEFT, None), actor_id=user_id)


class ProjectedModel:
    """What a log says, worked out anew from all its events: slow, plain, and told from the rows only by its
    wording.
    """

    def __init__(self, channel_id: str, events: Sequence[Event]) -> None:
        self.channel_id = channel_id
        self.events = events

    def channel(self) -> ChannelRow | None:
        """The channel's row."""
        if not self.events:
            return None
        last = [event.body for event in self.events if isinstance(event.body, ChannelChanged)][-1]
        posted = [event.seq for event in self.events if isinstance(event.body, MessagePosted)]
        return ChannelRow(
            self.channel_id,
            last.kind,
            last.title,
            last.history_visibility,
            last.member_limit,
            self.events[0].actor_id,
            self.events[0].create_time_ms,
            len([row for row in self.members().values() if row.role is not None]),
            self.events[-1].seq,
            len(posted),
            max(event.create_time_ms for event in self.events),
            posted[-1] if posted else 0,
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
