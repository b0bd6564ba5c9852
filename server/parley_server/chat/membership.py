"""How memberships follow from events: who may read which span of a log. Pure.

Every keeper of projections uses these functions, so that they cannot disagree.
"""

from __future__ import annotations

from dataclasses import replace

from parley_server.chat.event import Event, HistoryVisibility, MemberChange, MemberChanged
from parley_server.ports.projections import MemberRow, Window

WINDOWS_LIMIT = 64


def after_change(
    row: MemberRow | None, event: Event, change: MemberChanged, visibility: HistoryVisibility
) -> MemberRow:
    """The membership after `event`, which carries `change` for its user. `row` is the one before, None at
    first.

    A new window starts at the joining; at 1 if the channel shows its history from the start, or if nothing
    had been written yet (so that the first members see how the channel was made). It ends with the event of
    leaving. Another role changes no window.
    """
    present = row is not None and row.role is not None
    if not present and (change.role is None or change.change is MemberChange.ROLE_CHANGED):
        raise ValueError(
            f"{change.user_id} leaves {event.channel_id}, or has another role there, "
            f"at {event.seq} without being in it"
        )
    if row is not None and present:
        if change.role is not None:
            return replace(row, role=change.role)
        last = row.windows[-1]
        return replace(row, role=None, windows=(*row.windows[:-1], Window(last.from_seq, event.seq)))
    from_start = visibility is HistoryVisibility.FROM_START or event.message_no == 0
    former = () if row is None or from_start else row.windows
    from_seq = 1 if from_start else event.seq
    return MemberRow(
        channel_id=event.channel_id,
        user_id=change.user_id,
        role=change.role,
        joined_seq=event.seq,
        joined_message_no=0 if from_start else event.message_no,
        windows=(*former, Window(from_seq, None))[-WINDOWS_LIMIT:],
    )


def after_end(row: MemberRow, event: Event) -> MemberRow | None:
    """The membership after `event`, which deletes the channel: who was a member then may read just that. None
    for a former member.
    """
    if row.role is None:
        return None
    return replace(
        row, role=None, joined_message_no=event.message_no, windows=(Window(event.seq, event.seq),)
    )


def may_read(row: MemberRow | None, seq: int) -> bool:
    """Whether the member, present or former, may read the event at `seq`."""
    return row is not None and any(window.holds(seq) for window in row.windows)
