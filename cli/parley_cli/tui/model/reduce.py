"""The terminal client's one decision: what an action makes of the state, and what is to be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from parley_cli.tui.model import actions as act
from parley_cli.tui.model import inbox as inboxes
from parley_cli.tui.model.commands import Command, Forget, LoadMembers, LoadPage, MarkRead
from parley_cli.tui.model.compose import compose
from parley_cli.tui.model.conversation import (
    HELD_LIMIT,
    Conversation,
    ConversationKey,
    rested,
    select_step,
    with_news,
    with_page,
    with_pending,
    without_pending,
)
from parley_cli.tui.model.message import Logged, Message, Notice
from parley_cli.tui.model.state import CONVERSATIONS_LIMIT, NAMES_LIMIT, NEW_MESSAGE, State

_PREVIEW_CHARACTERS = 256

Reduced = tuple[State, list[Command]]
Held = TypeVar("Held")


def reduce(state: State, action: act.Action) -> Reduced:
    """The state after the action, and what to ask the session for, in this order."""
    match action:
        case act.SignedIn():
            fresh = State(server=action.server, me_id=action.me_id, me_name=action.me_name)
            return replace(fresh, names={action.me_id: action.me_name}, focused=state.focused), []
        case act.NamesLearned(names):
            return _with_names(state, dict(names)), []
        case act.ConnectionMoved(connection):
            return replace(state, connection=connection), []
        case act.Told(text, bad):
            return replace(state, told=text, told_bad=bad), []
        case act.InboxCame() | act.LineCame() | act.HeadMoved() | act.MessageCame() | act.TextChanged():
            return _reading(_inbox_news(state, action))
        case act.ChannelGone(channel_id, why):
            return _without_channel(state, channel_id, why)
        case act.NewsCame(key, items):
            return _with_news(state, key, items)
        case act.PageCame(key, items, complete):
            if (conversation := state.conversations.get(key)) is None:
                return state, []
            return _reading(state.with_conversation(with_page(conversation, items, complete=complete)))
        case act.PageFailed(key, why):
            if (conversation := state.conversations.get(key)) is None:
                return state, []
            stopped = state.with_conversation(replace(conversation, loading=False))
            return replace(stopped, told=why, told_bad=True), []
        case act.MembersCame(channel_id, members):
            named = _with_names(state, {each.user_id: each.name for each in members})
            return replace(named, members={**_few(state.members), channel_id: members}), []
        case act.PendingFound() | act.PendingSettled():
            return _pending(state, action), []
        case act.Looking(at_end, focused):
            return _reading(replace(state, at_end=at_end, focused=focused))
        case act.Open(channel_id):
            return _open(state, (channel_id, 0))
        case act.OpenThread():
            chosen = state.selected
            if not isinstance(chosen, Message) or state.channel_id is None:
                return state, []
            return _open(state, (state.channel_id, chosen.thread_root_seq or chosen.seq))
        case act.CloseThread():
            if state.current is None or state.current[1] == 0:
                return state, []
            return _open(state, (state.current[0], 0))
        case act.Step() | act.Select() | act.Unfold() | act.TopNear():
            return _within(state, action)
        case _:
            return compose(state, action)


def _within(state: State, action: act.Step | act.Select | act.Unfold | act.TopNear) -> Reduced:
    conversation = state.conversation
    if conversation is None:
        return state, []
    match action:
        case act.Step(by):
            return state.with_conversation(select_step(conversation, by)), []
        case act.Select(key):
            item = conversation.find(key)
            chosen = None if item is None or isinstance(item, Notice) else key
            return state.with_conversation(replace(conversation, selected=chosen)), []
        case act.Unfold(key):
            unfolded = conversation.unfolded ^ {key}
            return state.with_conversation(replace(conversation, unfolded=unfolded)), []
        case act.TopNear():
            if conversation.loading or conversation.complete or conversation.full or not conversation.loaded:
                return state, []
            loading = state.with_conversation(replace(conversation, loading=True))
            return loading, [LoadPage(conversation.key, conversation.oldest_seq)]


def _open(state: State, key: ConversationKey) -> Reduced:
    known = state.conversations.get(key)
    conversation = known or Conversation(*key)
    commands: list[Command] = []
    if not conversation.loaded and not conversation.loading:
        conversation = replace(conversation, loading=True)
        commands.append(LoadPage(key, 0))
    if key[0] not in state.members:
        commands.append(LoadMembers(key[0]))
    if key[1] and not conversation.items and (channel := state.conversations.get((key[0], 0))):
        # The root is at hand: the thread is not empty while it loads.
        root = channel.find(key[1])
        if isinstance(root, Message):
            conversation = replace(conversation, items=(root,))
    others = {each: held for each, held in state.conversations.items() if each != key}
    for oldest in list(others)[: max(len(others) + 1 - CONVERSATIONS_LIMIT, 0)]:
        if not others[oldest].pending:
            del others[oldest]
            commands.append(Forget(oldest, 0))
    opened = replace(
        state,
        conversations={**others, key: conversation},
        current=key,
        composing=NEW_MESSAGE,
        # Where its reader is, the window says once it shows the conversation.
        at_end=False,
        told="",
        told_bad=False,
    )
    return opened, commands


def _inbox_news(
    state: State,
    action: act.InboxCame | act.LineCame | act.HeadMoved | act.MessageCame | act.TextChanged,
) -> State:
    match action:
        case act.InboxCame(lines):
            state = replace(state, inbox=inboxes.refreshed(state.inbox, lines), inbox_loaded=True)
            if state.current is not None and state.line is None:
                return _without_channel(state, state.current[0], "You are in that conversation no more.")[0]
            return state
        case act.LineCame(line):
            return replace(state, inbox=inboxes.with_line(state.inbox, line))
        case act.HeadMoved(channel_id, head_seq, unread):
            moved = inboxes.with_head(state.inbox, channel_id, head_seq=head_seq, unread=unread)
            return replace(state, inbox=moved)
        case act.TextChanged(channel_id, seq, author_id, text):
            preview = _preview(state, author_id, text) if text else "(deleted)"
            inbox = inboxes.with_changed_text(state.inbox, channel_id, seq, preview)
            return replace(state, inbox=inbox)
        case act.MessageCame():
            inbox = inboxes.with_preview(
                state.inbox,
                action.channel_id,
                preview=_preview(state, action.author_id, action.text),
                preview_seq=action.seq,
                time_ms=action.time_ms,
                calls_me=action.calls_me,
            )
            return replace(state, inbox=inbox)


def _preview(state: State, author_id: str, text: str) -> str:
    who = "you" if author_id == state.me_id else state.names.get(author_id, "?")
    return f"{who}: {text[:_PREVIEW_CHARACTERS]}"


def _without_channel(state: State, channel_id: str, why: str) -> Reduced:
    gone = [key for key in state.conversations if key[0] == channel_id]
    left = replace(
        state,
        inbox=inboxes.without_line(state.inbox, channel_id),
        conversations={key: held for key, held in state.conversations.items() if key not in gone},
        members={each: held for each, held in state.members.items() if each != channel_id},
        drafts={key: draft for key, draft in state.drafts.items() if key[0] != channel_id},
    )
    commands: list[Command] = [Forget(key, 0) for key in gone]
    if state.channel_id != channel_id:
        return left, commands
    return replace(left, current=None, composing=NEW_MESSAGE, told=why, told_bad=False), commands


def _with_news(state: State, key: ConversationKey, items: tuple[Logged, ...]) -> Reduced:
    conversation = state.conversations.get(key)
    if conversation is None:
        return state, []
    conversation = with_news(conversation, items)
    if conversation.root_seq and conversation.full:
        state, commands = _open(state, (key[0], 0)) if state.current == key else (state, [])
        kept = {each: held for each, held in state.conversations.items() if each != key}
        why = "This thread is very long. It was closed; opened again it shows its end."
        return replace(state, conversations=kept, told=why), [*commands, Forget(key, 0)]
    if len(conversation.items) > 2 * HELD_LIMIT:
        # Whoever reads far above the end of a busy channel loses the place, not the memory of the machine.
        conversation = rested(conversation)
        state, commands = _reading(_still_composing(state.with_conversation(conversation)))
        if key == state.current:
            why = "So much has come since that your place was given up. Older messages: scroll up."
            state = replace(state, told=why)
        return state, [*commands, Forget(key, conversation.oldest_seq)]
    return _reading(_still_composing(state.with_conversation(conversation)))


def _still_composing(state: State) -> State:
    """A message that was deleted can be neither edited nor answered."""
    seq = state.composing.edit_seq or state.composing.reply_to_seq
    target = state.conversation.find(seq) if seq and state.conversation else None
    if isinstance(target, Message) and target.deleted:
        return replace(state, composing=NEW_MESSAGE, told="That message was deleted.", told_bad=True)
    return state


def _pending(state: State, action: act.PendingFound | act.PendingSettled) -> State:
    if isinstance(action, act.PendingFound):
        key = (action.channel_id, action.pending.thread_root_seq)
        conversation = state.conversations.get(key) or Conversation(*key)
        return state.with_conversation(with_pending(conversation, action.pending))
    for key, conversation in state.conversations.items():
        pending = conversation.find(action.client_message_id)
        if key[0] != action.channel_id or pending is None or isinstance(pending, Message | Notice):
            continue
        changed = replace(pending, sent_seq=action.sent_seq, trouble=action.trouble)
        if action.sent_seq and not conversation.loaded and not conversation.loading:
            conversation = without_pending(conversation, action.client_message_id)
        else:
            conversation = with_pending(conversation, changed)
        state = state.with_conversation(conversation)
    return state


def _reading(state: State) -> Reduced:
    """Who looks at the end of a conversation has read it: the server is told, once for each end."""
    conversation, line = state.conversation, state.line
    if conversation is None or not state.at_end:
        return state, []
    commands: list[Command] = []
    calm = rested(conversation)
    if calm is not conversation:
        state = state.with_conversation(calm)
        commands.append(Forget(calm.key, calm.oldest_seq))
    if line is None or not state.focused or conversation.root_seq or not conversation.loaded:
        return state, commands
    if line.shown_unread <= 0 and not line.calls_me:
        return state, commands
    inbox = inboxes.marked(state.inbox, line.channel_id, line.head_seq)
    return replace(state, inbox=inbox), [*commands, MarkRead(line.channel_id, line.head_seq)]


def _with_names(state: State, names: dict[str, str]) -> State:
    new = {user_id: name for user_id, name in names.items() if state.names.get(user_id) != name}
    if not new:
        return state
    held = state.names
    if len(held) + len(new) > NAMES_LIMIT:
        held = {user_id: held[user_id] for user_id in _needed(state) & held.keys()}
    return replace(state, names={**held, **new})


def _needed(state: State) -> set[str]:
    needed = {state.me_id}
    for conversation in state.conversations.values():
        needed.update(item.author_id for item in conversation.items if isinstance(item, Message))
    return needed


def _few(held: Mapping[str, Held]) -> dict[str, Held]:
    """What was learned last, of as many channels as conversations are kept."""
    return dict(list(held.items())[1 - CONVERSATIONS_LIMIT :])
