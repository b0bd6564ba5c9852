"""What may stand in a channel's log, and what follows from it, folded in the plainest way. Pure.

Written from the contract alone: it shares no rule with `parley_server.chat`, so that a fault there cannot
hide here. The checker of the owner model and that of the robustness runs both judge logs by it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from parley_server.chat.event import (
    AuthorErased,
    BanChanged,
    ChannelChanged,
    ChannelDeleted,
    ChannelKind,
    Event,
    InviteChanged,
    MemberChange,
    MemberChanged,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    PinChanged,
    ReactionChanged,
    Role,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


class Rule(enum.Enum):
    """What a log can break."""

    EXACT = "message numbers, members and roles are exact at every seq"
    PERMITTED = "whoever changed something was permitted to at that seq"
    COUNTED = "a reaction's count is the number of its users"
    INVITED = "nobody joins by an invite that is used up, over, revoked or not for them"
    TIME = "event times never go back"
    ONE_SEQ = "one seq per channel, sender and client id"


Breach = tuple[Rule, str]


@dataclass(frozen=True, slots=True)
class InviteAt:
    """An invite that was not revoked. `use_limit` 0: any number."""

    expire_time_ms: int
    use_limit: int
    uses: int = 0


@dataclass(frozen=True, slots=True)
class MessageAt:
    """A message at one head. `users` has by emoji who put it there."""

    author_id: str
    thread_root_seq: int = 0
    deleted: bool = False
    pinned: bool = False
    users: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChannelAt:
    """The channel at one head. `leaving` is who was banned by the last event, being a member."""

    exists: bool = False
    deleted: bool = False
    kind: ChannelKind = ChannelKind.GROUP
    member_limit: int = 0
    message_no: int = 0
    time_ms: int = 0
    roles: Mapping[str, Role] = field(default_factory=dict)
    banned: frozenset[str] = frozenset()
    leaving: str = ""
    invites: Mapping[str, InviteAt] = field(default_factory=dict)
    messages: Mapping[int, MessageAt] = field(default_factory=dict)
    edits: Mapping[int, int] = field(default_factory=dict)
    digests: Mapping[tuple[str, str], bytes] = field(default_factory=dict)

    def may_rule(self, user_id: str) -> bool:
        """Whether the user is an admin or an owner of a group."""
        return self.kind is ChannelKind.GROUP and self.roles.get(user_id, 0) >= Role.ADMIN

    def may_call_all(self, user_id: str) -> bool:
        """Whether the user may pin, and call everybody."""
        return self.may_rule(user_id) or (self.kind is ChannelKind.DIRECT and user_id in self.roles)

    def is_last_owner(self, user_id: str) -> bool:
        """Whether no owner would be left without the user."""
        return [owner for owner, role in self.roles.items() if role is Role.OWNER] == [user_id]


def step(at: ChannelAt, event: Event) -> tuple[ChannelAt, list[Breach]]:
    """The channel after the next event, and what the event breaks."""
    found: list[Breach] = []
    is_message = isinstance(event.body, MessagePosted)
    if event.message_no != at.message_no + is_message:
        found.append((Rule.EXACT, f"message_no {event.message_no} at seq {event.seq}"))
    if event.create_time_ms < at.time_ms:
        found.append((Rule.TIME, f"seq {event.seq} is {at.time_ms - event.create_time_ms} ms back"))
    if at.deleted:
        found.append((Rule.PERMITTED, f"seq {event.seq} comes after the channel's end"))
    gone = isinstance(event.body, MemberChanged) and event.body.user_id == at.leaving
    if at.leaving and not gone:
        found.append((Rule.EXACT, f"{at.leaving} was banned before seq {event.seq} and is still a member"))
    key = (event.actor_id, event.client_message_id)
    if event.client_message_id and key in at.digests:
        found.append((Rule.ONE_SEQ, f"{key} again at seq {event.seq}"))
    after, broken = _after(at, event)
    found += [(rule, f"seq {event.seq}: {why}") for rule, why in broken]
    digests = {**at.digests, key: event.digest} if event.client_message_id else at.digests
    leaving = ""
    if isinstance(event.body, BanChanged) and event.body.banned and event.body.user_id in at.roles:
        leaving = event.body.user_id
    return (
        replace(
            after,
            message_no=event.message_no,
            time_ms=event.create_time_ms,
            digests=digests,
            leaving=leaving,
        ),
        found,
    )


def _after(at: ChannelAt, event: Event) -> tuple[ChannelAt, list[Breach]]:
    match event.body:
        case MessagePosted() as posted:
            message = MessageAt(event.actor_id, posted.thread_root_seq)
            return (
                replace(at, messages={**at.messages, event.seq: message}),
                _if(why_not_posted(at, event.actor_id, posted)),
            )
        case MessageEdited() | MessageDeleted() | ReactionChanged() | PinChanged():
            return _changed(at, event, event.body)
        case ChannelChanged() as settings:
            why = "" if settings.created or at.may_rule(event.actor_id) else "may not change settings"
            if settings.created == at.exists or (settings.created and event.seq != 1):
                why = f"made at seq {event.seq}"
            changed = replace(at, exists=True, kind=settings.kind, member_limit=settings.member_limit)
            return changed, _if(why)
        case MemberChanged() as change:
            return _membership(at, event, change)
        case BanChanged(user_id=user_id, banned=banned):
            why = _why_not_ban(at, event.actor_id, user_id, banned=banned)
            banned_after = at.banned | {user_id} if banned else at.banned - {user_id}
            return replace(at, banned=banned_after), _if(why)
        case InviteChanged() as invite:
            return _invite(at, event, invite)
        case AuthorErased(user_id=user_id):
            messages = {
                seq: _tombstone(message) if message.author_id == user_id else message
                for seq, message in at.messages.items()
            }
            return replace(at, messages=messages), _if("" if event.actor_id == user_id else "erases another")
        case ChannelDeleted():
            why = "" if at.roles.get(event.actor_id) is Role.OWNER else "may not end the channel"
            return replace(at, deleted=True), _if(why)
    return at, []


def why_not_posted(at: ChannelAt, actor_id: str, posted: MessagePosted) -> str:
    """Why this message could not be written; empty if it could."""
    if actor_id not in at.roles:
        return f"{actor_id} wrote, not being a member"
    if posted.mention_all and not at.may_call_all(actor_id):
        return f"{actor_id} called everybody"
    if not set(posted.mentions) <= set(at.roles):
        return "calls who is no member"
    for seq in {posted.reply_to_seq, posted.thread_root_seq} - {0}:
        target = at.messages.get(seq)
        if target is None or target.deleted:
            return f"answers {seq}, which is no message"
        if seq == posted.thread_root_seq and target.thread_root_seq:
            return f"a thread in the thread of {target.thread_root_seq}"
    return ""


def why_not_changed(at: ChannelAt, actor_id: str, change: object) -> str:
    """Why this change of a message could not be made; empty if it could. Counts apart."""
    seq = getattr(change, "target_seq", 0)
    target = at.messages.get(seq)
    if actor_id not in at.roles:
        return f"{actor_id} changed {seq}, not being a member"
    if target is None or target.deleted:
        return f"{seq} is no message"
    match change:
        case MessageEdited(mention_all=mention_all):
            if actor_id != target.author_id:
                return f"{actor_id} edited what {target.author_id} wrote"
            if mention_all and not at.may_call_all(actor_id):
                return f"{actor_id} called everybody"
        case MessageDeleted():
            if actor_id != target.author_id and not at.may_rule(actor_id):
                return f"{actor_id} deleted what {target.author_id} wrote"
        case ReactionChanged(emoji=emoji, added=added):
            if (actor_id in target.users.get(emoji, ())) is added:
                return f"{actor_id} has {emoji} on {seq}: {added} already"
        case PinChanged(pinned=pinned):
            if not at.may_call_all(actor_id):
                return f"{actor_id} may not pin"
            if target.pinned is pinned:
                return f"{seq} is pinned: {pinned} already"
    return ""


def _changed(
    at: ChannelAt, event: Event, change: MessageEdited | MessageDeleted | ReactionChanged | PinChanged
) -> tuple[ChannelAt, list[Breach]]:
    found = _if(why_not_changed(at, event.actor_id, change))
    target = at.messages.get(change.target_seq)
    if target is None:
        return at, found
    edits = at.edits
    match change:
        case MessageEdited():
            edits = {**at.edits, event.seq: change.target_seq}
        case MessageDeleted():
            target = _tombstone(target)
        case PinChanged(pinned=pinned, author_id=author_id):
            if author_id != target.author_id:
                found.append((Rule.EXACT, f"says that {author_id} wrote {change.target_seq}"))
            target = replace(target, pinned=pinned)
        case ReactionChanged(emoji=emoji, added=added, count=count):
            users = target.users.get(emoji, frozenset())
            users = users | {event.actor_id} if added else users - {event.actor_id}
            if count != len(users):
                found.append((Rule.COUNTED, f"{emoji} is counted {count} times, of {len(users)} users"))
            target = replace(target, users={**target.users, emoji: users})
    return replace(at, messages={**at.messages, change.target_seq: target}, edits=edits), found


def _tombstone(message: MessageAt) -> MessageAt:
    return replace(message, deleted=True, pinned=False, users={})


def _membership(at: ChannelAt, event: Event, change: MemberChanged) -> tuple[ChannelAt, list[Breach]]:
    found = _if(_why_not_member(at, event, change), Rule.EXACT)
    invites = at.invites
    if change.invite_id:
        found += _if(_why_not_join(at, event, change), Rule.INVITED)
        invite = at.invites.get(change.invite_id)
        if invite is not None:
            invites = {**at.invites, change.invite_id: replace(invite, uses=invite.uses + 1)}
    roles = {user_id: role for user_id, role in at.roles.items() if user_id != change.user_id}
    if change.role is not None:
        roles[change.user_id] = change.role
    return replace(at, roles=roles, invites=invites), found


def _why_not_join(at: ChannelAt, event: Event, change: MemberChanged) -> str:
    invite = at.invites.get(change.invite_id)
    if invite is None or event.create_time_ms >= invite.expire_time_ms:
        return f"{change.user_id} joined by invite {change.invite_id}, which is none"
    if invite.use_limit and invite.uses >= invite.use_limit:
        return f"invite {change.invite_id} for {invite.use_limit} was used once more"
    if change.user_id != event.actor_id or change.role is not Role.MEMBER:
        return f"{event.actor_id} had {change.user_id} join by an invite"
    return ""


def _why_not_member(at: ChannelAt, event: Event, change: MemberChanged) -> str:
    """Why this change could not be made; empty if it could."""
    actor = at.roles.get(event.actor_id)
    before = at.roles.get(change.user_id)
    making = event.seq == 2 or (event.seq == 3 and at.kind is ChannelKind.DIRECT)
    match change.change:
        case MemberChange.ADDED:
            if before is not None or change.role is None:
                return f"{change.user_id} was a member already"
            if len(at.roles) >= at.member_limit:
                return "the channel was full"
            if change.user_id in at.banned:
                return f"{change.user_id} was banned"
            if not making and not change.invite_id and (actor is None or actor < Role.ADMIN):
                return f"{event.actor_id} may not add"
        case MemberChange.LEFT:
            if before is None or event.actor_id != change.user_id or change.role is not None:
                return f"{change.user_id} could not leave"
            if at.is_last_owner(change.user_id) and len(at.roles) > 1:
                return "the last owner left"
        case MemberChange.REMOVED:
            if before is None or change.role is not None or actor is None or actor <= before:
                return f"{event.actor_id} could not remove {change.user_id}"
            if actor < Role.ADMIN:
                return f"{event.actor_id} may not remove"
        case MemberChange.ROLE_CHANGED:
            if before is None or change.role in (None, before) or actor is not Role.OWNER:
                return f"{event.actor_id} could not change the role of {change.user_id}"
            if at.is_last_owner(change.user_id):
                return "no owner is left"
    if at.kind is ChannelKind.DIRECT and not making:
        return "a direct channel changed"
    return ""


def _why_not_ban(at: ChannelAt, actor_id: str, user_id: str, *, banned: bool) -> str:
    if not at.may_rule(actor_id):
        return f"{actor_id} may not ban"
    if (user_id in at.banned) is banned:
        return f"{user_id} is banned: {banned} already"
    if banned and user_id in at.roles and at.roles[user_id] >= at.roles[actor_id]:
        return f"{actor_id} could not ban {user_id}"
    return ""


def _invite(at: ChannelAt, event: Event, invite: InviteChanged) -> tuple[ChannelAt, list[Breach]]:
    why = "" if at.may_rule(event.actor_id) else f"{event.actor_id} may not invite"
    invites = dict(at.invites)
    if invite.revoked:
        if invites.pop(invite.invite_id, None) is None:
            why = why or "revokes what is no invite"
    else:
        if invite.invite_id in invites:
            why = why or "made again"
        invites[invite.invite_id] = InviteAt(invite.expire_time_ms, invite.use_limit)
    return replace(at, invites=invites), _if(why)


def _if(why: str, rule: Rule = Rule.PERMITTED) -> list[Breach]:
    return [(rule, why)] if why else []
