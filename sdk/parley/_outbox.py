"""The messages that wait for the server's answer: in order per channel, each until it is answered."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from grpc import StatusCode

from parley._advice import Advice
from parley._errors import OutboxFull, ParleyError, TimedOut
from parley._patience import reconnect_wait_seconds
from parley._reasons import ClientIdReused
from parley._sent import Outcome, Sent, WaitingMessage
from parley._state import StateError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from parley._position import Position
    from parley.chat.v1 import message_requests_pb2

    Attempt = Callable[
        [message_requests_pb2.SendMessageRequest, int],
        Awaitable[message_requests_pb2.SendMessageResponse],
    ]
    """Makes one attempt, which is the given number of its message, from 0."""

BYTES_LIMIT = 32 * 1024 * 1024
OUTCOMES_KEPT = 1000

_ATTEMPTS_AT_ONCE = 16
_NOT_ABOUT_THE_MESSAGE = ("ACCOUNT_SUSPENDED",)


@dataclass(slots=True, eq=False)
class Letter:
    """One message on its way. `answer` gets what comes of it."""

    request: message_requests_pb2.SendMessageRequest
    answer: asyncio.Future[Sent]
    size_bytes: int
    attempts: int = 0
    last_error: ParleyError | None = None
    failure: Exception | None = None
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when nothing more is tried until somebody sends again."""

    @property
    def message_id(self) -> str:
        """Its id."""
        return self.request.client_message_id


def settles(error: ParleyError) -> bool:
    """Whether an error is the last word on a message, or waiting or logging in again may help."""
    return error.advice is Advice.GIVE_UP and error.reason not in _NOT_ABOUT_THE_MESSAGE


class Outbox:
    """Holds at most `limit` messages and 32 MiB. One task for each channel that has any sends them."""

    def __init__(
        self,
        position: Position,
        attempt: Attempt,
        on_outcome: Callable[[Outcome], None] | None,
        *,
        limit: int,
    ) -> None:
        self._position = position
        self._attempt = attempt
        self._on_outcome = on_outcome
        self._limit = limit
        self._letters: dict[str, Letter] = {}
        self._bytes = 0
        self._lanes: dict[str, deque[Letter]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._at_once = asyncio.Semaphore(_ATTEMPTS_AT_ONCE)
        self._kicked = asyncio.Event()
        self._answered: list[str] = []
        self._sweeper: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        self._loading: asyncio.Task[None] | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._letters)

    async def loaded(self) -> None:
        """Have the stored messages on their way. Raises StateError."""
        if self._loading is None:
            self._loading = asyncio.create_task(self._load(), name="parley outbox opening")
        await asyncio.shield(self._loading)

    def waiting(self) -> list[WaitingMessage]:
        """What waits, oldest first."""
        return [
            WaitingMessage(
                client_message_id=letter.message_id,
                channel_id=letter.request.channel_id,
                text=letter.request.text,
                attributes=dict(letter.request.attributes),
                attempts=letter.attempts,
                last_error=letter.last_error,
            )
            for letter in self._letters.values()
        ]

    async def add(self, request: message_requests_pb2.SendMessageRequest) -> Letter:
        """Store a message and have it sent. It is stored when this returns.

        Raises OutboxFull, StateError, and ClientIdReused when its id waits with other content.
        """
        await self.loaded()
        known = self._letters.get(request.client_message_id)
        if known is not None:
            if known.request != request:
                raise ClientIdReused(
                    f"{request.client_message_id} waits in the outbox with other content.",
                    code=StatusCode.ALREADY_EXISTS,
                    reason="CLIENT_ID_REUSED",
                )
            self._go_on(known.request.channel_id)
            return known
        size_bytes = request.ByteSize()
        if len(self._letters) >= self._limit or self._bytes + size_bytes > BYTES_LIMIT:
            raise OutboxFull.at(len(self._letters), self._bytes)
        letter = self._enter(request, size_bytes)
        try:
            await asyncio.shield(self._position.state.add_message(request))
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                # It may be stored by now, so it is sent.
                self._post(letter)
            else:
                self._leave(letter)
            raise
        self._post(letter)
        return letter

    async def answer(self, letter: Letter, timeout_seconds: float) -> Sent:
        """Wait for what comes of a message. Raises the last error when the time is up, or nothing helps."""
        stopped = asyncio.ensure_future(letter.stopped.wait())
        either: set[asyncio.Future[Any]] = {letter.answer, stopped}
        try:
            await asyncio.wait(either, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        if letter.answer.done():
            return letter.answer.result()
        raise letter.failure or letter.last_error or TimedOut.after(timeout_seconds)

    async def result(self, client_message_id: str) -> Sent:
        """Wait for what comes of a message. Raises LookupError when its id is not known here."""
        await self.loaded()
        letter = self._letters.get(client_message_id)
        if letter is not None:
            return await asyncio.shield(letter.answer)
        outcome = self._outcomes.get(client_message_id)
        if outcome is None:
            raise LookupError(f"no message {client_message_id} waits, or was answered lately")
        if outcome.sent is None:
            assert outcome.error is not None
            raise outcome.error
        return outcome.sent

    async def empty(self) -> None:
        """Wait until nothing waits."""
        await self.loaded()
        await self._empty.wait()

    def kick(self) -> None:
        """The server can be reached again: nobody needs to wait for it any longer."""
        self._kicked.set()
        self._kicked = asyncio.Event()

    async def aclose(self) -> None:
        """Stop sending. What waits stays stored."""
        self._closed = True
        tasks = [*self._tasks.values(), *([self._loading] if self._loading else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while self._sweeper is not None:
            await asyncio.wait([self._sweeper])
        for letter in self._letters.values():
            if not letter.answer.done():
                letter.answer.set_exception(
                    RuntimeError("the client was closed: the message waits in its state store")
                )

    async def _load(self) -> None:
        await self._position.opened()
        for request in self._position.outbox:
            self._post(self._enter(request, request.ByteSize()))
        self._position.outbox = []

    def _enter(self, request: message_requests_pb2.SendMessageRequest, size_bytes: int) -> Letter:
        letter = Letter(request, asyncio.get_running_loop().create_future(), size_bytes)
        letter.answer.add_done_callback(_looked_at)
        self._letters[letter.message_id] = letter
        self._bytes += size_bytes
        self._empty.clear()
        return letter

    def _post(self, letter: Letter) -> None:
        channel_id = letter.request.channel_id
        self._lanes.setdefault(channel_id, deque()).append(letter)
        self._go_on(channel_id)

    def _go_on(self, channel_id: str) -> None:
        if channel_id in self._lanes and channel_id not in self._tasks and not self._closed:
            for letter in self._lanes[channel_id]:
                letter.stopped.clear()
                letter.failure = None
            self._tasks[channel_id] = asyncio.create_task(self._send_lane(channel_id), name="parley outbox")

    async def _send_lane(self, channel_id: str) -> None:
        try:
            await self._send_all(channel_id)
        except Exception as failure:
            # Not of the server: a callback of the program that raised. Whoever waits is told.
            self._stop(channel_id, failure)
        finally:
            del self._tasks[channel_id]

    def _stop(self, channel_id: str, failure: Exception | None) -> None:
        """Try nothing more until somebody sends again; the messages stay."""
        for letter in self._lanes[channel_id]:
            letter.failure = failure
            letter.stopped.set()

    async def _send_all(self, channel_id: str) -> None:
        """Send what waits for one channel, one after the other: a later message never overtakes."""
        failures = 0
        lane = self._lanes[channel_id]
        while lane:
            letter = lane[0]
            kicked = self._kicked
            try:
                async with self._at_once:
                    answer = await self._attempt(letter.request, letter.attempts)
            except ParleyError as error:
                letter.attempts += 1
                letter.last_error = error
                if settles(error):
                    lane.popleft()
                    self._settle(letter, Outcome(letter.message_id, channel_id, None, error))
                    continue
                if error.advice in (Advice.REAUTHENTICATE, Advice.GIVE_UP):
                    # Only the user can help. Who waits is told; the messages stay for the next log-in.
                    for each in lane:
                        each.last_error = error
                    self._stop(channel_id, None)
                    return
                wait_seconds = reconnect_wait_seconds(failures, error.retry_after_seconds, random.random())
                failures += 1
                with_asked = error.retry_after_seconds is not None
                await _sleep_until(None if with_asked else kicked, wait_seconds)
            else:
                failures = 0
                lane.popleft()
                sent = Sent(
                    seq=answer.seq,
                    message_no=answer.message_no,
                    create_time_ms=answer.create_time_ms,
                    client_message_id=letter.message_id,
                    duplicate=answer.duplicate,
                )
                self._settle(letter, Outcome(letter.message_id, channel_id, sent, None))
        del self._lanes[channel_id]

    def _settle(self, letter: Letter, outcome: Outcome) -> None:
        self._leave(letter)
        self._outcomes[letter.message_id] = outcome
        if len(self._outcomes) > OUTCOMES_KEPT:
            del self._outcomes[next(iter(self._outcomes))]
        if not letter.answer.done():
            if outcome.sent is not None:
                letter.answer.set_result(outcome.sent)
            elif outcome.error is not None:
                letter.answer.set_exception(outcome.error)
        self._answered.append(letter.message_id)
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep(), name="parley outbox sweeper")
        if self._on_outcome is not None:
            self._on_outcome(outcome)

    async def _sweep(self) -> None:
        """Remove answered messages from the store. One that a crash leaves there is answered again, with
        `duplicate`.
        """
        try:
            while self._answered:
                answered, self._answered = self._answered, []
                await self._position.state.remove_messages(answered)
        except StateError:
            return
        finally:
            self._sweeper = None

    def _leave(self, letter: Letter) -> None:
        del self._letters[letter.message_id]
        self._bytes -= letter.size_bytes
        if not self._letters:
            self._empty.set()


def _looked_at(answer: asyncio.Future[Sent]) -> None:
    if not answer.cancelled():
        answer.exception()  # It need not be anybody's: results are told by other ways, too.


async def _sleep_until(event: asyncio.Event | None, seconds: float) -> None:
    if event is None:
        await asyncio.sleep(seconds)
        return
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
