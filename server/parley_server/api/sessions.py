"""The open chat streams of this node: how many, whose, alive or not, and how they all end."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from parley_runtime.logs import get_logger
from parley_runtime.refusal import Reason, Refusal
from parley_server.chat.farewell import Farewell

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from parley_runtime.clock import Clock
    from parley_runtime.settings import Sessions as SessionSettings
    from parley_server.accounts.caller import Caller

SWEEP_SECONDS = 1.0

log = get_logger(__name__)


class OpenStream(Protocol):
    """An open stream, as the registry sees it."""

    @property
    def caller(self) -> Caller | None:
        """Whose it is; None before it was authenticated."""
        ...

    def touch(self, *, foreground: bool | None) -> None:
        """The client was heard; None keeps the foreground state."""
        ...

    @property
    def droppable_bytes(self) -> int:
        """How much waits to be written to it, if that can be given up."""
        ...

    def tick(self, now_ms: int) -> None:
        """Do what time asks for: end the stream if its lease or token has run out, remind, ping, store."""
        ...

    def lag_now(self) -> None:
        """Give up what waits; it follows from the log when the client reads."""
        ...

    def leave(self, farewell: Farewell, reconnect_after_seconds: float) -> None:
        """Say GoAway and end."""
        ...


class Sessions:
    """Registry of streams. Bounded: one too many is refused with SERVER_BUSY."""

    def __init__(
        self,
        clock: Clock,
        settings: SessionSettings,
        *,
        streams_limit: int,
        streams_per_user_limit: int,
        waiting_limit_bytes: int,
        random: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._streams_limit = streams_limit
        self._streams_per_user_limit = streams_per_user_limit
        self._waiting_limit_bytes = waiting_limit_bytes
        self._waiting_bytes = 0
        self._random = random
        self._storing: set[asyncio.Task[None]] = set()
        self._open: set[OpenStream] = set()
        self._by_id: dict[str, OpenStream] = {}
        self._per_user: Counter[str] = Counter()
        self._all_closed = asyncio.Event()
        self._stopping = False

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, stream: OpenStream, user_id: str) -> None:
        """Count a new stream of the user. Raises Refusal (SERVER_BUSY, NODE_STOPPING)."""
        if self._stopping:
            raise Refusal(
                Reason.NODE_STOPPING, "This node is leaving. Connect again.", retry_after_seconds=1.0
            )
        if len(self._open) >= self._streams_limit:
            raise Refusal(
                Reason.SERVER_BUSY,
                "This node holds as many streams as it may. Retry later.",
                retry_after_seconds=5.0,
            )
        if self._per_user[user_id] >= self._streams_per_user_limit:
            # Else one account could take every place there is.
            raise Refusal(
                Reason.SERVER_BUSY,
                f"You have {self._streams_per_user_limit} streams open on this node. Close some.",
                retry_after_seconds=5.0,
            )
        self._open.add(stream)
        self._per_user[user_id] += 1

    def named(self, session_id: str, stream: OpenStream) -> None:
        """The stream has said Hello and is known by this id."""
        self._by_id[session_id] = stream

    def closed(self, session_id: str, stream: OpenStream) -> None:
        """The stream is gone."""
        if stream in self._open:
            self._open.discard(stream)
            user_id = stream.caller.user_id if stream.caller else ""
            self._per_user[user_id] -= 1
            if not self._per_user[user_id]:
                del self._per_user[user_id]
        self._by_id.pop(session_id, None)
        if self._stopping and not self._open:
            self._all_closed.set()

    def waiting_changed(self, change_bytes: int) -> None:
        """Count what waits on all streams. Beyond the limit the fullest streams lag, until there is room."""
        self._waiting_bytes += change_bytes
        while change_bytes > 0 and self._waiting_bytes > self._waiting_limit_bytes:
            fullest = max(self._open, key=lambda stream: stream.droppable_bytes)
            if fullest.droppable_bytes == 0:
                # Those that catch up hold little more than a frame each, and only until it is read.
                return
            fullest.lag_now()

    def store(self, work: Coroutine[None, None, None]) -> None:
        """Run a small write that outlives its stream; `stop` waits for it. A failure is logged, no more: the
        write can be repeated by the device.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._storing.add(task)
        task.add_done_callback(self._stored)

    def _stored(self, task: asyncio.Task[None]) -> None:
        self._storing.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("a device's position was not stored", error=str(error))

    def heartbeat(self, caller: Caller, session_id: str, *, foreground: bool) -> bool:
        """Renew the lease of one of this device's streams. False: it is not open here."""
        stream = self._by_id.get(session_id)
        if stream is None or stream.caller is None or stream.caller.device_id != caller.device_id:
            return False
        stream.touch(foreground=foreground)
        return True

    def revoked(self, user_id: str, device_id: str | None, reason: Reason) -> None:
        """End the device's streams, or with None all of the user's."""
        suspended = reason is Reason.ACCOUNT_SUSPENDED
        farewell = Farewell.ACCOUNT_SUSPENDED if suspended else Farewell.DEVICE_REVOKED
        for stream in tuple(self._open):
            caller = stream.caller
            if caller is not None and caller.user_id == user_id and device_id in (None, caller.device_id):
                stream.leave(farewell, 0.0)

    async def sweep(self) -> None:
        """End streams whose lease or token has run out, once a second, until cancelled.

        A stream that fails here is logged and looked at again the next time; the others do not notice.
        """
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now_ms = self._clock.now_ms()
            for stream in tuple(self._open):
                self._tick(stream, now_ms)

    def _tick(self, stream: OpenStream, now_ms: int) -> None:
        try:
            stream.tick(now_ms)
        except Exception:
            log.exception("a stream was not swept", user_id=stream.caller.user_id if stream.caller else "")

    async def stop(self, grace_seconds: float) -> None:
        """Take no more streams, tell each client when to come back, and wait until they are gone and their
        writes are done: at most the grace for both.
        """
        self._stopping = True
        loop = asyncio.get_running_loop()
        stop_at = loop.time() + grace_seconds
        # One slot of 5 ms per client, so that a full node's clients do not return all at once.
        spread_seconds = min(self._settings.reconnect_spread_seconds, len(self._open) * 0.005)
        for stream in tuple(self._open):
            stream.leave(Farewell.NODE_STOPPING, self._random() * spread_seconds)
        if self._open:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_closed.wait(), grace_seconds)
        if self._storing:
            await asyncio.wait(tuple(self._storing), timeout=max(0.0, stop_at - loop.time()))
