"""Which answers to a command are true at a head of its channel, by the rules of `channel_rules`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_runtime.refusal import Reason
from parley_server.chat.client_id import AHEAD_LIMIT_MS, time_of
from parley_server.chat.command import (
    AddMembers,
    Command,
    CreateChannel,
    CreateInvite,
    DeleteMessage,
    EditMessage,
    JoinByInvite,
    LeaveChannel,
    Pin,
    PostMessage,
    React,
    RemoveMember,
    RevokeInvite,
    SetBan,
    SetMemberRole,
    client_id_of,
)
from parley_server.chat.event import ChannelKind, Role

if TYPE_CHECKING:
    from parley_server.chat.channel_state import ChannelLimits
    from parley_server.testing.channel_rules import ChannelAt, MessageAt

_ABOUT_MESSAGES = PostMessage | EditMessage | DeleteMessage | React | Pin


def refusals_at(at: ChannelAt, command: Command, limits: ChannelLimits) -> set[Reason]:
    """The reasons for which the command may be refused at this head. Of several any is true."""
    client_id = client_id_of(command)
    digest = at.digests.get((command.actor_id, client_id)) if client_id else None
    if isinstance(command, CreateChannel):
        if at.exists:
            return {Reason.CLIENT_ID_REUSED} if (digest or command.digest) != command.digest else set()
        return {Reason.CHANNEL_FULL} if len(command.member_ids) > command.member_limit else set()
    if isinstance(command, JoinByInvite):
        return _joining(at, command)
    if digest is not None:
        return {Reason.CLIENT_ID_REUSED} if digest != getattr(command, "digest", digest) else set()
    if command.actor_id not in at.roles:
        return {Reason.CHANNEL_NOT_FOUND}
    ahead = bool(client_id) and time_of(client_id) > at.time_ms + AHEAD_LIMIT_MS
    found = {Reason.INVALID_FIELD} if ahead else set()
    if isinstance(command, _ABOUT_MESSAGES):
        return found | _message(at, command, limits)
    if at.kind is ChannelKind.DIRECT:
        return {Reason.DIRECT_CHANNEL}
    return found | _membership(at, command)


def holds_at(at: ChannelAt, command: Command) -> bool:
    """Whether what the command asked for is so at this head."""
    match command:
        case AddMembers(user_ids=user_ids):
            return set(user_ids) <= set(at.roles)
        case RemoveMember(user_id=user_id):
            return user_id not in at.roles
        case LeaveChannel(actor_id=actor_id):
            return actor_id not in at.roles
        case JoinByInvite(actor_id=actor_id):
            return actor_id in at.roles
        case SetMemberRole(user_id=user_id, role=role):
            return at.roles.get(user_id) is role
        case SetBan(user_id=user_id, banned=banned):
            return (user_id in at.banned) is banned and not (banned and user_id in at.roles)
        case RevokeInvite(invite_id=invite_id):
            return not _is_open(at, invite_id)
        case DeleteMessage(target_seq=seq):
            return seq in at.messages and at.messages[seq].deleted
        case React(actor_id=actor_id, target_seq=seq, emoji=emoji, added=added):
            target = at.messages.get(seq)
            return target is not None and (actor_id in target.users.get(emoji, ())) is added
        case Pin(target_seq=seq, pinned=pinned):
            return seq in at.messages and at.messages[seq].pinned is pinned
        case _:
            return False


def _joining(at: ChannelAt, command: JoinByInvite) -> set[Reason]:
    if command.actor_id in at.roles:
        return set()
    if not _is_open(at, command.invite_id) or command.actor_id in at.banned or not at.roles:
        return {Reason.INVITE_NOT_FOUND}
    return {Reason.CHANNEL_FULL} if len(at.roles) >= at.member_limit else set()


def _is_open(at: ChannelAt, invite_id: str) -> bool:
    """Whether anybody can join by the invite; no invite of the model expires."""
    invite = at.invites.get(invite_id)
    return invite is not None and not 0 < invite.use_limit <= invite.uses


def _message(
    at: ChannelAt, command: PostMessage | EditMessage | DeleteMessage | React | Pin, limits: ChannelLimits
) -> set[Reason]:
    found: set[Reason] = set()
    if isinstance(command, PostMessage):
        for seq in {command.reply_to_seq, command.thread_root_seq} - {0}:
            answered = at.messages.get(seq)
            if answered is None:
                found.add(Reason.MESSAGE_NOT_FOUND)
                continue
            if answered.deleted:
                found.add(Reason.MESSAGE_DELETED)
            if seq == command.thread_root_seq and answered.thread_root_seq:
                found.add(Reason.NESTED_THREAD)
        return found
    target = at.messages.get(command.target_seq)
    if target is None:
        return {Reason.MESSAGE_NOT_FOUND}
    if target.deleted and not isinstance(command, DeleteMessage):
        found.add(Reason.MESSAGE_DELETED)
    match command:
        case EditMessage():
            if target.author_id != command.actor_id:
                found.add(Reason.NOT_AUTHOR)
        case DeleteMessage():
            if target.author_id != command.actor_id and not at.may_rule(command.actor_id):
                direct = at.kind is ChannelKind.DIRECT
                found.add(Reason.NOT_AUTHOR if direct else Reason.ROLE_REQUIRED)
        case React():
            if command.added and _too_many_reactions(target, command, limits):
                found.add(Reason.TOO_MANY_REACTIONS)
        case Pin():
            if not at.may_call_all(command.actor_id):
                found.add(Reason.ROLE_REQUIRED)
            if command.pinned and sum(each.pinned for each in at.messages.values()) >= limits.pins:
                found.add(Reason.TOO_MANY_PINS)
    return found


def _too_many_reactions(target: MessageAt, command: React, limits: ChannelLimits) -> bool:
    present = {emoji: users for emoji, users in target.users.items() if users}
    own = sum(command.actor_id in users for users in present.values())
    new = command.emoji not in present
    return own >= limits.emojis_per_user_and_message or (new and len(present) >= limits.emojis_per_message)


def _membership(at: ChannelAt, command: Command) -> set[Reason]:
    rules = at.may_rule(command.actor_id)
    actor = at.roles[command.actor_id]
    match command:
        case AddMembers(user_ids=user_ids):
            new = set(user_ids) - set(at.roles)
            if not rules:
                return {Reason.ROLE_REQUIRED}
            found = {Reason.USER_BANNED} if new & at.banned else set()
            full = new and len(at.roles) + len(new) > at.member_limit
            return found | ({Reason.CHANNEL_FULL} if full else set())
        case RemoveMember(user_id=user_id):
            too_high = user_id in at.roles and at.roles[user_id] >= actor
            return {Reason.ROLE_REQUIRED} if not rules or too_high else set()
        case LeaveChannel(actor_id=actor_id):
            last = at.is_last_owner(actor_id) and len(at.roles) > 1
            return {Reason.LAST_OWNER} if last else set()
        case SetMemberRole(user_id=user_id, role=role):
            if actor is not Role.OWNER:
                return {Reason.ROLE_REQUIRED}
            if user_id not in at.roles:
                return {Reason.USER_NOT_FOUND}
            last = at.is_last_owner(user_id) and role is not Role.OWNER
            return {Reason.LAST_OWNER} if last else set()
        case SetBan(user_id=user_id, banned=banned):
            too_high = banned and user_id in at.roles and at.roles[user_id] >= actor
            return {Reason.ROLE_REQUIRED} if not rules or too_high else set()
        case CreateInvite() | RevokeInvite():
            return set() if rules else {Reason.ROLE_REQUIRED}
        case _:
            raise ValueError(f"the model has no rule for {command}")
