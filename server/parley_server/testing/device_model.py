"""A device by the book: it keeps what the protocol tells it to keep, and says so when the server errs."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parley.chat.v1 import message_requests_pb2, stream_pb2
from parley_server.api.connect import ChatStream
from parley_server.testing.stream_world import USER

if TYPE_CHECKING:
    from parley_runtime.refusal import Refusal
    from parley_server.testing.stream_world import World


class Wire:
    """`DeviceStream` that holds a few frames until the device reads them."""

    def __init__(self, device_id: str, wire_frames: int) -> None:
        self.metadata = {"device": device_id}
        self.peer = "model"
        self.frames: deque[bytes] = deque()
        self.blocked = False
        self.closed = False
        self.refusal: Refusal | None = None
        self._wire_frames = wire_frames

    def send_encoded(self, message: bytes) -> bool:
        if not self.closed:
            self.frames.append(message)
            self.blocked = len(self.frames) >= self._wire_frames
        return not self.blocked

    def close(self, refusal: Refusal | None) -> None:
        if not self.closed:
            self.closed, self.refusal = True, refusal


@dataclass(slots=True)
class Kept:
    """What a device has stored: its cursor, the newest seq per channel, and the read positions."""

    cursor: str = ""
    seqs: dict[str, int] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)

    def copy(self) -> Kept:
        """What is stored now, however it goes on."""
        return Kept(self.cursor, dict(self.seqs), dict(self.read))


class Device:
    """A client that follows docs/streams.md, and says so when the server does not."""

    def __init__(self, world: World, device_id: str, kept: Kept | None = None) -> None:
        self.world = world
        self.device_id = device_id
        self.kept = kept or Kept()
        self._known_before = set(self.kept.seqs)
        self.got: dict[str, list[int]] = {name: [] for name in world.writers}
        self.claims: list[Kept] = []
        self.lagged = 0
        self.resumes: list[str] = []
        self.stream: ChatStream | None = None
        self._wire = Wire(device_id, 1)
        self._on_stream: dict[str, int] = {}
        self._told: set[str] | None = None
        self._welcomed = False

    def come(self, *, named: bool) -> None:
        """Connect, with what it kept. `named`: say how far it is in the channels it knows."""
        world = self.world
        self.stream = ChatStream(world.services, subscribe=False)
        self._wire = Wire(self.device_id, world.wire_frames)
        self._on_stream, self._told, self._welcomed = {}, None, False
        known = [stream_pb2.KnownChannel(channel_id=name, seq=seq) for name, seq in self.kept.seqs.items()]
        hello = stream_pb2.Hello(
            cursor=self.kept.cursor, foreground=True, known_channels=known if named else []
        )
        request = stream_pb2.ConnectRequest(hello=hello).SerializeToString()
        stream, wire = self.stream, self._wire
        world.loop.spin(lambda: stream.opened(wire))
        world.loop.spin(lambda: stream.received(request))

    def vanish(self) -> None:
        """Be cut off: what was not read is lost."""
        if self.stream is not None:
            self.world.loop.spin(self.stream.closed)
            self.stream = None

    def acknowledge(self) -> None:
        """Say that everything up to the kept cursor is stored."""
        if self.stream is not None and self._welcomed and self.kept.cursor:
            ack = message_requests_pb2.AckEventsRequest(cursor=self.kept.cursor)
            encoded = stream_pb2.ConnectRequest(ack_events=ack).SerializeToString()
            self.world.loop.spin(lambda: self.stream.received(encoded))  # type: ignore[union-attr]

    def read_one(self) -> bool:
        """Read one frame, if there is one. A stream that the server ended is left."""
        if self.stream is None:
            return False
        if not self._wire.frames:
            if self._wire.closed:
                self.vanish()
            return False
        frame = stream_pb2.ConnectResponse.FromString(self._wire.frames.popleft())
        self._take(frame)
        if self._wire.blocked and not self._wire.closed:
            self._wire.blocked = False
            self.world.loop.spin(self.stream.writable)
        return True

    def read_all(self) -> None:
        """Read until nothing more comes."""
        while self.read_one():
            pass

    def _take(self, frame: stream_pb2.ConnectResponse) -> None:
        caught_up = False
        for control in frame.controls:
            match control.WhichOneof("control"):
                case "welcome":
                    assert not self._welcomed, "welcomed twice"
                    self._welcomed = True
                    resume = control.welcome.WhichOneof("resume") or ""
                    self.resumes.append(resume)
                    self._told = set() if resume == "reset" else None
                    if control.welcome.cursor:
                        self.kept.cursor = control.welcome.cursor
                        self._claim()
                case "digest":
                    for head in control.digest.heads:
                        self._fetch(head)
                case "read_position":
                    position = control.read_position
                    self._read(position.channel_id, position.read_seq)
                case "lagging":
                    self.lagged += 1
                case "caught_up":
                    caught_up = True
            assert self._welcomed, "not welcomed first"
        if self._told is not None and (caught_up or frame.events or frame.cursor):
            # Channels that the client knows and that were not named: it was taken out of them. A cursor may
            # come before CaughtUp, and covers their ends.
            for channel_id in [name for name in self.kept.seqs if name not in self._told]:
                for seq in self.world.list_events(channel_id, self.kept.seqs[channel_id] + 1):
                    self._store(channel_id, seq)
            self._told = None
        for event in frame.events:
            self._check_on_stream(event.channel_id, event.seq)
            if event.seq > self.kept.seqs.get(event.channel_id, 0):
                self._store(event.channel_id, event.seq)
        if frame.cursor:
            self.kept.cursor = frame.cursor
            self._claim()

    def _claim(self) -> None:
        for channel_id, seq in self.world.announced_up_to(self.kept.cursor):
            own = self.kept.seqs.get(channel_id)
            assert own is None or own >= seq, f"{self.kept.cursor} claims {channel_id} {seq}, got {own}"
        self.claims.append(self.kept.copy())

    def _read(self, channel_id: str, seq: int) -> None:
        self.kept.read[channel_id] = max(self.kept.read.get(channel_id, 0), seq)

    def _fetch(self, head: stream_pb2.ChannelHead) -> None:
        channel_id = head.channel_id
        if self._told is not None:
            self._told.add(channel_id)
        self._read(channel_id, head.read_seq)
        own = self.kept.seqs.get(channel_id)
        if own is None or own < head.head_seq:
            for seq in self.world.list_events(channel_id, head.joined_seq if own is None else own + 1):
                self._store(channel_id, seq)

    def _check_on_stream(self, channel_id: str, seq: int) -> None:
        last = self._on_stream.get(channel_id)
        assert last is None or seq > last, f"out of order on one stream: {channel_id} {seq} after {last}"
        self._on_stream[channel_id] = seq

    def _store(self, channel_id: str, seq: int) -> None:
        view = self.world.views[channel_id]
        visible = view.seqs()
        assert seq in visible, f"{channel_id} {seq} is not the user's to see"
        own = self.kept.seqs.get(channel_id)
        if own is not None:
            between = [missed for missed in visible if own < missed < seq]
            if seq in view.joinings():
                # What lay between two memberships may be seen where history shows from the start; a device
                # may be given it, or fetch it.
                between = [missed for missed in between if view.was_member(missed)]
            assert not between, f"hole in {channel_id}: {between} before {seq}"
        self.got[channel_id].append(seq)
        self.kept.seqs[channel_id] = seq

    def check(self) -> None:
        """It has everything that a device should have that followed the protocol and is in step."""
        world = self.world
        assert self.stream is not None, "could not connect"
        for channel_id in world.writers:
            visible = world.visible(channel_id)
            got = self.got[channel_id]
            own = self.kept.seqs.get(channel_id)
            member = USER in world.members[channel_id]
            if own is None:
                assert not member, f"{channel_id} was never told"
                continue
            assert got == sorted(set(got)), f"twice or out of order: {channel_id} {got}"
            assert own == visible[-1], f"{channel_id} ends at {own}, the log at {visible[-1]}"
            if channel_id not in self._known_before:
                joined_seq = world.views[channel_id].joined_seq()
                assert got[0] <= joined_seq, f"{channel_id} begins at {got[0]}, joined at {joined_seq}"
            if member:
                mark = world.read_seq(channel_id)
                assert self.kept.read.get(channel_id, 0) == mark, f"{channel_id} was read up to {mark}"
