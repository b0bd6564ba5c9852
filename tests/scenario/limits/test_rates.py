"""What may be done so often and no oftener."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from google.rpc import error_details_pb2

from parley.auth.v1 import auth_service_pb2 as auth
from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_server.testing.raw_client import RawClient, detail_of, message, outcome_of, reason_of

if TYPE_CHECKING:
    from tests.scenario.conftest import StartNode

RETRY_INFO = error_details_pb2.RetryInfo
QUOTA_FAILURE = error_details_pb2.QuotaFailure


async def test_rates_say_exactly_when_to_come_back(start_node: StartNode) -> None:
    """A burst of 3, then one in 5 s: RetryInfo is what is missing to the next one, for the unary call and
    the stream together; each user has his own; whoever waits as told passes.

    Planted once: with RetryInfo halved the wait was too short, with the rate kept per device the tablet
    passed.
    """
    settings = {
        "rates.send": {"per_minute": 12, "burst": 3},
        "rates.sign_up": {"per_minute": 1, "burst": 3},
        "rates.log_in": {"per_minute": 1, "burst": 2},
    }
    node = await start_node(CHEAP_PASSWORDS, **settings)
    async with RawClient(node.address) as client:
        alice, bob = await client.sign_up(), await client.sign_up()
        tablet = await client.log_in(alice.username)
        channel_id = await client.direct(alice, bob)
        stream = await client.connect(alice)
        requests = [message(channel_id, f"{number}") for number in range(4)]

        started = time.monotonic()
        await client.chat.SendMessage(requests[0], metadata=alice.metadata)
        assert (await stream.ask(send_message=requests[1])).send_message.seq
        await client.chat.SendMessage(requests[2], metadata=tablet.metadata)
        refused = await outcome_of(client.chat.SendMessage(requests[3], metadata=tablet.metadata))
        reply = await stream.ask(send_message=requests[3])
        elapsed_seconds = time.monotonic() - started
        assert refused.brief == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
        assert refused.detail(QUOTA_FAILURE) is not None
        assert reason_of(reply.error) == "RATE_LIMITED"
        first, second = refused.detail(RETRY_INFO), detail_of(reply.error, RETRY_INFO)
        assert first is not None
        assert second is not None
        first_seconds = first.retry_delay.ToTimedelta().total_seconds()
        second_seconds = second.retry_delay.ToTimedelta().total_seconds()
        assert 5.0 - elapsed_seconds - 0.01 <= second_seconds <= first_seconds <= 5.0
        await asyncio.sleep(second_seconds)
        assert (await stream.ask(send_message=requests[3])).HasField("send_message")
        assert (await client.send(bob, channel_id)).seq

        assert (await outcome_of(client.sign_up())).code.name == "OK"
        outcome = await outcome_of(client.sign_up())
        assert outcome.brief == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
        retry = outcome.detail(RETRY_INFO)
        assert retry is not None
        assert 30 < retry.retry_delay.ToTimedelta().total_seconds() <= 60
        await outcome_of(client.auth.LogIn(auth.LogInRequest()))
        outcome = await outcome_of(client.log_in(alice.username))
        assert outcome.brief == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
        stream.cancel()
    await node.stop()
