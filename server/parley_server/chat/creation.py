"""Making a channel. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_runtime.refusal import Reason, Refusal, channel_not_found
from parley_server.chat.event import ChannelChanged, ChannelKind, MemberChange, MemberChanged, Role
from parley_server.chat.numbering import dated_ahead, holds_already, id_reused, numbered

if TYPE_CHECKING:
    from parley_server.chat.channel_state import ChannelState
    from parley_server.chat.command import CreateChannel, Done
    from parley_server.chat.event import Event, EventBody
    from parley_server.chat.known_ids import Sent


def decide_creation(
    state: ChannelState, command: CreateChannel, now_ms: int, older: Sent | None
) -> tuple[Event, ...] | Done | Refusal:
    """The channel's first events, or that it is there."""
    if state.deleted:
        return channel_not_found()
    if state.exists:
        # A group's id is made of its creator and client id, so its first event carries them; a direct channel
        # has neither.
        sent = state.sent_before(command, command.client_channel_id, older)
        return id_reused(sent) if sent is not None and sent.digest != command.digest else holds_already(state)
    if command.client_channel_id:
        refusal = dated_ahead("client_channel_id", command.client_channel_id, max(now_ms, state.last_time_ms))
        if refusal is not None:
            return refusal
    if len(command.member_ids) > command.member_limit:
        return channel_full(command.member_limit)
    first_role = Role.OWNER if command.kind is ChannelKind.GROUP else Role.MEMBER
    settings = ChannelChanged(
        created=True,
        kind=command.kind,
        title=command.title,
        history_visibility=command.history_visibility,
        member_limit=command.member_limit,
    )
    others = [user_id for user_id in command.member_ids if user_id != command.actor_id]
    bodies: list[EventBody] = [settings, MemberChanged(command.actor_id, MemberChange.ADDED, first_role)]
    bodies += [MemberChanged(user_id, MemberChange.ADDED, Role.MEMBER) for user_id in others]
    return numbered(
        state, bodies, command.actor_id, now_ms, client_id=command.client_channel_id, digest=command.digest
    )


def channel_full(member_limit: int) -> Refusal:
    """The refusal for one member more than the channel may have."""
    return Refusal(
        Reason.CHANNEL_FULL,
        f"The channel may have {member_limit} members. Remove some first, or make another channel.",
        metadata={"member_limit": str(member_limit)},
    )
