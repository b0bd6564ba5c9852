"""What an event does to the projected rows. Pure, and the same for every backend of Projections."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from parley_server.chat.event import ChannelChanged, MessagePosted
from parley_server.ports.projections import ChannelRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parley_server.chat.event import Event


def pending(channel_id: str, watermark: int, events: Sequence[Event]) -> Sequence[Event]:
    """The events above the watermark. Raises ValueError when they do not go on from it, one by one."""
    if not events:
        return events
    expected = events[0].seq
    for event in events:
        if event.seq != expected or event.channel_id != channel_id:
            raise ValueError(
                f"events of channel {channel_id!r} must be dense: expected seq {expected}, "
                f"got {event.seq} of {event.channel_id!r}"
            )
        expected += 1
    first = events[0].seq
    if first > watermark + 1:
        raise ValueError(
            f"channel {channel_id!r} is projected up to seq {watermark}: cannot go on with seq {first}"
        )
    return events[watermark + 1 - first :] if first <= watermark else events


def advance_channel(row: ChannelRow | None, event: Event, member_count: int) -> ChannelRow:
    """The channel after the event, with the member count that holds then.

    Every event is activity; the time of the last activity never goes back. Raises ValueError when a log does
    not begin with the event that makes the channel.
    """
    body = event.body
    if row is None:
        if not (isinstance(body, ChannelChanged) and body.created and event.seq == 1):
            raise ValueError(f"the log of channel {event.channel_id!r} does not begin with its making")
        return ChannelRow(
            channel_id=event.channel_id,
            kind=body.kind,
            title=body.title,
            history_visibility=body.history_visibility,
            member_limit=body.member_limit,
            creator_id=event.actor_id,
            create_time_ms=event.create_time_ms,
            member_count=member_count,
            watermark=event.seq,
            message_no=event.message_no,
            last_activity_ms=event.create_time_ms,
            last_message_seq=0,
        )
    if isinstance(body, ChannelChanged):
        row = replace(
            row,
            kind=body.kind,
            title=body.title,
            history_visibility=body.history_visibility,
            member_limit=body.member_limit,
        )
    return replace(
        row,
        member_count=member_count,
        watermark=event.seq,
        message_no=event.message_no,
        last_activity_ms=max(row.last_activity_ms, event.create_time_ms),
        last_message_seq=event.seq if isinstance(body, MessagePosted) else row.last_message_seq,
    )
