"""One client's work is done in turns with that of others, however much it sends at once."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest

import parley_wire
from parley_wire import frames
from parley_wire.events import RequestReceived
from parley_wire.limits import Limits
from parley_wire.testing.echo_service import SERVICE
from parley_wire.testing.peer import Peer
from parley_wire.testing.raw_handlers import Quiet
from parley_wire.testing.socket_peer import SocketPeer

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Certificate, StartServer

CALLS = 300


@pytest.mark.parametrize("cut", [0, 5])
def test_a_turn_ends_after_so_many_events_and_nothing_is_lost(cut: int) -> None:
    """The rest comes with the next turns, in order, also with a frame whose end has not come. Planted: the
    rest dropped; the rest handed over twice.
    """
    peer = Peer(limits=Limits(events_per_turn=10)).shake_hands()
    connection = peer.connection
    sent = b"".join(peer.request(2 * number + 1, end_stream=True) for number in range(35))
    came = []
    more, turns = sent[: len(sent) - cut], 0
    while more or connection.has_more:
        events = connection.receive(more, peer.now)
        came += [event.stream.id for event in events if isinstance(event, RequestReceived)]
        assert len(events) <= 10
        more, turns = b"", turns + 1
    assert turns == 4
    assert len(came) == (34 if cut else 35)
    assert connection.header_since == (peer.now if cut else None)
    if cut:
        (event,) = peer.feed(sent[-cut:])
        assert isinstance(event, RequestReceived)
        came.append(event.stream.id)
    assert came == list(range(1, 71, 2))


@pytest.mark.parametrize("tls", [False, True])
async def test_a_client_with_one_call_does_not_wait_for_one_with_many(
    start_server: StartServer, make_certificate: Callable[[str], Certificate], tls: bool
) -> None:
    """The one is sent while the server is about the first of the many. Every call is answered. Planted: turns
    without an end; the one came last. Planted: reading not begun again; the many were never through.
    """
    peers: list[str] = []

    def open_handler(call: parley_wire.RawCall) -> parley_wire.RawHandler:
        if not peers:
            modest.request(1, "Both", end_stream=True)
        peers.append(call.peer)
        call.close(grpc.StatusCode.OK)
        return Quiet(call)

    def add_to(server: grpc.aio.Server) -> None:
        method: Any = parley_wire.RawMethod(open_handler, request_streaming=True)
        server.add_registered_method_handlers(SERVICE, {"Both": method})

    own, context = make_certificate("localhost"), None
    credentials = None
    if tls:
        credentials = parley_wire.tls_server_credentials(own.certificate_file, own.key_file)
        context = ssl.create_default_context(cafile=own.certificate_file)
        context.set_alpn_protocols(["h2"])
    _, address = await start_server(add_to, credentials=credentials)
    async with SocketPeer(address, tls=context) as greedy, SocketPeer(address, tls=context) as modest:
        for peer in (greedy, modest):
            peer.shake_hands()
            await peer.until(frames.SETTINGS)
        for number in range(CALLS):
            greedy.request(2 * number + 1, "Both", end_stream=True)
        await modest.trailers(1)
        await greedy.trailers(2 * CALLS - 1)
        assert len(peers) == CALLS + 1
        one = min(peers, key=peers.count)
        assert peers.index(one) < CALLS / 2
