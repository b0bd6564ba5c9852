"""A device that checks what it gets: each channel's events once, in order, without a hole."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.clients import Failed, Stream
from benchmarks.wire import LARGEST_WINDOW

from parley.chat.v1 import stream_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.clients import Counter, Device

    from parley.chat.v1 import event_pb2


class Reader(Stream):
    """A stream that holds each event against the one before it, and can stop taking anything.

    `heads` are the newest seqs it has, per channel. `lags` counts how often the node said that it fell
    behind; while `lagging`, the node has not said since that it caught up, which it did last at
    `caught_up_at`.
    """

    def __init__(self, device: Device, counter: Counter) -> None:
        super().__init__(device, counter)
        self.heads: dict[str, int] = {}
        self.lags = self.dropped_events = 0
        self.lagging = False
        self.caught_up_at = 0.0
        self.on_event: Callable[[event_pb2.Event], None] | None = None

    async def stall(self) -> None:
        """Take nothing more: the node may send no byte of a message. The connection itself stays alive.

        Returns when the node has obeyed.
        """
        assert self._connection is not None
        await self._connection.allow(0)

    async def resume(self) -> None:
        """Take everything again."""
        assert self._connection is not None
        await self._connection.allow(LARGEST_WINDOW)

    def has(self, heads: Mapping[str, int]) -> bool:
        """Whether it has all events of these channels, as far as it is in them."""
        mine = self.heads
        return all(mine[channel_id] >= seq for channel_id, seq in heads.items() if channel_id in mine)

    def _joining(self, encoded: bytes) -> None:
        response = stream_pb2.ConnectResponse.FromString(encoded)
        for control in response.controls:
            for head in control.digest.heads:
                self.heads[head.channel_id] = head.head_seq
        super()._joining(encoded)

    def _live(self, encoded: bytes) -> None:
        counter = self._counter
        counter.frames += 1
        counter.size_bytes += len(encoded)
        response = stream_pb2.ConnectResponse.FromString(encoded)
        for event in response.events:
            channel_id, seq = event.channel_id, event.seq
            expected = self.heads.get(channel_id, 0) + 1
            if seq != expected:
                what = "came again or late" if seq < expected else "came, and what lies between is missing"
                self._lost(Failed(f"event {seq} of a channel {what}: {expected} was the next"))
                return
            self.heads[channel_id] = seq
            counter.events += 1
            if self.on_event is not None:
                self.on_event(event)
        if self.replied is not None:
            for reply in response.replies:
                self.replied(reply.SerializeToString())
        for control in response.controls:
            self._control(control.SerializeToString())
            kind = control.WhichOneof("control")
            if kind == "lagging":
                self.lags += 1
                self.dropped_events += control.lagging.dropped_events
                self.lagging = True
            elif kind == "caught_up":
                self.lagging = False
                self.caught_up_at = time.monotonic()
