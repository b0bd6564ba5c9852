"""The client's end of one connection: joins socket, HTTP/2 core and calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from parley_wire.client_call import ClientCall
from parley_wire.connection import Connection
from parley_wire.events import (
    ConnectionFailed,
    DataReceived,
    GoAwayReceived,
    ResponseReceived,
    StreamEnded,
    TrailersReceived,
)
from parley_wire.log import log

if TYPE_CHECKING:
    from collections.abc import Callable

    from parley_wire.channel import ChannelOptions
    from parley_wire.events import Event
    from parley_wire.flusher import Flusher

_KEEPALIVE = b"alive???"


class ClientConnection(asyncio.Protocol):
    """Made for each connected socket. `on_change` is called when calls may be opened that could not before,
    or none any more.
    """

    def __init__(
        self,
        options: ChannelOptions,
        flusher: Flusher,
        loop: asyncio.AbstractEventLoop,
        on_change: Callable[[], None],
    ) -> None:
        self.loop = loop
        self.core = Connection(client=True, limits=options.limits)
        self.dirty = False
        # The server's settings came: it is one that speaks HTTP/2.
        self.ready: asyncio.Future[None] = loop.create_future()
        # The socket was open and is closed.
        self.closed: asyncio.Future[None] = loop.create_future()
        self._options = options
        self._flusher = flusher
        self._on_change = on_change
        self._transport: asyncio.Transport | None = None
        self._heard_at = 0.0
        self._pinged_at: float | None = None
        self._keepalive: asyncio.TimerHandle | None = None
        self._lost_reason = "the connection was lost"

    @property
    def can_open(self) -> bool:
        """Whether a call may be opened now."""
        return self._transport is not None and self.core.can_open

    @property
    def connected(self) -> bool:
        """Whether there is a socket to close."""
        return self._transport is not None

    @property
    def retired(self) -> bool:
        """Whether no call will ever be opened here again."""
        core = self.core
        return self._transport is None or core.failed or core.peer_goaway is not None

    def open(self, block: bytes, timeout: float | None) -> ClientCall:
        """Open a call with these headers. Only while `can_open`."""
        stream = self.core.open_stream(block, end_stream=False)
        call = ClientCall(self, stream, self._options.receive_message_bytes, timeout)
        stream.owner = call
        self.schedule()
        return call

    def schedule(self) -> None:
        """Write what there is at the end of this tick."""
        if not self.dirty:
            self._flusher.add(self)

    def close(self, reason: str) -> None:
        """Close; calls that are open fail."""
        self._lost_reason = reason
        self.abort()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    # What the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods without the base class.
        self._transport = cast("asyncio.Transport", transport)
        self._heard_at = self.loop.time()
        self.core.start()
        self.flush()
        self._watch()

    def data_received(self, data: bytes) -> None:
        self._heard_at = now = self.loop.time()
        try:
            for event in self.core.receive(data, now):
                self._handle(event)
        except Exception:
            log.exception("a client's connection failed")
            self.close("the client failed")
        self.schedule()

    def pause_writing(self) -> None:
        self.core.sender.pause()

    def resume_writing(self) -> None:
        self.core.sender.resume()
        self.schedule()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if not self.closed.done():
            self.closed.set_result(None)
        if self._keepalive is not None:
            self._keepalive.cancel()
        if error is not None:
            self._lost_reason = f"the connection was lost: {error}"
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(self._lost_reason))
        self.core.close()
        self._tell_closed()
        self._on_change()

    def flush(self) -> None:
        """Hand the output to the socket, and tell calls what became of them."""
        transport = self._transport
        core = self.core
        sender = core.sender
        if transport is None:
            return
        if not sender.paused:
            data = sender.take()
            if data:
                transport.write(data)
            if sender.drained:
                drained, sender.drained = sender.drained, None
                for stream in drained:
                    stream.blocked = False
                    if stream.owner is not None:
                        stream.owner.on_drained()
        if core.closed_streams:
            self._tell_closed()
            self._on_change()
        if core.failed or (core.peer_goaway is not None and not core.streams.open):
            transport.close()
        elif not sender.paused and sender.has_more:
            self.schedule()

    # Inside

    def _handle(self, event: Event) -> None:
        if isinstance(event, DataReceived):
            owner = event.stream.owner
            if owner is None:
                self.core.consumed(event.stream, len(event.data))
            else:
                owner.on_data(event.data, event.end_stream)
        elif isinstance(event, ResponseReceived):
            if event.stream.owner is not None:
                event.stream.owner.on_headers(event.headers, event.end_stream)
        elif isinstance(event, TrailersReceived):
            if event.stream.owner is not None:
                event.stream.owner.on_trailers(event.headers)
        elif isinstance(event, StreamEnded):
            if event.stream.owner is not None:
                event.stream.owner.on_cut(event.code, remote=event.remote)
        elif isinstance(event, GoAwayReceived):
            self._gone_away(event)
        elif isinstance(event, ConnectionFailed):
            self._lost_reason = f"the server broke the protocol: {event.reason}"
        else:
            if not self.ready.done():
                self.ready.set_result(None)
            self._on_change()

    def _gone_away(self, event: GoAwayReceived) -> None:
        """Streams that the server did not look at fail at once; the others go on (RFC 9113, section 6.8)."""
        text = event.debug.decode("utf-8", "replace")
        self._lost_reason = f"the server went away: {event.code.name} {text}".rstrip()
        for stream in list(self.core.streams.open.values()):
            if stream.id > event.last_stream_id:
                if stream.owner is not None:
                    stream.owner.on_unprocessed(self._lost_reason)
                self.core.forget(stream, by_us=True)
        self._on_change()

    def _tell_closed(self) -> None:
        core = self.core
        closed, core.closed_streams = core.closed_streams, None
        for stream in closed or ():
            if stream.owner is not None:
                stream.owner.on_closed(self._lost_reason)

    def _watch(self) -> None:
        """Keep-alive: ping a silent server while calls are open, and close when it does not answer."""
        options = self._options
        now = self.loop.time()
        silent = now - self._heard_at
        waited = None if self._pinged_at is None else now - self._pinged_at
        if waited is not None and self._pinged_at is not None and self._pinged_at > self._heard_at:
            if waited >= options.keepalive_timeout_seconds:
                self.close("the server does not answer")
                return
        elif silent >= options.keepalive_seconds and self.core.streams.open:
            self._pinged_at = now
            self.core.ping(_KEEPALIVE)
            self.schedule()
        pause = min(options.keepalive_seconds, options.keepalive_timeout_seconds) / 2
        self._keepalive = self.loop.call_later(pause, self._watch)
