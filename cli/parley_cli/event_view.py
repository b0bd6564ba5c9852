"""One event of a channel, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping

import parley
from parley_cli.render import message_lines, notice_line


def people_of(event: parley.Event) -> set[str]:
    """The ids of the users that the event names."""
    people = {event.actor_id}
    if isinstance(event, parley.MemberEvent):
        people.add(event.user_id)
    return people


def event_lines(
    event: parley.Event, names: Mapping[str, str], *, clock: str, label: str, direct: bool
) -> list[str]:
    """The event as neutral text lines; none for what goes without saying.

    `names` holds the user name of every id in `people_of(event)`; `direct` says that the channel is one.
    """
    actor = names[event.actor_id]
    if isinstance(event, parley.MessageEvent):
        return message_lines(clock=clock, label=label, author=actor, text=event.text)
    if direct:
        # A direct channel begins with three events for one fact. The one that both see stands for all.
        begins = isinstance(event, parley.MemberEvent) and event.user_id != event.actor_id
        text = f"{actor} began the conversation" if begins else ""
    else:
        text = _notice(event, actor, names)
    return [notice_line(clock=clock, label=label, text=text)] if text else []


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
    if isinstance(event, parley.MessageEvent):
        fields |= {
            "kind": "message",
            "client_message_id": event.client_message_id,
            "text": event.text,
            "attributes": dict(event.attributes),
        }
    elif isinstance(event, parley.MemberEvent):
        fields |= {
            "kind": "member_changed",
            "user_id": event.user_id,
            "user": names[event.user_id],
            "change": event.change.name.lower(),
            "role": event.role.name.lower(),
        }
    elif isinstance(event, parley.ChannelEvent):
        fields |= {
            "kind": "channel_changed",
            "created": event.created,
            "title": event.title,
            "history_from_start": event.history_visibility == parley.HistoryVisibility.FROM_START,
            "member_limit": event.member_limit,
        }
    return fields


def _notice(event: parley.Event, actor: str, names: Mapping[str, str]) -> str:
    if isinstance(event, parley.MemberEvent):
        return _member_notice(event, actor, names[event.user_id])
    if isinstance(event, parley.ChannelEvent):
        verb = "made" if event.created else "changed"
        return f"{actor} {verb} the group {event.title}"
    return f"{actor} did something that this version of parley does not know"


def _member_notice(event: parley.MemberEvent, actor: str, member: str) -> str:
    match event.change:
        case parley.MemberChange.ADDED:
            return f"{actor} joined" if event.actor_id == event.user_id else f"{actor} added {member}"
        case parley.MemberChange.LEFT:
            return f"{member} left"
        case parley.MemberChange.REMOVED:
            return f"{actor} removed {member}"
        case _:
            return f"{actor} changed the membership of {member}"
