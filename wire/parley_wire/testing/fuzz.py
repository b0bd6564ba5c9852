"""Structured fuzzing of the core, in both roles: mostly legal conversations with something wrong in them.

`python -m parley_wire.testing.fuzz --frames 10000000 --seed 1` prints what it did; a failure names the seed
of its case, which `replay` plays again.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import hpack
import hpack.exceptions

from parley_wire import frames
from parley_wire.connection import Connection
from parley_wire.errors import ErrorCode
from parley_wire.events import DataReceived, RequestReceived, ResponseReceived, TrailersReceived
from parley_wire.headers import encode
from parley_wire.limits import Limits
from parley_wire.messages import MessageReader, plain
from parley_wire.request import request_of
from parley_wire.settings import (
    DEFAULT_TABLE_BYTES,
    DEFAULT_WINDOW_BYTES,
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
)
from parley_wire.status import CallFault
from parley_wire.testing.peer import REQUEST, RESPONSE, padded, split

if TYPE_CHECKING:
    from parley_wire.headers import Field
    from parley_wire.stream import Stream
    from parley_wire.streams import Streams
    from parley_wire.testing.peer import Frame

SMALL = Limits(
    streams_per_connection=8,
    stream_window_bytes=30_000,
    connection_window_bytes=100_000,
    connection_unread_bytes=50_000,
    header_list_bytes=1000,
    header_list_hard_bytes=3000,
    header_block_bytes=4000,
    continuation_frames=4,
    resets_burst=40,
    control_frames_burst=300,
    pings_burst=100,
    flush_bytes=8000,
)
_WINDOWS = (0, 1, 65_535, 2**31 - 1, 2**31)
_TRAILERS = encode([(b"grpc-status", b"0")])
_OUTPUT_LIMIT_BYTES = 4_000_000


@dataclass(slots=True)
class Report:
    """What a run did."""

    cases: int = 0
    frames: int = 0
    past_settings: int = 0
    events: int = 0
    failed_connections: int = 0


class OutputJudge:
    """Looks at every frame that the connection writes, knowing what the peer said and nothing else."""

    def __init__(self, window: int) -> None:
        self._initial = window
        self._window = window
        self._windows: dict[int, int] = {}
        self._decoder = hpack.Decoder()
        # The header tables that the peer named, one for each SETTINGS that is not acknowledged yet.
        self._table_bytes = DEFAULT_TABLE_BYTES
        self._tables: deque[int] = deque()
        self._ended: set[int] = set()
        self._reset: set[int] = set()
        # Streams up to a number, but for some, of which the connection forgot how they ended.
        self._forgotten_up_to = 0
        self._remembered: frozenset[int] = frozenset()

    def opened(self, stream_id: int) -> None:
        """A stream is open."""
        self._windows[stream_id] = self._initial

    def initial_window(self, size: int) -> None:
        """The peer changed its initial window: windows of open streams move with it."""
        for stream_id in self._windows:
            self._windows[stream_id] += size - self._initial
        self._initial = size

    def header_table(self, size: int) -> None:
        """The peer wants a table of this size. Ours may not be larger once it acknowledged that."""
        self._table_bytes = size

    def settings_sent(self) -> None:
        """The peer sent SETTINGS."""
        self._tables.append(self._table_bytes)

    def trimmed(self, streams: Streams) -> None:
        """The connection forgot how streams ended."""
        self._forgotten_up_to = max(streams.highest_peer, streams.highest_local)
        self._remembered = frozenset(streams.open)

    def window_opened(self, stream_id: int, increment: int) -> None:
        """The peer takes more."""
        if stream_id == 0:
            self._window += increment
        elif stream_id in self._windows:
            self._windows[stream_id] += increment

    def fault(self, frame: Frame, *, windows: bool) -> str:
        """What is wrong with a frame that was written; "" for nothing. `windows`: they are known exactly."""
        stream_id = frame.stream_id
        if stream_id and stream_id in self._reset:
            # Section 5.4.2: another reset is allowed long after the first, and nothing else.
            forgotten = stream_id <= self._forgotten_up_to and stream_id not in self._remembered
            if frame.kind == frames.RST_STREAM and forgotten:
                return ""
            return f"frame {frame.kind} follows RST_STREAM"
        if frame.kind == frames.RST_STREAM:
            self._reset.add(stream_id)
        elif frame.kind in (frames.DATA, frames.HEADERS):
            if stream_id in self._ended:
                return f"frame {frame.kind} follows the end"
            if frame.flags & frames.END_STREAM:
                self._ended.add(stream_id)
        if windows and frame.kind == frames.SETTINGS and frame.flags & frames.ACK:
            self._decoder.max_allowed_table_size = self._tables.popleft()
        if frame.kind == frames.HEADERS:
            try:
                self._decoder.decode(frame.payload, raw=True)
            except hpack.exceptions.HPACKError as error:
                return f"headers cannot be decoded: {error}"
        elif frame.kind == frames.DATA and windows and frame.payload:
            self._window -= len(frame.payload)
            self._windows[stream_id] -= len(frame.payload)
            if self._window < 0 or self._windows[stream_id] < 0:
                return "more data than a window takes"
        return ""


class FuzzFailure(AssertionError):
    """A case broke a rule. `seed` and `client` play it again."""


class Case:
    """One connection under test and a peer that does not mean well, or, in a third of the cases, does."""

    def __init__(self, seed: int, *, client: bool, frames_per_case: int = 120) -> None:
        self.random = random.Random(seed)
        self.client = client
        self.count = frames_per_case
        # How much of what the peer says no peer may say, and whether it keeps to everything else.
        self.rudeness = self.random.choice((0.0, 0.002, 0.015))
        self.polite = self.rudeness == 0.0
        # How much of what comes is read at once.
        self.reads = self.random.choice((0.1, 0.7))
        limits = SMALL if self.random.random() < 0.7 else Limits()
        self.core = Connection(client=client, limits=limits)
        self.encoder = hpack.Encoder()
        self.streams: list[Stream] = []
        self.readers: dict[int, MessageReader] = {}
        self.report = Report(cases=1)
        self.now = 0.0
        self.written = 0
        self.judge = OutputJudge(DEFAULT_WINDOW_BYTES)
        # The fields of the last block that the peer sent.
        self.said: list[Field] = []

    def play(self) -> Report:
        """Play it. Raises FuzzFailure, or whatever the core raised."""
        rand = self.random
        self.core.start()
        pairs = [
            (rand.choice((1, 3, 4, 6)), rand.choice((0, 1, 100, 65_535, 2**20)))
            for _ in range(rand.randrange(3))
        ]
        hello = (b"" if self.client else frames.PREFACE) + frames.settings(pairs)
        for name, value in pairs:
            self._setting(name, value)
        self.judge.settings_sent()
        if not self.polite and rand.random() < 0.05:
            hello = self._broken(hello)
        self._feed(hello)
        past = not self.core.awaits_settings and not self.core.failed
        for _ in range(self.count):
            self.now += rand.random() * 0.1
            if self.client and rand.random() < 0.3 and self.core.can_open:
                opened = self.core.open_stream(encode(REQUEST), end_stream=rand.random() < 0.3)
                self.judge.opened(opened.id)
                self.streams.append(opened)
            sent = self._frame()
            if rand.random() < self.rudeness:
                sent = self._broken(sent)
            self._feed(sent)
            self.report.frames += 1
            self.report.past_settings += past
            self._act()
            self._write()
            self._check()
            if self.core.failed:
                break
        if self.polite and not self.core.failed:
            self._take_everything()
        self.report.failed_connections += self.core.failed
        self.core.close()
        self._check_empty()
        return self.report

    # The peer

    def _feed(self, data: bytes) -> None:
        """In pieces, now and then."""
        rand = self.random
        while data:
            cut = len(data) if rand.random() < 0.8 else rand.randint(1, len(data))
            events = self.core.receive(data[:cut], self.now)
            data = data[cut:]
            self.report.events += len(events)
            for event in events:
                if isinstance(event, RequestReceived | ResponseReceived | TrailersReceived) and self.polite:
                    self._rule(event.headers.fields == self.said, "headers mean what was sent")
                if isinstance(event, RequestReceived):
                    self.judge.opened(event.stream.id)
                    request_of(event.headers)
                    self.streams.append(event.stream)
                elif isinstance(event, DataReceived):
                    self._data(event)
                elif isinstance(event, ResponseReceived):
                    dict(event.headers.fields)

    def _data(self, event: DataReceived) -> None:
        reader = self.readers.setdefault(event.stream.id, MessageReader(100_000, "gzip"))
        try:
            for message in reader.feed(event.data):
                plain(message)
        except CallFault:
            del self.readers[event.stream.id]
            if self.random.random() < 0.5:
                self.core.reset(event.stream, ErrorCode.CANCEL)
        if self.random.random() < self.reads:
            self.core.consumed(event.stream, len(event.data))

    def _stream_id(self) -> int:
        rand = self.random
        if self.streams and (self.polite or rand.random() < 0.99):
            live = [stream.id for stream in self.streams[-6:] if not stream.remote_closed]
            if live and (self.polite or rand.random() < 0.9):
                return rand.choice(live)
            return rand.choice(self.streams[-6:]).id
        return rand.choice((0, 1, 2, 3, 99, 2**31 - 1))

    def _frame(self) -> bytes:
        """Something that a peer may send; now and then something that none may."""
        rand = self.random
        if rand.random() < self.rudeness:
            return self._rude()
        kind = rand.randrange(13)
        stream_id = self._stream_id()
        if kind <= 3 or not self.streams:
            return self._headers(stream_id)
        if kind <= 7:
            return self._body(stream_id)
        if kind <= 9:
            target, increment = rand.choice((0, stream_id)), rand.randint(1, 50_000)
            self.judge.window_opened(target, increment)
            return frames.window_update(target, increment)
        if kind == 10:
            return frames.rst_stream(stream_id, rand.choice((0, 8, 0x1234)))
        if kind == 11:
            if rand.random() < 0.5:
                return frames.SETTINGS_ACK
            name, value = rand.choice((1, 3, 4, 6, 9)), rand.randrange(100_000)
            self._setting(name, value)
            self.judge.settings_sent()
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
            self.judge.initial_window(value)
        elif name == HEADER_TABLE_SIZE:
            self.judge.header_table(value)

    def _body(self, stream_id: int) -> bytes:
        rand = self.random
        size = rand.choice((0, 1, 5, 100, 5000, 16_384))
        noise = rand.randbytes(8) + b"z" * size
        data = rand.choice((b"\0\0\0\0\x05hello", b"\0\0\0\x10\0" + b"x" * 4096, noise))[:16_000]
        if self.polite:
            # As much as the windows allow, on a stream that takes it.
            stream = self.core.streams.open.get(stream_id)
            if stream is None or stream.remote_closed or (self.client and not stream.final_received):
                return frames.ping(b"12345678", ack=False)
            data = data[: max(0, min(stream.window.left_bytes, self.core.window.left_bytes))]
        flags = frames.END_STREAM if rand.random() < 0.15 else 0
        if not self.polite and rand.random() < 0.1:
            return padded(frames.DATA, flags, stream_id, data[:10_000], rand.randrange(256))
        return frames.frame(frames.DATA, flags, stream_id, data)

    def _rude(self) -> bytes:
        rand = self.random
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
        rand = self.random
        known = self.core.streams.open.get(stream_id)
        if not self.client and (rand.random() < 0.7 or (self.polite and known is None)):
            stream_id = self.core.streams.highest_peer + rand.choice((1, 2, 2, 2, 4)) if self.streams else 1
            stream_id |= 1
            known = None
        if self.polite and known is not None and (not self.client or known.final_received):
            self.said = [(b"grpc-status", b"0")]
            return frames.headers(stream_id, _TRAILERS, end_stream=True)
        if self.polite and self.client and known is None:
            return frames.ping(b"12345678", ack=False)
        fields = list(RESPONSE if self.client else REQUEST)
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
            self.encoder.header_table_size = rand.choice((0, 200, 4096))
        self.said = fields
        block = self.encoder.encode(fields) if rand.random() < 0.7 else encode(fields)
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
        rand = self.random
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

    # Our side

    def _act(self) -> None:
        """What an owner does: answer, end, reset, read, pause, go away."""
        rand = self.random
        core = self.core
        if not self.streams or core.failed:
            return
        stream = rand.choice(self.streams[-6:])
        sender = core.sender
        way = rand.randrange(14)
        if way <= 2 and not stream.local_closed and stream.ending is None and stream.queue is None:
            if not self.client:
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
        elif way == 4 and rand.random() < self.reads:
            core.consumed(stream, stream.unread_bytes)
        elif way == 5 and rand.random() < 0.3:
            core.reset(stream, ErrorCode.CANCEL)
        elif way == 6 and rand.random() < 0.05:
            core.shut_down()
        elif way == 7 and rand.random() < 0.2 and not self.client and not stream.closed:
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
            self.judge.trimmed(core.streams)

    def _write(self) -> None:
        sender = self.core.sender
        if not sender.paused:
            while sender.has_more:
                written = split(sender.take())
                self.written += len(written)
                for frame in written:
                    fault = self.judge.fault(frame, windows=self.polite)
                    self._rule(not fault, fault)
            for stream in sender.drained or ():
                stream.blocked = False
            sender.drained = self.core.closed_streams = None

    def _take_everything(self) -> None:
        """A peer that opens all its windows gets what waits."""
        largest = 2**20
        self.judge.window_opened(0, largest * 8)
        sent = [frames.window_update(0, largest * 8)]
        for stream in self.core.streams.open.values():
            if stream.queue is not None and stream.send_window < largest:
                self.judge.window_opened(stream.id, 2 * largest - stream.send_window)
                sent.append(frames.window_update(stream.id, 2 * largest - stream.send_window))
        self._feed(b"".join(sent))
        if not self.core.failed:
            self.core.sender.resume()
            self._write()
            self._rule(self.core.sender.queued_bytes == 0, "what waits goes once it may")

    # Rules

    def _check(self) -> None:
        core = self.core
        sender = core.sender
        waiting = sum(stream.queued_bytes for stream in core.streams.open.values())
        self._rule(waiting == sender.queued_bytes, "queued bytes are counted")
        count = sum(stream.queue is not None for stream in core.streams.open.values())
        self._rule(count == sender.waiting_streams, "waiting streams are counted")
        self._rule(len(sender.ready) <= 2 * max(count, 8) + 66, "the round is bounded")
        self._rule(sum(map(len, sender.out)) < _OUTPUT_LIMIT_BYTES, "output is bounded")
        self._rule(
            len(core.streams.open) <= max(core.limits.streams_per_connection, 1000), "streams are bounded"
        )
        window = core.window
        held = window.left_bytes + window.uncredited_bytes + core.withheld_bytes
        self._rule(core.failed or held == window.size_bytes, "the connection's window is whole")
        for stream in core.streams.open.values():
            held = stream.window.left_bytes + stream.window.uncredited_bytes + stream.unread_bytes
            self._rule(
                stream.remote_closed or core.failed or held == stream.window.size_bytes,
                "streams' windows are whole",
            )
        unread = sum(stream.unread_bytes for stream in core.streams.open.values())
        self._rule(unread == core.unread_bytes, "unread bytes are counted")
        self._rule(
            unread <= 2 * core.limits.connection_window_bytes + core.limits.connection_unread_bytes,
            "unread bytes are bounded",
        )
        for stream in core.streams.open.values():
            self._rule(not stream.closed, "closed streams are forgotten")
            self._rule(stream.queued_bytes == sum(map(len, stream.queue or ())), "queues are counted")

    def _check_empty(self) -> None:
        core = self.core
        for stream in self.streams:
            core.release(stream)
        self._rule(core.unread_bytes == 0, "nothing stays unread")
        self._rule(core.sender.queued_bytes == 0, "nothing stays queued")
        self._rule(core.streams.peer_load == 0, "nothing stays counted")
        self._rule(not core.streams.open, "nothing stays open")

    def _rule(self, holds: bool, name: str) -> None:
        if not holds:
            raise FuzzFailure(f"broken: {name}")


def replay(seed: int) -> Report:
    """Play the case of one seed. Even seeds are servers, odd ones clients."""
    return Case(seed, client=bool(seed & 1)).play()


def fuzz(first_seed: int, frames_wanted: int, seconds: float) -> Report:
    """Play cases until so many frames were sent or seconds passed. Raises FuzzFailure with the seed."""
    total = Report()
    until = time.monotonic() + seconds
    seed = first_seed
    while total.frames < frames_wanted and time.monotonic() < until:
        try:
            report = replay(seed)
        except Exception as error:
            raise FuzzFailure(f"seed {seed}: {type(error).__name__}: {error}") from error
        total.cases += 1
        total.frames += report.frames
        total.past_settings += report.past_settings
        total.events += report.events
        total.failed_connections += report.failed_connections
        seed += 1
    return total


def main() -> int:
    """The command behind `make fuzz`."""
    parser = argparse.ArgumentParser(description="Fuzz the HTTP/2 core in both roles.")
    parser.add_argument("--frames", type=int, default=10_000_000)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started = time.monotonic()
    report = fuzz(arguments.seed, arguments.frames, arguments.seconds)
    share = 100 * report.past_settings / max(1, report.frames)
    sys.stdout.write(
        f"seeds {arguments.seed}..{arguments.seed + report.cases - 1}: {report.frames} frames, "
        f"{share:.1f} % past SETTINGS, {report.events} events, {report.cases} connections, "
        f"{report.failed_connections} given up, {time.monotonic() - started:.0f} s: nothing broken\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
