"""Messages that change and groups with rules, through the SDK, over a real node."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

import parley

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from parley_server.testing.node_process import NodeProcess

PASSWORD = "correct horse battery"
CANARIES = ("canary edited away", "canary deleted", "canary of the erased")


@asynccontextmanager
async def _people(node: NodeProcess, *names: str) -> AsyncIterator[list[parley.Client]]:
    async with AsyncExitStack() as stack:
        clients = []
        for name in names:
            tokens = await parley.sign_up(node.address, name, PASSWORD)
            clients.append(await stack.enter_async_context(parley.connect(node.address, token=tokens)))
        yield clients


async def _follow(client: parley.Client, timeline: parley.Timeline, to_seq: int) -> None:
    """Take what is delivered until the timeline has everything up to `to_seq`."""
    async with asyncio.timeout(30):
        async for event in client.events():
            if event.channel_id == timeline.channel_id:
                timeline.take(event)
                if timeline.head_seq >= to_seq:
                    await event.ack()
                    return


async def _completed(channel: parley.Channel, timeline: parley.Timeline) -> parley.Timeline:
    """What no event tells to somebody who joined later: settings and members."""
    info = await channel.info()
    timeline.take_info(info)
    timeline.take_members([member async for member in channel.members()], info.head_seq)
    return timeline


async def test_online_away_and_history_show_the_same(node: NodeProcess, tmp_path: Path) -> None:
    """A device that was away through everything ends as one that was online, and as one that reads pages.

    Planted: the state that a served message carries passed over.
    """
    async with _people(node, "alice", "bob", "carol") as (alice, bob, carol):
        bob_away = await parley.log_in(node.address, "bob", PASSWORD)
        state = parley.SqliteState(tmp_path / "away.state")
        alices = alice.events()
        await alices.ready()
        group = await alice.create_group("trip", ["@bob", "@carol"])
        bobs = bob.channel(group.id)
        online = parley.Timeline(group.id, bob.me)
        await bob.events().ready()
        async with parley.connect(node.address, token=bob_away, state=state) as device:
            await device.events().ready()
            first = await group.send("before anybody leaves")
            away = parley.Timeline(group.id, bob.me)
            await _follow(device, away, first.seq)

        sent = await group.send(CANARIES[0], mentions=["@bob"])
        await group.edit(sent, "as it stands")
        await bobs.react(sent, "👍")
        await group.react(sent, "👍")
        await group.react(sent, "🎉")
        await group.unreact(sent, "🎉")
        await group.react(first, "🎉")
        doomed = await bobs.send(CANARIES[1], reply_to=sent)
        await bobs.react(doomed, "👍")
        await group.pin(doomed)
        await group.pin(sent)
        await group.pin(first)
        await bobs.send("in the thread", thread=sent)
        await group.delete(doomed)
        await group.set_role("@bob", parley.Role.ADMIN)
        await group.update(title="jeju", slow_mode_seconds=1)
        carols = carol.channel(group.id)
        await carols.send(CANARIES[2], thread=sent)
        await group.ban("@carol")
        await carol.delete_account(PASSWORD)
        async with asyncio.timeout(30):
            async for event in alices:
                if isinstance(event, parley.AuthorErasedEvent):
                    break
        head_seq = (await group.info()).head_seq

        await _follow(bob, online, head_seq)
        async with parley.connect(node.address, token=bob_away, state=state) as device:
            await _follow(device, away, head_seq)
        pages = parley.Timeline(group.id, bob.me)
        pages.take([message async for message in bobs.history()])
        ranges = parley.Timeline(group.id, bob.me)
        ranges.take([event async for event in bobs.event_range()])
        shown = [await _completed(bobs, each) for each in (online, away, pages, ranges)]
        assert shown[0] == shown[1] == shown[2] == shown[3]

        first_shown, sent_shown, doomed_shown, reply, erased = online.messages()
        assert (sent_shown.text, sent_shown.edited) == ("as it stands", True)
        assert sent_shown.reactions == (parley.Reaction("👍", 2, own=True),)
        assert (sent_shown.reply_count, sent_shown.last_reply_seq) == (2, erased.seq)
        assert first_shown.reactions == (parley.Reaction("🎉", 1, own=False),)
        assert (doomed_shown.deleted, doomed_shown.text, doomed_shown.reactions) == (True, "", ())
        assert (doomed_shown.reply_to_seq, reply.thread_root_seq) == (sent.seq, sent.seq)
        assert erased.deleted and not erased.text
        assert online.pins == (first.seq, sent.seq)
        assert online.members == {alice.me: parley.Role.OWNER, bob.me: parley.Role.ADMIN}
        assert online.settings is not None and online.settings.title == "jeju"
        assert [message.seq for message in await bobs.pinned()] == [first.seq, sent.seq]
        assert [message.seq async for message in bobs.thread(sent)] == [erased.seq, reply.seq]

        served = [
            repr([event async for event in bobs.event_range()]),
            repr([message async for message in bobs.history()]),
            repr([message async for message in bobs.thread(sent)]),
            repr([await bobs.message(seq) for seq in (sent.seq, doomed.seq, erased.seq)]),
            repr([entry async for entry in bob.inbox()]),
            repr(await bobs.pinned()),
            repr(away.messages()),
            (b"".join([piece async for piece in bob.export()])).decode(),
        ]
        assert not [text for text in served for canary in CANARIES if canary in text]


async def test_a_change_asked_for_again_is_the_same_change(node: NodeProcess) -> None:
    """Also after the message is gone, and never with another content. Planted: the given id dropped."""
    async with _people(node, "alice", "bob") as (alice, bob):
        channel = await alice.direct("@bob")
        sent = await channel.send("one")
        ids = [parley.new_id() for _ in range(3)]
        edited = await channel.edit(sent, "two", client_message_id=ids[0])
        reacted = await channel.react(sent, "👍", client_message_id=ids[1])
        deleted = await channel.delete(sent, client_message_id=ids[2])
        head_seq = (await channel.info()).head_seq
        assert await channel.edit(sent, "two", client_message_id=ids[0]) == parley.Change(
            edited.seq, edited.create_time_ms, ids[0], duplicate=True
        )
        assert (await channel.react(sent, "👍", client_message_id=ids[1])).seq == reacted.seq
        assert (await channel.delete(sent, client_message_id=ids[2])).seq == deleted.seq
        with pytest.raises(parley.ClientIdReused):
            await channel.edit(sent, "three", client_message_id=ids[0])
        assert (await channel.info()).head_seq == head_seq
        with pytest.raises(parley.MessageDeleted):
            await bob.channel(channel.id).send("to what is gone", reply_to=sent)
        with pytest.raises(parley.NotAuthor):
            await bob.channel(channel.id).edit(await channel.send("mine"), "yours")


async def test_a_deleted_channel_shows_nothing_anywhere(node: NodeProcess) -> None:
    """Online and afterwards. Planted: the messages kept in the timeline."""
    async with _people(node, "alice", "bob") as (alice, bob):
        await bob.events().ready()
        group = await alice.create_group("trip", ["@bob"])
        sent = await group.send("soon gone")
        online = parley.Timeline(group.id, bob.me)
        await _follow(bob, online, sent.seq)
        assert [message.text for message in online.messages()] == ["soon gone"]
        await group.delete_channel()
        await group.delete_channel()
        await _follow(bob, online, sent.seq + 1)
        assert online.deleted and online.gone and not online.messages()
        later = parley.Timeline(group.id, bob.me)
        later.take([event async for event in bob.channel(group.id).event_range()])
        assert later == online
        assert [entry async for entry in bob.inbox()] == []


async def test_an_export_renews_its_token_and_is_whole(node: NodeProcess, tmp_path: Path) -> None:
    async with _people(node, "alice", "bob") as (alice, _):
        channel = await alice.direct("@bob")
        texts = [f"message {number} " + "x" * 10_000 for number in range(30)]
        for text in texts:
            await channel.send(text)
        size_bytes = await alice.export_to(tmp_path / "alice.json")
        content = b"".join([piece async for piece in alice.export()]).decode()
        assert size_bytes > 300_000 and all(text in content for text in texts)
