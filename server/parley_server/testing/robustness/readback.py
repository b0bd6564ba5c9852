"""Reading everything back when the traffic is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc.aio

from parley.chat.v1 import chat_service_pb2
from parley_server.testing.robustness.history import Head, InboxLine, LogRead
from parley_server.testing.robustness.line import entry_of, verdict_of_error

if TYPE_CHECKING:
    from parley_server.testing.raw_client import Person, RawClient
    from parley_server.testing.robustness.cast import Cast
    from parley_server.testing.robustness.history import Entry, History

PAGE_SIZE = 200


async def read_back(client: RawClient, cast: Cast, history: History) -> None:
    """Put into the history every channel's log, as its first and its last member read it, and all inboxes.

    Raises grpc.aio.AioRpcError only when the node cannot be reached.
    """
    people = {person.user_id: person for person in cast.everybody}
    for channel_id, members in cast.members.items():
        for user_id in (members[0], members[-1]):
            history.logs.append(await _log(client, people[user_id], channel_id))
    for person in cast.everybody:
        history.inbox_readers.append(person.user_id)
        history.inbox += await _inbox(client, person)


async def _log(client: RawClient, person: Person, channel_id: str) -> LogRead:
    events: list[Entry] = []
    head_seq, token = 0, ""
    while True:
        request = chat_service_pb2.ListEventsRequest(
            channel_id=channel_id, page_size=PAGE_SIZE, page_token=token
        )
        try:
            page = await client.chat.ListEvents(request, metadata=person.metadata)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                raise
            missing = verdict_of_error(error).reason
            return LogRead(
                reader_id=person.user_id, channel_id=channel_id, head_seq=0, events=[], missing=missing
            )
        events += [entry_of(event) for event in page.events]
        head_seq, token = page.head_seq, page.next_page_token
        if not token:
            return LogRead(reader_id=person.user_id, channel_id=channel_id, head_seq=head_seq, events=events)


async def _inbox(client: RawClient, person: Person) -> list[InboxLine]:
    lines: list[InboxLine] = []
    token = ""
    while True:
        request = chat_service_pb2.GetInboxRequest(page_size=PAGE_SIZE, page_token=token)
        page = await client.chat.GetInbox(request, metadata=person.metadata)
        lines += [
            InboxLine(
                reader_id=person.user_id,
                channel_id=entry.channel.channel_id,
                head=Head(entry.channel.head_seq, entry.channel.head_message_no),
                read_seq=entry.read_seq,
                unread_count=entry.unread_count,
                last_message_seq=entry.last_message.seq,
            )
            for entry in page.entries
        ]
        token = page.next_page_token
        if not token:
            return lines
