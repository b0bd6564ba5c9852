"""The server's end of one connection: joins socket, HTTP/2 core and calls."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, cast

from parley_wire.connection import SPEAKS_TLS, Connection
from parley_wire.errors import ErrorCode
from parley_wire.events import ConnectionFailed, DataReceived, RequestReceived, StreamEnded, TrailersReceived
from parley_wire.log import log
from parley_wire.opening import open_call
from parley_wire.peer_identity import auth_context, peer_text
from parley_wire.raw_call import RawCall
from parley_wire.servicer_call import ServicerCall

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parley_wire.events import Event
    from parley_wire.server import Server
    from parley_wire.shared_frame import SharedFrame
    from parley_wire.status import CallFault

_KEEPALIVE = b"alive???"
_CLOSE_SECONDS = 5.0
# By then no frame of a stream that was closed is on its way any more.
_TRIM_SECONDS = 15.0


class ServerConnection(asyncio.Protocol):
    """Made for each accepted socket. Lives until the socket is closed."""

    __slots__ = (
        "_auth_context",
        "_close_at",
        "_deaf",
        "_drain_at",
        "_header_timer",
        "_heard_at",
        "_peer",
        "_pinged_at",
        "_stalled_since",
        "_transport",
        "_turn_events",
        "_turn_over",
        "address",
        "core",
        "dirty",
        "server",
        "shared",
    )

    def __init__(self, server: Server) -> None:
        self.server = server
        self.shared: SharedFrame = server.shared
        self.core = Connection(client=False, limits=server.options.limits)
        self.dirty = False
        self.address = ""
        self._transport: asyncio.Transport | None = None
        # Nothing is read, since our answers are not.
        self._deaf = False
        # Nothing is read until others had their turn; and what came in this one.
        self._turn_over = False
        self._turn_events = 0
        self._peer: str | None = None
        self._auth_context: Mapping[str, tuple[bytes, ...]] | None = None
        # Set for a header block that began and had not ended; once it has, nobody minds the timer.
        self._header_timer: asyncio.TimerHandle | None = None
        # Times of the loop's clock; None where nothing is under way.
        self._heard_at = 0.0
        self._pinged_at: float | None = None
        self._stalled_since: float | None = None
        self._drain_at: float | None = None
        self._close_at: float | None = None

    # What the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server = self.server
        options = server.options
        # uvloop's transports have the methods without the base class.
        self._transport = transport = cast("asyncio.Transport", transport)
        now = server.loop.time()
        self._heard_at = now
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            # RFC 9113, section 3.2: without ALPN the client does not speak HTTP/2.
            self._refuse(transport)
            return
        if not server.admit(self, transport):
            self._refuse(transport)
            return
        transport.set_write_buffer_limits(options.write_buffer_bytes)
        age = server.connection_age()
        if age:
            self._drain_at = now + age
        self._close_at = now + options.handshake_seconds
        self.core.start()
        self.schedule()

    def data_received(self, data: bytes) -> None:
        core = self.core
        now = self.server.loop.time()
        self._heard_at = now
        try:
            events = core.receive(data, now)
            for event in events:
                if type(event) is DataReceived:
                    owner = event.stream.owner
                    if owner is not None:
                        owner.on_data(event.data, event.end_stream)
                    else:
                        core.consumed(event.stream, len(event.data))
                else:
                    self._handle(event)
        except Exception:
            # A defect of ours or of a handler: this connection ends, the others go on.
            log.exception("a connection failed")
            core.fail(ErrorCode.INTERNAL_ERROR, "the server failed")
            self._close_soon()
        else:
            self._turn_events += len(events)
            if core.has_more or self._turn_events >= core.limits.events_per_turn:
                self._end_turn()
        if core.header_since is not None and self._header_timer is None:
            self._time_header(core.header_since)
        if not self.dirty and core.wants_flush:
            self.schedule()

    def eof_received(self) -> bool:
        # HTTP/2 knows no half-closed connections.
        return False

    def pause_writing(self) -> None:
        self.core.sender.pause()
        self._stalled_since = self.server.loop.time()

    def resume_writing(self) -> None:
        self.core.sender.resume()
        self._stalled_since = None
        if self._deaf:
            self._deaf = False
            if not self._turn_over:
                self._end_turn()
        self.schedule()

    def connection_lost(self, _error: Exception | None) -> None:
        self.server.forget(self)
        self.core.close()
        self._tell_closed()
        self._transport = None
        if self._header_timer is not None:
            self._header_timer.cancel()

    # What calls use

    def schedule(self) -> None:
        """Write what there is at the end of this tick."""
        if not self.dirty:
            self.server.flusher.add(self)

    @property
    def peer(self) -> str:
        """The client's address, as grpc prints it."""
        if self._peer is None:
            name = None if self._transport is None else self._transport.get_extra_info("peername")
            self._peer = peer_text(name)
        return self._peer

    @property
    def auth_context(self) -> Mapping[str, tuple[bytes, ...]]:
        """What TLS found out about the client."""
        if self._auth_context is None:
            tls = None if self._transport is None else self._transport.get_extra_info("ssl_object")
            self._auth_context = {} if tls is None else auth_context(tls.getpeercert() or {})
        return self._auth_context

    # What the server uses

    def flush(self) -> None:
        """Hand the output to the socket, and tell calls what became of them."""
        transport = self._transport
        core = self.core
        sender = core.sender
        if transport is None:
            return
        if sender.paused:
            too_much = sender.control_bytes > core.limits.control_backlog_bytes
            if too_much and not self._deaf and not transport.is_closing():
                # It does not read our answers: hear no more of its questions.
                self._deaf = True
                transport.pause_reading()
        else:
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
        if core.failed or (core.shutdown_finished and not core.streams.open and not sender.has_more):
            self._close_when_told()
        elif not self.dirty and not sender.paused and sender.has_more:
            self.schedule()

    def shut_down(self, close_at: float) -> None:
        """Take no new calls; close when the present ones are over, at `close_at` at the latest."""
        self.core.shut_down()
        self._close_at = close_at
        self.schedule()

    def end_calls(self, fault: CallFault) -> None:
        """Cancel every call."""
        for stream in list(self.core.streams.open.values()):
            owner = stream.owner
            if isinstance(owner, ServicerCall | RawCall):
                owner.cancel(fault)
            else:
                self.core.reset(stream, ErrorCode.CANCEL)
        self.schedule()

    def abort(self) -> None:
        """Close at once; what waits is lost."""
        if self._transport is not None:
            self._transport.abort()

    def check(self, now: float) -> None:
        """Look after everything that depends on time. The server calls it about once a second."""
        if self._transport is None:
            return
        options = self.server.options
        core = self.core
        if self._close_at is not None and now >= self._close_at:
            self.abort()
            return
        if self._drain_at is not None and now >= self._drain_at:
            self._drain_at = None
            self.shut_down(now + options.connection_age_grace_seconds)
        if self._stalled_since is not None and now - self._stalled_since > options.send_stall_seconds:
            self.abort()
            return
        if core.sender.queued_bytes:
            self._check_streams(now, options.send_stall_seconds)
        if now - self._heard_at > _TRIM_SECONDS:
            core.trim()
        if now - self._heard_at > options.keepalive_seconds:
            if self._pinged_at is None or self._pinged_at < self._heard_at:
                self._pinged_at = now
                core.ping(_KEEPALIVE)
                self.schedule()
            elif now - self._pinged_at > options.keepalive_timeout_seconds:
                self.abort()

    # Inside

    @property
    def _port(self) -> str:
        """Our own address."""
        return peer_text(None if self._transport is None else self._transport.get_extra_info("sockname"))

    def _refuse(self, transport: asyncio.Transport) -> None:
        """Close at once: no limit knows of this connection. What it says meanwhile goes nowhere."""
        self.core.close()
        transport.abort()

    def _handle(self, event: Event) -> None:
        if type(event) is RequestReceived:
            if self._close_at is not None and not self.core.shutting_down:
                self._close_at = None
            open_call(self, event)
        elif type(event) is TrailersReceived:
            owner = event.stream.owner
            if owner is not None:
                owner.on_data(b"", True)
        elif type(event) is StreamEnded:
            owner = event.stream.owner
            if owner is not None:
                owner.on_cut(event.code)
        elif type(event) is ConnectionFailed:
            if event.reason is SPEAKS_TLS:
                self.server.mistaken_clients.spoke_tls(self.peer, self._port, self.server.loop.time())
            else:
                self.server.given_up_log.write(
                    logging.INFO,
                    "connection of %s given up: %s, %s",
                    self.peer,
                    event.code.name,
                    event.reason,
                    now_seconds=self.server.loop.time(),
                )
            self._close_soon()
        elif self._close_at is not None and not self.core.shutting_down and not self.core.failed:
            # Its settings came, so the handshake is over.
            self._close_at = None

    def _end_turn(self) -> None:
        """Let other connections come before this one goes on: what one client has sent may keep us busy for
        seconds, and the loop would read on for as long as there is more.
        """
        if self._transport is not None and not self._turn_over:
            self._turn_over = True
            self._transport.pause_reading()
            self.server.loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._turn_over = False
        self._turn_events = 0
        if self._deaf or self._transport is None or self._transport.is_closing():
            return
        if self.core.has_more:
            self.data_received(b"")
        if not self._turn_over and not self._deaf:
            self._transport.resume_reading()

    def _time_header(self, since: float) -> None:
        """Give up on the header block that began at `since` unless it ends in time."""
        server = self.server
        self._header_timer = server.loop.call_at(
            since + server.options.header_seconds, self._header_time_over, since
        )

    def _header_time_over(self, since: float) -> None:
        self._header_timer = None
        present = self.core.header_since
        if present == since:
            self.core.fail(ErrorCode.ENHANCE_YOUR_CALM, "a header block took too long")
            self._close_soon()
        elif present is not None:
            # That one ended, and another has begun.
            self._time_header(present)

    def _tell_closed(self) -> None:
        core = self.core
        while core.closed_streams:
            closed, core.closed_streams = core.closed_streams, None
            for stream in closed:
                owner = stream.owner
                if owner is not None:
                    owner.on_closed()

    def _check_streams(self, now: float, limit_seconds: float) -> None:
        for stream in list(self.core.streams.open.values()):
            if stream.queue is None:
                continue
            if stream.stalled_since is None:
                stream.stalled_since = now
            elif now - stream.stalled_since > limit_seconds:
                self.core.reset(stream, ErrorCode.CANCEL)
                self.schedule()

    def _close_soon(self) -> None:
        self._close_at = self.server.loop.time() + _CLOSE_SECONDS
        core = self.core
        core.closed_streams = [*(core.closed_streams or ()), *core.streams.open.values()]
        for stream in core.closed_streams:
            stream.local_closed = stream.remote_closed = True
        core.streams.open.clear()
        self.schedule()

    def _close_when_told(self) -> None:
        """Close behind what is written; a peer that does not read has a little time."""
        transport = self._transport
        if transport is not None and not transport.is_closing() and not self.core.sender.paused:
            self._close_at = self.server.loop.time() + _CLOSE_SECONDS
            transport.close()
