"""From the items of a conversation to lines of styled text, each as wide as the window or narrower."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from functools import partial

from rich.cells import cell_len

from parley_cli.tui.model.conversation import Conversation
from parley_cli.tui.model.message import Item, Key, Message, Notice, Pending
from parley_cli.tui.model.text import clip, shown_line, wrap

FOLD_LINES = 20
"""A message of more lines is folded to so many until `show all` is asked for."""

FOLD_CHARACTERS = 4_000
"""As FOLD_LINES, in code points."""

_GROUP_MS = 5 * 60 * 1000
_INDENT = "  "
_MENTION = re.compile(r"(?<![\w@.])@[^\s@]+")
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)

Span = tuple[str, str]
"""A piece of text and the name of its style; "" is plain. The text is safe for a terminal."""

Line = tuple[Span, ...]

BlockKey = tuple[str, Key]
"""Names a block: ("item", the item's key), ("day", its ordinal) or ("end", where)."""


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that belong together."""

    key: BlockKey
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class View:
    """What the look of a conversation depends on, besides itself. `today` is the date in `zone`."""

    width: int
    names: Mapping[str, str]
    me_id: str
    today: date
    zone: tzinfo | None = None


def day_of(time_ms: int, zone: tzinfo | None) -> date:
    """The date of a moment in `zone` (None: this machine's)."""
    return datetime.fromtimestamp(time_ms / 1000, tz=zone).date()


def day_text(day: date, today: date) -> str:
    """A date for people."""
    ago = (today - day).days
    if ago in (0, 1):
        return ("Today", "Yesterday")[ago]
    return f"{_WEEKDAYS[day.weekday()]}, {day.day} {_MONTHS[day.month - 1]} {day.year}"


class Layout:
    """Lays out one conversation again and again; what did not change is taken from the time before."""

    def __init__(self) -> None:
        self._kept: dict[BlockKey, tuple[object, Block]] = {}

    def blocks(self, conversation: Conversation, view: View) -> list[Block]:
        """The conversation from top to bottom."""
        kept = self._kept
        self._kept = {}
        found: list[Block] = []
        for key, look, make in _plan(conversation, view):
            before = kept.get(key)
            entry = before if before is not None and before[0] == look else (look, Block(key, make()))
            self._kept[key] = entry
            found.append(entry[1])
        return found


def _plan(
    conversation: Conversation, view: View
) -> Iterator[tuple[BlockKey, object, Callable[[], tuple[Line, ...]]]]:
    top = _top_text(conversation)
    yield ("end", "top"), (top, view.width), partial(_centred, top, view.width)
    day: date | None = None
    before: Item | None = None
    by_seq = {item.seq: item for item in conversation.items if isinstance(item, Message)}
    for item in conversation.everything():
        item_day = day_of(item.time_ms, view.zone)
        if item_day != day:
            day, before = item_day, None
            text = day_text(item_day, view.today)
            yield ("day", item_day.toordinal()), (text, view.width), partial(_rule, text, view.width)
        author = view.me_id if isinstance(item, Pending) else getattr(item, "author_id", "")
        whole = item.key in conversation.unfolded
        grouped = _grouped(before, item, view.me_id)
        quote = _quote(item, by_seq, view.names, conversation.root_seq)
        look = (item, author, view.names.get(author, author), whole, grouped, quote, view.width)
        yield ("item", item.key), look, partial(_item_lines, item, view, whole, grouped, quote)
        before = item
        if item.key == conversation.root_seq:
            before = None
            text = _replies_text(item.reply_count) if isinstance(item, Message) else ""
            yield ("end", "root"), (text, view.width), partial(_rule, text, view.width)


def _top_text(conversation: Conversation) -> str:
    if conversation.complete:
        return "the beginning"
    if conversation.full:
        return "older messages: `parley history`"
    return "loading …" if conversation.loading or not conversation.loaded else "↑ more"


def _centred(text: str, width: int) -> tuple[Line, ...]:
    inner = clip(text, width)
    return (((" " * ((width - cell_len(inner)) // 2) + inner, "dim"),),)


def _rule(text: str, width: int) -> tuple[Line, ...]:
    inner = f" {clip(text, max(width - 6, 1))} "
    left = max((width - cell_len(inner)) // 2, 0)
    right = max(width - cell_len(inner) - left, 0)
    return ((("─" * left + inner + "─" * right, "day"),),)


def _grouped(before: Item | None, item: Item, me_id: str) -> bool:
    if isinstance(item, Notice) or isinstance(before, Notice) or before is None or item.reply_to_seq:
        return False
    authors = [me_id if isinstance(each, Pending) else each.author_id for each in (before, item)]
    same_place = before.thread_root_seq == item.thread_root_seq
    plain = not (isinstance(item, Message) and (item.edited or item.pinned or item.mentions_me))
    return (
        authors[0] == authors[1] and same_place and plain and 0 <= item.time_ms - before.time_ms < _GROUP_MS
    )


def _quote(item: Item, by_seq: Mapping[int, Message], names: Mapping[str, str], root_seq: int) -> str:
    if isinstance(item, Notice):
        return ""
    parts = []
    for seq, word in ((item.thread_root_seq, "in the thread of"), (item.reply_to_seq, "answers")):
        if seq and seq != root_seq:
            target = by_seq.get(seq)
            who = names.get(target.author_id, target.author_id) if target else ""
            said = (target.text[:200] or "(deleted)") if target else "an earlier message"
            parts.append(f"{word} {who}: {said}" if target else f"{word} {said}")
    return " · ".join(parts)


def clock(time_ms: int, zone: tzinfo | None) -> str:
    """The time of day."""
    return datetime.fromtimestamp(time_ms / 1000, tz=zone).strftime("%H:%M")


def _item_lines(item: Item, view: View, whole: bool, grouped: bool, quote: str) -> tuple[Line, ...]:
    if isinstance(item, Notice):
        text = f"* {item.text} · {clock(item.time_ms, view.zone)}"
        return tuple(((line, "dim"),) for line in wrap(text, view.width))
    lines: list[Line] = []
    if not grouped:
        lines.append(_head(item, view))
    if quote:
        lines.append(((_INDENT + clip(f"↳ {quote}", view.width - 2), "quote"),))
    lines.extend(_body(item, view.width, whole))
    if isinstance(item, Pending):
        lines.append(_pending_line(item, view.width))
    else:
        lines.extend(_tail(item, view.width))
    return tuple(lines)


def _head(item: Message | Pending, view: View) -> Line:
    own = isinstance(item, Pending) or item.author_id == view.me_id
    author = view.me_id if isinstance(item, Pending) else item.author_id
    name = clip(view.names.get(author, author), max(view.width - 8, 4))
    marks = [clock(item.time_ms, view.zone)]
    if isinstance(item, Message):
        marks += ["edited"] if item.edited and not item.deleted else []
        marks += ["pinned"] if item.pinned else []
        marks += ["calls you"] if item.mentions_me else []
    rest = clip(" · " + " · ".join(marks), max(view.width - cell_len(name), 1))
    return ((name, "own" if own else "author"), (rest, "dim"))


def _body(item: Message | Pending, width: int, whole: bool) -> list[Line]:
    if isinstance(item, Message) and item.deleted:
        return [((_INDENT + "(deleted)", "dim"),)]
    text = item.text if whole else item.text[:FOLD_CHARACTERS]
    lines = wrap(text, width - len(_INDENT))
    foldable = len(item.text) > FOLD_CHARACTERS or len(lines) > FOLD_LINES + 4
    folded = foldable and not whole
    if folded:
        lines = lines[:FOLD_LINES]
    shown: list[Line] = [_marked(line) for line in lines]
    if folded:
        words = f"… {len(item.text):,} characters: Enter shows all"
        shown.append(((_INDENT + clip(words, width - len(_INDENT)), "more"),))
    elif foldable:
        shown.append(((_INDENT + clip("Enter folds", width - len(_INDENT)), "more"),))
    return shown


def _marked(line: str) -> Line:
    spans: list[Span] = [(_INDENT, "")]
    end = 0
    for match in _MENTION.finditer(line):
        if match.start() > end:
            spans.append((line[end : match.start()], ""))
        spans.append((match[0], "mention"))
        end = match.end()
    if end < len(line):
        spans.append((line[end:], ""))
    return tuple(spans)


def _tail(item: Message, width: int) -> Iterator[Line]:
    if item.reactions:
        words = "  ".join(
            f"{shown_line(each.emoji)} {each.count}{' (you)' if each.own else ''}" for each in item.reactions
        )
        for line in wrap(words, width - len(_INDENT)):
            yield ((_INDENT + line, "reaction"),)
    if item.reply_count:
        words = _replies_text(item.reply_count)
        yield ((_INDENT + clip(f"{words} in the thread (t)", width - len(_INDENT)), "more"),)


def _pending_line(item: Pending, width: int) -> Line:
    if item.trouble:
        return ((_INDENT + clip(f"NOT SENT: {item.trouble} (Enter: again, d: drop)", width - 2), "trouble"),)
    return ((_INDENT + clip("sending …", width - 2), "dim"),)


def _replies_text(count: int) -> str:
    return "1 reply" if count == 1 else f"{count} replies"
