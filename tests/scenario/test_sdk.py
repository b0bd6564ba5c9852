"""The SDK against a real node: what a program does with Parley, end to end."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

import parley

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from parley_server.testing.node_process import NodeProcess

PASSWORD = "correct horse battery"
KOREAN_AND_EMOJI = "안녕하세요, 세계! 👩‍👩‍👧‍👦🇰🇷 ᄀ\u1161\u11a8 e\u0301"


@asynccontextmanager
async def _people(node: NodeProcess, *names: str) -> AsyncIterator[list[parley.Client]]:
    """A client for a new account of each name."""
    async with AsyncExitStack() as stack:
        clients = []
        for name in names:
            tokens = await parley.sign_up(node.address, name, PASSWORD, display_name=name.title())
            clients.append(await stack.enter_async_context(parley.connect(node.address, token=tokens)))
        yield clients


async def _next_message(stream: parley.EventStream) -> parley.MessageEvent:
    async with asyncio.timeout(20):
        async for event in stream:
            if isinstance(event, parley.MessageEvent):
                return event
    raise AssertionError("the stream ended")


async def _until_change(stream: parley.EventStream, change: parley.MemberChange) -> parley.MemberEvent:
    async with asyncio.timeout(20):
        async for event in stream:
            if isinstance(event, parley.MemberEvent) and event.change is change:
                return event
    raise AssertionError("the stream ended")


async def test_two_people_talk_both_ways(node: NodeProcess) -> None:
    """As sent, at every device, and in history. Planted: text normalised to NFC."""
    async with _people(node, "alice", "bob") as (alice, bob):
        alices, bobs = alice.events(), bob.events()
        await asyncio.gather(alices.ready(), bobs.ready())
        channel = await alice.direct("@bob")
        assert (await bob.direct(alice.me)).id == channel.id
        sent = await channel.send(KOREAN_AND_EMOJI, attributes={"mood": "기쁨"})
        assert not sent.duplicate
        for stream in (alices, bobs):
            event = await _next_message(stream)
            assert event.text == KOREAN_AND_EMOJI
            assert event.attributes == {"mood": "기쁨"}
            assert (event.channel_id, event.seq, event.message_no) == (channel.id, sent.seq, 1)
            assert (event.actor_id, event.client_message_id) == (alice.me, sent.client_message_id)
            assert event.create_time_ms == sent.create_time_ms
        answer = await bob.channel(channel.id).send("👍")
        assert (await _next_message(alices)).seq == answer.seq
        assert [message.text async for message in channel.history()] == ["👍", KOREAN_AND_EMOJI]
        assert (await channel.message(sent.seq)).text == KOREAN_AND_EMOJI
        with pytest.raises(parley.MessageNotFound):
            await channel.message(answer.seq + 1)


async def test_history_is_read_in_pages_of_any_size(node: NodeProcess) -> None:
    """Longer than a page, newest first, cut where asked. Planted: only the first page."""
    async with _people(node, "alice", "bob") as (alice, _):
        channel = await alice.direct("bob")
        await alice.events().ready()
        sent = [await channel.send(str(number)) for number in range(450)]
        texts = [str(number) for number in reversed(range(450))]
        assert [message.text async for message in channel.history(None)] == texts
        assert [message.text async for message in channel.history(7)] == texts[:7]
        assert [message.text async for message in channel.history(201)] == texts[:201]
        before = sent[10].seq
        assert [message.text async for message in channel.history(None, before)] == texts[-10:]
        assert [message async for message in channel.history(0)] == []
        info = await channel.info()
        seqs = [event.seq async for event in channel.event_range()]
        assert seqs == list(range(1, info.head_seq + 1))
        assert info.head_message_no == 450
        assert [event.seq async for event in channel.event_range(5, 7)] == [5, 6, 7]


async def test_a_group_and_its_members(node: NodeProcess) -> None:
    """Adding, removing and leaving, as everybody sees it. Planted: role read from the change's number."""
    async with _people(node, "alice", "bob", "carol") as (alice, bob, carol):
        bobs, carols = bob.events(), carol.events()
        await asyncio.gather(bobs.ready(), carols.ready())
        group = await alice.create_group("우리 모임 🎈", ["@bob"], history_from_start=True)
        info = await group.info()
        assert (info.kind, info.title, info.member_count) == (parley.ChannelKind.GROUP, "우리 모임 🎈", 2)
        assert info.history_visibility is parley.HistoryVisibility.FROM_START
        await group.send("before carol")
        assert (await group.add([await alice.user("carol")])).member_count == 3
        added = await _until_change(carols, parley.MemberChange.ADDED)
        assert (added.user_id, added.role, added.actor_id) == (carol.me, parley.Role.MEMBER, alice.me)
        hers = carol.channel(group.id)
        assert [message.text async for message in hers.history()] == ["before carol"]
        roles = {member.user_id: member.role async for member in group.members()}
        assert roles == {
            alice.me: parley.Role.OWNER,
            bob.me: parley.Role.MEMBER,
            carol.me: parley.Role.MEMBER,
        }
        with pytest.raises(parley.RoleRequired):
            await hers.remove(bob.me)
        await group.remove("@carol")
        removed = await _until_change(carols, parley.MemberChange.REMOVED)
        assert (removed.user_id, removed.role) == (carol.me, parley.Role.UNSPECIFIED)
        with pytest.raises(parley.ChannelNotFound):
            await hers.send("still here?")
        with pytest.raises(parley.LastOwner):
            await group.leave()
        await bob.channel(group.id).leave()
        assert (await _until_change(bobs, parley.MemberChange.LEFT)).user_id == bob.me
        events = [event async for event in group.event_range()]
        made = events[0]
        assert isinstance(made, parley.ChannelEvent)
        assert (made.created, made.title, made.kind) == (True, "우리 모임 🎈", parley.ChannelKind.GROUP)


async def test_a_group_is_made_once_whatever_is_repeated(node: NodeProcess) -> None:
    """By its client-made id. Planted: the given id ignored."""
    async with _people(node, "alice", "bob") as (alice, _):
        made = parley.new_id()
        one = await alice.create_group("twice", ["bob"], client_channel_id=made)
        other = await alice.create_group("twice", ["bob"], client_channel_id=made)
        assert one.id == other.id
        with pytest.raises(parley.ClientIdReused):
            await alice.create_group("another", ["bob"], client_channel_id=made)
        assert [channel.title async for channel in alice.channels()] == ["twice"]


async def test_read_positions_reach_the_users_other_devices(node: NodeProcess) -> None:
    """Unread counts fall everywhere. Planted: read positions on the stream ignored."""
    async with _people(node, "alice", "bob") as (alice, bob):
        channel = await alice.direct("bob")
        for number in range(5):
            last = await channel.send(str(number))
        tokens = await parley.log_in(node.address, "BOB", PASSWORD, device_name="phone")
        async with parley.connect(node.address, token=tokens) as phone:
            stream = phone.events()
            await stream.ready()
            head = stream.heads[channel.id]
            assert (head.head_seq, head.head_message_no, head.read_seq) == (last.seq, 5, 0)
            (entry,) = [entry async for entry in bob.inbox()]
            assert (entry.unread_count, entry.peer_user_id) == (5, alice.me)
            assert entry.last_message is not None
            assert entry.last_message.text == "4"
            position = await bob.channel(channel.id).mark_read(last.seq)
            assert position == parley.ReadPosition(last.seq, 5)
            marker = await bob.channel(channel.id).send("after it")
            assert (await _next_message(stream)).seq == marker.seq
            assert stream.heads[channel.id].read_seq == last.seq
            assert stream.heads[channel.id].read_message_no == 5
            assert stream.heads[channel.id].head_message_no == 6
            (entry,) = [entry async for entry in bob.inbox()]
            assert entry.unread_count == 1
            positions = {member.user_id: member.read_seq async for member in channel.members()}
            assert positions[bob.me] == last.seq


async def test_profiles_and_search(node: NodeProcess) -> None:
    """Planted: an update mask that names every field, which empties those not given."""
    async with _people(node, "alice", "alina", "bob") as (alice, _, bob):
        await alice.update_profile(about="likes tea", avatar_url="https://example.com/a.png")
        changed = await alice.update_profile(display_name="앨리스")
        assert (changed.display_name, changed.about) == ("앨리스", "likes tea")
        seen = await bob.user("@ALICE")
        assert (seen, seen.name, seen.user_id) == (changed, "앨리스", alice.me)
        assert await bob.user(alice.me) == changed
        assert (await bob.user("me")).username == "bob"
        assert [user.username async for user in bob.search_users("ali")] == ["alice", "alina"]
        with pytest.raises(parley.InvalidField):
            await alice.update_profile(avatar_url="http://example.com/plain")
        with pytest.raises(parley.UserNotFound):
            await bob.user("nobody")


async def test_a_revoked_device_is_told_and_out(node: NodeProcess) -> None:
    """Its stream ends with the reason, its calls too. Planted: a stream opened again and again."""
    async with _people(node, "alice") as (alice,):
        tokens = await parley.log_in(node.address, "alice", PASSWORD, device_name="old phone")
        async with parley.connect(node.address, token=tokens) as phone:
            stream = phone.events()
            await stream.ready()
            devices = [device async for device in alice.devices()]
            assert [(device.device_name, device.current) for device in devices] == [
                ("old phone", False),
                ("", True),
            ]
            await alice.revoke_device(tokens.device_id)
            async with asyncio.timeout(20):
                with pytest.raises(parley.DeviceRevoked) as caught:
                    await anext(stream)
            assert caught.value.advice is parley.Advice.REAUTHENTICATE
            with pytest.raises(parley.DeviceRevoked):
                await phone.user("me")
        with pytest.raises(parley.DeviceNotFound):
            await alice.revoke_device("no such device")
        await alice.log_out()
        with pytest.raises(parley.DeviceRevoked):
            await alice.user("me")


async def test_what_operators_do(node: NodeProcess) -> None:
    """With the token of the data folder. Planted: suspension sent with lift inverted."""
    async with parley.connect(node.address, token=node.operator_token) as operator:
        made = await operator.admin.create_user("dora", PASSWORD, display_name="Dora")
        tokens = await parley.log_in(node.address, "dora", PASSWORD)
        assert tokens.user_id == made.user_id
        await operator.admin.suspend_user("@dora")
        with pytest.raises(parley.AccountSuspended) as caught:
            await parley.log_in(node.address, "dora", PASSWORD)
        assert caught.value.advice is parley.Advice.GIVE_UP
        await operator.admin.suspend_user(made, lift=True)
        tokens = await parley.log_in(node.address, "dora", PASSWORD)
        async with parley.connect(node.address, token=tokens) as dora:
            with pytest.raises(parley.OperatorRequired):
                await dora.admin.create_user("eve", PASSWORD)


async def test_refusals_have_names(node: NodeProcess) -> None:
    """Each its class, on the stream and off it. Planted: errors on the stream raised as plain ParleyError."""
    async with _people(node, "alice", "bob", "carol") as (alice, _, carol):
        foreign = carol.channel((await alice.direct("bob")).id)
        group = await alice.create_group("g")
        for open_first in (False, True):
            if open_first:
                await asyncio.gather(alice.events().ready(), carol.events().ready())
            with pytest.raises(parley.ChannelNotFound):
                await foreign.send("hello")
            with pytest.raises(parley.ChannelNotFound):
                await foreign.mark_read(1)
            with pytest.raises(parley.InvalidField) as refused:
                await group.send(" \u200b\n")
            assert [violation.field for violation in refused.value.violations] == ["text"]
            with pytest.raises(parley.InvalidField):
                await group.send("x" * 100_001)
            assert (await group.send("가" * 100_000)).seq > 0
            with pytest.raises(parley.InvalidField):
                await group.send("x", client_message_id="not-a-uuid")
        with pytest.raises(parley.SelfChannel):
            await alice.direct("alice")
        with pytest.raises(parley.UsernameTaken):
            await parley.sign_up(node.address, "Alice", PASSWORD)
        with pytest.raises(parley.BadCredentials):
            await parley.log_in(node.address, "alice", "wrong password")
        with pytest.raises(parley.InvalidField):
            await parley.sign_up(node.address, "zoe", "short")


async def test_one_id_is_one_message_on_every_way(node: NodeProcess) -> None:
    """Over the stream and by calls at once. Planted: the given client_message_id ignored."""
    async with _people(node, "alice", "bob") as (alice, bob):
        channel = await alice.direct("bob")
        other = parley.connect(node.address, token=await parley.log_in(node.address, "alice", PASSWORD))
        async with other:
            await alice.events().ready()
            message_id = parley.new_id()
            ways = [channel, other.channel(channel.id)] * 50
            sent = await asyncio.gather(*(way.send("once", client_message_id=message_id) for way in ways))
        assert len({each.seq for each in sent}) == 1
        # Calls that meet in one outbox are one message on its way; the other device finds it written.
        assert Counter(each.duplicate for each in sent) == {True: 50, False: 50}
        with pytest.raises(parley.ClientIdReused):
            await channel.send("twice", client_message_id=message_id)
        assert [message.text async for message in channel.history()] == ["once"]
        theirs = await bob.channel(channel.id).send("mine", client_message_id=message_id)
        assert not theirs.duplicate
