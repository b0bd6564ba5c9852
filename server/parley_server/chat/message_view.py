"""A message event as readers may see it now: with what became of it, and without what was taken back. Pure.

Events are stored as they happened and never changed; what is served of them is made here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley.chat.v1 import event_pb2

if TYPE_CHECKING:
    from parley_server.ports.projections import MessageStates


def edit_needed(message: event_pb2.Event, states: MessageStates) -> int:
    """The seq of the edit whose content has to be shown for this message; 0 for none."""
    state = states.states.get(message.seq)
    return 0 if state is None or deleted_at(message, states) else state.edit_seq


def deleted_at(message: event_pb2.Event, states: MessageStates) -> int:
    """The seq of the event that made the message a tombstone; 0 when it is none.

    `message` is the event that carries it, or an edit of it: both are of one author. Once the channel is
    deleted nothing is known of its messages any more, so all of them are taken for tombstones.
    """
    if states.deleted:
        return states.as_of_seq
    seq = message.message_edited.target_seq or message.seq
    state = states.states.get(seq)
    if state is not None and state.delete_seq:
        return state.delete_seq
    erased_seq = states.erased_authors.get(message.actor_id, 0)
    return erased_seq if seq <= erased_seq else 0


def show_message(message: event_pb2.Event, states: MessageStates, edit: event_pb2.Event | None) -> None:
    """Bring a message event up to `states`. `edit` is the event at `edit_needed`, None where that is 0."""
    delete_seq = deleted_at(message, states)
    state = states.states.get(message.seq)
    if state is None and not delete_seq:
        return
    content = message.message
    shown = content.state
    shown.as_of_seq = states.as_of_seq
    if state is not None:
        shown.reply_count = state.reply_count
        shown.last_reply_seq = state.last_reply_seq
        shown.edit_seq = state.edit_seq
        shown.edit_time_ms = state.edit_time_ms
    if delete_seq:
        shown.delete_seq = delete_seq
        clear_content(message)
        return
    if state is not None:
        shown.pin_seq = state.pin_seq
        for reaction in state.reactions:
            shown.reactions.add(
                emoji=reaction.emoji, count=reaction.count, user_ids=reaction.user_ids, own=reaction.own
            )
    if edit is not None:
        edited = edit.message_edited
        content.text = edited.text
        content.ClearField("attributes")
        content.attributes.update(edited.attributes)
        content.ClearField("mentions")
        content.mentions.extend(edited.mentions)
        content.mention_all = edited.mention_all


def show_edit(message: event_pb2.Event, states: MessageStates) -> None:
    """Empty an edit whose content does not stand any more."""
    state = states.states.get(message.message_edited.target_seq)
    current = state is not None and state.edit_seq == message.seq
    if not current or deleted_at(message, states):
        clear_content(message)
        message.message_edited.superseded = True


def hide_later(message: event_pb2.Event, last_seq: int) -> None:
    """Take out of a message what is not for a former member, whose time ended at `last_seq`: content of
    later, and reactions, pin and replies, of which it is not known when they came. That it was edited or
    deleted stays: what it said before is served to nobody.
    """
    state = message.message.state
    # Whoever comes back where the whole past is shown goes on with the events after `last_seq`.
    state.as_of_seq = min(state.as_of_seq, last_seq)
    if state.edit_seq > last_seq:
        clear_content(message)
    for name in ("reactions", "pin_seq", "reply_count", "last_reply_seq"):
        state.ClearField(name)


def clear_content(message: event_pb2.Event) -> None:
    """Take out of a message or an edit what its author wrote. Its place, ids and targets stay."""
    match message.WhichOneof("kind"):
        case "message":
            content = message.message
            content.ClearField("text")
            content.ClearField("attributes")
            content.ClearField("mentions")
            content.ClearField("mention_all")
        case "message_edited":
            edited = message.message_edited
            edited.ClearField("text")
            edited.ClearField("attributes")
            edited.ClearField("mentions")
            edited.ClearField("mention_all")


def erased(encoded: bytes, *, with_settings: bool = False) -> bytes:
    """The encoded event without what its author wrote in messages.

    `with_settings`: the channel is over, so its title and description go too. In one that lives on they stay,
    whoever set them: they are the channel's, and are derived from the log again when projections are rebuilt.
    """
    message = event_pb2.Event.FromString(encoded)
    clear_content(message)
    if with_settings and message.WhichOneof("kind") == "channel_changed":
        message.channel_changed.ClearField("title")
        message.channel_changed.ClearField("description")
    return message.SerializeToString()
