"""A group from both sides of full."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from google.rpc import error_details_pb2

from parley.channel.v1 import channel_service_pb2 as channels
from parley_server.testing.raw_client import outcome_of, uuid7
from parley_server.testing.served_log import served_head

if TYPE_CHECKING:
    from parley_server.testing.raw_client import RawClient

pytestmark = pytest.mark.asyncio(loop_scope="module")

VIOLATION = ("INVALID_ARGUMENT", "INVALID_FIELD")
RETRY_INFO = error_details_pb2.RetryInfo
QUOTA_FAILURE = error_details_pb2.QuotaFailure


async def test_a_group_of_a_hundred_is_full(client: RawClient) -> None:
    """99 besides the creator pass, by making and by adding; one more does not, and then nobody is added."""
    # In three parts: more at a time than auth.password_queue holds are refused.
    people = [await asyncio.gather(*(client.sign_up() for _ in range(34))) for _ in range(3)]
    owner, *others = [person for part in people for person in part]
    ids = [person.user_id for person in others]

    async def create(member_ids: list[str]) -> Any:
        request = channels.CreateChannelRequest(
            title="crowd", member_ids=member_ids, client_channel_id=uuid7()
        )
        return await client.channels.CreateChannel(request, metadata=owner.metadata)

    async def add(channel_id: str, user_ids: list[str]) -> Any:
        request = channels.AddMembersRequest(channel_id=channel_id, user_ids=user_ids)
        return await client.channels.AddMembers(request, metadata=owner.metadata)

    outcome = await outcome_of(create(ids[:100]))
    assert outcome.brief == ("RESOURCE_EXHAUSTED", "CHANNEL_FULL")
    assert outcome.detail(QUOTA_FAILURE) is not None
    assert outcome.detail(RETRY_INFO) is None
    full = (await create(ids[:99])).channel
    assert (full.member_count, full.member_limit) == (100, 100)
    assert (await outcome_of(add(full.channel_id, ids[99:100]))).reason == "CHANNEL_FULL"
    assert (await add(full.channel_id, ids[:99])).channel.member_count == 100

    small = (await create([])).channel.channel_id
    assert (await outcome_of(add(small, ids[:100]))).reason == "CHANNEL_FULL"
    assert (await outcome_of(add(small, [*ids[:5], "u" + "0" * 32]))).reason == "USER_NOT_FOUND"
    assert await served_head(client, owner, small) == 2
    assert (await add(small, ids[:99])).channel.member_count == 100
    for user_ids in ([], ids[:101]):
        outcome = await outcome_of(add(small, user_ids))
        assert outcome.brief == VIOLATION
        assert outcome.violated_fields == ["user_ids"]

    seen: list[str] = []
    request = channels.ListMembersRequest(channel_id=small, page_size=7)
    while True:
        page = await client.channels.ListMembers(request, metadata=others[0].metadata)
        seen.extend(member.user_id for member in page.members)
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert seen == sorted([owner.user_id, *ids[:99]])
