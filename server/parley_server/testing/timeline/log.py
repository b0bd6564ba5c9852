"""A channel's log in the SDK's events, as a server serves it at any moment. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import parley
from parley_server.testing.timeline.world import World


@dataclass
class TimelineLog:
    """A channel's events, dense from seq 1, and what a server serves of them to `reader_id` at a moment
    (`as_of`, a seq). Every answer replays the log from its beginning.
    """

    reader_id: str
    events: list[parley.Event] = field(default_factory=list)

    def at(self, as_of: int) -> World:
        """What the channel held then."""
        world = World()
        for event in self.events[:as_of]:
            world.apply(event)
        return world

    def served(self, seq: int, as_of: int) -> parley.Event:
        """The event at `seq` as it is served once everything up to `as_of` has happened."""
        event = self.events[seq - 1]
        world = self.at(as_of)
        if isinstance(event, parley.EditEvent):
            target = world.messages[event.target_seq]
            stands = target.edit_seq == seq and not target.delete_seq
            return event if stands else replace(event, text="", superseded=True)
        if not isinstance(event, parley.MessageEvent) or not world.messages[seq].touched:
            return event
        message = world.messages[seq]
        state = parley.MessageState(
            as_of_seq=as_of,
            edit_seq=message.edit_seq,
            edit_time_ms=message.edit_time_ms,
            delete_seq=message.delete_seq,
            pin_seq=message.pin_seq,
            reactions=message.reactions_for(self.reader_id),
            reply_count=len(message.replies),
            last_reply_seq=message.replies[-1] if message.replies else 0,
        )
        return replace(event, text=message.text, state=state)

    def served_range(self, first: int, last: int, as_of: int) -> list[parley.Event]:
        """As ListEvents: of a deleted channel only the end."""
        if isinstance(self.events[as_of - 1], parley.ChannelDeletedEvent):
            return [self.events[as_of - 1]] if last >= as_of else []
        return [self.served(seq, as_of) for seq in range(first, min(last, as_of) + 1)]

    def message_seqs(self) -> list[int]:
        """The seqs of all messages."""
        return [event.seq for event in self.events if isinstance(event, parley.MessageEvent)]
