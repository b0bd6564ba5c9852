"""A TCP proxy that behaves badly on command: slow, silent, cut, half-closed, reset.

Faults are set on the proxy and hold for open connections and new ones until they are lifted. Bytes are passed
on unchanged and in order as long as they are passed on at all: it is the network that is bad, not the peers.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

CHUNK_BYTES = 16 * 1024


@dataclass(slots=True)
class Faults:
    """How the network behaves now, in each direction alike.

    `delay_seconds` is added to each chunk; `bytes_per_second` is the rate of each direction of each
    connection, 0 for no limit; with `blackhole` nothing passes, but connections stay and bytes wait; with
    `refuse` new connections are closed at once.
    """

    delay_seconds: float = 0.0
    bytes_per_second: int = 0
    blackhole: bool = False
    refuse: bool = False


class FaultProxy:
    """Listens on a loopback port and passes every connection on to `target` (host:port)."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.faults = Faults()
        self.address = ""
        self.accepted = 0
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> FaultProxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        self.address = f"{host}:{port}"
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def open_links(self) -> int:
        """Connections that are being passed on."""
        return len(self._links)

    def set(self, **faults: float | bool) -> None:
        """Change how the network behaves, by field of Faults. What waits in a blackhole flows on when it is
        lifted.
        """
        for name, value in faults.items():
            setattr(self.faults, name, value)
        self._changed.set()
        self._changed = asyncio.Event()

    def heal(self) -> None:
        """A good network again."""
        self.set(delay_seconds=0.0, bytes_per_second=0, blackhole=False, refuse=False)

    def cut(self) -> None:
        """Close every open connection in good order (FIN on both sides)."""
        for link in tuple(self._links):
            link.close()

    def reset(self) -> None:
        """Break every open connection with a reset (RST): bytes under way are lost."""
        for link in tuple(self._links):
            link.reset()

    def half_close(self) -> None:
        """Tell every server that its client will send no more, and go on passing what servers send.
        What the clients send all the same is dropped.
        """
        for link in tuple(self._links):
            link.half_close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: asyncio complains of a cancelled one that it started itself.
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.faults.refuse:
            writer.close()
            return
        host, _, port = self.target.rpartition(":")
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        link = _Link(writer, upstream_writer)
        self._links.add(link)
        try:
            await asyncio.gather(
                self._pass_on(reader, upstream_writer, link), self._pass_on(upstream_reader, writer, link)
            )
        finally:
            self._links.discard(link)
            link.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: _Link) -> None:
        try:
            while chunk := await reader.read(self._chunk_bytes()):
                await self._suffer(len(chunk))
                if link.says_no_more(writer):
                    continue
                writer.write(chunk)
                await writer.drain()
            await self._suffer(0)
            if writer.can_write_eof() and not writer.is_closing() and not link.says_no_more(writer):
                writer.write_eof()
        except (ConnectionError, OSError):
            link.close()

    def _chunk_bytes(self) -> int:
        # Slow is a trickle, not a burst every few seconds.
        rate = self.faults.bytes_per_second
        return min(CHUNK_BYTES, max(1, rate // 10)) if rate else CHUNK_BYTES

    async def _suffer(self, size_bytes: int) -> None:
        while self.faults.blackhole:
            await self._changed.wait()
        seconds = self.faults.delay_seconds
        if self.faults.bytes_per_second:
            seconds += size_bytes / self.faults.bytes_per_second
        if seconds:
            # What is held up flows on as soon as the network changes.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), seconds)


class _Link:
    """Both halves of one connection."""

    def __init__(self, down: asyncio.StreamWriter, up: asyncio.StreamWriter) -> None:
        self._down = down
        self._up = up
        self._half_closed = False

    def says_no_more(self, writer: asyncio.StreamWriter) -> bool:
        """Whether the peer behind the writer was told that nothing follows."""
        return self._half_closed and writer is self._up

    def close(self) -> None:
        for writer in (self._down, self._up):
            writer.close()

    def reset(self) -> None:
        for writer in (self._down, self._up):
            plain: socket.socket | None = writer.get_extra_info("socket")
            if plain is not None:
                # Lingering for zero seconds makes the close a reset.
                with contextlib.suppress(OSError):
                    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def half_close(self) -> None:
        with contextlib.suppress(OSError):
            if not self._up.is_closing() and not self._half_closed:
                self._half_closed = True
                self._up.write_eof()
