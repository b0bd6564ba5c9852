"""Everything around the messages, as lines: inbox, members, title, what the composer is for."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from parley_cli.tui.model.connection import connection_text
from parley_cli.tui.model.inbox import InboxLine
from parley_cli.tui.model.layout import Line
from parley_cli.tui.model.member import Member
from parley_cli.tui.model.message import Message
from parley_cli.tui.model.state import State
from parley_cli.tui.model.text import clip, shown_line

HINT = "F1 help · Ctrl-Q quit · F2 conversations · F3 members · F4 pins · F5 new · F6 invite · F7 accounts"


def inbox_row(line: InboxLine, *, current: bool, width: int) -> tuple[Line, ...]:
    """A channel in two lines. Open, unread and calling are told by signs and words, not by colour alone."""
    unread = line.shown_unread
    count = "" if not unread else f"({unread if unread < 1000 else '999+'})"
    sign = ("@" if line.calls_me else "") + count
    room = max(width - cell_len(sign) - 3, 4)
    label = clip(line.label, room)
    gap = max(width - 2 - cell_len(label) - cell_len(sign), 1)
    style = "unread" if unread else "label"
    first = (("» " if current else "  ", "own"), (label, style), (" " * gap, ""), (sign, "unread"))
    return first, (("  " + clip(line.preview or "no message yet", width - 2), "dim"),)


def member_row(member: Member, *, me_id: str, head_seq: int, width: int) -> tuple[Line, ...]:
    """A member with the role in words, and whether all was read."""
    role = "" if member.role == "member" else f" {member.role}"
    you = " (you)" if member.user_id == me_id else ""
    read = " ✓" if head_seq and member.read_seq >= head_seq and not you else ""
    tail = f"{role}{you}{read}"
    name = clip(f"@{member.name}", max(width - cell_len(tail) - 2, 4))
    return ((("  ", ""), (name, "label"), (tail, "dim")),)


def header_text(state: State) -> str:
    """Who, where, and how the connection is."""
    who = f"{shown_line(state.me_name)} @ {shown_line(state.server)}" if state.me_name else state.server
    total = sum(line.shown_unread for line in state.inbox)
    unread = f" · {total} unread" if total else ""
    return f" Parley · {who} · {connection_text(state.connection)}{unread}"


def title_text(state: State) -> str:
    """What conversation is shown."""
    if state.line is None:
        return " no conversation: choose one on the left (F2) or begin one (F5)"
    label = shown_line(state.line.label)
    if state.current is not None and state.current[1]:
        return f" {label} › thread (Esc: back)"
    count = len(state.current_members)
    people = f" · {count} members" if count and not state.line.direct else ""
    return f" {label}{people}"


def mode_text(state: State, width: int) -> str:
    """What the composer is for, when it is not a new message; "" when it is."""
    seq = state.composing.edit_seq or state.composing.reply_to_seq
    if not seq:
        return ""
    target = state.conversation.find(seq) if state.conversation else None
    said = target.text[:200] if isinstance(target, Message) else ""
    if state.composing.edit_seq:
        return clip(f" EDITING (Esc: stop): {said}", width)
    author = state.names.get(target.author_id, "") if isinstance(target, Message) else ""
    return clip(f" ANSWERING {author} (Esc: stop): {said}", width)


def status_text(state: State) -> str:
    """The last line: what was told last, or the keys."""
    if state.told:
        return f" {'! ' if state.told_bad else ''}{shown_line(state.told)}"
    return f" {HINT}"


def completion_text(names: Sequence[str], chosen: int, width: int) -> str:
    """The names that may be meant, the one that Tab takes in brackets."""
    words = [f"[{name}]" if place == chosen else f" {name} " for place, name in enumerate(names)]
    return clip(" Tab: " + " ".join(words), width)
