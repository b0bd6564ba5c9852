"""Senders: each writes one message after the other, and repeats it with the same id until it is answered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import grpc.aio

from parley.chat.v1 import message_requests_pb2
from parley_server.testing.raw_client import uuid7
from parley_server.testing.robustness.history import Outcome, Place, content_of
from parley_server.testing.robustness.line import Line, Verdict, verdict_of_error

if TYPE_CHECKING:
    from random import Random

    from parley_server.testing.raw_client import Person
    from parley_server.testing.robustness.recorder import Recorder
    from parley_server.testing.robustness.watching import Watcher

_TEXTS = (
    "hello",
    "안녕하세요",
    "어디야? 거의 다 왔어",
    "👩‍👩‍👧‍👦 family",
    "e\u0301 combined",
    "line\nline",
    "Ünïcödé ✓",
)
_LONG_CODE_POINTS = (1_000, 20_000)
_ATTRIBUTES_ONE_IN = 20


class Way(Protocol):
    """A way to send."""

    name: str

    async def ready(self) -> None:
        """Return when an attempt can be made."""
        ...

    async def ask(
        self, request: message_requests_pb2.SendMessageRequest
    ) -> message_requests_pb2.SendMessageResponse | Verdict:
        """Make one attempt. Raises nothing but cancellation."""
        ...

    async def again(self, verdict: Verdict) -> None:
        """Prepare for the next attempt after this one failed."""
        ...


@dataclass(slots=True)
class UnaryWay:
    """By the call SendMessage."""

    line: Line
    person: Person
    seconds: float
    name: str = "unary"

    async def ready(self) -> None:
        await self.line.client()

    async def ask(
        self, request: message_requests_pb2.SendMessageRequest
    ) -> message_requests_pb2.SendMessageResponse | Verdict:
        client = await self.line.client()
        call = client.chat.SendMessage(request, metadata=self.person.metadata, timeout=self.seconds)
        try:
            answer: message_requests_pb2.SendMessageResponse = await call
        except grpc.aio.AioRpcError as error:
            return verdict_of_error(error)
        return answer

    async def again(self, verdict: Verdict) -> None:
        if verdict.outcome is Outcome.UNKNOWN:
            await self.line.broke()
        else:
            await self.line.pause()


@dataclass(slots=True)
class StreamWay:
    """On the stream of a Watcher, which opens it again by itself."""

    line: Line
    watcher: Watcher
    seconds: float
    name: str = "stream"

    async def ready(self) -> None:
        await self.watcher.live()

    async def ask(
        self, request: message_requests_pb2.SendMessageRequest
    ) -> message_requests_pb2.SendMessageResponse | Verdict:
        return await self.watcher.ask(request, self.seconds)

    async def again(self, verdict: Verdict) -> None:
        await self.line.pause()


class Sender:
    """Sends to its channels in turn, by chance, until `stop` is called."""

    def __init__(
        self,
        person: Person,
        channel_ids: list[str],
        way: Way,
        recorder: Recorder,
        random: Random,
        *,
        long_one_in: int = 50,
    ) -> None:
        self._long_one_in = long_one_in
        self._person = person
        self._channel_ids = channel_ids
        self._way = way
        self._recorder = recorder
        self._random = random
        self._stopping = False

    def stop(self) -> None:
        """Begin no other message."""
        self._stopping = True

    async def run(self) -> None:
        """Send until stopped; returns when the last message is answered. When cancelled, it gives that one
        up.
        """
        number = 0
        while not self._stopping:
            number += 1
            request = self._compose(number)
            try:
                await self._send(request)
            except asyncio.CancelledError:
                self._recorder.history.gave_up.append(request.client_message_id)
                raise

    async def _send(self, request: message_requests_pb2.SendMessageRequest) -> None:
        content = content_of(request.text, request.attributes)
        while True:
            await self._way.ready()
            send = self._recorder.send(
                self._person.user_id,
                self._way.name,
                request.channel_id,
                request.client_message_id,
                content,
            )
            try:
                answer = await self._way.ask(request)
            except asyncio.CancelledError:
                self._recorder.unknown(send, "the run was over")
                raise
            if not isinstance(answer, Verdict):
                place = Place(answer.seq, answer.message_no, answer.create_time_ms)
                self._recorder.answered(send, place, duplicate=answer.duplicate)
                return
            if answer.outcome is Outcome.REFUSED:
                self._recorder.refused(send, answer.reason)
            else:
                self._recorder.unknown(send, answer.reason)
            await self._way.again(answer)
            if not answer.again:
                return

    def _compose(self, number: int) -> message_requests_pb2.SendMessageRequest:
        random = self._random
        text = f"{random.choice(_TEXTS)} {self._person.username} {number}"
        if random.randrange(self._long_one_in) == 0:
            text += "가" * random.randint(*_LONG_CODE_POINTS)
        attributes = (
            {"mood": "good", "number": str(number)} if random.randrange(_ATTRIBUTES_ONE_IN) == 0 else {}
        )
        return message_requests_pb2.SendMessageRequest(
            channel_id=random.choice(self._channel_ids),
            client_message_id=uuid7(),
            text=text,
            attributes=attributes,
        )
