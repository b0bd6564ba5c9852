"""The start screen: one line for each of the user's channels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class InboxLine:
    """One channel. `label` is @name or #title as people wrote it; it is made safe when it is shown.

    `marked_seq` is how far this client has told the server that the user has read. `preview` is of the
    message at `preview_seq`.
    """

    channel_id: str
    label: str
    direct: bool
    unread: int = 0
    head_seq: int = 0
    marked_seq: int = 0
    preview: str = ""
    preview_seq: int = 0
    time_ms: int = 0
    calls_me: bool = False

    @property
    def shown_unread(self) -> int:
        """How many messages are new to the user."""
        return 0 if self.marked_seq >= self.head_seq else self.unread


Inbox = tuple[InboxLine, ...]


def sorted_inbox(lines: Iterable[InboxLine]) -> Inbox:
    """Newest activity first; where nothing happened yet, by label."""
    return tuple(sorted(lines, key=lambda line: (-line.time_ms, line.label, line.channel_id)))


def line_of(inbox: Inbox, channel_id: str) -> InboxLine | None:
    """The line of that channel."""
    return next((line for line in inbox if line.channel_id == channel_id), None)


def refreshed(before: Inbox, lines: Iterable[InboxLine]) -> Inbox:
    """The inbox as the server lists it. What came while it did so is newer than the list, and stays."""
    known = {line.channel_id: line for line in before}
    found = []
    for line in lines:
        held = known.get(line.channel_id)
        if held is not None:
            line = replace(line, marked_seq=max(line.marked_seq, held.marked_seq), calls_me=held.calls_me)
            if held.time_ms > line.time_ms:
                line = replace(line, preview=held.preview, preview_seq=held.preview_seq, time_ms=held.time_ms)
        found.append(line)
    return sorted_inbox(found)


def with_line(inbox: Inbox, line: InboxLine) -> Inbox:
    """The inbox with that line, in place of the channel's one before."""
    before = line_of(inbox, line.channel_id)
    if before is not None:
        newest_ms = max(before.time_ms, line.time_ms)
        line = replace(before, label=line.label, direct=line.direct, time_ms=newest_ms)
    return sorted_inbox((*(each for each in inbox if each.channel_id != line.channel_id), line))


def without_line(inbox: Inbox, channel_id: str) -> Inbox:
    """The inbox without that channel."""
    return tuple(line for line in inbox if line.channel_id != channel_id)


def with_head(inbox: Inbox, channel_id: str, *, head_seq: int, unread: int) -> Inbox:
    """The inbox after the channel's end or the read position moved."""
    return tuple(
        replace(line, head_seq=max(head_seq, line.head_seq), unread=max(unread, 0))
        if line.channel_id == channel_id
        else line
        for line in inbox
    )


def with_preview(
    inbox: Inbox, channel_id: str, *, preview: str, preview_seq: int, time_ms: int, calls_me: bool
) -> Inbox:
    """The inbox after a message came into the channel."""
    before = line_of(inbox, channel_id)
    if before is None or time_ms < before.time_ms:
        return inbox
    changed = replace(
        before,
        preview=preview,
        preview_seq=preview_seq,
        time_ms=time_ms,
        calls_me=before.calls_me or calls_me,
    )
    return sorted_inbox((*(each for each in inbox if each is not before), changed))


def with_changed_text(inbox: Inbox, channel_id: str, seq: int, preview: str) -> Inbox:
    """The inbox after the text of a message changed: shown only where it is the channel's last one."""
    return tuple(
        replace(line, preview=preview) if (line.channel_id, line.preview_seq) == (channel_id, seq) else line
        for line in inbox
    )


def marked(inbox: Inbox, channel_id: str, seq: int) -> Inbox:
    """The inbox once the user has read up to `seq`."""
    return tuple(
        replace(line, marked_seq=max(seq, line.marked_seq), calls_me=False)
        if line.channel_id == channel_id
        else line
        for line in inbox
    )


def neighbour(inbox: Inbox, channel_id: str | None, step: int) -> str | None:
    """The channel `step` lines below; the first one when none is open."""
    if not inbox:
        return None
    places = [place for place, line in enumerate(inbox) if line.channel_id == channel_id]
    if not places:
        return inbox[0].channel_id
    return inbox[(places[0] + step) % len(inbox)].channel_id
