"""The first frame of a stream: Hello, once, in time and within its limits."""

from __future__ import annotations

from typing import Any

import pytest

from parley.chat.v1 import stream_pb2
from parley_server.testing.raw_client import Person, RawClient, message

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELLO = stream_pb2.Hello()
HELLO_REQUIRED = ("INVALID_ARGUMENT", "HELLO_REQUIRED")
OK = ("OK", "")


async def test_no_hello_in_time(client: RawClient, talk: tuple[Person, Person, str]) -> None:
    """hello_seconds after its start a silent stream ends; one that said Hello does not.

    Planted once: without the timer this waited for ever.
    """
    silent, polite = client.open(talk[0].metadata), await client.connect(talk[0])
    assert (await silent.end()).brief == HELLO_REQUIRED
    await polite.barrier()
    polite.cancel()


@pytest.mark.parametrize(
    "first",
    [
        pytest.param({"send_message": message("c")}, id="send"),
        pytest.param({"mark_read": {"channel_id": "c", "seq": 1}}, id="mark-read"),
        pytest.param({"heartbeat": {}}, id="heartbeat"),
        pytest.param({"ack_events": {"cursor": "x"}}, id="ack"),
        pytest.param({"pong": {}}, id="pong"),
        pytest.param({"reauthenticate": {"access_token": "x"}}, id="reauthenticate"),
        pytest.param({"goodbye": {}}, id="goodbye"),
        pytest.param({}, id="empty-frame"),
    ],
)
async def test_anything_before_hello(
    client: RawClient, talk: tuple[Person, Person, str], first: dict[str, Any]
) -> None:
    """The first frame is Hello or the stream ends, whether an answer was wanted or not."""
    for request_id in (0, 1):
        stream = client.open(talk[0].metadata)
        await stream.send(request_id=request_id, **first)
        assert (await stream.end()).brief == HELLO_REQUIRED
        assert not stream.frames


async def test_a_half_close_without_hello(client: RawClient, talk: tuple[Person, Person, str]) -> None:
    """Found by this: a stream that said nothing at all ended with OK, as if it had been served."""
    stream = client.open(talk[0].metadata)
    await stream.half_close()
    assert (await stream.end()).brief == HELLO_REQUIRED


async def test_two_hellos(client: RawClient, talk: tuple[Person, Person, str]) -> None:
    """The second one ends the stream, at once or later."""
    later = await client.connect(talk[0])
    await later.send(hello=HELLO)
    assert (await later.end()).brief == ("INVALID_ARGUMENT", "HELLO_REPEATED")
    at_once = client.open(talk[0].metadata)
    await at_once.send(hello=HELLO)
    await at_once.send(hello=HELLO)
    assert (await at_once.end()).brief == ("INVALID_ARGUMENT", "HELLO_REPEATED")


@pytest.mark.parametrize(
    ("hello", "field"),
    [
        (stream_pb2.Hello(cursor="x" * 257), "hello.cursor"),
        (stream_pb2.Hello(cursor="한" * 86), "hello.cursor"),
        (stream_pb2.Hello(client="x" * 129), "hello.client"),
        (
            stream_pb2.Hello(known_channels=[stream_pb2.KnownChannel(channel_id="c")] * 1001),
            "hello.known_channels",
        ),
        (
            stream_pb2.Hello(known_channels=[stream_pb2.KnownChannel(channel_id="c", seq=-1)]),
            "hello.known_channels.seq",
        ),
    ],
)
async def test_a_hello_beyond_its_limits(
    client: RawClient, talk: tuple[Person, Person, str], hello: stream_pb2.Hello, field: str
) -> None:
    """Its field is named, on Connect and on Subscribe. A negative seq once led to a silent hole."""
    stream = client.open(talk[0].metadata)
    await stream.send(hello=hello)
    outcome = await stream.end()
    assert outcome.brief == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert outcome.violated_fields == [field]
    request = stream_pb2.SubscribeRequest(hello=hello).SerializeToString()
    assert await client.open_subscribe(talk[0], request).end() == outcome


@pytest.mark.parametrize(
    "cursor", ["x", "1.2.3", "1.00000000.e.5", "....", "\0", "1.x.y.99999999999999999999", "한글"]
)
async def test_a_cursor_that_is_none_of_ours_resets(
    client: RawClient, talk: tuple[Person, Person, str], cursor: str
) -> None:
    """A client with a strange cursor is told so, with the heads of its channels, and not turned away."""
    stream = await client.connect(talk[0], cursor=cursor)
    assert stream.welcome.reset.reason == stream_pb2.RESET_REASON_MALFORMED
    assert [head.channel_id for head in stream.control("digest").heads] == [talk[2]]
    stream.cancel()


async def test_another_users_cursor_and_channels_open_nothing(
    client: RawClient, talk: tuple[Person, Person, str]
) -> None:
    """Naming a foreign cursor and a foreign channel gives a stranger neither heads nor events."""
    alice, _, channel_id = talk
    own, stranger = await client.connect(alice), await client.sign_up()
    known = [stream_pb2.KnownChannel(channel_id=channel_id, seq=1)]
    spy = await client.connect(stranger, cursor=own.cursor, known_channels=known)
    assert spy.welcome.reset.reason == stream_pb2.RESET_REASON_MALFORMED
    again = await client.connect(stranger, cursor=spy.cursor, known_channels=known)
    await client.send(alice, channel_id)
    for stream in (spy, again):
        await stream.barrier()
        assert not stream.events
        assert not [control for control in stream.controls if control.HasField("digest")]
        stream.cancel()
    own.cancel()
