"""What events do to the projected rows. Pure, and the same for every backend of Projections.

A backend loads the rows that `needed` names, has `derive` work out what the events make of them, and writes
that.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from parley_server.backends.projected_messages import (
    EmojiRow,
    MessageChanges,
    MessageRow,
    derive_message,
    needed_of_message,
    unpin_author,
)
from parley_server.chat.event import (
    AuthorErased,
    BanChanged,
    ChannelChanged,
    ChannelDeleted,
    InviteChanged,
    MemberChanged,
    MessageDeleted,
    MessagePosted,
)
from parley_server.chat.membership import after_change
from parley_server.ports.projections import BanRow, ChannelRow, InviteRow, MemberRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parley_server.chat.event import Event


@dataclass(slots=True)
class Needed:
    """Which rows of a channel events are about. `invites` and `pins`: all of them."""

    user_ids: set[str] = field(default_factory=set)
    message_seqs: set[int] = field(default_factory=set)
    emojis: set[tuple[int, str]] = field(default_factory=set)
    invites: bool = False
    pins: bool = False


@dataclass(slots=True)
class Held:
    """The rows that are needed, as they are before the events; none for what is not there."""

    channel: ChannelRow | None
    members: dict[str, MemberRow] = field(default_factory=dict)
    messages: dict[int, MessageRow] = field(default_factory=dict)
    emojis: dict[tuple[int, str], EmojiRow] = field(default_factory=dict)
    invites: dict[str, InviteRow] = field(default_factory=dict)


@dataclass(slots=True)
class Changes:
    """The rows that are other after the events; None for what is no more.

    `due` are the seqs of events that took text back. `ended` is the event that deleted the channel: all
    memberships are to go through `after_end` once the rest is written, and of everything else but the channel
    itself and what is due nothing is left.
    """

    channel: ChannelRow
    messages: MessageChanges = field(default_factory=MessageChanges)
    members: dict[str, MemberRow] = field(default_factory=dict)
    invites: dict[str, InviteRow | None] = field(default_factory=dict)
    bans: dict[str, BanRow | None] = field(default_factory=dict)
    erased_authors: dict[str, int] = field(default_factory=dict)
    due: list[int] = field(default_factory=list)
    ended: Event | None = None


def pending(channel_id: str, watermark: int, events: Sequence[Event]) -> Sequence[Event]:
    """The events above the watermark. Raises ValueError when they do not go on from it, one by one."""
    if not events:
        return events
    expected = events[0].seq
    for event in events:
        if event.seq != expected or event.channel_id != channel_id:
            raise ValueError(
                f"events of channel {channel_id!r} must be dense: expected seq {expected}, "
                f"got {event.seq} of {event.channel_id!r}"
            )
        expected += 1
    first = events[0].seq
    if first > watermark + 1:
        raise ValueError(
            f"channel {channel_id!r} is projected up to seq {watermark}: cannot go on with seq {first}"
        )
    return events[watermark + 1 - first :] if first <= watermark else events


def only_messages(events: Sequence[Event]) -> bool:
    """Whether the events do nothing but move their channel's head: messages outside of threads."""
    for event in events:
        body = event.body
        if not isinstance(body, MessagePosted) or body.thread_root_seq:
            return False
    return True


def needed(events: Sequence[Event]) -> Needed:
    """What has to be loaded to derive these events."""
    rows = Needed()
    for event in events:
        match event.body:
            case MemberChanged(user_id=user_id, invite_id=invite_id):
                rows.user_ids.add(user_id)
                rows.invites = rows.invites or bool(invite_id)
            case InviteChanged():
                rows.invites = True
            case AuthorErased():
                rows.pins = True
            case body:
                needed_of_message(body, rows.message_seqs, rows.emojis)
    return rows


def derive(held: Held, events: Sequence[Event]) -> Changes:
    """What the events, at least one, make of the channel. Raises ValueError for events that no log can hold
    in this order.
    """
    channel = held.channel
    if channel is None:
        channel, events = _made(events[0]), events[1:]
    changes = Changes(channel)
    for event in events:
        if changes.channel.deleted:
            raise ValueError(f"the log of channel {event.channel_id!r} goes on after its end")
        member_count = _derive_rows(held, changes, event)
        changes.channel = _advance(changes.channel, event, member_count)
    return changes


def usable(invite: InviteRow, at_ms: int) -> bool:
    """Whether somebody may still join by the invite. Once false it stays so, for a log's time only rises."""
    return at_ms < invite.expire_time_ms and (not invite.use_limit or invite.uses < invite.use_limit)


def _made(event: Event) -> ChannelRow:
    body = event.body
    if not (isinstance(body, ChannelChanged) and body.created and event.seq == 1):
        raise ValueError(f"the log of channel {event.channel_id!r} does not begin with its making")
    return ChannelRow(
        channel_id=event.channel_id,
        kind=body.kind,
        title=body.title,
        history_visibility=body.history_visibility,
        member_limit=body.member_limit,
        creator_id=event.actor_id,
        create_time_ms=event.create_time_ms,
        member_count=0,
        watermark=event.seq,
        message_no=event.message_no,
        last_activity_ms=event.create_time_ms,
        last_message_seq=0,
        description=body.description,
        slow_mode_seconds=body.slow_mode_seconds,
    )


def _advance(row: ChannelRow, event: Event, member_count: int) -> ChannelRow:
    """The channel after the event. Every event is activity, the time of which never goes back."""
    body = event.body
    if isinstance(body, ChannelChanged):
        row = replace(
            row,
            kind=body.kind,
            title=body.title,
            history_visibility=body.history_visibility,
            member_limit=body.member_limit,
            description=body.description,
            slow_mode_seconds=body.slow_mode_seconds,
        )
    elif isinstance(body, ChannelDeleted):
        row = replace(row, title="", description="", deleted=True)
    return replace(
        row,
        member_count=member_count,
        watermark=event.seq,
        message_no=event.message_no,
        last_activity_ms=max(row.last_activity_ms, event.create_time_ms),
        last_message_seq=event.seq if isinstance(body, MessagePosted) else row.last_message_seq,
    )


def _derive_rows(held: Held, changes: Changes, event: Event) -> int:
    """Take the event into all of `changes` but the channel. Returns the member count after it."""
    channel = changes.channel
    count = channel.member_count
    match event.body:
        case MemberChanged() as change:
            before = changes.members.get(change.user_id) or held.members.get(change.user_id)
            after = after_change(before, event, change, channel.history_visibility)
            changes.members[change.user_id] = after
            if change.role is not None and change.invite_id:
                _count_use(held, changes, change.invite_id)
            return count + (after.role is not None) - (before is not None and before.role is not None)
        case BanChanged(user_id=user_id, banned=banned):
            ban = BanRow(user_id, event.actor_id, event.create_time_ms)
            changes.bans[user_id] = ban if banned else None
        case InviteChanged() as invite:
            _change_invite(held, changes, event, invite)
        case AuthorErased(user_id=user_id):
            changes.erased_authors[user_id] = event.seq
            changes.due.append(event.seq)
            unpin_author(held.messages, changes.messages, user_id)
        case ChannelDeleted():
            changes.due.append(event.seq)
            changes.ended = event
            return 0
        case ChannelChanged():
            pass
        case body:
            if isinstance(body, MessageDeleted):
                changes.due.append(event.seq)
            derive_message(held.messages, held.emojis, changes.messages, event, body)
    return count


def _invite(held: Held, changes: Changes, invite_id: str) -> InviteRow | None:
    return changes.invites[invite_id] if invite_id in changes.invites else held.invites.get(invite_id)


def _count_use(held: Held, changes: Changes, invite_id: str) -> None:
    invite = _invite(held, changes, invite_id)
    if invite is not None:
        changes.invites[invite_id] = replace(invite, uses=invite.uses + 1)


def _change_invite(held: Held, changes: Changes, event: Event, invite: InviteChanged) -> None:
    # What nobody can use any more is dropped with the next change, or a channel would gather it for ever.
    for invite_id in {*held.invites, *changes.invites}:
        known = _invite(held, changes, invite_id)
        if known is not None and not usable(known, event.create_time_ms):
            changes.invites[invite_id] = None
    changes.invites[invite.invite_id] = (
        None
        if invite.revoked
        else InviteRow(
            invite.invite_id,
            event.actor_id,
            event.create_time_ms,
            invite.expire_time_ms,
            invite.use_limit,
            uses=0,
        )
    )
