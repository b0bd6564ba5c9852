"""From a committed batch to the sessions of those who may see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_server.chat.audience import audience_of
from parley_server.chat.framing import event_field

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from parley_server.chat.event import Event
    from parley_server.chat.hub import Hub


class Fanout:
    """Delivers to this node's sessions. Publishing again is harmless: a session passes over what it had."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def publish(
        self,
        channel_id: str,
        members_after: Collection[str],
        events: Sequence[Event],
        encoded: Sequence[bytes],
    ) -> None:
        """Deliver committed events, dense and in order, to everyone who was a member at each event's seq.

        `encoded[i]` is the encoded form of `events[i]`; `members_after` the members after the last one.
        """
        fields = [event_field(event) for event in encoded]
        self._hub.deliver(channel_id, events[0].seq, fields, audience_of(members_after, events))
