"""What an idle connection costs in memory."""

from __future__ import annotations

import gc
import tracemalloc
from typing import TYPE_CHECKING, Any

import hpack

import parley_wire
from parley_wire import frames
from parley_wire.testing.peer import REQUEST, message
from parley_wire.testing.raw_handlers import Mirror

if TYPE_CHECKING:
    import grpc.aio

    from parley_wire.server_connection import ServerConnection

    from .conftest import StartServer

WARM, CONNECTIONS = 100, 300
CONNECTION_LIMIT_BYTES = 3200
"""Of a connection with one raw call and a token in its header table, without the loop's transport; 3,040 when
this was written, and 5,070 the day before.
"""
TOKEN_BYTES = 500
PATH = b"/wire.Idle/Stream"


class Socket:
    """A transport that takes everything."""

    __slots__ = ()

    def get_extra_info(self, name: str) -> object:
        return ("10.0.0.1", 4000) if name == "peername" else None

    def set_write_buffer_limits(self, high: int) -> None:
        """It never has enough."""

    def write(self, data: bytes) -> None:
        """Gone."""

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        raise AssertionError("cut")

    def close(self) -> None:
        raise AssertionError("closed")


def _open(server: parley_wire.Server, first: int, count: int) -> list[ServerConnection]:
    connections = []
    for number in range(first, first + count):
        connection = server.connection()
        connections.append(connection)
        socket: Any = Socket()
        connection.connection_made(socket)
        token = f"Bearer {number:0{TOKEN_BYTES}}".encode()
        fields = [(n, PATH if n == b":path" else v) for n, v in REQUEST]
        block = hpack.Encoder().encode([*fields, (b"authorization", token)], huffman=False)
        for data in (
            frames.PREFACE + frames.settings([]) + frames.SETTINGS_ACK,
            frames.headers(1, block, end_stream=False),
            frames.frame(frames.DATA, 0, 1, message(b"hello")),
        ):
            connection.data_received(data)
            connection.flush()
    return connections


async def test_an_idle_connection_costs_little(start_server: StartServer) -> None:
    """One call on it, a message each way, then silence. Planted: the request's metadata kept, a deque for the
    entries of the header table, its usual fields not shared; each found by its bytes.
    """

    def register(server: grpc.aio.Server) -> None:
        method: Any = parley_wire.RawMethod(Mirror, request_streaming=True)
        server.add_registered_method_handlers("wire.Idle", {"Stream": method})

    server, _ = await start_server(register)
    early = _open(server, 0, WARM)
    gc.collect()
    tracemalloc.start()
    try:
        late = _open(server, WARM, CONNECTIONS)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert server.calls == len(early) + len(late)
    for connection in (*early, *late):
        connection.connection_lost(None)
    assert held / CONNECTIONS < CONNECTION_LIMIT_BYTES
