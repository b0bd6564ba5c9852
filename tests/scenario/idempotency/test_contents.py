"""What one client_message_id stands for: one content, of one sender, in one channel."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from parley_server.testing.raw_client import message, outcome_of, uuid7
from parley_server.testing.served_log import served_log

if TYPE_CHECKING:
    from parley_server.testing.raw_client import RawClient

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_other_content_under_a_used_id_is_refused(client: RawClient) -> None:
    """Text and attributes are the content; the order of a map is not. On streams as by unary call.

    Planted once: with the digest taken of the text alone, other attributes passed as a duplicate.
    """
    alice, bob = await client.sign_up(), await client.sign_up()
    channel_id = await client.direct(alice, bob)
    sent = message(channel_id, "text", a="1", b="2")
    first = await client.chat.SendMessage(sent, metadata=alice.metadata)
    client_id = sent.client_message_id
    stream = await client.connect(alice)
    for other in (
        message(channel_id, "text ", client_id, a="1", b="2"),
        message(channel_id, "text", client_id),
        message(channel_id, "text", client_id, a="1", b="3"),
        message(channel_id, "text", client_id, a="1", bb="2"),
        message(channel_id, "te\u0301xt", client_id, a="1", b="2"),
        message(channel_id, "text", client_id, a="1b", b="2"),
    ):
        outcome = await outcome_of(client.chat.SendMessage(other, metadata=alice.metadata))
        assert outcome.brief == ("ALREADY_EXISTS", "CLIENT_ID_REUSED")
        reply = await stream.ask(send_message=other)
        assert reply.error == outcome.status
    same = message(channel_id, "text", client_id, b="2", a="1")
    again = await client.chat.SendMessage(same, metadata=alice.metadata)
    assert (again.seq, again.duplicate) == (first.seq, True)
    assert len(await served_log(client, bob, channel_id)) == first.seq
    stream.cancel()


async def test_different_contents_at_once_under_one_id_leave_one_message(client: RawClient) -> None:
    """Twenty contents race for one id: one wins, and every other one is told so."""
    alice, bob = await client.sign_up(), await client.sign_up()
    channel_id = await client.direct(alice, bob)
    client_id = uuid7()
    outcomes = await asyncio.gather(
        *(outcome_of(client.send(alice, channel_id, f"text {n}", client_id)) for n in range(20))
    )
    reasons = sorted(outcome.reason for outcome in outcomes)
    assert reasons == ["", *["CLIENT_ID_REUSED"] * 19]
    ids = [event.client_message_id for event in await served_log(client, bob, channel_id)]
    assert ids.count(client_id) == 1


async def test_an_id_belongs_to_its_sender_and_its_channel(client: RawClient) -> None:
    """The same id from another sender, or in another channel, is another message; across one user's devices
    it is the same.
    """
    alice, bob = await client.sign_up(), await client.sign_up()
    tablet = await client.log_in(alice.username)
    direct_id = await client.direct(alice, bob)
    group_id = await client.group(alice, [bob])
    client_id = uuid7()
    first = await client.send(alice, direct_id, "hers", client_id)
    others = [
        await client.send(bob, direct_id, "his", client_id),
        await client.send(alice, group_id, "elsewhere", client_id),
    ]
    again = await client.send(tablet, direct_id, "hers", client_id)
    assert [first.duplicate, *(other.duplicate for other in others)] == [False] * 3
    assert others[0].seq == first.seq + 1
    assert (again.seq, again.duplicate) == (first.seq, True)
