"""How a conversation looks: dates, heads, folding, marks. No line is wider than the window."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from parley_cli.tui.model.conversation import Conversation, with_news, with_pending
from parley_cli.tui.model.layout import FOLD_LINES, Block, Layout, View, day_text
from parley_cli.tui.model.message import Message, Notice, Pending, Reaction

NOON_MS = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp() * 1000)
DAY_MS = 86_400_000
VIEW = View(40, {"a": "alice", "b": "bob"}, "a", date(2026, 11, 22), UTC)


def _text(blocks: list[Block]) -> list[str]:
    return ["".join(span for span, _ in line) for block in blocks for line in block.lines]


def _shown(*items: Message | Notice, width: int = 40) -> list[str]:
    conversation = with_news(Conversation("c", loaded=True, complete=True), items)
    return _text(Layout().blocks(conversation, replace(VIEW, width=width)))


def test_a_conversation_reads_like_this() -> None:
    lines = _shown(
        Message(1, "b", "first", NOON_MS - DAY_MS),
        Message(2, "b", "hello @alice", NOON_MS, mentions_me=True, reactions=(Reaction("👍", 2, True),)),
        Message(3, "a", "answer", NOON_MS + 60_000, reply_to_seq=2, edited=True, reply_count=1),
        Message(4, "a", "", NOON_MS + 61_000, deleted=True),
        Notice(5, NOON_MS + 62_000, "bob left"),
    )
    assert [line.rstrip() for line in lines] == [
        "             the beginning",
        "────────────── Yesterday ───────────────",
        "bob · 12:00",
        "  first",
        "──────────────── Today ─────────────────",
        "bob · 12:00 · calls you",
        "  hello @alice",
        "  👍 2 (you)",
        "alice · 12:01 · edited",
        "  ↳ answers bob: hello @alice",
        "  answer",
        "  1 reply in the thread (t)",
        "  (deleted)",
        "* bob left · 12:01",
    ]


def test_dates_are_said_in_words() -> None:
    assert day_text(date(2026, 3, 1), date(2026, 11, 22)) == "Sunday, 1 March 2026"


def test_what_is_on_its_way_and_what_was_refused_say_so() -> None:
    conversation = with_pending(Conversation("c", complete=True), Pending("i", "hi", NOON_MS))
    conversation = with_pending(conversation, Pending("j", "no", NOON_MS, trouble="too much"))
    lines = _text(Layout().blocks(conversation, replace(VIEW, width=70)))
    assert "  sending …" in lines
    assert "  NOT SENT: too much (Enter: again, d: drop)" in lines


def test_a_long_message_is_folded_until_all_is_asked_for() -> None:
    """100,000 characters, or many short lines. Planted: a fold by characters alone left the lines open."""
    many = with_news(Conversation("c", complete=True), [Message(1, "b", "line\n" * 500, NOON_MS)])
    assert len(_text(Layout().blocks(many, VIEW))) == FOLD_LINES + 4
    conversation = with_news(Conversation("c", complete=True), [Message(1, "b", "긴 글 " * 25_000, NOON_MS)])
    folded = _text(Layout().blocks(conversation, VIEW))
    assert len(folded) == FOLD_LINES + 4 and "100,000 characters: Enter shows all" in folded[-1]
    whole = _text(Layout().blocks(replace(conversation, unfolded=frozenset({1})), VIEW))
    assert len(whole) > 1_000 and whole[-1] == "  Enter folds"


def test_only_what_changed_is_laid_out_anew() -> None:
    """Planted: a key without the item laid out nothing anew, one without the names showed ids."""
    layout = Layout()
    conversation = with_news(
        Conversation("c", complete=True), [Message(seq, "b", "t", NOON_MS) for seq in (1, 2)]
    )
    before = layout.blocks(conversation, VIEW)
    changed = with_news(conversation, [Message(2, "b", "new", NOON_MS)])
    after = layout.blocks(changed, VIEW)
    assert [old is new for old, new in zip(before, after, strict=True)] == [True, True, True, False]
    renamed = layout.blocks(changed, replace(VIEW, names={"b": "bobby"}))
    assert "bobby · 12:00" in _text(renamed)


_HOSTILE = st.text(max_size=60) | st.sampled_from(
    ["\x1b[2J", "[bold]x[/]", "\u202eevil", "안녕 " * 30, "a\nb\n" * 20]
)


@given(_HOSTILE, _HOSTILE, _HOSTILE, st.integers(12, 60))
def test_no_line_is_too_wide_and_none_steers_the_terminal(
    text: str, name: str, emoji: str, width: int
) -> None:
    """Texts, names and reactions of strangers. Planted: a name that went into a head as it came."""
    items = (
        Message(1, "b", text, NOON_MS, reactions=(Reaction(emoji, 1, False),), pinned=True),
        Message(2, "a", text, NOON_MS, reply_to_seq=1, thread_root_seq=1),
        Notice(3, NOON_MS, name),
    )
    conversation = with_news(Conversation("c", complete=True), items)
    conversation = with_pending(conversation, Pending("i", text, NOON_MS, trouble=name))
    view = replace(VIEW, width=width, names={"a": "alice", "b": name})
    for line in _text(Layout().blocks(conversation, view)):
        assert cell_len(line) <= width
        assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", line)
