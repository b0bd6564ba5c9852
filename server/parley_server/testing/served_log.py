"""A channel's log as the node serves it to somebody, asked for from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley.channel.v1 import channel_service_pb2 as channels
from parley.chat.v1 import chat_service_pb2 as chat

if TYPE_CHECKING:
    from parley.chat.v1 import event_pb2
    from parley_server.testing.raw_client import Person, RawClient


async def served_log(
    client: RawClient, reader: Person, channel_id: str, *, page_size: int = 200
) -> list[event_pb2.Event]:
    """Every event from seq 1 to the head, by walking ListEvents. Raises AssertionError where one is missing,
    repeated or out of order.
    """
    events: list[event_pb2.Event] = []
    request = chat.ListEventsRequest(channel_id=channel_id, page_size=page_size)
    while True:
        page = await client.chat.ListEvents(request, metadata=reader.metadata)
        events.extend(page.events)
        if not page.next_page_token:
            assert [event.seq for event in events] == list(range(1, page.head_seq + 1))
            return events
        request.page_token = page.next_page_token


async def served_head(client: RawClient, reader: Person, channel_id: str) -> int:
    """The seq of the newest event."""
    request = channels.GetChannelRequest(channel_id=channel_id)
    answer = await client.channels.GetChannel(request, metadata=reader.metadata)
    return int(answer.channel.head_seq)
