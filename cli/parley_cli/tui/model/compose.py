"""What the user does with messages: write, edit, answer, delete, react, pin, try again."""

from __future__ import annotations

from dataclasses import replace

from parley_cli.tui.model import actions as act
from parley_cli.tui.model.commands import Command, Edit, Erase, Post, PutPin, PutReaction
from parley_cli.tui.model.conversation import newest_own, with_pending, without_pending
from parley_cli.tui.model.member import may_manage
from parley_cli.tui.model.mentions import mentioned
from parley_cli.tui.model.message import Message, Pending
from parley_cli.tui.model.state import NEW_MESSAGE, Composing, State

PENDING_LIMIT = 200
"""Messages of one conversation on their way. More are refused until some are answered."""

TEXT_LIMIT = 100_000
"""Code points of a message that the server takes by default; it has the last word."""

Reduced = tuple[State, list[Command]]


def compose(state: State, action: act.Action) -> Reduced:
    """As `reduce`, for what the user does with messages. Other actions change nothing."""
    match action:
        case act.Keep(draft):
            return _kept(state, draft), []
        case act.StopComposing():
            return replace(state, composing=NEW_MESSAGE, drafts=_without_draft(state)), []
        case act.BeginEdit(newest):
            return _begin_edit(state, newest), []
        case act.BeginReply():
            target = state.selected
            if not isinstance(target, Message) or target.deleted:
                return _refused(state, "Select a message to answer: it must not be deleted."), []
            return replace(state, composing=Composing(reply_to_seq=target.seq), told=""), []
        case act.Submit():
            return _submit(state, action)
        case act.Retry():
            return _retry(state, action)
        case act.Delete() | act.React() | act.Pin():
            return _change(state, action)
        case _:
            return state, []


def _refused(state: State, why: str) -> State:
    return replace(state, told=why, told_bad=True)


def _kept(state: State, draft: str) -> State:
    if state.current is None or state.drafts.get(state.current, "") == draft:
        return state
    drafts = {**state.drafts, state.current: draft}
    return replace(state, drafts={key: text for key, text in drafts.items() if text})


def _without_draft(state: State) -> dict[tuple[str, int], str]:
    return {key: text for key, text in state.drafts.items() if key != state.current}


def _begin_edit(state: State, newest: bool) -> State:
    conversation = state.conversation
    if conversation is None or state.current is None:
        return state
    target = newest_own(conversation, state.me_id) if newest else state.selected
    if not isinstance(target, Message) or target.author_id != state.me_id or target.deleted:
        return state if newest else _refused(state, "Only messages of your own can be edited.")
    drafts = {**state.drafts, state.current: target.text}
    return replace(state, composing=Composing(edit_seq=target.seq), drafts=drafts, told="")


def _submit(state: State, action: act.Submit) -> Reduced:
    conversation = state.conversation
    if conversation is None or state.current is None or not action.text.strip():
        return state, []
    if len(action.text) > TEXT_LIMIT:
        why = f"A message has at most {TEXT_LIMIT:,} characters; this one has {len(action.text):,}."
        return _refused(state, why), []
    ids = {each.name: each.user_id for each in state.current_members}
    mentions, everybody = mentioned(action.text, ids)
    everybody = everybody and state.me is not None and may_manage(state.me.role)
    channel_id, root_seq = state.current
    done = replace(state, composing=NEW_MESSAGE, drafts=_without_draft(state), told="", told_bad=False)
    if state.composing.edit_seq:
        target = conversation.find(state.composing.edit_seq)
        if isinstance(target, Message) and target.text == action.text:
            return done, []
        return done, [Edit(channel_id, state.composing.edit_seq, action.text, mentions, everybody)]
    if len(conversation.pending) >= PENDING_LIMIT:
        return _refused(state, f"{PENDING_LIMIT} messages wait to be sent: wait until some are."), []
    pending = Pending(
        client_message_id=action.client_message_id,
        text=action.text,
        time_ms=action.now_ms,
        reply_to_seq=state.composing.reply_to_seq,
        thread_root_seq=root_seq,
        mentions=mentions,
        mention_all=everybody,
    )
    unselected = replace(with_pending(conversation, pending), selected=None)
    return done.with_conversation(unselected), [Post(channel_id, pending)]


def _retry(state: State, action: act.Retry) -> Reduced:
    conversation = state.conversation
    pending = conversation.find(action.client_message_id) if conversation else None
    if conversation is None or not isinstance(pending, Pending) or not pending.trouble:
        return state, []
    # It was refused, so it stands nowhere: a new id is safe, and the old one may be too old to be taken.
    again = replace(pending, client_message_id=action.new_id, trouble="", time_ms=action.now_ms)
    others = without_pending(conversation, pending.client_message_id)
    return state.with_conversation(with_pending(others, again)), [Post(conversation.channel_id, again)]


def _change(state: State, action: act.Delete | act.React | act.Pin) -> Reduced:
    target, conversation = state.selected, state.conversation
    if conversation is None or target is None:
        return _refused(state, "Select a message first (arrow keys)."), []
    if isinstance(target, Pending):
        if isinstance(action, act.Delete) and target.trouble:
            return state.with_conversation(without_pending(conversation, target.client_message_id)), []
        return _refused(state, "This message was not sent yet."), []
    if not isinstance(target, Message) or target.deleted:
        return _refused(state, "This message was deleted."), []
    channel_id = conversation.channel_id
    match action:
        case act.Delete():
            return state, [Erase(channel_id, target.seq)]
        case act.Pin():
            return state, [PutPin(channel_id, target.seq, not target.pinned)]
        case act.React(emoji):
            chosen = emoji or state.last_emoji
            own = any(each.emoji == chosen and each.own for each in target.reactions)
            return replace(state, last_emoji=chosen), [PutReaction(channel_id, target.seq, chosen, not own)]
