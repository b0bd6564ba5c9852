"""Edits, deletions, reactions, threads, mentions and pins over the wire, live and read later."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from parley.channel.v1 import channel_service_pb2 as channels
from parley.chat.v1 import chat_service_pb2 as chat
from parley.chat.v1 import message_requests_pb2 as requests
from parley_server.testing.raw_client import Person, RawClient, eventually, outcome_of, uuid7

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from parley.chat.v1 import event_pb2
    from parley_server.testing.node_process import NodeProcess

    StartNode = Callable[..., Awaitable[NodeProcess]]


class Talk:
    """Ann owns a group with Ben; Cho joins where a test needs somebody who comes later."""

    def __init__(self, client: RawClient, people: list[Person], channel_id: str) -> None:
        self.client = client
        self.ann, self.ben, self.cho = people
        self.channel_id = channel_id

    def at(self, seq: int, **fields: Any) -> dict[str, Any]:
        return {"channel_id": self.channel_id, "seq": seq, "client_message_id": uuid7(), **fields}

    async def say(self, who: Person, text: str = "hello", **fields: Any) -> int:
        request = requests.SendMessageRequest(
            channel_id=self.channel_id, client_message_id=uuid7(), text=text, **fields
        )
        return int((await self.client.chat.SendMessage(request, metadata=who.metadata)).seq)

    async def edit(self, who: Person, seq: int, text: str) -> int:
        request = requests.EditMessageRequest(**self.at(seq, text=text))
        return int((await self.client.chat.EditMessage(request, metadata=who.metadata)).change.seq)

    async def delete(self, who: Person, seq: int) -> int:
        request = requests.DeleteMessageRequest(**self.at(seq))
        return int((await self.client.chat.DeleteMessage(request, metadata=who.metadata)).change.seq)

    async def react(self, who: Person, seq: int, emoji: str) -> int:
        request = requests.AddReactionRequest(**self.at(seq, emoji=emoji))
        return int((await self.client.chat.AddReaction(request, metadata=who.metadata)).change.seq)

    async def pin(self, who: Person, seq: int) -> int:
        request = requests.PinMessageRequest(**self.at(seq))
        return int((await self.client.chat.PinMessage(request, metadata=who.metadata)).change.seq)

    async def message(self, who: Person, seq: int) -> event_pb2.Message:
        request = chat.GetMessageRequest(channel_id=self.channel_id, seq=seq)
        answer = await self.client.chat.GetMessage(request, metadata=who.metadata)
        return answer.event.message  # type: ignore[no-any-return]

    async def events(self, who: Person, from_seq: int = 0) -> list[event_pb2.Event]:
        request = chat.ListEventsRequest(channel_id=self.channel_id, from_seq=from_seq, page_size=200)
        return list((await self.client.chat.ListEvents(request, metadata=who.metadata)).events)


@pytest.fixture
async def talk(node: NodeProcess) -> AsyncIterator[Talk]:
    async with RawClient(node.address) as client:
        people = [await client.sign_up() for _ in range(3)]
        yield Talk(client, people, await client.group(people[0], [people[1]]))


async def test_an_edit_reaches_everybody_and_replaces_what_is_read(talk: Talk) -> None:
    """Live as an event of its own; in every read the message has the new text; the older edit has none."""
    stream = await talk.client.connect(talk.ben)
    seq = await talk.say(talk.ann, "frist")
    first = await talk.edit(talk.ann, seq, "first")
    second = await talk.edit(talk.ann, seq, "First!")
    await stream.until(lambda: second in stream.event_seqs(talk.channel_id))
    live = {event.seq: event for event in stream.events}
    assert live[seq].message.text == "frist"
    assert not live[seq].message.HasField("state")
    assert (live[second].message_edited.target_seq, live[second].message_edited.text) == (seq, "First!")

    read = await talk.message(talk.ben, seq)
    assert (read.text, read.state.edit_seq, read.state.as_of_seq) == ("First!", second, second)
    by_seq = {event.seq: event for event in await talk.events(talk.ben)}
    assert by_seq[seq].message.text == "First!"
    assert (by_seq[first].message_edited.text, by_seq[first].message_edited.superseded) == ("", True)
    assert (by_seq[second].message_edited.text, by_seq[second].message_edited.superseded) == ("First!", False)
    inbox = await talk.client.chat.GetInbox(chat.GetInboxRequest(), metadata=talk.ben.metadata)
    assert inbox.entries[0].last_message.message.text == "First!"


async def test_a_deletion_leaves_a_tombstone(talk: Talk) -> None:
    """No text, no reactions, no pin; who, when and the thread stay, and the count of messages too."""
    seq = await talk.say(talk.ben, "secret")
    answer = await talk.say(talk.ann, "hm", thread_root_seq=seq)
    await talk.react(talk.ann, seq, "👀")
    await talk.pin(talk.ann, seq)
    deleted = await talk.delete(talk.ann, seq)
    read = await talk.message(talk.ben, seq)
    assert (read.text, len(read.state.reactions), read.state.pin_seq) == ("", 0, 0)
    assert (read.state.delete_seq, read.state.reply_count, read.state.last_reply_seq) == (deleted, 1, answer)
    channel = await talk.client.channels.GetChannel(
        channels.GetChannelRequest(channel_id=talk.channel_id), metadata=talk.ben.metadata
    )
    assert list(channel.channel.pinned_seqs) == []
    assert channel.channel.head_message_no == 2
    assert await talk.delete(talk.ben, seq) >= deleted


async def test_reactions_are_counted_for_everybody_and_own_for_each(talk: Talk) -> None:
    """Counts, the first users, whether one is among them; in the order in which the emojis came."""
    seq = await talk.say(talk.ann)
    await talk.react(talk.ben, seq, "🎉")
    await talk.react(talk.ann, seq, "👍")
    await talk.react(talk.ann, seq, "🎉")
    seen = [
        (found.emoji, found.count, found.own) for found in (await talk.message(talk.ben, seq)).state.reactions
    ]
    assert seen == [("🎉", 2, True), ("👍", 1, False)]
    first = (await talk.message(talk.ann, seq)).state.reactions[0]
    assert list(first.user_ids) == [talk.ben.user_id, talk.ann.user_id]
    request = requests.RemoveReactionRequest(**talk.at(seq, emoji="🎉"))
    await talk.client.chat.RemoveReaction(request, metadata=talk.ann.metadata)
    again = (await talk.message(talk.ann, seq)).state.reactions
    assert [(found.emoji, found.count, found.own) for found in again] == [("🎉", 1, False), ("👍", 1, True)]


async def test_a_storm_of_reactions(talk: Talk) -> None:
    """Sixty of two users at once: each user ends with ten, the counts add up, nothing else fails."""
    seq = await talk.say(talk.ann)
    emojis = [chr(0x1F600 + number) for number in range(30)]
    asked = [
        outcome_of(
            talk.client.chat.AddReaction(
                requests.AddReactionRequest(**talk.at(seq, emoji=emoji)), metadata=who.metadata
            )
        )
        for emoji in emojis
        for who in (talk.ann, talk.ben)
    ]
    briefs = [outcome.brief for outcome in await asyncio.gather(*asked)]
    assert briefs.count(("OK", "")) == 20
    assert briefs.count(("RESOURCE_EXHAUSTED", "TOO_MANY_REACTIONS")) == 40
    reactions = (await talk.message(talk.ann, seq)).state.reactions
    assert sum(found.count for found in reactions) == 20
    assert sum(found.own for found in reactions) == 10


async def test_threads_and_replies(talk: Talk) -> None:
    """A thread is listed newest first, in pages, tombstones included; the root counts it."""
    root = await talk.say(talk.ann, "root")
    answers = [await talk.say(talk.ben, f"answer {number}", thread_root_seq=root) for number in range(5)]
    await talk.say(talk.ann, "beside", reply_to_seq=root)
    await talk.delete(talk.ben, answers[2])
    request = chat.ListThreadRequest(channel_id=talk.channel_id, thread_root_seq=root, page_size=2)
    found: list[event_pb2.Event] = []
    while True:
        page = await talk.client.chat.ListThread(request, metadata=talk.ann.metadata)
        found += page.events
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert [event.seq for event in found] == answers[::-1]
    assert [bool(event.message.state.delete_seq) for event in found] == [False, False, True, False, False]
    state = (await talk.message(talk.ann, root)).state
    assert (state.reply_count, state.last_reply_seq) == (5, answers[-1])
    nested = await outcome_of(
        talk.client.chat.SendMessage(
            requests.SendMessageRequest(
                channel_id=talk.channel_id, client_message_id=uuid7(), text="x", thread_root_seq=answers[0]
            ),
            metadata=talk.ann.metadata,
        )
    )
    assert nested.brief == ("FAILED_PRECONDITION", "NESTED_THREAD")


async def test_nobody_answers_or_touches_what_is_from_before_his_time(talk: Talk) -> None:
    """Ways around the window: reply, thread, reaction, pin, edit, delete and ListThread all say not found."""
    seq = await talk.say(talk.ann, "before")
    await talk.client.channels.AddMembers(
        channels.AddMembersRequest(channel_id=talk.channel_id, user_ids=[talk.cho.user_id]),
        metadata=talk.ann.metadata,
    )
    calls = talk.client.chat
    send: dict[str, Any] = {"channel_id": talk.channel_id, "text": "x"}
    asked = [
        calls.SendMessage(
            requests.SendMessageRequest(**send, client_message_id=uuid7(), reply_to_seq=seq),
            metadata=talk.cho.metadata,
        ),
        calls.SendMessage(
            requests.SendMessageRequest(**send, client_message_id=uuid7(), thread_root_seq=seq),
            metadata=talk.cho.metadata,
        ),
        calls.AddReaction(
            requests.AddReactionRequest(**talk.at(seq, emoji="👍")), metadata=talk.cho.metadata
        ),
        calls.PinMessage(requests.PinMessageRequest(**talk.at(seq)), metadata=talk.cho.metadata),
        calls.EditMessage(requests.EditMessageRequest(**talk.at(seq, text="x")), metadata=talk.cho.metadata),
        calls.DeleteMessage(requests.DeleteMessageRequest(**talk.at(seq)), metadata=talk.cho.metadata),
        calls.ListThread(
            chat.ListThreadRequest(channel_id=talk.channel_id, thread_root_seq=seq),
            metadata=talk.cho.metadata,
        ),
    ]
    outcomes = [await outcome_of(call) for call in asked]
    assert {outcome.brief for outcome in outcomes} == {("NOT_FOUND", "MESSAGE_NOT_FOUND")}
    assert len({outcome.trailing for outcome in outcomes}) == 1


async def test_mentions_are_of_members_and_few(talk: Talk) -> None:
    """Who is no member is left out; ten thousand are refused by name of the field; @all needs a role."""
    seq = await talk.say(talk.ann, "hey", mentions=[talk.ben.user_id, talk.cho.user_id, talk.ben.user_id])
    assert list((await talk.message(talk.ben, seq)).mentions) == [talk.ben.user_id]
    many = requests.SendMessageRequest(
        channel_id=talk.channel_id, client_message_id=uuid7(), text="x", mentions=["u"] * 10_000
    )
    outcome = await outcome_of(talk.client.chat.SendMessage(many, metadata=talk.ann.metadata))
    assert (outcome.brief, outcome.violated_fields) == (("INVALID_ARGUMENT", "INVALID_FIELD"), ["mentions"])
    everybody = requests.SendMessageRequest(
        channel_id=talk.channel_id, client_message_id=uuid7(), text="x", mention_all=True
    )
    outcome = await outcome_of(talk.client.chat.SendMessage(everybody, metadata=talk.ben.metadata))
    assert outcome.brief == ("PERMISSION_DENIED", "ROLE_REQUIRED")


async def test_changes_by_stream_are_answered_and_in_order(talk: Talk) -> None:
    """All six kinds on one Connect stream, behind the message they are about; refusals do not end it."""
    stream = await talk.client.connect(talk.ann)
    sent = await stream.ask(
        send_message=requests.SendMessageRequest(
            channel_id=talk.channel_id, client_message_id=uuid7(), text="one"
        )
    )
    seq = sent.send_message.seq
    replies = [
        await stream.ask(edit_message=requests.EditMessageRequest(**talk.at(seq, text="two"))),
        await stream.ask(add_reaction=requests.AddReactionRequest(**talk.at(seq, emoji="👍"))),
        await stream.ask(remove_reaction=requests.RemoveReactionRequest(**talk.at(seq, emoji="👍"))),
        await stream.ask(pin_message=requests.PinMessageRequest(**talk.at(seq))),
        await stream.ask(unpin_message=requests.UnpinMessageRequest(**talk.at(seq))),
        await stream.ask(delete_message=requests.DeleteMessageRequest(**talk.at(seq))),
    ]
    kinds = [reply.WhichOneof("result") or "" for reply in replies]
    assert kinds == [
        "edit_message",
        "add_reaction",
        "remove_reaction",
        "pin_message",
        "unpin_message",
        "delete_message",
    ]
    assert [getattr(reply, kind).change.seq for reply, kind in zip(replies, kinds, strict=True)] == list(
        range(seq + 1, seq + 7)
    )
    refused = await stream.ask(edit_message=requests.EditMessageRequest(**talk.at(seq, text="three")))
    assert refused.error.code == 9
    await stream.until(lambda: len(stream.event_seqs(talk.channel_id)) >= 7)
    assert stream.event_seqs(talk.channel_id) == list(range(seq, seq + 7))


async def test_one_id_is_one_change_also_after_a_restart(talk: Talk, node: NodeProcess) -> None:
    """A hundred edits with one id at once are one event; the id is known after kill -9; others get their own.

    Planted once: with the id left out of the event there were a hundred events.
    """
    seq = await talk.say(talk.ann)
    request = requests.EditMessageRequest(**talk.at(seq, text="once"))
    answers = await asyncio.gather(
        *[talk.client.chat.EditMessage(request, metadata=talk.ann.metadata) for _ in range(100)]
    )
    assert {answer.change.seq for answer in answers} == {seq + 1}
    assert sum(not answer.change.duplicate for answer in answers) == 1
    await node.kill()
    await node.start()
    async with RawClient(node.address) as client:
        again = await client.chat.EditMessage(request, metadata=talk.ann.metadata)
        assert (again.change.seq, again.change.duplicate) == (seq + 1, True)
        request.text = "twice"
        outcome = await outcome_of(client.chat.EditMessage(request, metadata=talk.ann.metadata))
        assert outcome.brief == ("ALREADY_EXISTS", "CLIENT_ID_REUSED")


async def test_the_edit_window_is_a_setting(start_node: StartNode) -> None:
    """After it an edit is refused and says how long it was; a deletion is not."""
    node = await start_node(**{"limits.edit_window_seconds": 1})
    async with RawClient(node.address) as client:
        people = [await client.sign_up() for _ in range(3)]
        talk = Talk(client, people, await client.group(people[0], [people[1]]))
        seq = await talk.say(talk.ann)
        request = requests.EditMessageRequest(**talk.at(seq, text="late"))

        async def refused() -> bool:
            request.client_message_id = uuid7()
            outcome = await outcome_of(client.chat.EditMessage(request, metadata=talk.ann.metadata))
            assert outcome.brief in (("OK", ""), ("FAILED_PRECONDITION", "EDIT_WINDOW_OVER"))
            return outcome.brief != ("OK", "")

        await eventually(refused)
        await talk.delete(talk.ann, seq)
        assert (await talk.message(talk.ann, seq)).text == ""
