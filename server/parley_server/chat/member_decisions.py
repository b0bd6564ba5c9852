"""Members, bans, invites and settings: who may, and which events it becomes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from parley_runtime.refusal import Reason, Refusal, channel_not_found
from parley_server.chat.command import (
    AddMembers,
    CreateInvite,
    DeleteChannel,
    EraseAuthor,
    JoinByInvite,
    LeaveChannel,
    RemoveMember,
    RevokeInvite,
    SetBan,
    SetMemberRole,
    UpdateChannel,
)
from parley_server.chat.creation import channel_full
from parley_server.chat.event import (
    AuthorErased,
    BanChanged,
    ChannelChanged,
    ChannelDeleted,
    ChannelKind,
    InviteChanged,
    MemberChange,
    MemberChanged,
    Role,
)
from parley_server.chat.numbering import answer_again, dated_ahead, holds_already, numbered
from parley_server.chat.permissions import Right, has_right, right_missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parley_server.chat.channel_state import ChannelState
    from parley_server.chat.command import Done
    from parley_server.chat.event import Event, EventBody
    from parley_server.chat.known_ids import Sent

MembershipCommand = (
    AddMembers
    | RemoveMember
    | LeaveChannel
    | SetMemberRole
    | SetBan
    | UpdateChannel
    | DeleteChannel
    | CreateInvite
    | RevokeInvite
)


def decide_membership(
    state: ChannelState, command: MembershipCommand, now_ms: int, older: Sent | None
) -> tuple[Event, ...] | Done | Refusal:
    """What a member of a group changes in it."""
    client_id, digest = "", b""
    if isinstance(command, CreateInvite):
        client_id, digest = command.client_invite_id, command.digest
        if (sent := state.sent_before(command, client_id, older)) is not None:
            return answer_again(sent, digest)
    if command.actor_id not in state.roles:
        return channel_not_found()
    if state.kind is ChannelKind.DIRECT:
        return direct_channel()
    bodies = _bodies(state, command, max(now_ms, state.last_time_ms))
    if isinstance(bodies, Refusal):
        return bodies
    if not bodies:
        return holds_already(state)
    return numbered(state, bodies, command.actor_id, now_ms, client_id=client_id, digest=digest)


def decide_joining(
    state: ChannelState, command: JoinByInvite, now_ms: int
) -> tuple[Event, ...] | Done | Refusal:
    """A new member by an invite. Of an invite that can take n, exactly n join, whatever happens at once.

    A group that everybody left is over: whoever came into it now would find nobody who may run it.
    """
    if command.actor_id in state.roles:
        return holds_already(state)
    invite = state.invites.get(command.invite_id)
    if invite is None or not invite.open(max(now_ms, state.last_time_ms)):
        return invite_not_found()
    if command.actor_id in state.banned or not state.roles:
        return invite_not_found()
    if len(state.roles) >= state.member_limit:
        return channel_full(state.member_limit)
    joined = MemberChanged(command.actor_id, MemberChange.ADDED, Role.MEMBER, command.invite_id)
    return numbered(state, (joined,), command.actor_id, now_ms)


def decide_erasure(state: ChannelState, command: EraseAuthor, now_ms: int) -> tuple[Event, ...] | Done:
    """The end of an account in this channel. A group's ownership goes to its longest-standing admin, or else
    member, where nobody else owns it.
    """
    user_id = command.actor_id
    if not state.exists or state.deleted:
        return holds_already(state)
    bodies: list[EventBody] = []
    if user_id in state.roles:
        others = {other: role for other, role in state.roles.items() if other != user_id}
        owned = state.roles[user_id] is Role.OWNER and Role.OWNER not in others.values()
        if owned and others:
            # Roles are in the order of joining, so the first of the highest role has stood longest.
            heir = max(others, key=lambda other: others[other])
            bodies.append(MemberChanged(heir, MemberChange.ROLE_CHANGED, Role.OWNER))
        bodies.append(MemberChanged(user_id, MemberChange.LEFT, None))
    if user_id not in state.erased_authors:
        bodies.append(AuthorErased(user_id))
    return numbered(state, bodies, user_id, now_ms) or holds_already(state)


def direct_channel() -> Refusal:
    """The refusal for what only groups know."""
    return Refusal(
        Reason.DIRECT_CHANNEL, "A direct channel has two members for ever. Make a group to talk with others."
    )


def invite_not_found() -> Refusal:
    """The one answer for an invite that nobody made, that is over, or that is not for this user."""
    return Refusal(
        Reason.INVITE_NOT_FOUND,
        "This invite does not exist, has expired, was used up or was revoked. Ask for a new one.",
    )


def _bodies(state: ChannelState, command: MembershipCommand, at_ms: int) -> Sequence[EventBody] | Refusal:
    match command:
        case AddMembers():
            return _add(state, command)
        case RemoveMember():
            return _remove(state, command)
        case LeaveChannel():
            return _leave(state, command)
        case SetMemberRole():
            return _set_role(state, command)
        case SetBan():
            return _set_ban(state, command)
        case UpdateChannel():
            return _update(state, command)
        case DeleteChannel():
            return _lacks(state, command.actor_id, Right.DELETE_CHANNEL) or (ChannelDeleted(),)
        case CreateInvite():
            return _create_invite(state, command, at_ms)
        case RevokeInvite():
            return _revoke_invite(state, command)


def _lacks(state: ChannelState, actor_id: str, right: Right) -> Refusal | None:
    return None if has_right(state.kind, state.roles[actor_id], right) else right_missing(right)


def _add(state: ChannelState, command: AddMembers) -> Sequence[EventBody] | Refusal:
    if (refusal := _lacks(state, command.actor_id, Right.ADD_MEMBERS)) is not None:
        return refusal
    new = [user_id for user_id in dict.fromkeys(command.user_ids) if user_id not in state.roles]
    if banned := [user_id for user_id in new if user_id in state.banned]:
        return Refusal(
            Reason.USER_BANNED,
            f"{banned[0]} is banned from this channel. Lift the ban first.",
            metadata={"user_id": banned[0]},
        )
    if new and len(state.roles) + len(new) > state.member_limit:
        return channel_full(state.member_limit)
    return [MemberChanged(user_id, MemberChange.ADDED, Role.MEMBER) for user_id in new]


def _remove(state: ChannelState, command: RemoveMember) -> Sequence[EventBody] | Refusal:
    if (refusal := _lacks(state, command.actor_id, Right.REMOVE_MEMBERS)) is not None:
        return refusal
    role = state.roles.get(command.user_id)
    if role is None:
        return ()
    if role >= state.roles[command.actor_id]:
        return Refusal(
            Reason.ROLE_REQUIRED,
            "A member can be removed only by someone of a higher role. To go yourself, leave.",
        )
    return (MemberChanged(command.user_id, MemberChange.REMOVED, None),)


def _leave(state: ChannelState, command: LeaveChannel) -> Sequence[EventBody] | Refusal:
    if _is_last_owner(state, command.actor_id) and len(state.roles) > 1:
        return Refusal(
            Reason.LAST_OWNER,
            "You are the last owner. Make somebody else an owner, or remove the other members, or stay.",
        )
    return (MemberChanged(command.actor_id, MemberChange.LEFT, None),)


def _set_role(state: ChannelState, command: SetMemberRole) -> Sequence[EventBody] | Refusal:
    if (refusal := _lacks(state, command.actor_id, Right.SET_ROLES)) is not None:
        return refusal
    role = state.roles.get(command.user_id)
    if role is None:
        return Refusal(Reason.USER_NOT_FOUND, "This user is not a member of the channel. Add them first.")
    if role is command.role:
        return ()
    if _is_last_owner(state, command.user_id):
        return Refusal(Reason.LAST_OWNER, "The channel needs an owner. Make somebody else an owner first.")
    return (MemberChanged(command.user_id, MemberChange.ROLE_CHANGED, command.role),)


def _set_ban(state: ChannelState, command: SetBan) -> Sequence[EventBody] | Refusal:
    if (refusal := _lacks(state, command.actor_id, Right.BAN)) is not None:
        return refusal
    if not command.banned:
        return (BanChanged(command.user_id, banned=False),) if command.user_id in state.banned else ()
    role = state.roles.get(command.user_id)
    if role is not None and role >= state.roles[command.actor_id]:
        return Refusal(Reason.ROLE_REQUIRED, "A member can be banned only by someone of a higher role.")
    if command.user_id in state.banned:
        return ()
    if len(state.banned) >= state.limits.bans:
        return Refusal(
            Reason.TOO_MANY_BANS,
            f"The channel has {len(state.banned)} bans, which is the limit. Lift one first.",
            metadata={"limit": str(state.limits.bans)},
        )
    ban = BanChanged(command.user_id, banned=True)
    return (ban,) if role is None else (ban, MemberChanged(command.user_id, MemberChange.REMOVED, None))


def _update(state: ChannelState, command: UpdateChannel) -> Sequence[EventBody] | Refusal:
    if (refusal := _lacks(state, command.actor_id, Right.CHANGE_SETTINGS)) is not None:
        return refusal
    before = ChannelChanged(
        created=False,
        kind=state.kind,
        title=state.title,
        history_visibility=state.history_visibility,
        member_limit=state.member_limit,
        description=state.description,
        slow_mode_seconds=state.slow_mode_seconds,
    )
    after = replace(
        before,
        title=before.title if command.title is None else command.title,
        history_visibility=command.history_visibility or before.history_visibility,
        description=before.description if command.description is None else command.description,
        slow_mode_seconds=(
            before.slow_mode_seconds if command.slow_mode_seconds is None else command.slow_mode_seconds
        ),
    )
    return () if after == before else (after,)


def _create_invite(state: ChannelState, command: CreateInvite, at_ms: int) -> Sequence[EventBody] | Refusal:
    if (refusal := _lacks(state, command.actor_id, Right.MANAGE_INVITES)) is not None:
        return refusal
    if (ahead := dated_ahead("client_invite_id", command.client_invite_id, at_ms)) is not None:
        return ahead
    if sum(invite.open(at_ms) for invite in state.invites.values()) >= state.limits.invites:
        return Refusal(
            Reason.TOO_MANY_INVITES,
            f"The channel has {state.limits.invites} open invites, which is the limit. Revoke one first.",
            metadata={"limit": str(state.limits.invites)},
        )
    return (InviteChanged(command.invite_id, False, command.expire_time_ms, command.use_limit),)


def _revoke_invite(state: ChannelState, command: RevokeInvite) -> Sequence[EventBody] | Refusal:
    if (refusal := _lacks(state, command.actor_id, Right.MANAGE_INVITES)) is not None:
        return refusal
    invite = state.invites.get(command.invite_id)
    if invite is None:
        return ()
    return (InviteChanged(command.invite_id, True, invite.expire_time_ms, invite.use_limit),)


def _is_last_owner(state: ChannelState, user_id: str) -> bool:
    owners = [owner for owner, role in state.roles.items() if role is Role.OWNER]
    return owners == [user_id]
