"""The peer of a fuzzed connection: what it says is mostly legal, and now and then what none may say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hpack

from parley_wire import frames
from parley_wire.headers import encode
from parley_wire.settings import HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE
from parley_wire.testing.peer import REQUEST, RESPONSE, padded

if TYPE_CHECKING:
    import random

    from parley_wire.connection import Connection
    from parley_wire.headers import Field
    from parley_wire.stream import Stream
    from parley_wire.testing.output_judge import OutputJudge

_WINDOWS = (0, 1, 65_535, 2**31 - 1, 2**31)
_TRAILERS = encode([(b"grpc-status", b"0")])


class FuzzPeer:
    """Talks to `core`, whose streams so far are in `streams`, and lets `judge` know what it said.

    `rudeness` is how much of what it says no peer may say, 0 to 1. At 0 it is polite: it keeps to every rule.
    """

    def __init__(
        self,
        rand: random.Random,
        core: Connection,
        streams: list[Stream],
        judge: OutputJudge,
        *,
        client: bool,
        rudeness: float,
    ) -> None:
        self.polite = rudeness == 0.0
        # The fields of the last block that was sent.
        self.said: list[Field] = []
        self._random = rand
        self._core = core
        self._streams = streams
        self._judge = judge
        self._client = client
        self._rudeness = rudeness
        self._encoder = hpack.Encoder()

    def hello(self) -> bytes:
        """What a connection begins with."""
        rand = self._random
        pairs = [
            (rand.choice((1, 3, 4, 6)), rand.choice((0, 1, 100, 65_535, 2**20)))
            for _ in range(rand.randrange(3))
        ]
        hello = (b"" if self._client else frames.PREFACE) + frames.settings(pairs)
        for name, value in pairs:
            self._setting(name, value)
        self._judge.settings_sent()
        if not self.polite and rand.random() < 0.05:
            return self._broken(hello)
        return hello

    def frame(self) -> bytes:
        """A frame, or a block of headers in several; now and then with bytes changed, lost or doubled."""
        sent = self._frame()
        return self._broken(sent) if self._random.random() < self._rudeness else sent

    def all_windows(self) -> bytes:
        """Lets everything go that waits for a window."""
        largest = 2**20
        self._judge.window_opened(0, largest * 8)
        sent = [frames.window_update(0, largest * 8)]
        for stream in self._core.streams.open.values():
            if stream.queue is not None and stream.send_window < largest:
                self._judge.window_opened(stream.id, 2 * largest - stream.send_window)
                sent.append(frames.window_update(stream.id, 2 * largest - stream.send_window))
        return b"".join(sent)

    def _frame(self) -> bytes:
        """Something that a peer may send; now and then something that none may."""
        rand = self._random
        if rand.random() < self._rudeness:
            return self._rude()
        kind = rand.randrange(13)
        stream_id = self._stream_id()
        if kind <= 3 or not self._streams:
            return self._headers(stream_id)
        if kind <= 7:
            return self._body(stream_id)
        if kind <= 9:
            target, increment = rand.choice((0, stream_id)), rand.randint(1, 50_000)
            self._judge.window_opened(target, increment)
            return frames.window_update(target, increment)
        if kind == 10:
            return frames.rst_stream(stream_id, rand.choice((0, 8, 0x1234)))
        if kind == 11:
            if rand.random() < 0.5:
                return frames.SETTINGS_ACK
            name, value = rand.choice((1, 3, 4, 6, 9)), rand.randrange(100_000)
            self._setting(name, value)
            self._judge.settings_sent()
            return frames.settings([(name, value)])
        calm = (
            frames.ping(b"12345678", ack=False),
            frames.frame(frames.PRIORITY, 0, stream_id, b"\0\0\0\0\0"),
            frames.frame(0xFA, rand.randrange(256), stream_id, rand.randbytes(9)),
        )
        last = (frames.ping(frames.SHUTDOWN_PING, ack=True), frames.goaway(0, 0, b"bye"))
        return rand.choice(calm if rand.random() < 0.9 else last)

    def _setting(self, name: int, value: int) -> None:
        if name == INITIAL_WINDOW_SIZE:
            self._judge.initial_window(value)
        elif name == HEADER_TABLE_SIZE:
            self._judge.header_table(value)

    def _body(self, stream_id: int) -> bytes:
        rand = self._random
        size = rand.choice((0, 1, 5, 100, 5000, 16_384))
        noise = rand.randbytes(8) + b"z" * size
        data = rand.choice((b"\0\0\0\0\x05hello", b"\0\0\0\x10\0" + b"x" * 4096, noise))[:16_000]
        if self.polite:
            # As much as the windows allow, on a stream that takes it.
            stream = self._core.streams.open.get(stream_id)
            if stream is None or stream.remote_closed or (self._client and not stream.final_received):
                return frames.ping(b"12345678", ack=False)
            data = data[: max(0, min(stream.window.left_bytes, self._core.window.left_bytes))]
        flags = frames.END_STREAM if rand.random() < 0.15 else 0
        if not self.polite and rand.random() < 0.1:
            return padded(frames.DATA, flags, stream_id, data[:10_000], rand.randrange(256))
        return frames.frame(frames.DATA, flags, stream_id, data)

    def _rude(self) -> bytes:
        rand = self._random
        stream_id = self._stream_id()
        return rand.choice(
            (
                frames.window_update(rand.choice((0, stream_id)), rand.choice((0, 2**31 - 1))),
                frames.headers(stream_id, encode(REQUEST), end_stream=False),
                frames.settings([(4, rand.choice(_WINDOWS))]),
                frames.frame(frames.PRIORITY, 0, stream_id, rand.randbytes(5)),
                frames.frame(
                    rand.randrange(12), rand.randrange(256), stream_id, rand.randbytes(rand.randrange(20))
                ),
                frames.frame(frames.CONTINUATION, frames.END_HEADERS, stream_id, b""),
                frames.rst_stream(2**31 - 1, 0),
                frames.ping(b"12345678", ack=False) * 300,
                frames.HEAD.pack(1, 0, rand.randrange(10), 0, stream_id),
            )
        )

    def _headers(self, stream_id: int) -> bytes:
        rand = self._random
        known = self._core.streams.open.get(stream_id)
        if not self._client and (rand.random() < 0.7 or (self.polite and known is None)):
            stream_id = self._core.streams.highest_peer + rand.choice((1, 2, 2, 2, 4)) if self._streams else 1
            stream_id |= 1
            known = None
        if self.polite and known is not None and (not self._client or known.final_received):
            self.said = [(b"grpc-status", b"0")]
            return frames.headers(stream_id, _TRAILERS, end_stream=True)
        if self.polite and self._client and known is None:
            return frames.ping(b"12345678", ack=False)
        fields = list(RESPONSE if self._client else REQUEST)
        if rand.random() < 0.3:
            fields.append(
                (
                    rand.choice((b"x-a", b"x-b-bin", b"grpc-timeout", b"X-Bad", b"content-length")),
                    rand.randbytes(6),
                )
            )
        if not self.polite and rand.random() < 0.1:
            fields = [(b"grpc-status", b"0")]
        if not self.polite and rand.random() < 0.02:
            rand.shuffle(fields)
        if rand.random() < 0.03:
            sizes = (900,) if self.polite else (900, 900, 900, 2500, 20_000)
            fields.append((b"x-large", b"y" * rand.choice(sizes)))
        if rand.random() < 0.5:
            fields.append((b"x-trace", b"%d" % rand.randrange(3)))
        if rand.random() < 0.05:
            self._encoder.header_table_size = rand.choice((0, 200, 4096))
        self.said = fields
        block = self._encoder.encode(fields) if rand.random() < 0.7 else encode(fields)
        end_stream = rand.random() < 0.3
        if rand.random() < 0.8 or len(block) < 3:
            return frames.headers(stream_id, block, end_stream=end_stream)
        cut = rand.randrange(1, len(block))
        rest = [frames.frame(frames.CONTINUATION, 0, stream_id, b"")] * rand.choice((0, 0, 0, 1, 1, 2, 5))
        return b"".join(
            (
                frames.frame(frames.HEADERS, int(end_stream), stream_id, block[:cut]),
                *rest,
                frames.frame(frames.CONTINUATION, frames.END_HEADERS, stream_id, block[cut:]),
            )
        )

    def _broken(self, sent: bytes) -> bytes:
        rand = self._random
        data = bytearray(sent)
        for _ in range(rand.randint(1, 3)):
            way = rand.randrange(4)
            at = rand.randrange(len(data)) if data else 0
            if way == 0 and data:
                data[at] ^= 1 << rand.randrange(8)
            elif way == 1:
                del data[at : at + rand.randint(1, 9)]
            elif way == 2:
                data[at:at] = rand.randbytes(rand.randint(1, 9))
            else:
                data[at:at] = data[: rand.randint(1, 40)]
        return bytes(data)

    def _stream_id(self) -> int:
        rand = self._random
        if self._streams and (self.polite or rand.random() < 0.99):
            live = [stream.id for stream in self._streams[-6:] if not stream.remote_closed]
            if live and (self.polite or rand.random() < 0.9):
                return rand.choice(live)
            return rand.choice(self._streams[-6:]).id
        return rand.choice((0, 1, 2, 3, 99, 2**31 - 1))
