"""One event of a channel, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping

import parley
from parley_cli.render import message_lines, notice_line


def people_of(event: parley.Event) -> set[str]:
    """The ids of the users that the event names."""
    people = {event.actor_id}
    if isinstance(event, parley.MemberEvent | parley.BanEvent | parley.AuthorErasedEvent):
        people.add(event.user_id)
    return people


def event_lines(
    event: parley.Event,
    names: Mapping[str, str],
    *,
    clock: str,
    label: str,
    direct: bool,
    numbered: bool = False,
) -> list[str]:
    """The event as neutral text lines; none for what goes without saying.

    `names` holds the user name of every id in `people_of(event)`; `direct` says that the channel is one. With
    `numbered` a message's seq stands before its author.
    """
    actor = names[event.actor_id]
    if isinstance(event, parley.MessageEvent) and not event.deleted:
        marks = ", ".join(message_marks(event))
        author = f"{event.seq} {actor}" if numbered else actor
        return message_lines(clock=clock, label=label, author=author, marks=marks, text=event.text)
    if isinstance(event, parley.EditEvent) and not event.superseded:
        marks = f"edits {event.target_seq}"
        return message_lines(clock=clock, label=label, author=actor, marks=marks, text=event.text)
    if direct and isinstance(event, parley.MemberEvent | parley.ChannelEvent):
        # A direct channel begins with three events for one fact. The one that both see stands for all.
        begins = isinstance(event, parley.MemberEvent) and event.user_id != event.actor_id
        text = f"{actor} began the conversation" if begins else ""
    else:
        text = _notice(event, actor, names)
    return [notice_line(clock=clock, label=label, text=text)] if text else []


def message_marks(message: parley.MessageEvent) -> list[str]:
    """What stands behind the author of a message: what it answers, and what became of it."""
    marks = []
    if message.reply_to_seq:
        marks.append(f"answers {message.reply_to_seq}")
    if message.thread_root_seq:
        marks.append(f"in the thread of {message.thread_root_seq}")
    state = message.state
    if state is not None:
        if state.edited:
            marks.append("edited")
        if state.pin_seq:
            marks.append("pinned")
        if state.reply_count:
            marks.append(f"{state.reply_count} in its thread")
        marks += [f"{reaction.emoji} {reaction.count}" for reaction in state.reactions]
    return marks


def event_fields(event: parley.Event, names: Mapping[str, str]) -> dict[str, object]:
    """The event as the fields of a JSON object. Texts are exact. Keys are documented in docs/cli.md."""
    fields: dict[str, object] = {
        "kind": "unknown",
        "channel_id": event.channel_id,
        "seq": event.seq,
        "message_no": event.message_no,
        "create_time_ms": event.create_time_ms,
        "actor_id": event.actor_id,
        "actor": names[event.actor_id],
    }
    match event:
        case parley.MessageEvent():
            fields |= {"kind": "message", "client_message_id": event.client_message_id}
            fields |= _message_fields(event)
        case parley.EditEvent():
            fields |= {
                "kind": "message_edited",
                "target_seq": event.target_seq,
                "text": event.text,
                "attributes": dict(event.attributes),
                "mentions": list(event.mentions),
                "mention_all": event.mention_all,
                "superseded": event.superseded,
            }
        case parley.DeleteEvent():
            fields |= {"kind": "message_deleted", "target_seq": event.target_seq}
        case parley.ReactionEvent():
            fields |= {
                "kind": "reaction_changed",
                "target_seq": event.target_seq,
                "emoji": event.emoji,
                "added": event.added,
                "count": event.count,
            }
        case parley.PinEvent():
            fields |= {"kind": "pin_changed", "target_seq": event.target_seq, "pinned": event.pinned}
        case _:
            fields |= _channel_fields(event, names)
    return fields


def _message_fields(message: parley.MessageEvent) -> dict[str, object]:
    state = message.state or parley.MessageState(message.seq)
    return {
        "text": message.text,
        "attributes": dict(message.attributes),
        "mentions": list(message.mentions),
        "mention_all": message.mention_all,
        "reply_to_seq": message.reply_to_seq,
        "thread_root_seq": message.thread_root_seq,
        "edited": state.edited,
        "edit_time_ms": state.edit_time_ms,
        "deleted": state.deleted,
        "pinned": state.pin_seq > 0,
        "reactions": [
            {"emoji": reaction.emoji, "count": reaction.count, "own": reaction.own}
            for reaction in state.reactions
        ],
        "reply_count": state.reply_count,
    }


def _channel_fields(event: parley.Event, names: Mapping[str, str]) -> dict[str, object]:
    match event:
        case parley.MemberEvent():
            return {
                "kind": "member_changed",
                "user_id": event.user_id,
                "user": names[event.user_id],
                "change": event.change.name.lower(),
                "role": event.role.name.lower(),
                "invite_id": event.invite_id,
            }
        case parley.ChannelEvent():
            return {
                "kind": "channel_changed",
                "created": event.created,
                "title": event.title,
                "description": event.description,
                "history_from_start": event.history_visibility == parley.HistoryVisibility.FROM_START,
                "member_limit": event.member_limit,
                "slow_mode_seconds": event.slow_mode_seconds,
            }
        case parley.BanEvent():
            return {
                "kind": "ban_changed",
                "user_id": event.user_id,
                "user": names[event.user_id],
                "banned": event.banned,
            }
        case parley.InviteEvent():
            return {
                "kind": "invite_changed",
                "invite_id": event.invite_id,
                "revoked": event.revoked,
                "expire_time_ms": event.expire_time_ms,
                "use_limit": event.use_limit,
            }
        case parley.AuthorErasedEvent():
            return {"kind": "author_erased", "user_id": event.user_id, "user": names[event.user_id]}
        case parley.ChannelDeletedEvent():
            return {"kind": "channel_deleted"}
        case _:
            return {}


def _notice(event: parley.Event, actor: str, names: Mapping[str, str]) -> str:
    match event:
        case parley.MessageEvent():
            return f"{event.seq}, a message of {actor}, was deleted"
        case parley.EditEvent():
            return f"{actor} edited message {event.target_seq}"
        case parley.DeleteEvent():
            return f"{actor} deleted message {event.target_seq}"
        case parley.ReactionEvent():
            what = f"put {event.emoji} on" if event.added else f"took {event.emoji} off"
            return f"{actor} {what} message {event.target_seq}"
        case parley.PinEvent():
            return f"{actor} {'pinned' if event.pinned else 'unpinned'} message {event.target_seq}"
        case parley.MemberEvent():
            return _member_notice(event, actor, names[event.user_id])
        case parley.ChannelEvent():
            return f"{actor} {'made' if event.created else 'changed'} the group {event.title}"
        case parley.BanEvent():
            verb = "banned" if event.banned else "lifted the ban of"
            return f"{actor} {verb} {names[event.user_id]}"
        case parley.InviteEvent():
            return f"{actor} {'revoked' if event.revoked else 'made'} an invite"
        case parley.AuthorErasedEvent():
            return f"the account of {names[event.user_id]} was deleted, and all that it wrote"
        case parley.ChannelDeletedEvent():
            return f"{actor} deleted the group"
        case _:
            return f"{actor} did something that this version of parley does not know"


def _member_notice(event: parley.MemberEvent, actor: str, member: str) -> str:
    match event.change:
        case parley.MemberChange.ADDED if event.invite_id:
            return f"{member} joined by an invite"
        case parley.MemberChange.ADDED:
            return f"{actor} joined" if event.actor_id == event.user_id else f"{actor} added {member}"
        case parley.MemberChange.LEFT:
            return f"{member} left"
        case parley.MemberChange.REMOVED:
            return f"{actor} removed {member}"
        case parley.MemberChange.ROLE_CHANGED:
            return f"{actor} gave {member} the role {event.role.name.lower()}"
        case _:
            return f"{actor} changed the membership of {member}"
