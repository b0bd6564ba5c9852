"""Channels and memberships that are asked for again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from parley.channel.v1 import channel_service_pb2 as channels
from parley_server.testing.raw_client import outcome_of, uuid7
from parley_server.testing.served_log import served_log

if TYPE_CHECKING:
    from parley_server.testing.raw_client import Person, RawClient

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_creating_a_group_twenty_times_at_once_makes_one(client: RawClient) -> None:
    """One client_channel_id is one group with one set of members; other content is refused.

    Planted once: with a fresh channel id per call there were twenty.
    """
    alice, bob, carol = [await client.sign_up() for _ in range(3)]
    request = channels.CreateChannelRequest(
        title="the group", member_ids=[bob.user_id], client_channel_id=uuid7()
    )

    async def create(person: Person, **changed: Any) -> channels.CreateChannelResponse:
        own = channels.CreateChannelRequest()
        own.CopyFrom(request)
        for name, value in changed.items():
            own.ClearField(name)  # type: ignore[arg-type]
            own.MergeFrom(channels.CreateChannelRequest(**{name: value}))
        answer = await client.channels.CreateChannel(own, metadata=person.metadata)
        assert isinstance(answer, channels.CreateChannelResponse)
        return answer

    answers = await asyncio.gather(*(create(alice) for _ in range(20)))
    assert len({answer.channel.channel_id for answer in answers}) == 1
    assert sum(not answer.duplicate for answer in answers) == 1
    channel_id = answers[0].channel.channel_id
    assert len(await served_log(client, alice, channel_id)) == 3
    assert (await create(alice, member_ids=[bob.user_id, alice.user_id, bob.user_id])).duplicate
    other_contents: list[dict[str, Any]] = [
        {"title": "another"},
        {"member_ids": [carol.user_id]},
        {"member_ids": []},
        {"history_visibility": 2},
    ]
    for changed in other_contents:
        outcome = await outcome_of(create(alice, **changed))
        assert outcome.brief == ("ALREADY_EXISTS", "CLIENT_ID_REUSED"), changed
    other = await create(carol)
    assert not other.duplicate
    assert other.channel.channel_id != channel_id


async def test_a_pair_has_one_direct_channel_whoever_asks(client: RawClient) -> None:
    """Both make it, ten times each, at once: one channel, made once."""
    alice, bob = await client.sign_up(), await client.sign_up()

    async def create(one: Person, other: Person) -> channels.CreateDirectChannelResponse:
        request = channels.CreateDirectChannelRequest(user_id=other.user_id)
        answer = await client.channels.CreateDirectChannel(request, metadata=one.metadata)
        assert isinstance(answer, channels.CreateDirectChannelResponse)
        return answer

    answers = await asyncio.gather(
        *(create(alice, bob) for _ in range(10)), *(create(bob, alice) for _ in range(10))
    )
    assert len({answer.channel.channel_id for answer in answers}) == 1
    assert sum(answer.created for answer in answers) == 1
    assert len(await served_log(client, bob, answers[0].channel.channel_id)) == 3


async def test_membership_changes_repeated_add_no_event(client: RawClient) -> None:
    """Adding who is in, removing who is out, leaving twice: the log stays as it is."""
    owner, member = await client.sign_up(), await client.sign_up()
    channel_id = await client.group(owner)
    add = channels.AddMembersRequest(channel_id=channel_id, user_ids=[member.user_id] * 3)
    remove = channels.RemoveMemberRequest(channel_id=channel_id, user_id=member.user_id)
    leave = channels.LeaveChannelRequest(channel_id=channel_id)
    heads = []
    calls: list[tuple[Any, Any, Person]] = [
        (client.channels.AddMembers, add, owner),
        (client.channels.LeaveChannel, leave, member),
        (client.channels.AddMembers, add, owner),
        (client.channels.RemoveMember, remove, owner),
        (client.channels.LeaveChannel, leave, member),
    ]
    for call, request, person in calls:
        for _ in range(2):
            await call(request, metadata=person.metadata)
            heads.append(len(await served_log(client, owner, channel_id)))
    assert heads == [3, 3, 4, 4, 5, 5, 6, 6, 6, 6]
