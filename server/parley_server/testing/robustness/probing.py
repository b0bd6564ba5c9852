"""Readers who look around while others write: what was acknowledged must show in every later read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc.aio

from parley.chat.v1 import chat_service_pb2, message_requests_pb2
from parley_server.testing.robustness.history import Outcome
from parley_server.testing.robustness.line import Line, entry_of, verdict_of_error

if TYPE_CHECKING:
    from random import Random

    from parley_server.testing.raw_client import Person, RawClient
    from parley_server.testing.robustness.cast import Cast
    from parley_server.testing.robustness.recorder import Recorder

PROBE_SECONDS = (0.01, 0.05)
_PAGE = 30


class Prober:
    """Reads inboxes and ends of histories, and raises read positions, as users of the cast, by chance."""

    def __init__(
        self, line: Line, cast: Cast, recorder: Recorder, random: Random, call_seconds: float
    ) -> None:
        self._line = line
        self._cast = cast
        self._recorder = recorder
        self._random = random
        self._call_seconds = call_seconds
        self._heads: dict[str, int] = {}

    async def run(self) -> None:
        """Probe until cancelled."""
        probes = (self._inbox, self._events, self._messages, self._mark)
        try:
            while True:
                person = self._random.choice(self._cast.everybody)
                channel_id = self._random.choice(self._cast.channels_of(person))
                client = await self._line.client()
                if await self._random.choice(probes)(client, person, channel_id):
                    await asyncio.sleep(self._random.uniform(*PROBE_SECONDS))
                else:
                    await self._line.broke()
        finally:
            await self._line.close()

    async def _inbox(self, client: RawClient, person: Person, channel_id: str) -> bool:
        start_ns = self._recorder.now_ns()
        try:
            answer = await client.chat.GetInbox(
                chat_service_pb2.GetInboxRequest(page_size=200),
                metadata=person.metadata,
                timeout=self._call_seconds,
            )
        except grpc.aio.AioRpcError:
            return False
        told = {entry.channel.channel_id: entry.channel for entry in answer.entries}
        for each in self._cast.channels_of(person):
            channel = told.get(each)
            self._recorder.read(
                person.user_id,
                "GetInbox",
                each,
                start_ns,
                channel.head_seq if channel else 0,
                channel.head_message_no if channel else None,
            )
        return True

    async def _events(self, client: RawClient, person: Person, channel_id: str) -> bool:
        request = chat_service_pb2.ListEventsRequest(
            channel_id=channel_id, from_seq=max(1, self._heads.get(channel_id, 0) - 5), page_size=_PAGE
        )
        return await self._page(client.chat.ListEvents, request, person)

    async def _messages(self, client: RawClient, person: Person, channel_id: str) -> bool:
        request = chat_service_pb2.ListMessagesRequest(channel_id=channel_id, page_size=_PAGE)
        return await self._page(client.chat.ListMessages, request, person)

    async def _page(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable,  # type: ignore[type-arg]
        request: chat_service_pb2.ListEventsRequest | chat_service_pb2.ListMessagesRequest,
        person: Person,
    ) -> bool:
        call = "ListEvents" if isinstance(request, chat_service_pb2.ListEventsRequest) else "ListMessages"
        start_ns = self._recorder.now_ns()
        head_seq, events = 0, []
        try:
            answer = await method(request, metadata=person.metadata, timeout=self._call_seconds)
            head_seq, events = answer.head_seq, [entry_of(event) for event in answer.events]
        except grpc.aio.AioRpcError as error:
            # A channel that is gone is an answer too, and a wrong one.
            if verdict_of_error(error).outcome is not Outcome.REFUSED:
                return False
        self._heads[request.channel_id] = head_seq
        self._recorder.read(person.user_id, call, request.channel_id, start_ns, head_seq, events=events)
        return True

    async def _mark(self, client: RawClient, person: Person, channel_id: str) -> bool:
        head_seq = self._heads.get(channel_id, 0)
        if head_seq == 0:
            return True
        mark = self._recorder.mark(person.user_id, channel_id, self._random.randint(1, head_seq))
        try:
            answer: message_requests_pb2.MarkReadResponse = await client.chat.MarkRead(
                message_requests_pb2.MarkReadRequest(channel_id=channel_id, seq=mark.seq),
                metadata=person.metadata,
                timeout=self._call_seconds,
            )
        except grpc.aio.AioRpcError as error:
            verdict = verdict_of_error(error)
            self._recorder.marked(mark, verdict.outcome, reason=verdict.reason)
            return verdict.outcome is Outcome.REFUSED
        self._recorder.marked(mark, Outcome.OK, read_seq=answer.read_seq)
        return True
