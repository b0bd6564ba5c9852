"""Requests of more bytes than a node takes: the sender is told, and nobody else notices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.rpc import error_details_pb2

from parley_server.testing.raw_client import detail_of, message, outcome_of, reason_of
from parley_server.testing.served_log import served_head

if TYPE_CHECKING:
    from parley_server.testing.raw_client import Person, RawClient

pytestmark = pytest.mark.asyncio(loop_scope="module")

RETRY_INFO = error_details_pb2.RetryInfo
QUOTA_FAILURE = error_details_pb2.QuotaFailure


async def test_two_mebibytes_are_refused_with_our_status_and_the_stream_goes_on(
    client: RawClient, pair: tuple[Person, Person, str]
) -> None:
    """A request beyond 1 MiB: REQUEST_TOO_LARGE with the limit, by unary call and on a stream.

    Planted once: with the size check after the parse of the request, the unary one named the text instead.
    """
    alice, _, channel_id = pair
    request = message(channel_id, "x" * (2 << 20))
    head = await served_head(client, alice, channel_id)
    unary = await outcome_of(client.chat.SendMessage(request, metadata=alice.metadata))
    assert unary.brief == ("RESOURCE_EXHAUSTED", "REQUEST_TOO_LARGE")
    info = unary.detail(error_details_pb2.ErrorInfo)
    assert info is not None
    assert info.metadata["limit_bytes"] == str(1 << 20)
    assert unary.detail(RETRY_INFO) is None
    stream = await client.connect(alice)
    reply = await stream.ask(send_message=request)
    assert reason_of(reply.error) == "REQUEST_TOO_LARGE"
    assert detail_of(reply.error, QUOTA_FAILURE) is not None
    await stream.barrier()
    stream.cancel()
    assert await served_head(client, alice, channel_id) == head


async def test_five_mebibytes_end_that_call_alone(
    client: RawClient, pair: tuple[Person, Person, str]
) -> None:
    """What the transport does not take: RESOURCE_EXHAUSTED without details, and only for its sender."""
    alice, bob, channel_id = pair
    bystander = await client.connect(bob)
    request = message(channel_id, "x" * (5 << 20))
    unary = await outcome_of(client.chat.SendMessage(request, metadata=alice.metadata))
    assert unary.code.name == "RESOURCE_EXHAUSTED"
    stream = await client.connect(alice)
    await stream.send(request_id=1, send_message=request)
    assert (await stream.end()).code.name == "RESOURCE_EXHAUSTED"
    subscribed = client.open_subscribe(alice, request.SerializeToString())
    assert (await subscribed.end()).code.name == "RESOURCE_EXHAUSTED"
    sent = await client.send(alice, channel_id, "still here")
    await bystander.until(lambda: bystander.event_seqs(channel_id))
    assert bystander.event_seqs(channel_id) == [sent.seq]
    bystander.cancel()
