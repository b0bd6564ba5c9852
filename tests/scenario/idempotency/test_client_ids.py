"""Which ids a client may make."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from parley.channel.v1 import channel_service_pb2 as channels
from parley_server.testing.raw_client import message, outcome_of, reason_of, uuid7
from parley_server.testing.served_log import served_log

if TYPE_CHECKING:
    from parley_server.testing.raw_client import RawClient

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR_MS = 3600 * 1000
DAY_MS = 24 * HOUR_MS


@pytest.mark.parametrize(
    "client_id",
    [
        pytest.param("", id="empty"),
        pytest.param(str(uuid.uuid4()), id="version-4"),
        pytest.param(str(uuid.uuid1()), id="version-1"),
        pytest.param(uuid7().upper(), id="upper-case"),
        pytest.param(f"{{{uuid7()}}}", id="braces"),
        pytest.param(f"urn:uuid:{uuid7()}", id="urn"),
        pytest.param(uuid7().replace("-", ""), id="no-dashes"),
        pytest.param(uuid7() + "\n", id="line-feed-behind"),
        pytest.param(" " + uuid7(), id="space-before"),
        pytest.param(uuid7()[:19] + "-c" + uuid7()[21:], id="wrong-variant"),
        pytest.param("٠" + uuid7()[1:], id="arabic-digit"),
        pytest.param("0" * 1000, id="long"),
    ],
)
@pytest.mark.parametrize("field", ["client_message_id", "client_channel_id"])
async def test_malformed_ids_are_violations(client: RawClient, client_id: str, field: str) -> None:
    """Nothing but a UUIDv7 in lower-case text is taken, and nothing is stored."""
    outcome = await _outcome_with_id(client, field, client_id)
    assert outcome.brief == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert outcome.violated_fields == [field]


@pytest.mark.parametrize("field", ["client_message_id", "client_channel_id"])
async def test_an_id_counts_by_its_own_time(client: RawClient, field: str) -> None:
    """Seven days back and one hour ahead are the borders; a minute on either side tells.

    Planted once: with a window of eight days the 7-days-and-a-minute id was taken.
    """
    now_ms = time.time_ns() // 1_000_000
    minute_ms = 60_000
    expected = {
        now_ms - 8 * DAY_MS: ("FAILED_PRECONDITION", "MESSAGE_ID_EXPIRED"),
        now_ms - 7 * DAY_MS - minute_ms: ("FAILED_PRECONDITION", "MESSAGE_ID_EXPIRED"),
        0: ("FAILED_PRECONDITION", "MESSAGE_ID_EXPIRED"),
        now_ms - 7 * DAY_MS + minute_ms: ("OK", ""),
        now_ms + HOUR_MS - minute_ms: ("OK", ""),
        now_ms + HOUR_MS + minute_ms: ("INVALID_ARGUMENT", "INVALID_FIELD"),
        now_ms + 2 * HOUR_MS: ("INVALID_ARGUMENT", "INVALID_FIELD"),
        2**48 - 1: ("INVALID_ARGUMENT", "INVALID_FIELD"),
    }
    for at_ms, brief in expected.items():
        outcome = await _outcome_with_id(client, field, uuid7(at_ms))
        assert outcome.brief == brief, at_ms - now_ms


async def _outcome_with_id(client: RawClient, field: str, client_id: str) -> Any:
    """How a message or a group with this id is answered; a refusal must leave nothing behind."""
    alice, bob = await client.sign_up(), await client.sign_up()
    channel_id = await client.direct(alice, bob)
    if field == "client_message_id":
        request = message(channel_id, "text")
        request.client_message_id = client_id
        outcome = await outcome_of(client.chat.SendMessage(request, metadata=alice.metadata))
        stored = len(await served_log(client, alice, channel_id)) - 3
        stream = await client.connect(alice)
        reply = await stream.ask(send_message=request)
        assert reason_of(reply.error) == outcome.reason
        stream.cancel()
    else:
        create = channels.CreateChannelRequest(title="group", client_channel_id=client_id)
        outcome = await outcome_of(client.channels.CreateChannel(create, metadata=alice.metadata))
        listed = await client.channels.ListChannels(channels.ListChannelsRequest(), metadata=alice.metadata)
        stored = len(listed.channels) - 1
    assert stored == (outcome.code.name == "OK")
    return outcome
