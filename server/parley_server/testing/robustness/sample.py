"""Makes correct histories by chance, for tests of the checker."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from parley.channel.v1 import channel_pb2
from parley.chat.v1 import event_pb2
from parley_server.chat.cursor import cursor_text
from parley_server.ports.positions import FeedCursor
from parley_server.testing.robustness.faults import KILL
from parley_server.testing.robustness.history import (
    DeviceStream,
    Entry,
    Fault,
    Head,
    History,
    InboxLine,
    LogRead,
    Mark,
    Outcome,
    Place,
    Read,
    Send,
    Session,
    Step,
)
from parley_server.testing.robustness.reader_validation import FINISHED

PEOPLE = ("ann", "ben", "cem")
ROAMER = "dan"
"""Comes to and goes from channel "a", and sends nothing."""


@dataclass
class Gadget:
    """A device of the sample's: `given` counts what it has of its user's feed, `stream` is open or None."""

    name: str
    user_id: str
    given: int = 0
    cursor: str = ""
    epoch: int = -1
    numbers: int = 0
    stream: DeviceStream | None = None


@dataclass
class World:
    """A server that keeps every promise, and clients who write down what they see of it.

    `clock` moves by one with everything that happens. Each channel begins with its making.
    """

    chance: random.Random
    history: History = field(default_factory=History)
    logs: dict[str, list[Entry]] = field(default_factory=dict)
    marks: dict[tuple[str, str], int] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    feeds: dict[str, list[tuple[str, Entry]]] = field(default_factory=dict)
    gadgets: list[Gadget] = field(default_factory=list)
    roaming: bool = False
    epoch: int = 0
    clock: int = 0
    numbers: int = 0

    def tick(self) -> int:
        """The next moment."""
        self.clock += 1
        return self.clock

    def make_channel(self, channel_id: str) -> None:
        """The people become members with the first events."""
        self.history.members[channel_id] = list(PEOPLE)
        self.logs[channel_id] = [Entry(1, 0, self.tick(), "ann", "", False, "made")]
        for user_id in PEOPLE:
            self.change(channel_id, user_id, joins=True)

    def change(self, channel_id: str, user_id: str, *, joins: bool) -> None:
        """A member comes or goes."""
        change = event_pb2.MemberChanged(
            user_id=user_id,
            change=event_pb2.MEMBER_CHANGE_ADDED if joins else event_pb2.MEMBER_CHANGE_REMOVED,
            role=channel_pb2.ROLE_MEMBER if joins else channel_pb2.ROLE_UNSPECIFIED,
        )
        head = self.logs[channel_id][-1]
        content = f"member_changed {change.SerializeToString(deterministic=True).hex()}"
        self.append(channel_id, Entry(head.seq + 1, head.message_no, self.tick(), "ann", "", False, content))

    def append(self, channel_id: str, entry: Entry) -> None:
        """An event happens: streams show it, and feeds and devices get it."""
        self.logs[channel_id].append(entry)
        for session in self.sessions.values():
            session.events.setdefault(channel_id, []).append(entry)
        roamers = (ROAMER,) if channel_id == "a" and self.roaming else ()
        for user_id in (*PEOPLE, *roamers):
            self.feeds.setdefault(user_id, []).append((channel_id, entry))
        for gadget in self.gadgets:
            if gadget.stream is not None and gadget.given < len(self.feeds.get(gadget.user_id, ())):
                self.give(gadget, gadget.stream, "event")
                self.store(gadget, gadget.stream)

    def give(self, gadget: Gadget, stream: DeviceStream, what: str) -> None:
        """The device gets what it lacks."""
        feed = self.feeds.get(gadget.user_id, [])
        for channel_id, entry in feed[gadget.given :]:
            stream.steps.append(Step(what, channel_id, entry.seq, entry))
        gadget.given = len(feed)

    def store(self, gadget: Gadget, stream: DeviceStream) -> None:
        """The device gets the cursor for what it has."""
        gadget.epoch = self.epoch
        gadget.cursor = cursor_text(gadget.user_id, FeedCursor(f"e{self.epoch}", gadget.given))
        stream.steps.append(Step("cursor", text=gadget.cursor))

    def come(self, gadget: Gadget) -> None:
        """A device opens a stream and catches up."""
        gadget.numbers += 1
        stream = DeviceStream(
            device=gadget.name,
            user_id=gadget.user_id,
            life=0,
            number=gadget.numbers,
            start_ns=self.tick(),
            cursor=gadget.cursor,
        )
        self.history.device_streams.append(stream)
        stream.welcome_ns = self.tick()
        feed = self.feeds.setdefault(gadget.user_id, [])
        if not gadget.cursor:
            stream.resume = "reset NO_CURSOR"
            for channel_id in self.logs if gadget.user_id in PEOPLE else ():
                stream.steps.append(Step("began", channel_id, self.head(channel_id).seq))
            gadget.given = len(feed)
        elif gadget.epoch != self.epoch:
            stream.resume = "reset EPOCH_CHANGED"
            self.give(gadget, stream, "fetched")
        elif gadget.given == len(feed):
            stream.resume = "continued"
        else:
            stream.resume = self.chance.choice(("replayed", "digested"))
            self.give(gadget, stream, "event" if stream.resume == "replayed" else "fetched")
        for (user_id, channel_id), seq in self.marks.items():
            if user_id == gadget.user_id:
                stream.steps.append(Step("read", channel_id, seq))
        stream.steps.append(Step("caught_up"))
        self.store(gadget, stream)
        gadget.stream = stream

    def go(self, gadget: Gadget) -> None:
        """A device leaves its stream."""
        if gadget.stream is not None:
            gadget.stream.end_ns, gadget.stream.ended, gadget.stream = self.tick(), "OK", None

    def come_or_go(self) -> None:
        """A device does what it did not just do."""
        gadget = self.chance.choice(self.gadgets)
        if gadget.stream is None:
            self.come(gadget)
        else:
            self.go(gadget)

    def roam(self) -> None:
        """The roamer is added or removed: both events are his."""
        joins = not self.roaming
        self.roaming = True
        self.change("a", ROAMER, joins=joins)
        self.roaming = joins

    def kill(self) -> None:
        """The node dies, and its feeds with it."""
        for gadget in self.gadgets:
            self.go(gadget)
        self.history.faults.append(Fault(kind=KILL, start_ns=self.tick(), end_ns=self.tick()))
        self.epoch += 1

    def head(self, channel_id: str) -> Head:
        """Where the log ends."""
        newest = self.logs[channel_id][-1]
        return Head(newest.seq, newest.message_no)

    def begin(self, sender_id: str, channel_id: str, client_message_id: str) -> Send:
        """An attempt starts."""
        send = Send(
            attempt=len(self.history.sends),
            sender_id=sender_id,
            way="unary",
            channel_id=channel_id,
            client_message_id=client_message_id,
            content=f"text of {client_message_id}",
            start_ns=self.tick(),
        )
        self.history.sends.append(send)
        return send

    def write(self, send: Send) -> tuple[Place, bool]:
        """The server carries the attempt out: where the message lies, and whether it lay there before."""
        log = self.logs[send.channel_id]
        for entry in log:
            if (entry.actor_id, entry.client_message_id) == (send.sender_id, send.client_message_id):
                return Place(entry.seq, entry.message_no, entry.create_time_ms), True
        head = log[-1]
        entry = Entry(
            head.seq + 1,
            head.message_no + 1,
            self.tick(),
            send.sender_id,
            send.client_message_id,
            True,
            send.content,
        )
        self.append(send.channel_id, entry)
        return Place(entry.seq, entry.message_no, entry.create_time_ms), False

    def send(self) -> None:
        """One message with as many attempts as it takes; one without an answer was carried out or not."""
        self.numbers += 1
        sender_id, channel_id = self.chance.choice(PEOPLE), self.chance.choice(list(self.logs))
        while True:
            send = self.begin(sender_id, channel_id, f"id{self.numbers}")
            fate = self.chance.choice(("ok", "ok", "lost reply", "lost request", "refused"))
            if fate in ("ok", "lost reply"):
                place, duplicate = self.write(send)
            send.end_ns = self.tick()
            if fate == "ok":
                send.outcome, send.place, send.duplicate = Outcome.OK, place, duplicate
                return
            if fate == "refused":
                send.outcome, send.reason = Outcome.REFUSED, "CHANNEL_BUSY"
            if self.chance.random() < 0.2:
                return

    def open(self) -> None:
        """A reader's stream ends and another begins."""
        reader_id = self.chance.choice(PEOPLE)
        if reader_id in self.sessions:
            self.sessions.pop(reader_id).end_ns = self.tick()
        session = Session(reader_id=reader_id, way="connect", start_ns=self.tick())
        session.heads = {channel_id: self.head(channel_id) for channel_id in self.logs}
        session.caught_up_ns = self.tick()
        self.history.sessions.append(session)
        self.sessions[reader_id] = session

    def read(self) -> None:
        """A reader looks at the end of a channel."""
        channel_id = self.chance.choice(list(self.logs))
        start_ns = self.tick()
        head = self.head(channel_id)
        self.history.reads.append(
            Read(
                reader_id=self.chance.choice(PEOPLE),
                call=self.chance.choice(("GetInbox", "ListEvents")),
                channel_id=channel_id,
                start_ns=start_ns,
                end_ns=self.tick(),
                head_seq=head.seq,
                head_message_no=head.message_no,
                events=self.logs[channel_id][-2:],
            )
        )

    def mark(self) -> None:
        """A reader raises a read position, and perhaps never hears of it."""
        user_id, channel_id = self.chance.choice(PEOPLE), self.chance.choice(list(self.logs))
        seq = self.chance.randint(1, self.head(channel_id).seq)
        mark = Mark(user_id=user_id, channel_id=channel_id, seq=seq, start_ns=self.tick())
        self.history.marks.append(mark)
        known = self.chance.random() < 0.7
        if known or self.chance.random() < 0.5:
            seq = self.marks[user_id, channel_id] = max(seq, self.marks.get((user_id, channel_id), 0))
            for gadget in self.gadgets:
                if gadget.stream is not None and gadget.user_id == user_id:
                    gadget.stream.steps.append(Step("read", channel_id, seq))
        if known:
            mark.end_ns, mark.outcome = self.tick(), Outcome.OK
            mark.read_seq = self.marks[user_id, channel_id]

    @property
    def rich(self) -> bool:
        """Whether there is something of everything: acknowledged messages in both channels, events on a
        stream that is open, an answered mark.
        """
        answered = {
            (send.channel_id, send.client_message_id)
            for send in self.history.sends
            if send.outcome is Outcome.OK
        }
        return (
            all(sum(each == channel_id for each, _ in answered) > 1 for channel_id in self.logs)
            and any(
                len(entries) > 1 for session in self.sessions.values() for entries in session.events.values()
            )
            and any(mark.outcome is Outcome.OK for mark in self.history.marks)
        )

    def finish(self) -> History:
        """Close the streams and read everything back."""
        for session in self.sessions.values():
            session.end_ns, session.ended = self.tick(), FINISHED
        for gadget in self.gadgets:
            if gadget.stream is None:
                self.come(gadget)
            assert gadget.stream is not None
            gadget.stream.end_ns, gadget.stream.ended = self.tick(), FINISHED
        for channel_id, log in self.logs.items():
            head = self.head(channel_id)
            for reader_id in ("ann", "cem"):
                self.history.logs.append(
                    LogRead(reader_id=reader_id, channel_id=channel_id, head_seq=head.seq, events=list(log))
                )
            for reader_id in PEOPLE:
                read_seq = self.marks.get((reader_id, channel_id), 0)
                read_message_no = log[read_seq - 1].message_no if read_seq else 0
                self.history.inbox.append(
                    InboxLine(
                        reader_id=reader_id,
                        channel_id=channel_id,
                        head=head,
                        read_seq=read_seq,
                        unread_count=head.message_no - read_message_no,
                        last_message_seq=max((entry.seq for entry in log if entry.is_message), default=0),
                    )
                )
        self.history.inbox_readers = list(PEOPLE)
        return self.history


def correct_history(seed: int, steps: int = 60) -> History:
    """A correct history of `steps` random steps and more, until there is something of every kind in it."""
    world = World(random.Random(seed))
    world.make_channel("a")
    world.make_channel("b")
    world.gadgets = [Gadget(f"{user_id}/0", user_id) for user_id in (*PEOPLE, ROAMER)]
    for gadget in world.gadgets:
        world.come(gadget)
    actions = (
        *[world.send] * 6,
        *[world.open, world.read, world.mark] * 2,
        world.roam,
        *[world.come_or_go] * 2,
        world.kill,
    )
    for action in actions:
        action()
    for _ in range(steps):
        world.chance.choice(actions)()
    world.open()
    while not world.rich:
        world.send()
        world.mark()
    world.read()
    world.kill()
    for gadget in world.gadgets:
        world.come(gadget)
    for _ in range(2):
        world.roam()
        world.send()
    for gadget in world.gadgets:
        world.go(gadget)
    acknowledged = sum(send.outcome is Outcome.OK for send in world.history.sends)
    while sum(send.outcome is Outcome.OK for send in world.history.sends) < acknowledged + 2:
        world.send()
    return world.finish()
