"""The owner of a fuzzed connection: does with its streams what a server or a channel does, in any order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_wire import frames
from parley_wire.errors import ErrorCode
from parley_wire.headers import encode
from parley_wire.testing.peer import REQUEST, RESPONSE

if TYPE_CHECKING:
    import random

    from parley_wire.connection import Connection
    from parley_wire.stream import Stream
    from parley_wire.testing.output_judge import OutputJudge

_TRAILERS = encode([(b"grpc-status", b"0")])


class FuzzOwner:
    """Acts on `core` and the newest of its `streams`. `reads`: how much of what comes it reads, 0 to 1."""

    def __init__(
        self,
        rand: random.Random,
        core: Connection,
        streams: list[Stream],
        judge: OutputJudge,
        *,
        client: bool,
        reads: float,
    ) -> None:
        self._random = rand
        self._core = core
        self._streams = streams
        self._judge = judge
        self._client = client
        self._reads = reads

    def open(self) -> None:
        """A client begins a call now and then."""
        rand = self._random
        if self._client and rand.random() < 0.3 and self._core.can_open:
            opened = self._core.open_stream(encode(REQUEST), end_stream=rand.random() < 0.3)
            self._judge.opened(opened.id)
            self._streams.append(opened)

    def act(self) -> None:
        """Answer, end, reset, read, pause, go away: one of these, or nothing."""
        rand = self._random
        core = self._core
        if not self._streams or core.failed:
            return
        stream = rand.choice(self._streams[-6:])
        sender = core.sender
        way = rand.randrange(14)
        if way <= 2 and not stream.local_closed and stream.ending is None and stream.queue is None:
            if not self._client:
                sender.headers(stream, encode(RESPONSE), end_stream=False)
            size = rand.choice((0, 10, 1000, 40_000, 150_000))
            if size > frames.DEFAULT_FRAME_BYTES and rand.random() < 0.5:
                body = b"d" * size
                cuts = range(0, size, frames.DEFAULT_FRAME_BYTES)
                parts = (body[at : at + frames.DEFAULT_FRAME_BYTES] for at in cuts)
                framed = b"".join(frames.frame(frames.DATA, 0, stream.id, part) for part in parts)
                if not sender.whole_frames(stream, framed, size):
                    sender.data(stream, body)
            elif size > frames.DEFAULT_FRAME_BYTES or rand.random() < 0.5:
                sender.data(stream, b"d" * size)
            else:
                sender.data_frame(stream, frames.whole_message(stream.id, b"d" * size))
        elif way == 3 and not stream.local_closed and stream.ending is None:
            sender.end(stream, rand.choice((b"", _TRAILERS)))
        elif way == 4 and rand.random() < self._reads:
            core.consumed(stream, stream.unread_bytes)
        elif way == 5 and rand.random() < 0.3:
            core.reset(stream, ErrorCode.CANCEL)
        elif way == 6 and rand.random() < 0.05:
            core.shut_down()
        elif way == 7 and rand.random() < 0.2 and not self._client and not stream.closed:
            stream.held = True
        elif way == 8:
            core.release(stream)
        elif way == 9 and rand.random() < 0.3:
            if sender.paused:
                sender.resume()
            else:
                sender.pause()
        elif way == 10 and rand.random() < 0.2 and not stream.local_closed:
            sender.keep_begun(stream)
            sender.end(stream, _TRAILERS)
        elif way == 11 and rand.random() < 0.1:
            core.trim()
            self._judge.trimmed(core.streams)
