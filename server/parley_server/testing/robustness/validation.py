"""The checker: what in a history cannot be, if the server keeps its promises. Pure.

It knows only what clients know. An attempt without an answer may have been carried out or not, at any time
after it began. Senders' side here, readers' side in `reader_validation`.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

from parley_server.testing.robustness.device_validation import device_findings
from parley_server.testing.robustness.finding import Finding, Kind
from parley_server.testing.robustness.history import Outcome, Place
from parley_server.testing.robustness.model import logs_of, messages_of
from parley_server.testing.robustness.reader_validation import reader_findings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parley_server.testing.robustness.history import Entry, History, LogRead
    from parley_server.testing.robustness.model import ChannelLog, Message, MessageKey


def validate(history: History) -> list[Finding]:
    """Everything that is wrong with the history; an empty list for a correct one."""
    logs = logs_of(history)
    messages = messages_of(history)
    findings: list[Finding] = []
    for read in history.logs:
        findings += _reading(read, logs[read.channel_id])
    for log in logs.values():
        findings += _numbers(log)
        findings += _contents(log, messages)
    for message in messages.values():
        findings += _acknowledgements(message, logs)
        findings += _labels(message)
    for channel_id, log in logs.items():
        findings += _order(log, [each for each in messages.values() if each.key[0] == channel_id])
    findings += reader_findings(history, logs)
    findings += device_findings(history, logs)
    findings += [
        Finding(Kind.UNANSWERED, "", f"message {client_message_id} got no answer until the run was over")
        for client_message_id in history.gave_up
    ]
    return findings


def _reading(read: LogRead, log: ChannelLog) -> Iterator[Finding]:
    """One reading of a log is dense from 1 to its head, and equals every other."""
    channel_id, who = read.channel_id, f"as {read.reader_id} reads it"
    if read.missing:
        yield Finding(Kind.LOST, channel_id, f"the channel itself, {who}: {read.missing}")
        return
    expected = 1
    for entry in read.events:
        if entry.seq != expected:
            yield Finding(Kind.HOLE, channel_id, f"seq {entry.seq} where {expected} belongs, {who}")
        expected = entry.seq + 1
        other = log.by_seq[entry.seq]
        if other != entry:
            yield Finding(Kind.CHANGED, channel_id, f"seq {entry.seq} is {entry} {who}, {other} for others")
    if expected - 1 != read.head_seq:
        yield Finding(
            Kind.HOLE, channel_id, f"the events end at {expected - 1}, the head is {read.head_seq}, {who}"
        )
    if read.head_seq < log.head_seq:
        yield Finding(
            Kind.STALE, channel_id, f"head {read.head_seq} {who}, {log.head_seq} for others, at rest"
        )


def _numbers(log: ChannelLog) -> Iterator[Finding]:
    message_no = 0
    for entry in log.entries:
        message_no += entry.is_message
        if entry.message_no != message_no:
            yield Finding(
                Kind.MISCOUNTED,
                log.channel_id,
                f"seq {entry.seq} has message_no {entry.message_no}, {message_no} was counted",
            )
            message_no = entry.message_no
    for before, after in pairwise(log.entries):
        if after.create_time_ms < before.create_time_ms:
            yield Finding(
                Kind.TIME_WENT_BACK,
                log.channel_id,
                f"seq {after.seq} is of {after.create_time_ms}, seq {before.seq} of {before.create_time_ms}",
            )


def _contents(log: ChannelLog, messages: dict[MessageKey, Message]) -> Iterator[Finding]:
    """Every message of the log was sent there, once, with this content."""
    seen: dict[tuple[str, str], Entry] = {}
    for entry in log.entries:
        if not entry.is_message:
            continue
        key = (entry.actor_id, entry.client_message_id)
        what = f"seq {entry.seq}, message {entry.client_message_id} of {entry.actor_id}"
        message = messages.get((log.channel_id, *key))
        if message is None:
            yield Finding(Kind.PHANTOM, log.channel_id, f"{what}: {entry.content!r}")
            continue
        if key in seen:
            yield Finding(Kind.DUPLICATED, log.channel_id, f"{what} is also seq {seen[key].seq}")
        seen.setdefault(key, entry)
        sent = message.attempts[0].content
        if entry.content != sent:
            yield Finding(Kind.CHANGED, log.channel_id, f"{what} holds {entry.content!r}, sent was {sent!r}")
        if all(attempt.outcome is Outcome.REFUSED for attempt in message.attempts):
            reasons = sorted({attempt.reason for attempt in message.attempts})
            yield Finding(
                Kind.REFUSED_BUT_WRITTEN, log.channel_id, f"{what}: refused with {', '.join(reasons)}"
            )


def _acknowledgements(message: Message, logs: dict[str, ChannelLog]) -> Iterator[Finding]:
    """Every acknowledgement names the place where the message lies."""
    channel_id, sender_id, client_message_id = message.key
    what = f"message {client_message_id} of {sender_id}"
    log = logs.get(channel_id)
    for attempt in message.acknowledged:
        place = attempt.place
        assert place is not None
        entry = log.by_seq.get(place.seq) if log else None
        if entry is not None and (entry.actor_id, entry.client_message_id) == (sender_id, client_message_id):
            found = Place(entry.seq, entry.message_no, entry.create_time_ms)
            if found != place:
                yield Finding(Kind.MOVED, channel_id, f"{what}: acknowledged at {place}, lies at {found}")
            continue
        elsewhere = [
            each.seq
            for each in (log.entries if log else ())
            if (each.actor_id, each.client_message_id) == (sender_id, client_message_id)
        ]
        if elsewhere:
            yield Finding(
                Kind.MOVED, channel_id, f"{what}: acknowledged at seq {place.seq}, lies at {elsewhere}"
            )
        else:
            yield Finding(Kind.LOST, channel_id, f"{what}: acknowledged at {place}")


def _labels(message: Message) -> Iterator[Finding]:
    """`duplicate` is false for the attempt that wrote the message, and true for all others."""
    channel_id, sender_id, client_message_id = message.key
    fresh = [attempt.attempt for attempt in message.acknowledged if not attempt.duplicate]
    what = f"message {client_message_id} of {sender_id}"
    if len(fresh) > 1:
        yield Finding(Kind.MISLABELLED, channel_id, f"{what}: attempts {fresh} each say they wrote it")
    unknown = any(attempt.outcome is Outcome.UNKNOWN for attempt in message.attempts)
    if message.acknowledged and not fresh and not unknown:
        yield Finding(Kind.MISLABELLED, channel_id, f"{what}: every attempt says another one wrote it")


def _order(log: ChannelLog, messages: list[Message]) -> Iterator[Finding]:
    """What was acknowledged before a message was first sent lies before it, whoever sent either."""
    by_key = {message.key[1:]: message for message in messages}
    # From the end: the earliest acknowledgement among all that lie behind, and where.
    earliest: tuple[int, int] | None = None
    counts = Counter((entry.actor_id, entry.client_message_id) for entry in log.entries)
    for entry in reversed(log.entries):
        key = (entry.actor_id, entry.client_message_id)
        message = by_key.get(key)
        # A duplicated message has no one place: that is a finding of its own.
        if message is None or counts[key] > 1:
            continue
        if earliest is not None and earliest[0] < message.first_start_ns:
            yield Finding(
                Kind.REORDERED,
                log.channel_id,
                f"seq {entry.seq} of {entry.actor_id} was first sent after seq {earliest[1]} "
                "had been acknowledged",
            )
        acknowledged_ns = message.acknowledged_ns
        if acknowledged_ns is not None and (earliest is None or acknowledged_ns < earliest[0]):
            earliest = (acknowledged_ns, entry.seq)
