"""The server's half of one stream: what is written to it, and when."""

from __future__ import annotations

import asyncio
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Protocol

from parley_runtime.logs import get_logger
from parley_runtime.refusal import Reason, Refusal
from parley_server.api import frames
from parley_server.api.interceptor import store_unavailable
from parley_server.chat.cursor import CURSOR_LIMIT_BYTES, cursor_prefix, cursor_text
from parley_server.chat.framing import cursor_field
from parley_server.chat.outbox import Frame, OutboxLimits
from parley_server.chat.session import Phase, Session, Verdict
from parley_server.ports.feed import EpochChanged
from parley_server.ports.message_log import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping

    from parley_server.api.stream_services import StreamServices
    from parley_server.ports.positions import FeedCursor
    from parley_server.ports.routes import Route
    from parley_server.ports.stream import DeviceStream

# Replies and news of the stream wait outside the bounds for events: a client that asks and never reads ends.
FIELDS_LIMIT = 2048
# A frame ends early enough for its cursor.
_CURSOR_FIELD_BYTES = CURSOR_LIMIT_BYTES + 4

log = get_logger(__name__)


@lru_cache(maxsize=8)
def _outbox_limits(events: int, waiting_bytes: int, frame_bytes: int) -> OutboxLimits:
    """The same for all streams of a node."""
    return OutboxLimits(events, waiting_bytes, max(1, frame_bytes - _CURSOR_FIELD_BYTES))


class StreamGone(Exception):
    """The stream ended while something was being prepared for it."""


class StreamOwner(Protocol):
    """Whose stream it is. Plain calls on the loop."""

    def joined(self) -> None:
        """Hello is answered and everything missed was sent."""
        ...

    def overflowed(self) -> None:
        """The client asks and does not read."""
        ...

    def end(self, refusal: Refusal | None) -> None:
        """The stream must end."""
        ...


class Downstream:
    """Joins the session to the transport: writes its frames, and catches up with the logs when it must.

    There is one for each open stream, nearly all of them idle: what most never need is made when it is, and
    forgotten afterwards.
    """

    __slots__ = (
        "_counted_bytes",
        "_cursor_prefix",
        "_owner",
        "_position_timer",
        "_services",
        "_stream",
        "_taken",
        "_tasks",
        "_user_id",
        "_writable",
        "blocked_since",
        "epoch",
        "joined",
        "session",
    )

    def __init__(self, services: StreamServices, owner: StreamOwner) -> None:
        self._services = services
        self._owner = owner
        limits = services.limits
        self.session = Session(_outbox_limits(limits.outbox_events, limits.outbox_bytes, limits.frame_bytes))
        self._stream: DeviceStream | None = None
        self._user_id = ""
        self.epoch = ""
        self._cursor_prefix = ""
        self._writable = True
        self._taken: asyncio.Future[None] | None = None
        self._position_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] | None = None
        self._counted_bytes = 0
        self.blocked_since: float | None = None
        self.joined = False

    def opened(self, stream: DeviceStream) -> None:
        """The transport's stream is there."""
        self._stream = stream

    def join(
        self, user_id: str, route: Route, lease_seconds: float, cursor: str, known: Mapping[str, int]
    ) -> None:
        """Connect the client's past to its stream. The session must be listening."""
        self._user_id = user_id
        self.start("join", partial(self._join, route, lease_seconds, cursor, known))

    # What comes

    def deliver(
        self, channel_id: str, first_seq: int, fields: Collection[bytes], position: int | None
    ) -> None:
        """Take events of one channel; see Session.deliver."""
        session = self.session
        if session.phase is not Phase.LIVE:
            # They follow from the log. A thousand readers that lag must cost the others as little as can be.
            session.deliver(channel_id, first_seq, fields, position)
            return
        self._services.metrics.counts.events_delivered += len(fields)
        if self._writable:
            frame = session.pass_on(channel_id, first_seq, fields, position)
            if frame is not None:
                self._write(frame)
                if not self._writable:
                    self.blocked_since = self._services.clock.monotonic()
                return
        self._obey(session.deliver(channel_id, first_seq, fields, position))

    def control(self, field: bytes, position: int) -> None:
        """Take a read position."""
        self._obey(self.session.put_mark(field, position))

    def put(self, field: bytes) -> None:
        """Send a reply, or news about the stream."""
        if self.session.outbox.undroppable >= FIELDS_LIMIT:
            self._owner.overflowed()
            return
        if self._writable and not self.session.outbox:
            self._write(Frame(field, None))
            if not self._writable:
                self.blocked_since = self._services.clock.monotonic()
            return
        self.session.put(field)
        self.flush()

    def lag_now(self) -> None:
        """Give up what waits, if the session is live."""
        if self.session.lag_now():
            self._obey(Verdict.LAGGING)

    def ping(self, cursor: FeedCursor) -> None:
        """Ask for a sign of life. The user's feed is at `cursor`: if what it announced does not come soon, it
        is read.
        """
        session = self.session
        if session.phase is not Phase.LIVE:
            return
        if cursor.epoch != self.epoch:
            session.suspect()
            self.start("catch up", self._catch_up)
            return
        session.announced(cursor.position)
        self._mind_positions()
        if self._writable:
            # A client that takes nothing needs no more pings to read later.
            session.put(frames.ping(cursor_text(self._user_id, cursor)))
            # Where the client is, in case nothing else brought it a cursor since.
            session.outbox.reach(session.position)
            self.flush()

    def taken(self) -> None:
        """The transport takes more."""
        self._writable = True
        self.blocked_since = None
        if self.session.phase is Phase.ENDED:
            return
        self.flush()
        if self._taken is not None and self.session.outbox.has_room:
            self._taken.set_result(None)
            self._taken = None

    # Writing

    def flush(self) -> None:
        """Write what waits, as far as the transport takes it."""
        session = self.session
        while self._writable and len(session.outbox):
            self._write(session.next_frame())
        if not self._writable and self.blocked_since is None:
            self.blocked_since = self._services.clock.monotonic()
        waiting_bytes = session.outbox.waiting_bytes
        if self._counted_bytes != waiting_bytes:
            change = waiting_bytes - self._counted_bytes
            self._counted_bytes = waiting_bytes
            self._services.metrics.streams_waiting_bytes.inc(change)
            self._services.sessions.waiting_changed(change)

    def write_rest(self) -> None:
        """Hand everything that waits to the transport, whether it takes more or not: the stream ends."""
        while len(self.session.outbox):
            self._write(self.session.next_frame())

    def write_last(self, field: bytes) -> None:
        """Hand one field to the transport, past everything that waits: the stream ends."""
        if self._stream is not None:
            self._stream.send_encoded(field)

    def release(self) -> None:
        """Forget everything and end what runs. Releasing twice is fine."""
        self.session.end()
        self._services.metrics.streams_waiting_bytes.dec(self._counted_bytes)
        self._services.sessions.waiting_changed(-self._counted_bytes)
        self._counted_bytes = 0
        if self._position_timer is not None:
            self._position_timer.cancel()
        if self._taken is not None:
            self._taken.set_result(None)
            self._taken = None
        for task in self._tasks or ():
            if task is not asyncio.current_task():
                task.cancel()

    def _write(self, frame: Frame) -> None:
        message = frame.message
        if frame.position is not None:
            message += cursor_field(f"{self._cursor_prefix}{frame.position}")
        self._services.metrics.counts.frames_sent += 1
        if self._stream is not None:
            self._writable = self._stream.send_encoded(message)

    def _obey(self, verdict: Verdict) -> None:
        if verdict is Verdict.TAKEN:
            self.flush()
        elif verdict is Verdict.LAGGING:
            self._services.metrics.streams_lagged.inc()
            if self.session.lag is not None:
                self.session.put(frames.lagging(self.session.lag))
            self.flush()
            self.start("catch up", self._catch_up)
            return
        elif verdict is Verdict.MISSING:
            self.start("catch up", self._catch_up)
            return
        self._mind_positions()

    def _mind_positions(self) -> None:
        if self._position_timer is None and self.session.waits_for_positions:
            self._position_timer = asyncio.get_running_loop().call_later(
                self._services.session_settings.missing_position_seconds, self._positions_are_late
            )

    def _positions_are_late(self) -> None:
        self._position_timer = None
        if self.session.waits_for_positions and self.session.suspect():
            self.start("catch up", self._catch_up)

    # Joining and catching up

    async def _join(self, route: Route, lease_seconds: float, cursor: str, known: Mapping[str, int]) -> None:
        services, user_id = self._services, self._user_id
        await services.rates.take("stream", user_id)
        await services.routes.add(user_id, route, lease_seconds=lease_seconds)
        joining = await services.joins.read(user_id, route.device_id, cursor, known)
        self.epoch = joining.cursor.epoch
        self._cursor_prefix = cursor_prefix(user_id, self.epoch)
        self.put(
            frames.welcome(
                user_id,
                route.session_id,
                services.node_id,
                joining,
                services.limits,
                services.session_settings,
                services.clock.now_ms(),
            )
        )
        for page in frames.digests(joining.told):
            await self._room()
            self.put(page)
        self.session.join(joining.start)
        await self._catch_up()
        self.joined = True
        self._owner.joined()

    async def _catch_up(self) -> None:
        session = self.session
        await self._services.catch_up.run(session, self._user_id, self.epoch, self._room)
        session.put(frames.caught_up())
        # Heads and events before this are in the queue: the cursor that covers them may follow.
        session.outbox.reach(session.position)
        self.flush()

    async def _room(self) -> None:
        """Hand out what waits, and wait until the client takes it. Raises StreamGone."""
        self.flush()
        if self.session.phase is not Phase.ENDED and not self._writable:
            if self._taken is None:
                self._taken = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._taken)
        if self.session.phase is Phase.ENDED:
            raise StreamGone

    def start(self, what: str, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run work that ends with the stream; what it raises ends the stream. It is not called when the
        stream ends before it began.
        """
        task = asyncio.get_running_loop().create_task(self._run(what, work))
        if self._tasks is None:
            self._tasks = set()
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        if self._tasks is not None:
            self._tasks.discard(task)
            self._tasks = self._tasks or None

    async def _run(self, what: str, work: Callable[[], Coroutine[None, None, None]]) -> None:
        try:
            await work()
        except StreamGone:
            pass
        except Refusal as refusal:
            self._owner.end(refusal)
        except StoreUnavailable as error:
            self._owner.end(store_unavailable(what, error))
        except EpochChanged:
            # The client comes back with a cursor of a lost feed, and is told all heads.
            self._owner.end(store_unavailable(what, StoreUnavailable("the user's feed was lost")))
        except Exception as error:
            error_id = self._services.new_error_id()
            log.error("stream failed", doing=what, error_id=error_id, exc_info=error)
            text = f"The server failed. Report this id to its operators: {error_id}"
            self._owner.end(Refusal(Reason.INTERNAL, text))
