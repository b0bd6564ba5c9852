"""A small world around real streams, in which every step is chosen from outside.

The streams, sessions, hub, fan-out and reads are the product's own. Stores are those in memory, behind gates:
a port call waits before it takes effect, and again before its caller learns of it, until it is let pass. Time
stands still until it is moved. A plain reading of the logs says what a device should end with.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from parley.chat.v1 import message_requests_pb2
from parley_runtime.at_once import run_at_once
from parley_runtime.metrics import Metrics
from parley_runtime.settings import Limits
from parley_runtime.settings import Sessions as SessionSettings
from parley_server.accounts.caller import Caller
from parley_server.api import frames
from parley_server.api.chat import ChatCalls
from parley_server.api.sessions import Sessions
from parley_server.api.stream_services import StreamServices
from parley_server.chat import codec
from parley_server.chat.catch_up import CatchUp
from parley_server.chat.cursor import cursor_of
from parley_server.chat.fanout import Fanout
from parley_server.chat.heads import Heads
from parley_server.chat.history import History
from parley_server.chat.hub import Hub
from parley_server.chat.inbox import Inbox
from parley_server.chat.joining import Joins
from parley_server.chat.messages import Messages
from parley_server.testing.manual_clock import ManualClock
from parley_server.testing.projected_log import LogWriter
from parley_server.testing.stepped_loop import Gated, Gates, SteppedLoop
from parley_server.testing.visible_log import VisibleLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from parley_runtime.clock import Clock
    from parley_server.api.connect import ChatStream
    from parley_server.chat.event import Event, HistoryVisibility
    from parley_server.ports.feed import Feed, FeedPage
    from parley_server.ports.message_log import MessageLog
    from parley_server.ports.positions import FeedCursor, Positions
    from parley_server.ports.projections import Projections
    from parley_server.ports.routes import Routes
    from parley_server.testing.device_model import Device

USER = "bob"
METRICS = Metrics()
LIMITS = Limits(outbox_events=3, outbox_bytes=400, frame_bytes=500, outboxes_bytes=600, replay_events=6)
SETTINGS = SessionSettings()


class RecordingFeed:
    """A feed that remembers what it announced to the user, by position."""

    def __init__(self, feed: Feed, epoch: str) -> None:
        self.epoch = epoch
        self.announced: list[tuple[int, str, int]] = []
        self._feed = feed

    async def announce(
        self, user_id: str, channel_id: str, *, head_seq: int = 0, read_seq: int = 0
    ) -> int | None:
        """See Feed."""
        position = await self._feed.announce(user_id, channel_id, head_seq=head_seq, read_seq=read_seq)
        if user_id == USER and position is not None:
            self.announced.append((position, channel_id, head_seq))
        return position

    async def cursor(self, user_id: str) -> FeedCursor:
        """See Feed."""
        return await self._feed.cursor(user_id)

    async def changed_since(self, user_id: str, cursor: FeedCursor, *, limit: int) -> FeedPage:
        """See Feed."""
        return await self._feed.changed_since(user_id, cursor, limit=limit)


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores of a world, such as those in memory. Their calls must not suspend. `make_feed` makes an
    empty feed of the epoch.
    """

    log: MessageLog
    projections: Projections
    positions: Positions
    make_feed: Callable[[str], Feed]
    make_routes: Callable[[Clock], Routes]


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that were committed together, and the members after them."""

    channel_id: str
    members_after: tuple[str, ...]
    events: tuple[Event, ...]


class World:
    """The logs, the stores, the fan-out and the node's streams. What may be seen is worked out from the logs
    alone.
    """

    def __init__(
        self,
        stores: Stores,
        channels: Mapping[str, HistoryVisibility],
        *,
        wire_frames: int = 1,
        limits: Limits = LIMITS,
    ) -> None:
        self.loop = SteppedLoop()
        self.gates = Gates(self.loop)
        self.wire_frames = wire_frames
        self._limits = limits
        self._stores = stores
        self._log, self._projections, self._positions = stores.log, stores.projections, stores.positions
        self._epochs = 1
        self.feed = Gated(self.new_feed("epoch1"), self.gates)
        self.clock = ManualClock()
        self.writers = {name: LogWriter(name, visibility=visibility) for name, visibility in channels.items()}
        self.views = {name: VisibleLog(self.writers[name], shown, USER) for name, shown in channels.items()}
        self.members: dict[str, set[str]] = {name: {"ann"} for name in channels}
        self.batches: list[Batch] = []
        self.unpublished: list[Batch] = []
        self.lost_something = False
        self.publishing: dict[asyncio.Task[None], Batch] = {}
        self._applying = {name: asyncio.Lock() for name in channels}
        self.hub = Hub()
        self.fanout = Fanout(self.hub, cast("Any", self.feed), write_limit=500)
        self.services = self._services()
        self.plain_history = History(self._log, self._projections, page_limit_bytes=1 << 20)
        for name in channels:
            # The channel and its maker were there before anybody listened.
            self.writers[name].join("ann")
            self.writers[name].say(actor_id="ann")
            self._append(name, 0)
            run_at_once(self._projections.apply(name, self.writers[name].events))

    def _services(self) -> StreamServices:
        gates = self.gates
        log, projections, positions = (
            cast("Any", Gated(port, gates)) for port in (self._log, self._projections, self._positions)
        )
        feed = cast("Any", self.feed)
        inbox = Inbox(log, projections, positions)
        heads = Heads(inbox, projections, positions)
        messages = Messages(
            cast("Any", None),
            log,
            projections,
            positions,
            cast("Any", None),
            cast("Any", None),
            self.clock,
            text_limit_code_points=1000,
        )
        sessions = Sessions(
            self.clock,
            SETTINGS,
            streams_limit=1000,
            streams_per_user_limit=1000,
            waiting_limit_bytes=self._limits.outboxes_bytes,
            random=lambda: 0.0,
        )
        ids = iter(range(1_000_000))

        async def take(name: str, who: str) -> None:
            return None

        return StreamServices(
            node_id="node",
            incarnation="1",
            authenticator=cast("Any", SimpleNamespace(authenticate=self._authenticate)),
            rates=cast("Any", SimpleNamespace(take=take, answers_at_once=False)),
            calls=ChatCalls(messages, positions, feed, self.hub, self.clock),
            joins=Joins(
                feed,
                heads,
                positions,
                watch_above_members=500,
                replay_limit_events=self._limits.replay_events,
            ),
            catch_up=CatchUp(
                History(log, projections, page_limit_bytes=200),
                heads,
                projections,
                positions,
                feed,
                read_mark_field=frames.read_position,
                digest_field=lambda head: frames.digest([head]),
            ),
            routes=self._stores.make_routes(self.clock),
            hub=self.hub,
            sessions=sessions,
            clock=self.clock,
            metrics=METRICS,
            limits=self._limits,
            session_settings=SETTINGS,
            new_session_id=lambda: f"session{next(ids)}",
            new_error_id=lambda: "error",
        )

    def _authenticate(self, metadata: Mapping[str, str]) -> Caller:
        return Caller(USER, metadata["device"], False, self.clock.now_ms() + 10**12)

    # What happens to the logs

    def write(self, channel_id: str, *changes: str) -> None:
        """Commit a batch: each of `changes` is "say", "add" (the user) or "remove", where it is possible. It
        is published when the gates let it.
        """
        writer, members = self.writers[channel_id], self.members[channel_id]
        before = len(writer.events)
        for change in changes:
            if change == "say":
                writer.say("x" * 20)
            elif change == "add" and USER not in members:
                writer.join(USER)
                members.add(USER)
            elif change == "remove" and USER in members:
                writer.leave(USER)
                members.discard(USER)
        events = tuple(writer.events[before:])
        if events:
            self._append(channel_id, before)
            batch = Batch(channel_id, tuple(sorted(members)), events)
            self.batches.append(batch)
            self.publish(batch)

    def _append(self, channel_id: str, head: int) -> None:
        rows = [codec.row_of(event) for event in self.writers[channel_id].events[head:]]
        run_at_once(self._log.append(channel_id, head, rows, b"b" * 16))

    def publish(self, batch: Batch) -> None:
        """Apply and fan out a batch, again if it was before."""
        task = self.loop.create_task(self._publish(batch))
        self.publishing[task] = batch
        task.add_done_callback(self.publishing.pop)
        self.loop.spin()

    async def _publish(self, batch: Batch) -> None:
        # One owner at a time applies, in order; who announces may be overtaken.
        async with self._applying[batch.channel_id]:
            await self.gates.wait()
            await self._projections.apply(batch.channel_id, self._up_to(batch))
            await self.gates.wait()
        encoded = [codec.encode(event) for event in batch.events]
        await self.fanout.publish(batch.channel_id, batch.members_after, batch.events, encoded)

    def _up_to(self, batch: Batch) -> list[Event]:
        return self.writers[batch.channel_id].events[: batch.events[-1].seq]

    def crash(self, number: int) -> None:
        """Whoever publishes a batch dies. Its channel's next owner will publish it."""
        if self.publishing:
            task, batch = sorted(self.publishing.items(), key=lambda item: item[1].events[-1].seq)[
                number % len(self.publishing)
            ]
            task.cancel()
            self.lost_something = True
            self.unpublished.append(batch)
            self.loop.spin()

    def recover(self) -> None:
        """New owners publish what the dead ones may not have, in order."""
        for batch in sorted(self.unpublished, key=lambda batch: batch.events[0].seq):
            self.publish(batch)
        self.unpublished.clear()

    def lose_feed(self) -> None:
        """All feeds are lost: a new epoch."""
        self.lost_something = True
        self._epochs += 1
        self.feed.port = self.new_feed(f"epoch{self._epochs}")

    def new_feed(self, epoch: str) -> RecordingFeed:
        """An empty feed."""
        return RecordingFeed(self._stores.make_feed(epoch), epoch)

    def announced_up_to(self, cursor: str) -> list[tuple[str, int]]:
        """What this life of the feed announced to the user up to the cursor: channel and seq. Nothing if the
        cursor is of another life.
        """
        feed = cast("RecordingFeed", self.feed.port)
        kept = cursor_of(USER, cursor)
        assert kept is not None, f"not a cursor of the user: {cursor}"
        if kept.epoch != feed.epoch:
            return []
        return [
            (channel_id, seq) for position, channel_id, seq in feed.announced if position <= kept.position
        ]

    def mark_read(self, channel_id: str, seq: int) -> None:
        """Another device of the user reads on."""
        if USER in self.members[channel_id]:
            request = message_requests_pb2.MarkReadRequest(channel_id=channel_id, seq=seq)
            caller = Caller(USER, "reader", False, 0)
            self.loop.create_task(self._mark_read(caller, request))
            self.loop.spin()

    async def _mark_read(self, caller: Caller, request: message_requests_pb2.MarkReadRequest) -> None:
        try:
            await self.services.calls.mark_read(caller, request)
        except Exception as error:
            # Not yet a member in the projections: the caller is told so.
            if type(error).__name__ != "Refusal":
                raise

    def pass_time(self, seconds: float) -> None:
        """Time passes for the loop, the clock and the streams."""
        self.clock.advance(seconds)
        self.loop.advance(seconds)
        for listener in self.hub:
            stream = cast("ChatStream", listener)
            stream.touch(foreground=None)
            self.loop.spin(lambda stream=stream: stream.tick(self.clock.now_ms()))  # type: ignore[misc]

    # What the logs say

    def visible(self, channel_id: str) -> list[int]:
        """The seqs that the user may see, worked out from the log."""
        return self.views[channel_id].seqs()

    def read_seq(self, channel_id: str) -> int:
        """How far the user has read."""
        marks = run_at_once(self._positions.read_marks(USER, [channel_id]))
        return marks[channel_id].seq if channel_id in marks else 0

    def list_events(self, channel_id: str, from_seq: int) -> list[int]:
        """All that ListEvents answers the user from there on."""
        seqs: list[int] = []
        next_seq: int | None = from_seq
        while next_seq is not None:
            page = run_at_once(
                self.plain_history.events(USER, channel_id, from_seq=next_seq, to_seq=0, limit=5)
            )
            seqs += [row.seq for row in page.rows]
            next_seq = page.next_seq
        return seqs

    def settle(self, devices: Sequence[Device]) -> None:
        """Nothing is held up any more, everybody reads, and time passes."""
        self.gates.open_all()
        self.recover()
        for _ in range(6):
            for device in devices:
                device.read_all()
            self.pass_time(SETTINGS.heartbeat_seconds)
            self.pass_time(1.0)
            for device in devices:
                device.read_all()
                if device.stream is None:
                    device.come(named=True)
                    device.read_all()

    def catch_breath(self, devices: Sequence[Device]) -> None:
        """Everything under way arrives, what is late is missed, and everybody reads; no ping helps."""
        self.gates.let_all_pass()
        for _ in range(2):
            self.loop.advance(SETTINGS.missing_position_seconds)
            self.gates.let_all_pass()
            for device in devices:
                while device.read_one():
                    self.gates.let_all_pass()

    def close(self) -> None:
        """End everything."""
        for listener in self.hub:
            self.loop.spin(cast("ChatStream", listener).closed)
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.spin()
        self.loop.close()
