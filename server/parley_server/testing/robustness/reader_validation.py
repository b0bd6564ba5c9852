"""The checker's readers' side: streams, reads and inboxes against the logs. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from parley_server.testing.robustness.finding import Finding, Kind
from parley_server.testing.robustness.history import Outcome
from parley_server.testing.robustness.model import ChannelLog, Floor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from parley_server.testing.robustness.history import Entry, History, InboxLine, Session

FINISHED = "finished"
"""How a session ended that was left open until it should have had everything."""


def reader_findings(history: History, logs: dict[str, ChannelLog]) -> Iterator[Finding]:
    """All that readers were shown and cannot be, given the logs."""
    floors = _Floors(history)
    for session in history.sessions:
        for channel_id, head in session.heads.items():
            log = logs.get(channel_id) or ChannelLog(channel_id)
            what = f"the digest for {session.reader_id}"
            yield from _head(log, head.seq, head.message_no, what)
            yield from _fresh(floors, channel_id, "digest", session.start_ns, head.seq, what)
        for channel_id, entries in session.events.items():
            log = logs.get(channel_id) or ChannelLog(channel_id)
            yield from _stream(session, log, entries)
        if session.ended == FINISHED:
            yield from _finished(session, logs, history)
    for read in history.reads:
        log = logs.get(read.channel_id) or ChannelLog(read.channel_id)
        what = f"{read.call} for {read.reader_id}"
        yield from _head(log, read.head_seq, read.head_message_no, what)
        yield from _fresh(floors, read.channel_id, read.call, read.start_ns, read.head_seq, what)
        yield from _shown(log, read.events, what)
    for line in history.inbox:
        yield from _inbox_line(line, logs.get(line.channel_id) or ChannelLog(line.channel_id), history)
    yield from _inbox_complete(history)


class _Floors:
    """What every read must show: all that was acknowledged or delivered before, and what the same call
    showed.

    Different calls may look at the log or at what is derived from it, and one may run ahead of the other for
    an event that nobody was told of yet.
    """

    def __init__(self, history: History) -> None:
        told: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for send in history.sends:
            if send.outcome is Outcome.OK and send.place is not None and send.end_ns is not None:
                told[send.channel_id, ""].append((send.end_ns, send.place.seq))
        for session in history.sessions:
            if session.end_ns is not None:
                for channel_id, entries in session.events.items():
                    told[channel_id, ""] += [(session.end_ns, entry.seq) for entry in entries]
            if session.caught_up_ns is not None:
                for channel_id, head in session.heads.items():
                    told[channel_id, "digest"].append((session.caught_up_ns, head.seq))
        for read in history.reads:
            told[read.channel_id, read.call].append((read.end_ns, read.head_seq))
        self._floors = {key: Floor(facts) for key, facts in told.items()}
        self._nothing = Floor(())

    def at(self, channel_id: str, call: str, start_ns: int) -> int:
        return max(self._floors.get((channel_id, about), self._nothing).at(start_ns) for about in ("", call))


def _fresh(
    floors: _Floors, channel_id: str, call: str, start_ns: int, head_seq: int, what: str
) -> Iterator[Finding]:
    floor = floors.at(channel_id, call, start_ns)
    if head_seq < floor:
        yield Finding(
            Kind.STALE, channel_id, f"{what} said head {head_seq}, but {floor} was known before it began"
        )


def _head(log: ChannelLog, head_seq: int, message_no: int | None, what: str) -> Iterator[Finding]:
    entry = log.by_seq.get(head_seq)
    if head_seq > log.head_seq:
        yield Finding(
            Kind.VANISHED, log.channel_id, f"{what} said head {head_seq}, the log ends at {log.head_seq}"
        )
    elif entry is not None and message_no not in (None, entry.message_no):
        yield Finding(
            Kind.MISCOUNTED,
            log.channel_id,
            f"{what} said {message_no} messages at seq {head_seq}, the log says {entry.message_no}",
        )


def _shown(log: ChannelLog, entries: Sequence[Entry], what: str) -> Iterator[Finding]:
    """Every entry shown is the log's."""
    for entry in entries:
        stored = log.by_seq.get(entry.seq)
        if stored is None:
            yield Finding(Kind.VANISHED, log.channel_id, f"{what} showed {entry}")
        elif stored != entry:
            yield Finding(Kind.CHANGED, log.channel_id, f"{what} showed {entry}, the log holds {stored}")


def _stream(session: Session, log: ChannelLog, entries: Sequence[Entry]) -> Iterator[Finding]:
    """On one stream the events of a channel follow the digest's head one by one."""
    what = f"a stream of {session.reader_id}"
    yield from _shown(log, entries, what)
    head = session.heads.get(log.channel_id)
    expected = entries[0].seq if head is None else head.seq + 1
    for entry in entries:
        if entry.seq > expected:
            yield Finding(
                Kind.STREAM_HOLE, log.channel_id, f"{what} had seq {entry.seq} where {expected} belongs"
            )
        elif entry.seq < expected:
            yield Finding(
                Kind.STREAM_OUT_OF_ORDER,
                log.channel_id,
                f"{what} had seq {entry.seq} where {expected} belongs",
            )
        expected = entry.seq + 1


def _finished(session: Session, logs: dict[str, ChannelLog], history: History) -> Iterator[Finding]:
    """A stream that was left open until the end has everything up to the end."""
    for channel_id, members in history.members.items():
        if session.reader_id not in members:
            continue
        entries = session.events.get(channel_id)
        head = session.heads.get(channel_id)
        last_seq = entries[-1].seq if entries else head.seq if head else 0
        if last_seq < logs[channel_id].head_seq:
            yield Finding(
                Kind.STREAM_HOLE,
                channel_id,
                f"a stream of {session.reader_id} ended with seq {last_seq}, "
                f"the log with {logs[channel_id].head_seq}",
            )


def _inbox_line(line: InboxLine, log: ChannelLog, history: History) -> Iterator[Finding]:
    what = f"the inbox of {line.reader_id}"
    if line.head.seq != log.head_seq:
        yield Finding(Kind.BEHIND, log.channel_id, f"{what} has head {line.head.seq}, the log {log.head_seq}")
    else:
        yield from _head(log, line.head.seq, line.head.message_no, what)
    last_message_seq = max((entry.seq for entry in log.entries if entry.is_message), default=0)
    if line.last_message_seq != last_message_seq:
        yield Finding(
            Kind.BEHIND,
            log.channel_id,
            f"{what} shows seq {line.last_message_seq} as the last message, it is {last_message_seq}",
        )
    unread_count = line.head.message_no - log.message_no_at(line.read_seq)
    if line.unread_count != unread_count:
        yield Finding(
            Kind.MISCOUNTED, log.channel_id, f"{what} counts {line.unread_count} unread, not {unread_count}"
        )
    marks = [
        mark for mark in history.marks if (mark.user_id, mark.channel_id) == (line.reader_id, line.channel_id)
    ]
    told = max((mark.read_seq for mark in marks if mark.outcome is Outcome.OK), default=0)
    asked = max((mark.seq for mark in marks), default=0)
    if line.read_seq < told:
        yield Finding(
            Kind.MARK_LOST, log.channel_id, f"{what} has read up to {line.read_seq}, told was {told}"
        )
    if line.read_seq > asked:
        yield Finding(
            Kind.MARK_PHANTOM, log.channel_id, f"{what} has read up to {line.read_seq}, asked was {asked}"
        )


def _inbox_complete(history: History) -> Iterator[Finding]:
    """Whose inbox was read sees every channel that they are in."""
    shown: dict[str, set[str]] = defaultdict(set)
    for line in history.inbox:
        shown[line.reader_id].add(line.channel_id)
    for channel_id, members in history.members.items():
        for reader_id in members:
            if reader_id in history.inbox_readers and channel_id not in shown[reader_id]:
                yield Finding(Kind.BEHIND, channel_id, f"the channel is not in the inbox of {reader_id}")
