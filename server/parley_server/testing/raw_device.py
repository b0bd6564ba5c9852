"""A device over the wire that keeps what the protocol tells it to keep, for tests of resuming."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from parley.chat.v1 import chat_service_pb2, stream_pb2
from parley_server.testing.raw_client import WAIT_SECONDS

if TYPE_CHECKING:
    from parley_server.testing.raw_client import Person, RawClient, RawStream


class RawDevice:
    """A client by the book: keeps a cursor and a seq per channel, takes events, fetches what digests name."""

    def __init__(self, client: RawClient, person: Person) -> None:
        self.client = client
        self.person = person
        self.cursor = ""
        self.events: dict[str, list[int]] = defaultdict(list)
        self.resumes: list[str] = []
        self.read: dict[str, int] = {}
        self.stream: RawStream | None = None

    async def come(self, *, say_known: bool = True) -> str:
        """Connect and catch up. Returns how the stream resumed."""
        known = [
            stream_pb2.KnownChannel(channel_id=channel_id, seq=seqs[-1])
            for channel_id, seqs in self.events.items()
        ]
        self.stream = await self.client.connect(
            self.person, cursor=self.cursor, known_channels=known if say_known else []
        )
        resume = self.stream.welcome.WhichOneof("resume") or ""
        await self._take(start=not self.cursor and not self.events)
        self.resumes.append(resume)
        return resume

    async def go(self) -> None:
        """Leave in good order, with everything that came."""
        assert self.stream is not None
        await self.stream.send(goodbye=stream_pb2.Goodbye())
        assert (await self.stream.end()).brief == ("OK", "")
        await self._take(start=False)
        self.stream = None

    def vanish(self) -> None:
        """Be cut off: what was read is kept, nothing is said."""
        assert self.stream is not None
        self.stream.cancel()
        self.stream = None

    async def follow(self, channel_id: str, seq: int, seconds: float = WAIT_SECONDS) -> None:
        """Read until the channel's event at `seq` came. Raises TimeoutError."""
        assert self.stream is not None
        async with asyncio.timeout(seconds):
            # It may have come while another channel was followed.
            await self._take(start=False)
            while self.events[channel_id][-1:] < [seq]:
                await self.stream.read()
                await self._take(start=False)

    async def _take(self, *, start: bool) -> None:
        stream = self.stream
        assert stream is not None
        for control in stream.controls:
            for head in control.digest.heads:
                self.read[head.channel_id] = head.read_seq
                if start:
                    self.events[head.channel_id] = [head.head_seq]
                else:
                    await self._fetch(head)
            if control.HasField("read_position"):
                self.read[control.read_position.channel_id] = control.read_position.read_seq
        for event in stream.events:
            seqs = self.events[event.channel_id]
            if not seqs or event.seq > seqs[-1]:
                assert not seqs or event.seq == seqs[-1] + 1, f"hole before {event.seq}"
                seqs.append(event.seq)
        stream.controls = [control for control in stream.controls if control.HasField("welcome")]
        stream.events.clear()
        self.cursor = stream.cursor or self.cursor

    async def _fetch(self, head: stream_pb2.ChannelHead) -> None:
        seqs = self.events[head.channel_id]
        token = ""
        from_seq = seqs[-1] + 1 if seqs else head.joined_seq
        while True:
            answer = await self.client.chat.ListEvents(
                chat_service_pb2.ListEventsRequest(
                    channel_id=head.channel_id, from_seq=from_seq, page_size=200, page_token=token
                ),
                metadata=self.person.metadata,
            )
            seqs.extend(event.seq for event in answer.events)
            token = answer.next_page_token
            if not token:
                return
