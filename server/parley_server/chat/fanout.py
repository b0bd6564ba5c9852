"""From a committed batch to those who may see it: first the feeds, then the open sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_server.chat.audience import audience_of
from parley_server.chat.event import ChannelDeleted
from parley_server.chat.framing import event_field

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from parley_server.chat.event import Event
    from parley_server.chat.hub import Hub
    from parley_server.ports.feed import Feed


class Fanout:
    """Announces to feeds and delivers to this node's sessions. Publishing again is harmless: feeds and
    sessions pass over what they had.

    Up to `write_limit` members each feed is written; above it only those of users who come and go, and
    devices learn of the channel by its head. A channel's end is announced to all, for then it has no head.
    """

    def __init__(self, hub: Hub, feed: Feed, *, write_limit: int) -> None:
        self._hub = hub
        self._feed = feed
        self._write_limit = write_limit

    async def publish(
        self,
        channel_id: str,
        members_after: Collection[str],
        events: Sequence[Event],
        encoded: Sequence[bytes],
    ) -> None:
        """Announce and deliver committed events, dense and in order, to everyone who was a member at each
        event's seq.

        `encoded[i]` is the encoded form of `events[i]`; `members_after` the members after the last one.
        Raises StoreUnavailable when a feed cannot be written: publish again later.
        """
        first_seq = events[0].seq
        audience = audience_of(members_after, events)
        positions: dict[str, int | None] = {}
        if len(members_after) <= self._write_limit or any(
            isinstance(event.body, ChannelDeleted) for event in events
        ):
            for user_id in members_after:
                positions[user_id] = await self._feed.announce(user_id, channel_id, head_seq=events[-1].seq)
        for user_id, indexes in audience.passing.items():
            if user_id not in positions:
                positions[user_id] = await self._feed.announce(
                    user_id, channel_id, head_seq=first_seq + indexes[-1]
                )
        fields = [event_field(event) for event in encoded]
        self._hub.deliver(channel_id, first_seq, fields, audience, positions)
