"""What a device has and lacks, against a model of a server: events, cuts, digests, fetches and kills."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from parley._sync import CursorMark, Item, Range, SeqMark, Sync
from parley.chat.v1 import event_pb2, stream_pb2

CHANNELS = ("a", "b", "c")


def _event(channel_id: str, seq: int) -> event_pb2.Event:
    return event_pb2.Event(channel_id=channel_id, seq=seq)


def _control(**kind: object) -> stream_pb2.ConnectResponse:
    return stream_pb2.ConnectResponse(controls=[stream_pb2.Control(**kind)])  # type: ignore[arg-type]


@dataclass
class Log:
    """A channel as one user may see it: `windows` are memberships, both ends included, an open one with 0."""

    head: int = 0
    windows: list[tuple[int, int]] = field(default_factory=list)

    @property
    def member(self) -> bool:
        return bool(self.windows) and self.windows[-1][1] == 0

    @property
    def visible_head(self) -> int:
        return self.head if self.member else self.windows[-1][1] if self.windows else 0

    def visible(self, first: int, last: int) -> list[int]:
        return [
            seq
            for seq in range(first, last + 1)
            if any(start <= seq <= (end or self.head) for start, end in self.windows)
        ]


class Device(RuleBasedStateMachine):
    """A server with a feed of positions, and a device that is cut, killed and served in pages."""

    def __init__(self) -> None:
        super().__init__()
        self.logs = {channel_id: Log() for channel_id in CHANNELS}
        self.epoch = 1
        self.changes: list[str] = []  # By feed position, the channel that changed.
        self.sync = Sync()
        self.stored: tuple[str, dict[str, int]] = ("", {})
        self.place: dict[str, int] = {}  # By channel id, up to where the application has everything.
        self.wire: list[stream_pb2.ConnectResponse] | None = None
        self.fetches: list[Range] = []

    # The world

    def _change(self, channel_id: str) -> None:
        log = self.logs[channel_id]
        log.head += 1
        self.changes.append(channel_id)
        if self.wire is not None:
            frame = stream_pb2.ConnectResponse(
                events=[_event(channel_id, log.head)], cursor=f"{self.epoch}.{len(self.changes)}"
            )
            self.wire.append(frame)

    @precondition(lambda self: any(log.member for log in self.logs.values()))
    @rule(data=st.data(), count=st.integers(1, 4))
    def write(self, data: st.DataObject, count: int) -> None:
        channel_id = data.draw(st.sampled_from([key for key, log in self.logs.items() if log.member]))
        for _ in range(count):
            self._change(channel_id)

    @rule(channel_id=st.sampled_from(CHANNELS))
    def join(self, channel_id: str) -> None:
        log = self.logs[channel_id]
        if not log.member:
            log.head += 2  # What others wrote before.
            log.windows.append((log.head + 1, 0))
            self._change(channel_id)

    @rule(channel_id=st.sampled_from(CHANNELS))
    def leave(self, channel_id: str) -> None:
        log = self.logs[channel_id]
        if log.member:
            self._change(channel_id)
            log.windows[-1] = (log.windows[-1][0], log.head)

    @rule()
    def lose_the_feed(self) -> None:
        self.epoch += 1
        self.changes = ["a"] * len(self.changes)  # Positions go on; what they were is forgotten.
        self.wire = None

    # The stream

    @rule(replay=st.booleans())
    def connect(self, replay: bool) -> None:
        hello = self.sync.hello("test", foreground=True)
        now = f"{self.epoch}.{len(self.changes)}"
        known = {entry.channel_id: entry.seq for entry in hello.known_channels}
        epoch, _, position = hello.cursor.partition(".")
        welcome = stream_pb2.Welcome(cursor=now)
        heads: list[str] = []
        events: list[event_pb2.Event] = []
        if epoch != str(self.epoch):
            welcome.reset.SetInParent()
            heads = [channel_id for channel_id, log in self.logs.items() if log.member]
        else:
            changed = dict.fromkeys(
                channel_id
                for channel_id in reversed(self.changes[int(position) :])
                if self.logs[channel_id].windows
            )
            if not changed:
                welcome.continued.SetInParent()
            elif replay and all(channel_id in known for channel_id in changed):
                welcome.replayed.SetInParent()
                for channel_id in changed:
                    log = self.logs[channel_id]
                    seqs = log.visible(known[channel_id] + 1, log.visible_head)
                    events += [_event(channel_id, seq) for seq in seqs]
            else:
                welcome.digested.SetInParent()
                heads = list(changed)
        self.wire = [_control(welcome=welcome)]
        for channel_id in heads:
            log = self.logs[channel_id]
            head = stream_pb2.ChannelHead(
                channel_id=channel_id, head_seq=log.visible_head, joined_seq=log.windows[-1][0]
            )
            self.wire.append(_control(digest=stream_pb2.Digest(heads=[head])))
        self.wire += [stream_pb2.ConnectResponse(events=[event]) for event in events]
        self.wire.append(_control(caught_up=stream_pb2.CaughtUp()))
        self.wire.append(stream_pb2.ConnectResponse(cursor=now))

    @precondition(lambda self: self.wire)
    @rule(count=st.integers(1, 6))
    def read(self, count: int) -> None:
        assert self.wire is not None
        for _ in range(min(count, len(self.wire))):
            self._take(self.sync.received(self.wire.pop(0)))

    @rule()
    def cut(self) -> None:
        self.wire = None

    @rule()
    def kill(self) -> None:
        """What was stored is all that is left."""
        cursor, seqs = self.stored
        self.sync = Sync(cursor, dict(seqs))
        self.place = dict(seqs)
        self.wire = None
        self.fetches.clear()

    @rule(channel_id=st.sampled_from(CHANNELS), replay=st.booleans())
    def be_away(self, channel_id: str, replay: bool) -> None:
        """The common case, so that rare ones build on it: in step, then something happens, then back."""
        self.settle(replay)
        self.wire = None
        self.join(channel_id)
        self._change(channel_id)
        self.connect(replay)

    # Fetching

    @precondition(lambda self: len(self.fetches) < 2)
    @rule()
    def ask(self) -> None:
        wanted = self.sync.next_range([fetch.channel_id for fetch in self.fetches])
        if wanted is not None:
            self.fetches.append(wanted)

    @precondition(lambda self: self.fetches)
    @rule(size=st.integers(1, 5), stale=st.integers(0, 3), data=st.data())
    def answer(self, size: int, stale: int, data: st.DataObject) -> None:
        wanted = self.fetches.pop(data.draw(st.integers(0, len(self.fetches) - 1)))
        log = self.logs[wanted.channel_id]
        head = max(0, log.visible_head - stale)
        seqs = log.visible(wanted.from_seq, min(wanted.to_seq or head, head))
        events = [_event(wanted.channel_id, seq) for seq in seqs[:size]]
        self._take(self.sync.fetched(wanted, events, complete=len(seqs) <= size, head_seq=head))

    def _take(self, items: list[Item]) -> None:
        """Planted: a cursor taken before the last page of a digest; live events of a channel that is behind
        handed out; a stale page taken for the whole; the past handed to a device without a position.
        """
        for item in items:
            if isinstance(item, CursorMark):
                self.stored = (item.cursor, dict(self.place))
                continue
            log, place = self.logs[item.channel_id], self.place.get(item.channel_id)
            skipped = log.visible(place + 1, item.seq - 1) if place is not None else []
            if isinstance(item, SeqMark):
                assert place is not None or not self.stored[0], "a device in step is handed everything"
                assert not [seq for seq in skipped if seq != item.seq]
            elif place is not None:
                assert item.seq > place, "an event came again"
                assert not skipped, f"left out: {skipped}"
            else:
                assert any(item.seq == start for start, _ in log.windows), "a channel begins with its joining"
            self.place[item.channel_id] = item.seq
            if self.stored[0]:
                self.stored[1][item.channel_id] = item.seq

    @precondition(lambda self: self.wire == [] and not self.sync.behind)
    @invariant()
    def at_rest_the_device_has_everything(self) -> None:
        """Planted: channels that a reset does not name forgotten."""
        assert self.stored[0] == self.sync.cursor == f"{self.epoch}.{len(self.changes)}"
        for channel_id, log in self.logs.items():
            if log.member or channel_id in self.place:
                assert self.place.get(channel_id, 0) >= log.visible_head, channel_id

    def settle(self, replay: bool) -> None:
        """Left alone, the device catches up."""
        self.connect(replay)
        self.fetches.clear()
        for _ in range(500):
            if self.wire:
                self.read(6)
            elif (wanted := self.sync.next_range()) is not None:
                log = self.logs[wanted.channel_id]
                seqs = log.visible(wanted.from_seq, wanted.to_seq or log.visible_head)
                events = [_event(wanted.channel_id, seq) for seq in seqs]
                self._take(self.sync.fetched(wanted, events, complete=True, head_seq=log.visible_head))
            else:
                break
        assert self.wire == []
        assert not self.sync.behind
        self.at_rest_the_device_has_everything()

    def teardown(self) -> None:
        self.settle(replay=True)


TestDevice = Device.TestCase
TestDevice.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
