"""Logs for tests of projections."""

from __future__ import annotations

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
