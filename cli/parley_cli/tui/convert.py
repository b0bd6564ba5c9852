"""From what the SDK says to what the model holds."""

from __future__ import annotations

from collections.abc import Mapping

import parley
from parley_cli.tui.model.connection import Connection
from parley_cli.tui.model.inbox import InboxLine
from parley_cli.tui.model.message import Message, Notice, Pending, Reaction


def message_of(message: parley.TimelineMessage, me_id: str) -> Message:
    """A message as it is now."""
    return Message(
        seq=message.seq,
        author_id=message.author_id,
        text=message.text,
        time_ms=message.create_time_ms,
        client_message_id=message.client_message_id,
        edited=message.edited,
        deleted=message.deleted,
        pinned=message.pinned,
        reply_to_seq=message.reply_to_seq,
        thread_root_seq=message.thread_root_seq,
        reply_count=message.reply_count,
        mentions_me=message.author_id != me_id and (message.mention_all or me_id in message.mentions),
        reactions=tuple(Reaction(each.emoji, each.count, each.own) for each in message.reactions),
    )


def pending_of(waiting: parley.WaitingMessage, now_ms: int) -> Pending:
    """A message that an earlier run left in the outbox."""
    return Pending(client_message_id=waiting.client_message_id, text=waiting.text, time_ms=now_ms)


def line_of(entry: parley.InboxEntry, label: str, names: Mapping[str, str], me_id: str) -> InboxLine:
    """One line of the start screen. `names` holds the author of its last message."""
    last = entry.last_message
    who = "" if last is None else "you" if last.actor_id == me_id else names.get(last.actor_id, "?")
    return InboxLine(
        channel_id=entry.channel.channel_id,
        label=label,
        direct=bool(entry.peer_user_id),
        unread=entry.unread_count,
        head_seq=entry.channel.head_seq,
        preview="" if last is None else "(deleted)" if last.deleted else f"{who}: {last.text}",
        preview_seq=0 if last is None else last.seq,
        time_ms=entry.channel.create_time_ms if last is None else last.create_time_ms,
    )


def connection_of(status: parley.ClientStatus) -> Connection:
    """The connection's state."""
    error = status.last_error
    return Connection(
        phase=status.phase.value,
        channels_behind=status.channels_behind,
        waiting_events=status.waiting_events,
        waiting_messages=status.waiting_messages,
        retry_in_seconds=status.retry_in_seconds,
        trouble=error.message or error.reason if error is not None else "",
    )


def people_of(event: parley.Event) -> set[str]:
    """The ids of the users whose names are needed to show the event."""
    people = {event.actor_id}
    if isinstance(event, parley.MemberEvent | parley.BanEvent):
        people.add(event.user_id)
    return people


def notice_of(event: parley.Event, names: Mapping[str, str], *, direct: bool) -> Notice | None:
    """What is told of an event that is no message; None for what goes without saying."""
    if direct and not isinstance(event, parley.PinEvent):
        return None
    actor = names.get(event.actor_id, event.actor_id)
    text = ""
    if isinstance(event, parley.MemberEvent):
        member = names.get(event.user_id, event.user_id)
        match event.change:
            case parley.MemberChange.ADDED:
                text = f"{actor} joined" if event.actor_id == event.user_id else f"{actor} added {member}"
            case parley.MemberChange.LEFT:
                text = f"{member} left"
            case parley.MemberChange.REMOVED:
                text = f"{actor} removed {member}"
            case parley.MemberChange.ROLE_CHANGED:
                text = f"{actor} made {member} {event.role.name.lower()}"
            case _:
                pass
    elif isinstance(event, parley.BanEvent):
        verb = "banned" if event.banned else "lifted the ban of"
        text = f"{actor} {verb} {names.get(event.user_id, event.user_id)}"
    elif isinstance(event, parley.InviteEvent):
        text = f"{actor} {'revoked' if event.revoked else 'made'} an invite"
    elif isinstance(event, parley.ChannelEvent) and not event.created:
        text = f"{actor} changed the group's settings"
    elif isinstance(event, parley.PinEvent):
        text = f"{actor} {'pinned a message' if event.pinned else 'took a pin away'}"
    return Notice(event.seq, event.create_time_ms, text) if text else None
