"""Follows the user's channels across streams: the shell around `Sync`."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from parley._advice import Advice
from parley._client_status import Phase
from parley._errors import ParleyError, TimedOut
from parley._handout import Handout
from parley._patience import reconnect_wait_seconds
from parley._reasons import ChannelNotFound
from parley._session import ChannelHead, Session
from parley._stream import Stream
from parley._sync import Sync
from parley.chat.v1 import chat_service_pb2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from parley._ledger import Changes
    from parley._position import Position
    from parley._stream import OpenCall
    from parley._sync import Range
    from parley.chat.v1 import stream_pb2

    Fetch = Callable[[chat_service_pb2.ListEventsRequest], Awaitable[chat_service_pb2.ListEventsResponse]]

FETCHES_LIMIT = 4
"""Ranges that are fetched at once."""

_PAGE_EVENTS = 200
_ACKNOWLEDGE_SECONDS = 2.0
_TERMINAL = (Advice.REAUTHENTICATE, Advice.GIVE_UP)


class Follower:
    """Keeps a stream open until it is closed or fails for good. Its tasks end with it.

    `moved` is called when `phase` or `last_error` changed.
    """

    def __init__(
        self,
        position: Position,
        open_call: OpenCall,
        fetch: Fetch,
        newer_token: Callable[[str], Awaitable[str]],
        lost: Callable[[ParleyError, Session], None],
        moved: Callable[[Phase], None],
        *,
        client_name: str,
        foreground: bool,
        after: Follower | None,
    ) -> None:
        self.heads: dict[str, ChannelHead] = {}
        self.phase = Phase.CONNECTING
        self.last_error: ParleyError | None = None
        self.retry_at_seconds = 0.0
        self.stream: Stream | None = None
        self.handout = Handout()
        self._position = position
        self._open_call = open_call
        self._fetch = fetch
        self._newer_token = newer_token
        self._lost = lost
        self._moved = moved
        self._client_name = client_name
        self._foreground = foreground
        self._after = after
        self._sync = Sync()
        self._behind = asyncio.Event()
        self._fetching: set[str] = set()
        self._phase_news = asyncio.Event()
        self._failure: BaseException | None = None
        self._acknowledged = ""
        self._cursor_news = asyncio.Event()
        self._saving = asyncio.Lock()
        self._closed = False
        self._closing: asyncio.Task[None] | None = None
        self._task = asyncio.create_task(self._run(), name="parley follower")
        self._keeper = asyncio.create_task(self._keep(), name="parley position keeper")

    @property
    def ended(self) -> bool:
        """Whether nothing more will come. Events that came before may still wait to be read."""
        return self._task.done()

    @property
    def behind(self) -> int:
        """How many channels are being fetched."""
        return self._sync.behind

    # As the sink of a stream

    @property
    def has_room(self) -> bool:
        """Whether the next frame is welcome."""
        return self.handout.has_room

    async def room(self) -> None:
        """Wait until the next frame is welcome."""
        await self.handout.room()

    def take(self, frame: stream_pb2.ConnectResponse) -> None:
        """Take a frame of the stream."""
        self.handout.put(self._sync.received(frame))
        if self._sync.behind:
            self._behind.set()
        self._update_phase()

    # For the client

    async def ready(self, timeout_seconds: float | None = None) -> None:
        """Wait until a stream is open and all about the past was said on it."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while not (self.stream and self.stream.session.caught_up and not self.stream.ended):
                    if self._task.done():
                        if self._failure is not None:
                            raise self._failure
                        return
                    await self._phase_news.wait()
        except TimeoutError:
            assert timeout_seconds is not None
            raise self.last_error or TimedOut.after(timeout_seconds) from None

    async def aclose(self) -> None:
        """Store what was acknowledged, tell the server, leave in good order.

        Whoever is cancelled while waiting here leaves the closing under way; calling again waits for it.
        """
        if self._closing is None:
            self._closed = True
            self._closing = asyncio.create_task(self._close(), name="parley closing")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self.handout.drop()
        self.handout.end(None)
        self._keeper.cancel()
        await asyncio.wait([self._keeper])
        try:
            await self._save(self.handout.changes())
        finally:
            if self.stream is not None:
                if self.stream.takes_requests and self._position.cursor != self._acknowledged:
                    self.stream.acknowledge(self._position.cursor)
                await self.stream.aclose()
            self._task.cancel()
            await asyncio.wait([self._task])
            self._to(Phase.ENDED)

    async def _run(self) -> None:
        failure: BaseException | None = None
        try:
            if self._after is not None:
                await self._after.aclose()
            await self._position.opened()
            self.handout.begin(stored=bool(self._position.cursor))
            self._sync = Sync(self._position.cursor, dict(self._position.seqs))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._stay_connected(), name="parley streams")
                tasks.create_task(self._tell_positions(), name="parley acknowledgements")
                for number in range(FETCHES_LIMIT):
                    tasks.create_task(self._catch_up(), name=f"parley fetch {number}")
        except BaseExceptionGroup as group:
            failure = group.exceptions[0]
        except Exception as error:
            failure = error
        finally:
            if self.stream is not None:
                await self.stream.abort()
            if isinstance(failure, ParleyError):
                self.last_error = failure
            if failure is not None and not self._closed:
                self._failure = failure
            self.handout.end(self._failure)
            self._to(Phase.ENDED)

    async def _stay_connected(self) -> None:
        failures = 0
        while True:
            self._to(Phase.CONNECTING)
            session = Session(self.heads)
            hello = self._sync.hello(self._client_name, foreground=self._foreground)
            self.stream = Stream(self._open_call, hello, session, sink=self, newer_token=self._newer_token)
            try:
                await self.stream.end()
                if self._closed:
                    await asyncio.Event().wait()
                raise session.ended(None)
            except ParleyError as error:
                if error.advice in _TERMINAL:
                    raise
                failures = 0 if session.caught_up else failures + 1
                self.last_error = error
                self._lost(error, session)
                wait_seconds = reconnect_wait_seconds(failures, error.retry_after_seconds, random.random())
                self.retry_at_seconds = asyncio.get_running_loop().time() + wait_seconds
            self._to(Phase.WAITING)
            await asyncio.sleep(wait_seconds)

    async def _catch_up(self) -> None:
        """Fetch ranges, page by page, as the application takes them."""
        failures = 0
        while True:
            wanted = self._sync.next_range(self._fetching)
            if wanted is None:
                self._behind.clear()
                await self._behind.wait()
                continue
            self._fetching.add(wanted.channel_id)
            try:
                await self.handout.room()
                progress = await self._fetch_page(wanted)
            except ParleyError as error:
                if error.advice in _TERMINAL:
                    raise
                self.last_error, progress = error, False
            finally:
                self._fetching.discard(wanted.channel_id)
            if self._sync.behind:
                self._behind.set()
            if not progress:
                # The server cannot be reached, or does not have yet what it told of.
                await asyncio.sleep(reconnect_wait_seconds(failures, None, random.random()))
            failures = 0 if progress else failures + 1
            self._update_phase()

    async def _fetch_page(self, wanted: Range) -> bool:
        request = chat_service_pb2.ListEventsRequest(
            channel_id=wanted.channel_id,
            from_seq=wanted.from_seq,
            to_seq=wanted.to_seq or 0,
            page_size=_PAGE_EVENTS,
        )
        behind = self._sync.behind
        try:
            page = await self._fetch(request)
        except ChannelNotFound:
            self.handout.put(self._sync.forbidden(wanted.channel_id))
            return True
        items = self._sync.fetched(
            wanted, page.events, complete=not page.next_page_token, head_seq=page.head_seq
        )
        self.handout.put(items)
        return bool(items) or self._sync.behind < behind

    async def _keep(self) -> None:
        """Store positions as they are acknowledged. A store that fails ends the stream."""
        while True:
            changes = await self.handout.next_changes()
            try:
                # Whoever closes this follower lets a write end: what was taken is in nobody else's hands.
                await asyncio.shield(self._save(changes))
            except Exception as error:
                self.handout.not_saved(error)
                self._failure = error
                self.handout.end(error)
                self._task.cancel()
                return

    async def _save(self, changes: Changes | None) -> None:
        async with self._saving:
            if changes is not None:
                await self._position.save(changes)
                self.handout.saved()
                if changes.cursor:
                    self._cursor_news.set()

    async def _tell_positions(self) -> None:
        """Tell the server how far the device is, so that one that lost its state need not begin anew."""
        while True:
            await self._cursor_news.wait()
            self._cursor_news.clear()
            stream, cursor = self.stream, self._position.cursor
            if stream is not None and stream.takes_requests and cursor != self._acknowledged:
                stream.acknowledge(cursor)
                self._acknowledged = cursor
            await asyncio.sleep(_ACKNOWLEDGE_SECONDS)

    def _update_phase(self) -> None:
        stream = self.stream
        if stream is None or self._closed or not stream.session.welcomed or self.phase is Phase.ENDED:
            return
        if self.phase is Phase.WAITING:
            return
        live = stream.session.caught_up and not self._sync.behind and not stream.session.lagging
        if live:
            self.last_error = None
        self._to(Phase.LIVE if live else Phase.CATCHING_UP)
        if stream.session.caught_up:
            self._wake()

    def _to(self, phase: Phase) -> None:
        if phase is not self.phase:
            self.phase = phase
            self._moved(phase)
        self._wake()

    def _wake(self) -> None:
        self._phase_news.set()
        self._phase_news = asyncio.Event()
