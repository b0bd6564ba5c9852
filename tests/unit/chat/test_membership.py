"""Windows: which spans of a log a member, present or former, may read."""

from __future__ import annotations

import pytest

from parley_server.chat.event import Event, HistoryVisibility, MemberChange, MemberChanged, Role
from parley_server.chat.membership import WINDOWS_LIMIT, after_change, may_read
from parley_server.ports.projections import MemberRow, Window

FROM_JOINING, FROM_START = HistoryVisibility.FROM_JOINING, HistoryVisibility.FROM_START


def change(
    row: MemberRow | None, seq: int, role: Role | None, visibility: HistoryVisibility, message_no: int = 5
) -> MemberRow:
    body = MemberChanged("bob", MemberChange.ADDED if role else MemberChange.LEFT, role)
    return after_change(row, Event("c", seq, message_no, 0, "ann", "", b"", body), body, visibility)


def test_a_window_opens_with_joining_and_ends_with_leaving() -> None:
    """Both events are in it. Ending before the leaving hides it from the one who left."""
    row = change(None, 7, Role.MEMBER, FROM_JOINING)
    assert (row.windows, row.joined_seq, row.joined_message_no) == ((Window(7, None),), 7, 5)
    row = change(row, 9, None, FROM_JOINING)
    assert (row.role, row.windows) == (None, (Window(7, 9),))
    row = change(row, 12, Role.MEMBER, FROM_JOINING, message_no=8)
    assert (row.windows, row.joined_seq, row.joined_message_no) == ((Window(7, 9), Window(12, None)), 12, 8)
    assert [seq for seq in range(1, 15) if may_read(row, seq)] == [7, 8, 9, 12, 13, 14]


def test_history_from_the_start() -> None:
    """One window from 1, whatever was before; unread counts from the first message."""
    row = change(None, 7, Role.MEMBER, FROM_START)
    assert (row.windows, row.joined_message_no) == ((Window(1, None),), 0)
    row = change(change(row, 9, None, FROM_START), 12, Role.MEMBER, FROM_START)
    assert row.windows == (Window(1, None),)


def test_first_members_see_how_it_was_made() -> None:
    """Before the first message there is nothing to hide."""
    assert change(None, 2, Role.OWNER, FROM_JOINING, message_no=0).windows == (Window(1, None),)


def test_a_new_role_opens_nothing() -> None:
    """Only the role changes."""
    row = change(None, 7, Role.MEMBER, FROM_JOINING)
    raised = change(row, 8, Role.ADMIN, FROM_JOINING)
    assert (raised.role, raised.windows, raised.joined_seq) == (Role.ADMIN, row.windows, 7)


def test_windows_are_bounded_and_the_newest_stay() -> None:
    """Somebody who comes and goes for ever takes no more room for it."""
    row: MemberRow | None = None
    for seq in range(1, 4 * WINDOWS_LIMIT, 2):
        row = change(row, seq, Role.MEMBER, FROM_JOINING)
        row = change(row, seq + 1, None, FROM_JOINING)
    assert row is not None
    assert len(row.windows) == WINDOWS_LIMIT
    assert row.windows[-1].to_seq == 4 * WINDOWS_LIMIT


def test_nobody_leaves_twice() -> None:
    """It would mean that the log breaks its rules, and must not go unseen."""
    with pytest.raises(ValueError, match="without being in it"):
        change(None, 3, None, FROM_JOINING)
    left = change(change(None, 2, Role.MEMBER, FROM_JOINING), 3, None, FROM_JOINING)
    with pytest.raises(ValueError, match="without being in it"):
        change(left, 4, None, FROM_JOINING)


def test_strangers_read_nothing() -> None:
    """No row, no window."""
    assert not may_read(None, 1)
