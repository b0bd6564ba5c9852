"""What the terminal client decides: unread counts, reading, sending, editing, threads."""

from __future__ import annotations

from dataclasses import replace

from parley_cli.tui.model import actions as act
from parley_cli.tui.model import commands as ask
from parley_cli.tui.model.connection import Connection
from parley_cli.tui.model.conversation import HELD_LIMIT, RESTING_LIMIT
from parley_cli.tui.model.inbox import InboxLine
from parley_cli.tui.model.member import Member
from parley_cli.tui.model.message import Message, Pending, Reaction
from parley_cli.tui.model.reduce import reduce
from parley_cli.tui.model.state import CONVERSATIONS_LIMIT, State

NOW_MS = 1_800_000_000_000


def message(seq: int, text: str = "text", author_id: str = "b", **more: object) -> Message:
    """A message of bob's unless said otherwise."""
    return replace(Message(seq, author_id, text, NOW_MS + seq), **more)  # type: ignore[arg-type]


def after(state: State, *actions: act.Action) -> tuple[State, list[ask.Command]]:
    """The state after all of them, and all that they asked for."""
    commands: list[ask.Command] = []
    for action in actions:
        state, asked = reduce(state, action)
        commands += asked
    return state, commands


def opened(*messages: Message, channel_id: str = "c") -> State:
    """Alice with one group open, in which these messages stand."""
    head = messages[-1].seq if messages else 1
    state, _ = after(
        State(server="s"),
        act.SignedIn("a", "alice", "s"),
        act.NamesLearned({"b": "bob"}),
        act.InboxCame((InboxLine(channel_id, "#trip", False, unread=len(messages), head_seq=head),)),
        act.Open(channel_id),
        act.Looking(True, True),
        act.MembersCame(channel_id, (Member("a", "alice", "admin"), Member("b", "bob", "member"))),
        act.PageCame((channel_id, 0), messages, True),
    )
    return state


def test_opening_a_channel_asks_for_its_newest_page_and_its_members_once() -> None:
    state, commands = after(State(server="s"), act.Open("c"), act.Open("c"))
    assert commands == [ask.LoadPage(("c", 0), 0), ask.LoadMembers("c"), ask.LoadMembers("c")]
    assert state.conversation is not None and state.conversation.loading


def test_who_looks_at_the_end_has_read_it_and_says_so_once() -> None:
    """Planted: marking on every action told the server again and again."""
    inbox = act.InboxCame((InboxLine("c", "#trip", False, unread=2, head_seq=7),))
    state, commands = after(State(server="s"), inbox, act.Open("c"), act.Looking(True, True))
    assert ask.MarkRead("c", 7) not in commands, "nothing is shown yet"
    state, commands = after(state, act.PageCame(("c", 0), (message(6), message(7)), True))
    assert commands == [ask.MarkRead("c", 7)]
    assert state.line is not None and state.line.shown_unread == 0
    state, commands = after(state, act.HeadMoved("c", 7, 2), act.Looking(True, True))
    assert commands == [] and state.line is not None and state.line.shown_unread == 0


def test_what_comes_while_nobody_looks_stays_unread() -> None:
    """Scrolled up, or the terminal without focus. Planted: ignoring the focus marked it read."""
    for looking in (act.Looking(False, True), act.Looking(True, False)):
        state, commands = after(opened(message(1)), looking, act.HeadMoved("c", 2, 1))
        assert commands == [] and state.line is not None and state.line.shown_unread == 1
        state, commands = after(state, act.Looking(True, True))
        assert commands == [ask.MarkRead("c", 2)]


def test_a_message_goes_out_with_the_ids_of_those_it_calls() -> None:
    state, commands = after(opened(), act.Submit("@bob, @all hört", "id1", NOW_MS))
    pending = Pending("id1", "@bob, @all hört", NOW_MS, mentions=("b",), mention_all=True)
    assert commands == [ask.Post("c", pending)]
    assert state.conversation is not None and state.conversation.pending == (pending,)


def test_a_member_cannot_call_everybody() -> None:
    """Planted: sent with the flag the server would refuse the whole message."""
    members = (Member("a", "alice", "member"),)
    _, commands = after(opened(), act.MembersCame("c", members), act.Submit("@all", "id1", NOW_MS))
    (post,) = commands
    assert isinstance(post, ask.Post) and not post.pending.mention_all


def test_a_message_that_arrived_is_not_on_its_way_any_more_in_either_order() -> None:
    """The event and the answer come in any order. Planted: matching by text showed it twice."""
    news = act.NewsCame(("c", 0), (message(2, "hi", "a", client_message_id="id1"),))
    settled = act.PendingSettled("c", "id1", sent_seq=2)
    orders: list[list[act.Action]] = [[news, settled], [settled, news]]
    for order in orders:
        state, _ = after(opened(message(1)), act.Submit("hi", "id1", NOW_MS), *order)
        assert state.conversation is not None
        assert state.conversation.pending == ()
        assert [item.seq for item in state.conversation.items] == [1, 2]
    state, _ = after(opened(), act.Submit("hi", "id0", NOW_MS), act.Submit("hi", "id1", NOW_MS), news)
    assert state.conversation is not None
    assert [each.client_message_id for each in state.conversation.pending] == ["id0"]


def test_a_refused_message_says_why_and_goes_out_again_under_a_new_id() -> None:
    state, _ = after(opened(), act.Submit("hi", "id1", NOW_MS), act.PendingSettled("c", "id1", trouble="no"))
    assert state.conversation is not None and state.conversation.pending[0].trouble == "no"
    state, commands = after(state, act.Retry("id1", "id2", NOW_MS))
    assert commands == [ask.Post("c", Pending("id2", "hi", NOW_MS))]
    assert after(state, act.Retry("id2", "id3", NOW_MS))[1] == [], "it is on its way"


def test_a_refused_message_can_be_dropped_and_one_on_its_way_cannot() -> None:
    state, _ = after(opened(), act.Submit("hi", "id1", NOW_MS), act.Select("id1"), act.Delete())
    assert state.conversation is not None and len(state.conversation.pending) == 1
    state, _ = after(state, act.PendingSettled("c", "id1", trouble="no"), act.Select("id1"), act.Delete())
    assert state.conversation is not None and state.conversation.pending == ()


def test_up_in_an_empty_composer_edits_the_newest_own_message() -> None:
    state = opened(message(1, "mine", "a"), message(2, "gone", "a", deleted=True), message(3))
    state, _ = after(state, act.BeginEdit(newest=True))
    assert state.composing.edit_seq == 1 and state.draft == "mine"
    state, commands = after(state, act.Submit("changed", "id1", NOW_MS))
    assert commands == [ask.Edit("c", 1, "changed", (), False)]
    assert state.composing.edit_seq == 0 and state.draft == ""


def test_an_edit_that_changes_nothing_is_not_sent() -> None:
    _, commands = after(
        opened(message(1, "mine", "a")), act.BeginEdit(newest=True), act.Submit("mine", "i", NOW_MS)
    )
    assert commands == []


def test_messages_of_others_cannot_be_edited() -> None:
    state, _ = after(opened(message(1)), act.Select(1), act.BeginEdit())
    assert state.composing.edit_seq == 0 and state.told_bad


def test_what_is_being_edited_can_be_deleted_elsewhere() -> None:
    """Planted: without the check the edit went out and was refused."""
    state, _ = after(opened(message(1, "mine", "a")), act.BeginEdit(newest=True))
    state, _ = after(state, act.NewsCame(("c", 0), (message(1, "", "a", deleted=True),)))
    assert state.composing.edit_seq == 0 and "deleted" in state.told


def test_a_reaction_is_put_and_taken_off_by_the_same_key() -> None:
    state, commands = after(opened(message(1)), act.Select(1), act.React("🎉"))
    assert commands == [ask.PutReaction("c", 1, "🎉", True)]
    mine = message(1, reactions=(Reaction("🎉", 2, True),))
    _, commands = after(state, act.NewsCame(("c", 0), (mine,)), act.React())
    assert commands == [ask.PutReaction("c", 1, "🎉", False)], "the emoji used last"


def test_a_thread_shows_its_root_at_once_and_sends_into_it() -> None:
    state, commands = after(opened(message(1, "root"), message(2)), act.Select(1), act.OpenThread())
    assert state.current == ("c", 1) and commands == [ask.LoadPage(("c", 1), 0)]
    assert state.conversation is not None and [item.seq for item in state.conversation.items] == [1]
    _, commands = after(state, act.Submit("in it", "id1", NOW_MS))
    assert isinstance(commands[0], ask.Post) and commands[0].pending.thread_root_seq == 1
    assert after(state, act.CloseThread())[0].current == ("c", 0)


def test_a_message_of_a_thread_leads_to_its_thread_not_to_one_of_its_own() -> None:
    """The server refuses a thread of a thread."""
    state = opened(message(1), message(2, thread_root_seq=1))
    assert after(state, act.Select(2), act.OpenThread())[0].current == ("c", 1)


def test_drafts_stay_with_their_conversations() -> None:
    state, _ = after(opened(), act.Keep("half a sen"), act.Open("d"))
    assert state.draft == ""
    assert after(state, act.Open("c"))[0].draft == "half a sen"


def test_leaving_a_channel_closes_it_and_forgets_it() -> None:
    state, commands = after(opened(message(1)), act.ChannelGone("c", "gone"))
    assert state.current is None and state.inbox == () and state.told == "gone"
    assert commands == [ask.Forget(("c", 0), 0)]


def test_another_account_begins_with_nothing_of_the_first() -> None:
    """Planted: kept drafts were a leak from one account to another."""
    state, _ = after(opened(message(1)), act.Keep("secret"), act.SignedIn("z", "zoe", "s"))
    assert not state.conversations and not state.drafts and not state.inbox and state.me_name == "zoe"


def test_as_many_conversations_are_kept_as_the_limit_says() -> None:
    """Those with messages on their way stay. Planted: dropping them lost sight of what waits."""
    state, _ = after(opened(), act.Submit("hi", "id1", NOW_MS))
    state, commands = after(state, *[act.Open(f"d{number}") for number in range(CONVERSATIONS_LIMIT + 5)])
    assert len(state.conversations) <= CONVERSATIONS_LIMIT + 1
    assert ("c", 0) in state.conversations
    assert ask.Forget(("d0", 0), 0) in commands


def test_a_reader_far_above_a_busy_end_loses_the_place_not_the_memory() -> None:
    """Planted: only those who follow the end were bounded."""
    state, _ = after(opened(message(1)), act.Looking(False, True))
    flood = tuple(message(seq) for seq in range(2, 2 * HELD_LIMIT + 2))
    state, commands = after(state, act.NewsCame(("c", 0), flood))
    assert state.conversation is not None and len(state.conversation.items) == RESTING_LIMIT
    assert commands == [ask.Forget(("c", 0), state.conversation.items[0].seq)]
    assert "your place was given up" in state.told


def test_a_too_long_message_is_refused_here_with_its_length() -> None:
    state, commands = after(opened(), act.Submit("가" * 100_001, "id1", NOW_MS))
    assert commands == [] and "100,001" in state.told


def test_an_inbox_that_is_fetched_again_does_not_undo_what_came_meanwhile() -> None:
    """Planted: taking the list as it came showed an older message as the last one."""
    state = opened(message(1))
    state, _ = after(state, act.MessageCame("c", 9, "b", "new", NOW_MS + 9, False))
    state, _ = after(state, act.InboxCame((InboxLine("c", "#trip", False, preview="old", time_ms=NOW_MS),)))
    assert state.inbox[0].preview == "bob: new"


def test_a_deleted_text_is_not_shown_in_the_inbox_either() -> None:
    """Planted: the preview kept what nobody was to read any more."""
    state, _ = after(opened(message(1)), act.MessageCame("c", 9, "b", "oops", NOW_MS + 9, False))
    assert after(state, act.TextChanged("c", 9, "b", "right"))[0].inbox[0].preview == "bob: right"
    assert after(state, act.TextChanged("c", 9, "", ""))[0].inbox[0].preview == "(deleted)"
    assert after(state, act.TextChanged("c", 8, "", ""))[0].inbox[0].preview == "bob: oops"


def test_the_connection_is_kept_as_it_was_told() -> None:
    moved = Connection("waiting", retry_in_seconds=2)
    assert after(opened(), act.ConnectionMoved(moved))[0].connection == moved
