"""Items of a conversation: in order, without doubles, whatever comes when."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from parley_cli.tui.model.conversation import (
    RESTING_LIMIT,
    Conversation,
    is_notice,
    rested,
    select_step,
    with_news,
    with_page,
    with_pending,
)
from parley_cli.tui.model.message import Logged, Message, Notice, Pending


def _item(seq: int) -> Logged:
    return Notice(seq, seq, "joined") if seq % 7 == 0 else Message(seq, "b", f"text {seq}", seq)


@given(st.integers(1, 60), st.data())
def test_pages_and_news_in_any_mixture_leave_no_hole_and_no_double(head: int, data: st.DataObject) -> None:
    """Planted: news older than all that is held were taken in, and left a hole above them."""
    conversation = Conversation("c", loading=True)
    loaded_from = data.draw(st.integers(1, head))
    conversation = with_page(
        conversation, [_item(seq) for seq in range(loaded_from, head + 1)], complete=False
    )
    while not conversation.complete:
        for changed in data.draw(st.lists(st.integers(1, head), max_size=3)):
            conversation = with_news(conversation, [_item(changed)])
        if data.draw(st.booleans()):
            head += 1
            conversation = with_news(conversation, [_item(head)])
        oldest = conversation.oldest_seq
        start = max(1, oldest - data.draw(st.integers(1, 20)))
        page = [_item(seq) for seq in range(start, oldest)]
        conversation = with_page(conversation, page, complete=start == 1)
    assert [item.seq for item in conversation.items] == list(range(1, head + 1))


def test_a_page_does_not_undo_a_newer_look() -> None:
    """An edit comes while the page that still holds the old text is under way."""
    conversation = with_news(Conversation("c"), [Message(1, "b", "edited", 1, edited=True)])
    conversation = with_page(conversation, [Message(1, "b", "first", 1)], complete=True)
    assert conversation.items == (Message(1, "b", "edited", 1, edited=True),)


@given(st.lists(st.integers(1, 40), unique=True), st.integers(0, 3), st.lists(st.integers(-50, 50)))
def test_the_selection_is_always_a_message_of_the_conversation(
    seqs: list[int], pending: int, steps: list[int]
) -> None:
    """Notices are passed over. Planted: stepping over all items selected a notice."""
    conversation = with_news(Conversation("c", complete=True), [_item(seq) for seq in seqs])
    for number in range(pending):
        conversation = with_pending(conversation, Pending(f"id{number}", "text", 100))
    for step in steps:
        before = conversation.selected
        conversation = select_step(conversation, step)
        found = conversation.find(conversation.selected)
        if not pending and all(is_notice(_item(seq)) for seq in seqs):
            assert conversation.selected is None
        else:
            assert found is not None and not is_notice(found)
            if step == 0 and before is not None:
                assert conversation.selected == before


@given(st.integers(1, 30), st.integers(1, 29))
def test_up_and_down_again_is_where_one_was(count: int, steps: int) -> None:
    conversation = with_news(
        Conversation("c", complete=True), [Message(seq, "b", "t", seq) for seq in range(1, count + 1)]
    )
    conversation = replace(conversation, selected=count)
    up = select_step(conversation, -steps)
    assert up.selected == max(1, count - steps)
    assert select_step(up, steps).selected == min(count, max(1, count - steps) + steps)


def test_what_the_user_selected_on_its_way_stays_selected_when_it_arrives() -> None:
    conversation = with_pending(Conversation("c", loaded=True), Pending("id1", "hi", 1))
    conversation = replace(conversation, selected="id1")
    conversation = with_news(conversation, [Message(5, "a", "hi", 1, client_message_id="id1")])
    assert conversation.selected == 5 and conversation.pending == ()


def test_a_conversation_whose_end_is_looked_at_lets_old_items_go() -> None:
    """Planted: without it a busy channel grew for ever."""
    items = [Message(seq, "b", "t", seq) for seq in range(1, 3 * RESTING_LIMIT)]
    held = replace(with_page(Conversation("c"), items, complete=True), selected=1)
    calm = rested(held)
    assert len(calm.items) == RESTING_LIMIT and calm.items[-1] == items[-1]
    assert not calm.complete and calm.selected is None
    assert rested(calm) is calm


def test_a_thread_holds_its_root_and_its_replies_only() -> None:
    thread = Conversation("c", root_seq=3)
    news: list[Logged] = [Message(3, "b", "root", 3), Message(4, "b", "other", 4), Notice(5, 5, "joined")]
    reply = Message(6, "b", "reply", 6, thread_root_seq=3)
    thread = with_page(thread, [*news, reply], complete=False)
    assert [item.seq for item in thread.items] == [3, 6]
    assert thread.oldest_seq == 6, "older replies are asked for, not what is before the root"
