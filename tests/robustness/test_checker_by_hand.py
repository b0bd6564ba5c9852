"""The checker on small histories by hand: one channel, one or two messages, nothing left to chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from parley_server.testing.robustness.finding import Kind
from parley_server.testing.robustness.history import (
    Entry,
    Fault,
    History,
    LogRead,
    Outcome,
    Place,
    Read,
    Send,
)
from parley_server.testing.robustness.report import Demands, report_on
from parley_server.testing.robustness.sample import correct_history
from parley_server.testing.robustness.validation import validate

if TYPE_CHECKING:
    from pathlib import Path

MADE = Entry(1, 0, 10, "ann", "", False, "made")
FIRST = Entry(2, 1, 11, "ann", "m1", True, "one")
SECOND = Entry(3, 2, 12, "ben", "m2", True, "two")


def by_hand(entries: list[Entry], *sends: Send) -> History:
    """A history of channel "a" with this log."""
    return History(
        members={"a": ["ann", "ben"]},
        sends=list(sends),
        logs=[LogRead(reader_id="ann", channel_id="a", head_seq=entries[-1].seq, events=entries)],
    )


def attempt(entry: Entry, start_ns: int, end_ns: int, outcome: Outcome = Outcome.OK, **more: bool) -> Send:
    """An attempt to send what the entry holds."""
    place = Place(entry.seq, entry.message_no, entry.create_time_ms) if outcome is Outcome.OK else None
    return Send(
        attempt=start_ns,
        sender_id=entry.actor_id,
        way="unary",
        channel_id="a",
        client_message_id=entry.client_message_id,
        content=entry.content,
        start_ns=start_ns,
        end_ns=end_ns,
        outcome=outcome,
        place=place,
        duplicate=more.get("duplicate", False),
    )


def kinds(history: History) -> list[Kind]:
    """What is found, in order."""
    return [finding.kind for finding in validate(history)]


def test_an_unknown_attempt_may_have_been_written_or_not() -> None:
    unknown = attempt(FIRST, 1, 2, Outcome.UNKNOWN)
    assert kinds(by_hand([MADE, FIRST], unknown)) == []
    assert kinds(by_hand([MADE], unknown)) == []
    assert kinds(by_hand([MADE, FIRST], unknown, attempt(FIRST, 3, 4, duplicate=True))) == []
    assert kinds(by_hand([MADE, FIRST], unknown, attempt(FIRST, 3, 4))) == []


def test_an_unknown_attempt_is_written_at_most_once() -> None:
    again = msgspec.structs.replace(FIRST, seq=3, message_no=2, create_time_ms=12)
    assert kinds(by_hand([MADE, FIRST, again], attempt(FIRST, 1, 2, Outcome.UNKNOWN))) == [Kind.DUPLICATED]


def test_messages_under_way_at_one_time_may_lie_in_either_order() -> None:
    """Only what was acknowledged before the other began has a place before it."""
    one_after_other = (attempt(FIRST, 1, 2), attempt(SECOND, 3, 4))
    at_once = (attempt(FIRST, 1, 3), attempt(SECOND, 2, 4))
    assert kinds(by_hand([MADE, FIRST, SECOND], *one_after_other)) == []
    assert kinds(by_hand([MADE, FIRST, SECOND], *at_once)) == []
    swapped = [Entry(2, 1, 11, "ben", "m2", True, "two"), Entry(3, 2, 12, "ann", "m1", True, "one")]
    turned = (attempt(swapped[1], 1, 2), attempt(swapped[0], 3, 4))
    assert kinds(by_hand([MADE, *swapped], *turned)) == [Kind.REORDERED]
    turned_at_once = (attempt(swapped[1], 1, 3), attempt(swapped[0], 2, 4))
    assert kinds(by_hand([MADE, *swapped], *turned_at_once)) == []


def test_a_late_write_of_an_unknown_attempt_is_in_time() -> None:
    """The first attempt began before the other message was acknowledged, so its place after that is right,
    and so would be one before it.
    """
    late = Entry(3, 2, 12, "ben", "m2", True, "two")
    sends = (attempt(late, 1, 2, Outcome.UNKNOWN), attempt(FIRST, 3, 4), attempt(late, 5, 6))
    assert kinds(by_hand([MADE, FIRST, late], *sends)) == []


def test_an_acknowledgement_that_moved_is_one_finding() -> None:
    moved = attempt(msgspec.structs.replace(FIRST, create_time_ms=99), 1, 2)
    assert kinds(by_hand([MADE, FIRST], moved)) == [Kind.MOVED]


def test_a_lost_message_is_one_finding() -> None:
    assert kinds(by_hand([MADE], attempt(FIRST, 1, 2))) == [Kind.LOST]


def test_a_read_that_began_before_the_acknowledgement_need_not_show_it() -> None:
    def read(start_ns: int) -> Read:
        return Read(reader_id="ben", call="GetInbox", channel_id="a", start_ns=start_ns, end_ns=9, head_seq=1)

    history = by_hand([MADE, FIRST], attempt(FIRST, 2, 5))
    history.reads = [read(4)]
    assert kinds(history) == []
    history.reads = [read(6)]
    assert kinds(history) == [Kind.STALE]


def test_a_run_that_met_too_little_is_void() -> None:
    history = by_hand([MADE, FIRST], attempt(FIRST, 1, 2, Outcome.UNKNOWN), attempt(FIRST, 3, 4))
    history.sends[0].attempt, history.sends[1].attempt = 0, 1
    history.faults = [Fault(kind="kill", start_ns=2, in_flight=[0]), Fault(kind="kill", start_ns=5)]
    report = report_on(history, Demands(kills=2, acknowledged=2, unknown=2, duplicates=1))
    assert not report.findings
    assert not report.passed
    assert report.void == [
        "1 kills with a send in flight, 2 are needed",
        "1 acknowledged messages, 2 are needed",
        "1 unknown outcomes at a fault, 2 are needed",
        "0 retries that were duplicates, 1 are needed",
    ]
    assert "void: 1 kills" in report.text()
    assert report_on(history, Demands(kills=1, acknowledged=1, unknown=1)).passed


def test_a_history_is_kept_as_it_was(tmp_path: Path) -> None:
    history = correct_history(7)
    report = report_on(history, Demands(acknowledged=10**6))
    report.save(tmp_path / "kept")
    assert History.load(tmp_path / "kept" / "history.json") == history
    assert (tmp_path / "kept" / "report.txt").read_text(encoding="utf-8") == report.text()
