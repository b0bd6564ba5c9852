"""A client that speaks frames over a real socket, and may misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from parley_wire import frames
from parley_wire.headers import encode
from parley_wire.testing.echo_service import SERVICE
from parley_wire.testing.peer import REQUEST, Frame, message

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

LIMIT_SECONDS = 10.0
_STREAM_LIMIT_BYTES = 2**16


class SocketPeer:
    """`async with SocketPeer(address) as peer`. Reading is up to the test."""

    def __init__(
        self, address: str, *, tls: ssl.SSLContext | None = None, receive_buffer_bytes: int = 0
    ) -> None:
        """A small `receive_buffer_bytes` makes a peer that takes little until somebody reads."""
        self._address = address
        self._tls = tls
        self._receive_buffer_bytes = receive_buffer_bytes

    async def __aenter__(self) -> SocketPeer:
        if self._address.startswith("unix:"):
            opened = await asyncio.open_unix_connection(self._address.removeprefix("unix:"))
        else:
            host, _, port = self._address.rpartition(":")
            name = "localhost" if self._tls else None
            connected = socket.socket()
            connected.setblocking(False)
            # As asyncio does for sockets of its own: what is written goes out at once.
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._receive_buffer_bytes:
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer_bytes)
            await asyncio.get_running_loop().sock_connect(connected, (host, int(port)))
            opened = await asyncio.open_connection(
                sock=connected,
                ssl=self._tls,
                server_hostname=name,
                limit=self._receive_buffer_bytes or _STREAM_LIMIT_BYTES,
            )
        self._reader, self._writer = opened
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def write(self, *parts: bytes) -> None:
        """Send bytes."""
        self._writer.write(b"".join(parts))

    def shake_hands(self, pairs: tuple[tuple[int, int], ...] = ()) -> None:
        """Send preface, SETTINGS and an acknowledgement of the server's."""
        self.write(frames.PREFACE, frames.settings(pairs), frames.SETTINGS_ACK)

    def request(self, stream_id: int, method: str, *, end_stream: bool = False, timeout: bytes = b"") -> None:
        """Send a request's headers."""
        fields = [
            (name, f"/{SERVICE}/{method}".encode() if name == b":path" else value) for name, value in REQUEST
        ]
        if timeout:
            fields.append((b"grpc-timeout", timeout))
        self.write(frames.headers(stream_id, encode(fields), end_stream=end_stream))

    def body(self, stream_id: int, data: bytes, *, end_stream: bool = False) -> None:
        """Send DATA."""
        flags = frames.END_STREAM if end_stream else 0
        self.write(frames.frame(frames.DATA, flags, stream_id, data))

    async def frame(self) -> Frame | None:
        """The next frame; None at the end of the connection."""
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                head = await self._reader.readexactly(frames.HEAD_BYTES)
                high, low, kind, flags, stream_id = frames.HEAD.unpack(head)
                payload = await self._reader.readexactly(high << 16 | low)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return Frame(kind, flags, stream_id, payload)

    async def until(self, kind: int, stream_id: int = 0) -> Frame:
        """Skip to the next frame of a kind on a stream. Raises EOFError if the connection ends before."""
        while (found := await self.frame()) is not None:
            if (found.kind, found.stream_id) == (kind, stream_id):
                return found
        raise EOFError("the connection ended")

    async def until_closed(self) -> list[Frame]:
        """All frames until the connection ends."""
        found: list[Frame] = []
        while (frame := await self.frame()) is not None:
            found.append(frame)
        return found

    async def trailers(self, stream_id: int) -> Frame:
        """Skip to the HEADERS that end a stream."""
        while True:
            found = await self.until(frames.HEADERS, stream_id)
            if found.flags & frames.END_STREAM:
                return found


async def blocked_socket(address: str) -> socket.socket:
    """A client that asks for much and reads nothing."""
    host, _, port = address.rpartition(":")
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.connect((host, int(port)))
    path = f"/{SERVICE}/Unary".encode()
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path)]
    block = encode([*fields, (b"content-type", b"application/grpc")])
    sent = frames.PREFACE + frames.settings(((4, 2**31 - 1),)) + frames.window_update(0, 2**30)
    sent += frames.headers(1, block, end_stream=False)
    sent += frames.frame(frames.DATA, frames.END_STREAM, 1, message(b"large:10000000"))
    peer.sendall(sent)
    return peer
