"""What one user may see of one channel's log, worked out from the log alone: no product code decides it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_server.chat.event import HistoryVisibility, MemberChanged

if TYPE_CHECKING:
    from parley_server.testing.projected_log import LogWriter


class VisibleLog:
    """A plain reading of a log that may still grow."""

    def __init__(self, writer: LogWriter, visibility: HistoryVisibility, user_id: str) -> None:
        self._writer = writer
        self._visibility = visibility
        self._user_id = user_id

    def seqs(self) -> list[int]:
        """The seqs that the user may see, ascending."""
        joinings = self.joinings()
        seen_from_start = 0
        if joinings and self._visibility is HistoryVisibility.FROM_START:
            seen_from_start = joinings[-1]
        as_member = self._as_member()
        return [seq for seq, was in enumerate(as_member, start=1) if seq < seen_from_start or was]

    def joinings(self) -> list[int]:
        """The seqs of the events that made the user a member."""
        return [
            event.seq
            for event in self._writer.events
            if isinstance(event.body, MemberChanged)
            and event.body.user_id == self._user_id
            and event.body.role is not None
        ]

    def joined_seq(self) -> int:
        """The user's newest joining; 0 without one."""
        return max(self.joinings(), default=0)

    def was_member(self, seq: int) -> bool:
        """Whether the user was a member at this event, those of joining and leaving included."""
        return self._as_member()[seq - 1]

    def _as_member(self) -> list[bool]:
        """`was_member` of each event."""
        found: list[bool] = []
        member = False
        for event in self._writer.events:
            match event.body:
                case MemberChanged(user_id=self._user_id, role=role):
                    member = role is not None
                    found.append(True)
                case _:
                    found.append(member)
        return found
