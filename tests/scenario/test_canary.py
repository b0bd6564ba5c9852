"""What was deleted or edited away is in no answer and no later stream, and leaves the store's files.

The calls are those of the contract that read: a new one without a request here fails the test.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from parley.channel.v1 import channel_service_pb2 as channels
from parley.chat.v1 import chat_service_pb2 as chat
from parley.chat.v1 import message_requests_pb2 as requests
from parley.chat.v1 import stream_pb2
from parley.user.v1 import user_service_pb2 as users
from parley_server.maintenance import compact_folder
from parley_server.testing.access_table import METHODS, path_of
from parley_server.testing.raw_client import PASSWORD, Person, RawClient, eventually, uuid7

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from google.protobuf.message import Message

    from parley_server.testing.node_process import NodeProcess

CANARY = "canary-7f3a"
"""Stands in every text that is taken back, with a number behind it."""
KEPT = "phoenix-7f3a"
"""Stands in what remains, so that a search that finds nothing at all is known for broken."""

NO_SIDE_EFFECTS = 1


class Past:
    """A group and a direct channel with a history in which much was taken back."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self.known: dict[str, int] = {}
        self.thread_root = 0
        self._canaries = 0

    async def live(self) -> None:
        self.ann, self.ben = await self.client.sign_up(), await self.client.sign_up()
        self.group_id = await self.client.group(self.ann, [self.ben])
        self.direct_id = await self.client.direct(self.ann, self.ben)
        stream = await self.client.connect(self.ben)
        self.cursor = stream.cursor
        for channel_id in (self.group_id, self.direct_id):
            self.known[channel_id] = max(stream.event_seqs(channel_id) or [3])
            await self._take_back(channel_id)
        stream.cancel()

    def canary(self) -> str:
        self._canaries += 1
        return f"{CANARY}-{self._canaries}"

    async def say(self, channel_id: str, text: str, **fields: Any) -> int:
        request = requests.SendMessageRequest(
            channel_id=channel_id, client_message_id=uuid7(), text=text, **fields
        )
        return int((await self.client.chat.SendMessage(request, metadata=self.ann.metadata)).seq)

    async def edit(self, channel_id: str, seq: int, text: str, **fields: Any) -> None:
        request = requests.EditMessageRequest(
            channel_id=channel_id, seq=seq, client_message_id=uuid7(), text=text, **fields
        )
        await self.client.chat.EditMessage(request, metadata=self.ann.metadata)

    async def delete(self, channel_id: str, seq: int) -> None:
        request = requests.DeleteMessageRequest(channel_id=channel_id, seq=seq, client_message_id=uuid7())
        await self.client.chat.DeleteMessage(request, metadata=self.ann.metadata)

    async def _take_back(self, channel_id: str) -> None:
        root = self.thread_root = await self.say(channel_id, KEPT)
        in_attributes = {"note": self.canary()}
        deleted = await self.say(channel_id, self.canary(), attributes=in_attributes, thread_root_seq=root)
        edited_twice = await self.say(channel_id, self.canary(), attributes={"note": self.canary()})
        await self.edit(channel_id, edited_twice, self.canary(), attributes={"note": self.canary()})
        await self.edit(channel_id, edited_twice, f"{KEPT} after two edits")
        gone = await self.say(channel_id, self.canary(), reply_to_seq=root)
        await self.edit(channel_id, gone, self.canary())
        # Larger than a page of the store, so that it stands on overflow pages.
        large = await self.say(channel_id, self.canary() * 2000)
        for seq in (deleted, gone, large):
            await self.delete(channel_id, seq)
        # The newest message of the inbox is a tombstone.
        last = await self.say(channel_id, self.canary())
        await self.delete(channel_id, last)


def reading_requests(past: Past) -> dict[str, list[Message]]:
    """For every call that reads, requests that make it tell all it can."""
    both = (past.group_id, past.direct_id)
    seqs = range(1, 40)
    return {
        "GetMessage": [chat.GetMessageRequest(channel_id=one, seq=seq) for one in both for seq in seqs],
        "ListMessages": [chat.ListMessagesRequest(channel_id=one, page_size=200) for one in both],
        "ListEvents": [chat.ListEventsRequest(channel_id=one, page_size=200) for one in both],
        "ListThread": [
            chat.ListThreadRequest(channel_id=one, thread_root_seq=past.thread_root) for one in both
        ],
        "GetInbox": [chat.GetInboxRequest()],
        "GetChannel": [channels.GetChannelRequest(channel_id=one) for one in both],
        "ListChannels": [channels.ListChannelsRequest()],
        "ListMembers": [channels.ListMembersRequest(channel_id=one) for one in both],
        "ListBans": [channels.ListBansRequest(channel_id=past.group_id)],
        "ListInvites": [channels.ListInvitesRequest(channel_id=past.group_id)],
        "ExportData": [users.ExportDataRequest()],
    }


NOT_ABOUT_MESSAGES = {
    "GetUser",
    "BatchGetUsers",
    "SearchUsers",
    "ListContacts",
    "ListBlocked",
    "ListDevices",
    "GetJwks",
}


def _reading_methods() -> Iterator[str]:
    for name, method in METHODS.items():
        if method.GetOptions().idempotency_level == NO_SIDE_EFFECTS:
            yield name


async def everything_served(past: Past, person: Person) -> bytes:
    """All bytes that the person is answered by any call, and on streams of every kind of resume."""
    served = b""
    asked = reading_requests(past)
    for full_name in _reading_methods():
        name = full_name.rpartition(".")[2]
        if name in NOT_ABOUT_MESSAGES:
            continue
        for request in asked[name]:
            path, encoded = path_of(full_name), request.SerializeToString()
            if METHODS[full_name].server_streaming:
                make = past.client.channel.unary_stream
                call = make(path, request_serializer=None, response_deserializer=None)
                async for part in call(encoded, metadata=person.metadata):
                    served += part
            else:
                try:
                    served += await past.client.raw(path, encoded, person)
                except Exception as refused:
                    if "UNKNOWN" in repr(refused) or "INTERNAL" in repr(refused):
                        raise
    known = [
        stream_pb2.KnownChannel(channel_id=channel_id, seq=seq) for channel_id, seq in past.known.items()
    ]
    for hello in ({}, {"cursor": past.cursor}, {"cursor": past.cursor, "known_channels": known}):
        stream = await past.client.connect(person, **hello)
        await stream.barrier()
        served += b"".join(frame.SerializeToString() for frame in stream.frames)
        stream.cancel()
    return served


@pytest.fixture
async def past(node: NodeProcess) -> Any:
    async with RawClient(node.address) as client:
        past = Past(client)
        await past.live()
        yield past


async def test_every_call_that_reads_is_asked(past: Past) -> None:
    """Planted: ListThread left out of the table."""
    names = {name.rpartition(".")[2] for name in _reading_methods()}
    assert names == reading_requests(past).keys() | NOT_ABOUT_MESSAGES


async def test_what_was_taken_back_is_served_nowhere(past: Past, node: NodeProcess) -> None:
    """By no call and on no stream, for its author neither; after kill -9 neither.

    Planted: rows served as they are stored; found by the canary.
    """
    for person in (past.ann, past.ben):
        served = await everything_served(past, person)
        assert KEPT.encode() in served
        assert CANARY.encode() not in served
    await node.kill()
    await node.start()
    async with RawClient(node.address) as client:
        past.client = client
        for person in (past.ann, past.ben):
            served = await everything_served(past, person)
            assert KEPT.encode() in served
            assert CANARY.encode() not in served


async def test_deleted_text_leaves_the_files(past: Past, node: NodeProcess) -> None:
    """After a deletion and a compaction no file of the folder holds the text; what was only edited away stays
    in the log, which is served to nobody; after DeleteAccount that is gone too.

    Planted: `erase` left out; found in the database.
    """
    await past.client.users.DeleteAccount(
        users.DeleteAccountRequest(password=PASSWORD), metadata=past.ann.metadata
    )

    async def erased() -> bool:
        shown = [
            event.message.state.delete_seq
            for channel_id in (past.group_id, past.direct_id)
            for event in (
                await past.client.chat.ListMessages(
                    chat.ListMessagesRequest(channel_id=channel_id, page_size=200), metadata=past.ben.metadata
                )
            ).events
        ]
        return bool(shown) and all(shown)

    # Tombstones in every channel: what is not emptied by then is due, and done before the compaction.
    await eventually(erased)
    await node.stop()
    await compact_folder(node.data)
    found = await asyncio.to_thread(_files_with, node.data, CANARY.encode(), KEPT.encode())
    assert found == []


def _files_with(folder: Path, *needles: bytes) -> list[str]:
    return [
        f"{path.name}: {needle.decode()}"
        for path in folder.rglob("*")
        if path.is_file()
        for needle in needles
        if needle in path.read_bytes()
    ]
