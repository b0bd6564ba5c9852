"""Streams outlive their access tokens: the warning, the fresh token in-band, and the end without it."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from parley.auth.v1 import auth_service_pb2
from parley.chat.v1 import stream_pb2
from parley_runtime.tokens import AccessClaims, KeyRing, TokenIssuer
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_server.testing.raw_client import Person, RawClient, RawStream, reason_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN_SECONDS = 7
WARNING_SECONDS = 4
# Streams are looked at once a second; the rest is for a busy machine.
LATE_SECONDS = 1.0 + 1.5
TOKEN_EXPIRED = ("UNAUTHENTICATED", "TOKEN_EXPIRED")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeProcess]:
    """A node whose access tokens last for seconds."""
    node = NodeProcess(
        tmp_path_factory.mktemp("reauthenticate") / "node",
        {"auth.access_token_seconds": TOKEN_SECONDS, "sessions.token_warning_seconds": WARNING_SECONDS},
        (CHEAP_PASSWORDS,),
    )
    await node.start()
    yield node
    await node.close()
    assert "Traceback" not in node.stderr


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(node: NodeProcess) -> AsyncIterator[RawClient]:
    """A connection to it."""
    async with RawClient(node.address) as client:
        yield client


@pytest.fixture
def token_of(node: NodeProcess) -> Callable[[Person, float], str]:
    """Makes access tokens as the node does, with its keys: `token_of(person, expire_time)`."""
    ring = KeyRing.load(node.data / "keys.json")
    assert ring is not None
    issuer = TokenIssuer(ring, issuer="parley", audience="parley", random_bytes=secrets.token_bytes)

    def make(person: Person, expire_time: float) -> str:
        claims = AccessClaims(person.user_id, person.device_id, False, int(expire_time) * 1000)
        return issuer.issue(claims, time.time_ns() // 1_000_000)

    return make


async def _refresh(client: RawClient, person: Person) -> tuple[Person, float]:
    """The device with its new tokens, and when the access token expires."""
    request = auth_service_pb2.RefreshRequest(refresh_token=person.refresh_token)
    tokens = (await client.auth.Refresh(request)).tokens
    renewed = replace(person, access_token=tokens.access_token, refresh_token=tokens.refresh_token)
    return renewed, tokens.access_expire_time.ToMilliseconds() / 1000


async def _reauthenticate(stream: RawStream, token: str) -> stream_pb2.Reply:
    return await stream.ask(reauthenticate=stream_pb2.Reauthenticate(access_token=token))


def _warnings(stream: RawStream) -> list[float]:
    """The expiry in each AuthExpiring that came."""
    warnings = [control.auth_expiring for control in stream.controls if control.HasField("auth_expiring")]
    return [warning.expire_time.ToMilliseconds() / 1000 for warning in warnings]


async def _warned(stream: RawStream, expire_time: float) -> None:
    """Read until the warning of this expiry; it comes in time, and as the newest of one per token."""
    await stream.until(lambda: expire_time in _warnings(stream))
    left = expire_time - time.time()
    assert WARNING_SECONDS - LATE_SECONDS < left <= WARNING_SECONDS, left
    assert _warnings(stream).count(expire_time) == 1


async def _expires(stream: RawStream, expire_time: float) -> None:
    """Read to the end, which comes when the token does: GoAway and TOKEN_EXPIRED."""
    outcome = await stream.end()
    late = time.time() - expire_time
    assert 0 <= late < LATE_SECONDS, late
    assert outcome.brief == TOKEN_EXPIRED
    go_away = stream.frames[-1].controls[-1].go_away
    assert go_away.reason == stream_pb2.GO_AWAY_REASON_TOKEN_EXPIRED
    assert go_away.resumable
    assert _warnings(stream).count(expire_time) == 1


async def test_a_fresh_token_keeps_the_stream(client: RawClient) -> None:
    """Warned once, the client refreshes and hands the token in: the reply says when that one expires, the
    stream passes the first expiry, is warned of the second one, and ends with it when nothing more comes. All
    the while it gets every event.

    Planted once: the fresh token checked and not kept; the stream ended at the first expiry. The warning not
    remembered; it came each second.
    """
    phone, bob = await client.sign_up(), await client.sign_up()
    phone, first = await _refresh(client, phone)
    bob, _ = await _refresh(client, bob)
    channel_id = await client.direct(phone, bob)
    stream = await client.connect(phone)
    await _warned(stream, first)
    phone, second = await _refresh(client, phone)
    assert second > first
    reply = await _reauthenticate(stream, phone.access_token)
    assert reply.reauthenticate.expire_time.ToMilliseconds() / 1000 == second
    await _warned(stream, second)
    await asyncio.sleep(first + 1.5 - time.time())
    bob, _ = await _refresh(client, bob)
    sent = await client.send(bob, channel_id)
    await stream.until(lambda: sent.seq in stream.event_seqs(channel_id))
    await stream.barrier()
    assert _warnings(stream) == [first, second]
    await _expires(stream, second)


async def test_a_token_that_does_not_fit_is_refused_and_the_stream_goes_on(
    client: RawClient, token_of: Callable[[Person, float], str]
) -> None:
    """Expired long ago or just now, garbage, of a user's other device, of another user, of a revoked device:
    each is refused by a Reply, and the stream goes on until its own token's expiry and no longer.

    Planted once: no look at the device, and none at the user; the others' tokens kept the stream. Found by
    this: a token that had just expired was taken, within the leeway for clocks, and ended the stream.
    """
    phone, stranger = await client.sign_up(), await client.sign_up()
    tablet, lost = await client.log_in(phone.username), await client.log_in(phone.username)
    phone, expire_time = await _refresh(client, phone)
    request = auth_service_pb2.RevokeDeviceRequest(device_id=lost.device_id)
    await client.auth.RevokeDevice(request, metadata=phone.metadata)
    stream = await client.connect(phone)
    later = time.time() + 3600
    own = token_of(phone, later)
    refused = [
        (token_of(phone, time.time() - 60), "TOKEN_EXPIRED"),
        (token_of(phone, time.time() - 1), "TOKEN_EXPIRED"),
        ("garbage", "TOKEN_INVALID"),
        (own[:-8] + "AAAAAAAA", "TOKEN_INVALID"),
        (phone.refresh_token, "TOKEN_INVALID"),
        ("", "TOKEN_MISSING"),
        (token_of(tablet, later), "TOKEN_INVALID"),
        (token_of(stranger, later), "TOKEN_INVALID"),
        (token_of(replace(stranger, device_id=phone.device_id), later), "TOKEN_INVALID"),
        (token_of(lost, later), "DEVICE_REVOKED"),
    ]
    for token, reason in refused:
        reply = await _reauthenticate(stream, token)
        assert reply.WhichOneof("result") == "error", reason
        assert reason_of(reply.error) == reason
    await stream.barrier()
    await _expires(stream, expire_time)


async def test_a_revoked_devices_fresh_token_opens_nothing_again(
    client: RawClient, token_of: Callable[[Person, float], str]
) -> None:
    """Reauthenticate that races with the revocation of its device does not keep the stream.

    Planted once: `revoked` that ends no streams; the stream went on.
    """
    phone = await client.sign_up()
    tablet = await client.log_in(phone.username)
    stream = await client.connect(phone)
    token = token_of(phone, time.time() + 3600)
    request = auth_service_pb2.RevokeDeviceRequest(device_id=phone.device_id)
    revoking = asyncio.ensure_future(client.auth.RevokeDevice(request, metadata=tablet.metadata))
    for _ in range(50):
        await stream.send(request_id=0, reauthenticate=stream_pb2.Reauthenticate(access_token=token))
        await asyncio.sleep(0)
    await revoking
    assert (await stream.end(1.0)).brief == ("UNAUTHENTICATED", "DEVICE_REVOKED")


async def test_without_a_fresh_token_every_stream_ends_with_its_own(client: RawClient) -> None:
    """Connect and Subscribe, opened with tokens of different ages: each is warned once and ends with the
    token it was opened with, though the device refreshed since. With the newer token and the cursor both go
    on where they were.

    Planted once: the check of the expiry left out of `Upkeep.tick`; the streams went on.
    """
    bob = await client.sign_up()
    phone, first = await _refresh(client, await client.sign_up())
    channel_id = await client.direct(phone, bob)
    older = [await client.connect(phone), await client.subscribe(phone)]
    await asyncio.sleep(first - TOKEN_SECONDS + 1.5 - time.time())
    phone, second = await _refresh(client, phone)
    assert second > first
    newer = [await client.connect(phone), await client.subscribe(phone)]
    bob, _ = await _refresh(client, bob)
    sent = await client.send(bob, channel_id)
    for stream in (*older, *newer):
        before = stream.cursor
        await stream.until(lambda: sent.seq in stream.event_seqs(channel_id) and stream.cursor != before)  # noqa: B023 - read at once
    await asyncio.gather(
        *(_expires(stream, first) for stream in older), *(_expires(stream, second) for stream in newer)
    )
    phone, _ = await _refresh(client, phone)
    known = [stream_pb2.KnownChannel(channel_id=channel_id, seq=sent.seq)]
    again = await client.connect(phone, cursor=older[1].cursor, known_channels=known)
    assert again.welcome.WhichOneof("resume") == "continued"
    hello = stream_pb2.Hello(foreground=True, cursor=newer[0].cursor, known_channels=known)
    encoded = stream_pb2.SubscribeRequest(hello=hello).SerializeToString()
    subscribed = client.open_subscribe(phone, encoded)
    await subscribed.caught_up()
    assert subscribed.welcome.WhichOneof("resume") == "continued"
    for stream in (again, subscribed):
        assert not stream.events
        stream.cancel()


async def test_an_older_token_does_not_shorten_a_stream(
    client: RawClient, token_of: Callable[[Person, float], str]
) -> None:
    """Two renewals may overtake each other: the later expiry holds, and is what both are told."""
    phone = await client.sign_up()
    stream = await client.connect(phone)
    later = int(time.time()) + 600
    for expire_time in (later, later - 300):
        reply = await _reauthenticate(stream, token_of(phone, expire_time))
        assert reply.reauthenticate.expire_time.seconds == later
    stream.cancel()
