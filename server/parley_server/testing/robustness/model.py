"""What the logs read at the end say, and what the clients know of each message. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parley.chat.v1 import event_pb2
from parley_server.testing.robustness.history import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from parley_server.testing.robustness.history import Entry, History, Place, Send

MessageKey = tuple[str, str, str]
"""Channel, sender, client_message_id."""


@dataclass(slots=True)
class ChannelLog:
    """One channel's log: its entries by seq, as the longest reading at the end gave them."""

    channel_id: str
    entries: list[Entry] = field(default_factory=list)
    by_seq: dict[int, Entry] = field(default_factory=dict)

    @property
    def head_seq(self) -> int:
        """The newest seq, 0 for a log that could not be read."""
        return self.entries[-1].seq if self.entries else 0

    def message_no_at(self, seq: int) -> int:
        """How many messages there are up to `seq`, counted."""
        return sum(entry.is_message for entry in self.entries if entry.seq <= seq)


@dataclass(slots=True)
class Message:
    """One message as its sender knows it: all attempts with one id."""

    key: MessageKey
    attempts: list[Send] = field(default_factory=list)

    @property
    def acknowledged(self) -> list[Send]:
        """The attempts that were answered with a place."""
        return [attempt for attempt in self.attempts if attempt.outcome is Outcome.OK]

    @property
    def first_start_ns(self) -> int:
        """Before this the message cannot have been written."""
        return min(attempt.start_ns for attempt in self.attempts)

    @property
    def acknowledged_ns(self) -> int | None:
        """After this it certainly is."""
        return min((attempt.end_ns or 0 for attempt in self.acknowledged), default=None)

    @property
    def place(self) -> Place | None:
        """Where the first acknowledgement says it lies."""
        return next((attempt.place for attempt in self.acknowledged), None)


class Floor:
    """How far a channel must be seen to reach by a read that begins at a given time."""

    def __init__(self, facts: Iterable[tuple[int, int]]) -> None:
        """`facts` are (time in ns, seq): from that time on everybody must see `seq`."""
        self._times: list[int] = []
        self._highest: list[int] = []
        highest = 0
        for time_ns, seq in sorted(facts):
            highest = max(highest, seq)
            self._times.append(time_ns)
            self._highest.append(highest)

    def at(self, time_ns: int) -> int:
        """The highest seq known before `time_ns`; 0 when nothing was."""
        before = bisect_left(self._times, time_ns)
        return self._highest[before - 1] if before else 0


def logs_of(history: History) -> dict[str, ChannelLog]:
    """The log of every channel that has members or was read."""
    logs = {channel_id: ChannelLog(channel_id) for channel_id in history.members}
    for read in history.logs:
        log = logs.setdefault(read.channel_id, ChannelLog(read.channel_id))
        if len(read.events) > len(log.entries):
            log.entries = read.events
    for log in logs.values():
        for entry in log.entries:
            log.by_seq.setdefault(entry.seq, entry)
    return logs


def messages_of(history: History) -> dict[MessageKey, Message]:
    """Every message that somebody tried to send."""
    messages: dict[MessageKey, Message] = {}
    for send in history.sends:
        key = (send.channel_id, send.sender_id, send.client_message_id)
        messages.setdefault(key, Message(key)).attempts.append(send)
    return messages


@dataclass(frozen=True, slots=True)
class Share:
    """What of one log belongs to one user's stream: from each event that made the user a member to the one
    that ended it.

    `seqs` ascending; `starts` are those that made the user a member; `is_open` while the user is one.
    """

    seqs: tuple[int, ...] = ()
    starts: frozenset[int] = frozenset()
    is_open: bool = False

    def holds(self, seq: int) -> bool:
        """Whether the event belongs to the stream."""
        index = bisect_left(self.seqs, seq)
        return index < len(self.seqs) and self.seqs[index] == seq

    def next_after(self, seq: int) -> int | None:
        """The first seq of the stream beyond `seq`."""
        index = bisect_right(self.seqs, seq)
        return self.seqs[index] if index < len(self.seqs) else None

    def last_up_to(self, seq: int) -> int:
        """The last seq of the stream not beyond `seq`; 0 when there is none."""
        index = bisect_right(self.seqs, seq)
        return self.seqs[index - 1] if index else 0


NO_SHARE = Share()


def change_of(entry: Entry) -> event_pb2.MemberChanged | None:
    """What the event says of a membership; None for an event of another kind."""
    kind, _, encoded = entry.content.partition(" ")
    if entry.is_message or kind != "member_changed":
        return None
    return event_pb2.MemberChanged.FromString(bytes.fromhex(encoded))


def shares_of(log: ChannelLog) -> dict[str, Share]:
    """By user id what of the log belongs to the user's streams."""
    seqs: dict[str, list[int]] = {}
    starts: dict[str, set[int]] = {}
    members: set[str] = set()
    for entry in log.entries:
        change = change_of(entry)
        if change is not None and change.change == event_pb2.MEMBER_CHANGE_ADDED:
            members.add(change.user_id)
            starts.setdefault(change.user_id, set()).add(entry.seq)
        for user_id in members:
            seqs.setdefault(user_id, []).append(entry.seq)
        if change is not None and not change.role:
            members.discard(change.user_id)
    return {
        user_id: Share(tuple(found), frozenset(starts[user_id]), user_id in members)
        for user_id, found in seqs.items()
    }
