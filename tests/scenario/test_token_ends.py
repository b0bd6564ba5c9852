"""When tokens end, by revocation, suspension or their time: at once, everywhere, and after a restart too."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from parley.admin.v1 import admin_service_pb2 as admin
from parley.auth.v1 import auth_service_pb2 as auth
from parley.chat.v1 import chat_service_pb2 as chat
from parley.chat.v1 import stream_pb2
from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_server.testing.raw_client import PASSWORD, RawClient, RawStream, StreamEnded, bearer, outcome_of

if TYPE_CHECKING:
    from tests.scenario.conftest import StartNode


async def _ends_within(stream: RawStream, seconds: float) -> Any:
    started = time.monotonic()
    outcome = await stream.end()
    assert time.monotonic() - started < seconds
    return outcome


@pytest.mark.parametrize("how", ["revoke", "log-out"])
async def test_a_revoked_device_is_out_at_once_and_stays_out(start_node: StartNode, how: str) -> None:
    """Its streams end within a second, its calls are refused at once, also by a node that was started anew;
    the user's other device goes on.

    Planted once: without `Authenticator.load` the token worked again after the restart; without the
    subscription of the sessions the streams stayed.
    """
    node = await start_node(CHEAP_PASSWORDS)
    revoked = ("UNAUTHENTICATED", "DEVICE_REVOKED")
    async with RawClient(node.address) as client:
        alice = await client.sign_up()
        phone = await client.log_in(alice.username)
        channel_id = await client.group(alice)
        connected, subscribed = await client.connect(phone), await client.subscribe(phone)
        silent = client.open(phone.metadata)
        await asyncio.sleep(0)
        other = await client.connect(alice)
        if how == "revoke":
            request = auth.RevokeDeviceRequest(device_id=phone.device_id)
            await client.auth.RevokeDevice(request, metadata=alice.metadata)
        else:
            await client.auth.LogOut(auth.LogOutRequest(), metadata=phone.metadata)
        assert (await outcome_of(client.send(phone, channel_id))).brief == revoked
        for stream in (connected, subscribed):
            assert (await _ends_within(stream, 1.0)).brief == revoked
            assert stream.control("go_away").reason == stream_pb2.GO_AWAY_REASON_DEVICE_REVOKED
            assert not stream.control("go_away").resumable
        assert (await _ends_within(silent, 1.0)).brief == revoked
        assert (await client.open(phone.metadata).end()).brief == revoked
        refresh = auth.RefreshRequest(refresh_token=phone.refresh_token)
        assert (await outcome_of(client.auth.Refresh(refresh))).brief == revoked
        await other.barrier()
        reply = await other.ask(reauthenticate={"access_token": phone.access_token})
        assert reply.error.code == grpc.StatusCode.UNAUTHENTICATED.value[0]
        other.cancel()
    await node.kill()
    await node.start()
    async with RawClient(node.address) as client:
        assert (await outcome_of(client.send(phone, channel_id))).brief == revoked
        assert (await client.open(phone.metadata).end()).brief == revoked
        assert (await client.send(alice, channel_id)).seq == 3
    await node.stop()


async def test_a_suspended_account_is_out_until_it_is_let_in_again(start_node: StartNode) -> None:
    """Open streams end and everything is refused with ACCOUNT_SUSPENDED, after a restart too; lifting brings
    all of it back, tokens included, and nothing written is gone.

    Found by this: streams said DEVICE_REVOKED, upon which a client throws its log-in away.
    """
    node = await start_node(CHEAP_PASSWORDS)
    suspended = ("UNAUTHENTICATED", "ACCOUNT_SUSPENDED")
    operator = bearer(node.operator_token)

    async def refused(client: RawClient) -> None:
        log_in = auth.LogInRequest(username=alice.username, password=PASSWORD, request_id=str(uuid.uuid4()))
        assert (await outcome_of(client.auth.LogIn(log_in))).brief == suspended
        refresh = auth.RefreshRequest(refresh_token=alice.refresh_token)
        assert (await outcome_of(client.auth.Refresh(refresh))).brief == suspended
        assert (await outcome_of(client.send(alice, channel_id))).brief == suspended
        assert (await client.open(alice.metadata).end()).brief == suspended

    async with RawClient(node.address) as client:
        alice, bob = await client.sign_up(), await client.sign_up()
        channel_id = await client.direct(alice, bob)
        await client.send(alice, channel_id, "before")
        streams = [await client.connect(alice), await client.subscribe(alice)]
        bystander = await client.connect(bob)
        suspend = admin.SuspendUserRequest(user_id=alice.user_id)
        await client.admin.SuspendUser(suspend, metadata=operator)
        for stream in streams:
            assert (await _ends_within(stream, 1.0)).brief == suspended
            assert stream.control("go_away").reason == stream_pb2.GO_AWAY_REASON_ACCOUNT_SUSPENDED
        await refused(client)
        await bystander.barrier()
        bystander.cancel()
        wrong = auth.LogInRequest(username=alice.username, password="wrong one", request_id=str(uuid.uuid4()))
        assert (await outcome_of(client.auth.LogIn(wrong))).reason == "BAD_CREDENTIALS"
    await node.kill()
    await node.start()
    async with RawClient(node.address) as client:
        await refused(client)
        lift = admin.SuspendUserRequest(user_id=alice.user_id, lift=True)
        await client.admin.SuspendUser(lift, metadata=operator)
        assert (await client.send(alice, channel_id, "after")).seq == 5
        back = await client.connect(alice)
        back.cancel()
        await client.log_in(alice.username)
        listed = await client.chat.ListMessages(
            chat.ListMessagesRequest(channel_id=channel_id), metadata=bob.metadata
        )
        assert [event.message.text for event in listed.events] == ["after", "before"]
    await node.stop()


async def test_a_stream_ends_with_its_token_unless_it_is_renewed(start_node: StartNode) -> None:
    """Tokens of 3 seconds: a stream is warned, and ends with TOKEN_EXPIRED; one that hands in a fresh token
    goes on; unary calls with the old one are refused once the 5 seconds for clocks that differ are over.
    """
    settings = {"auth.access_token_seconds": 3, "sessions.token_warning_seconds": 2}
    node = await start_node(CHEAP_PASSWORDS, **settings)
    async with RawClient(node.address) as client:
        alice = await client.sign_up()
        renewed, forgotten = await client.connect(alice), await client.subscribe(alice)
        for token in ("garbage", node.operator_token, ""):
            reply = await renewed.ask(reauthenticate={"access_token": token})
            assert reply.error.code == grpc.StatusCode.UNAUTHENTICATED.value[0]
        await renewed.until(lambda: any(c.HasField("auth_expiring") for c in renewed.controls))
        fresh = await client.auth.Refresh(auth.RefreshRequest(refresh_token=alice.refresh_token))
        reply = await renewed.ask(reauthenticate={"access_token": fresh.tokens.access_token})
        assert reply.HasField("reauthenticate")
        outcome = await forgotten.end(seconds=10)
        assert outcome.brief == ("UNAUTHENTICATED", "TOKEN_EXPIRED")
        assert forgotten.control("auth_expiring").expire_time.seconds > 0
        assert forgotten.control("go_away").reason == stream_pb2.GO_AWAY_REASON_TOKEN_EXPIRED
        try:
            await renewed.barrier()
        except StreamEnded as ended:
            # Only if this machine took longer than the fresh token lives.
            assert ended.outcome.reason == "TOKEN_EXPIRED"
        renewed.cancel()
        async with asyncio.timeout(20):
            while True:
                outcome = await outcome_of(
                    client.chat.GetInbox(chat.GetInboxRequest(), metadata=alice.metadata)
                )
                if outcome.code.name != "OK":
                    break
                await asyncio.sleep(0.05)
        assert outcome.brief == ("UNAUTHENTICATED", "TOKEN_EXPIRED")
    await node.stop()
