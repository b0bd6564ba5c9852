"""A channel's rules. Pure: `decide` says which events a command leads to, `evolve` folds an event into the
state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parley_runtime.refusal import Reason, Refusal, channel_not_found, invalid_field
from parley_server.chat.client_id import AHEAD_LIMIT_MS, time_of
from parley_server.chat.command import (
    AddMembers,
    Command,
    CreateChannel,
    Done,
    LeaveChannel,
    PostMessage,
    RemoveMember,
)
from parley_server.chat.event import (
    ChannelChanged,
    ChannelKind,
    Event,
    EventBody,
    MemberChange,
    MemberChanged,
    MessagePosted,
    Role,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Sent:
    """Where a client's id went, and the content it stood for."""

    seq: int
    message_no: int
    create_time_ms: int
    digest: bytes


class KnownIds:
    """The client ids of a channel's newest events, so that a retry is recognised without reading.

    An id that is not here may still be in older events, but only if its own time is at most `older_until_ms`.
    Nothing is forgotten but by `shrink`: while a batch is decided every id that was looked for stays known.
    """

    __slots__ = ("_limit", "_sent", "older_until_ms")

    def __init__(self, limit: int, older_until_ms: int = -1) -> None:
        self._limit = limit
        self._sent: dict[tuple[str, str], Sent] = {}
        self.older_until_ms = older_until_ms

    def find(self, actor_id: str, client_id: str) -> Sent | None:
        """Where the id went, if it is known here."""
        return self._sent.get((actor_id, client_id))

    def may_be_older(self, actor_id: str, client_id: str) -> bool:
        """Whether the log before the known events may hold the id."""
        return (actor_id, client_id) not in self._sent and time_of(client_id) <= self.older_until_ms

    def add(self, actor_id: str, client_id: str, sent: Sent) -> None:
        """Remember an id."""
        self._sent[actor_id, client_id] = sent

    def shrink(self) -> None:
        """Between batches: forget the oldest ids beyond `limit`, and raise `older_until_ms` to theirs."""
        while len(self._sent) > self._limit:
            oldest = next(iter(self._sent))
            del self._sent[oldest]
            self.older_until_ms = max(self.older_until_ms, time_of(oldest[1]))


@dataclass(slots=True)
class ChannelState:
    """A channel as of `head`. Changed by `evolve` only; thrown away when the log is elsewhere."""

    channel_id: str
    known_ids: KnownIds
    head: int = 0
    message_no: int = 0
    last_time_ms: int = 0
    kind: ChannelKind = ChannelKind.GROUP
    member_limit: int = 0
    roles: dict[str, Role] = field(default_factory=dict)

    @property
    def exists(self) -> bool:
        """Whether the channel was ever made."""
        return self.head > 0


def evolve(state: ChannelState, event: Event) -> None:
    """Fold the next event into the state. `event.seq` must be head + 1."""
    if event.seq != state.head + 1:
        raise ValueError(f"{state.channel_id}: event {event.seq} does not follow {state.head}")
    state.head = event.seq
    state.message_no = event.message_no
    state.last_time_ms = event.create_time_ms
    match event.body:
        case ChannelChanged(kind=kind, member_limit=member_limit):
            state.kind = kind
            state.member_limit = member_limit
        case MemberChanged(user_id=user_id, role=None):
            state.roles.pop(user_id, None)
        case MemberChanged(user_id=user_id, role=Role() as role):
            state.roles[user_id] = role
        case MessagePosted():
            pass
    if event.client_message_id:
        sent = Sent(event.seq, event.message_no, event.create_time_ms, event.digest)
        state.known_ids.add(event.actor_id, event.client_message_id, sent)


def decide(
    state: ChannelState, command: Command, now_ms: int, older: Sent | None = None
) -> tuple[Event, ...] | Done | Refusal:
    """What the command leads to: events to append, or nothing to do, or a refusal. Changes nothing.

    `older` is where the command's client id went if it was found in the log before the known events.
    Event times never go back, whatever the clock does.
    """
    match command:
        case CreateChannel():
            return _create(state, command, now_ms, older)
        case PostMessage():
            return _post(state, command, now_ms, older)
    if command.actor_id not in state.roles:
        return channel_not_found()
    if state.kind is ChannelKind.DIRECT:
        return Refusal(
            Reason.DIRECT_CHANNEL,
            "A direct channel has two members for ever. Make a group to talk with others.",
        )
    match command:
        case AddMembers():
            return _add(state, command, now_ms)
        case RemoveMember():
            return _remove(state, command, now_ms)
        case LeaveChannel():
            return _leave(state, command, now_ms)


def holds_already(state: ChannelState) -> Done:
    """The answer to a command that changes nothing: what was asked for holds at the head."""
    return Done(state.head, state.message_no, state.last_time_ms, duplicate=True)


def _post(
    state: ChannelState, command: PostMessage, now_ms: int, older: Sent | None
) -> tuple[Event, ...] | Done | Refusal:
    # Before any permission: a retry is answered as the first try was, even if the sender was removed since.
    sent = state.known_ids.find(command.actor_id, command.client_message_id) or older
    if sent is not None:
        return _answer_again(sent, command.digest)
    if command.actor_id not in state.roles:
        return channel_not_found()
    create_time_ms = max(now_ms, state.last_time_ms)
    if (refusal := _ahead("client_message_id", command.client_message_id, create_time_ms)) is not None:
        return refusal
    body = MessagePosted(command.text, command.attributes)
    return (
        Event(
            channel_id=state.channel_id,
            seq=state.head + 1,
            message_no=state.message_no + 1,
            create_time_ms=create_time_ms,
            actor_id=command.actor_id,
            client_message_id=command.client_message_id,
            digest=command.digest,
            body=body,
        ),
    )


def _ahead(field_name: str, client_id: str, create_time_ms: int) -> Refusal | None:
    # Checked where the event's time is fixed, not only where the request came in: the search for older ids
    # rests on it, and the clock may have been set back between the two.
    if time_of(client_id) > create_time_ms + AHEAD_LIMIT_MS:
        return invalid_field(
            field_name, "is dated more than one hour ahead of the server: set the client's clock"
        )
    return None


def _answer_again(sent: Sent, digest: bytes) -> Done | Refusal:
    if sent.digest != digest:
        return _reused(sent)
    return Done(sent.seq, sent.message_no, sent.create_time_ms, duplicate=True)


def _reused(sent: Sent) -> Refusal:
    return Refusal(
        Reason.CLIENT_ID_REUSED,
        f"This client-made id was used at seq {sent.seq} with other content. "
        "Make a new id for each new message.",
        metadata={"seq": str(sent.seq)},
    )


def _create(
    state: ChannelState, command: CreateChannel, now_ms: int, older: Sent | None
) -> tuple[Event, ...] | Done | Refusal:
    if state.exists:
        # A group's id is made of its creator and client id, so its first event carries them; a direct channel
        # has neither.
        sent = state.known_ids.find(command.actor_id, command.client_channel_id) or older
        if sent is not None and sent.digest != command.digest:
            return _reused(sent)
        return holds_already(state)
    if command.client_channel_id:
        refusal = _ahead("client_channel_id", command.client_channel_id, max(now_ms, state.last_time_ms))
        if refusal is not None:
            return refusal
    if len(command.member_ids) > command.member_limit:
        return _full(command.member_limit)
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
    first, *rest = _numbered(state, bodies, command.actor_id, now_ms)
    made = Event(
        channel_id=first.channel_id,
        seq=first.seq,
        message_no=first.message_no,
        create_time_ms=first.create_time_ms,
        actor_id=first.actor_id,
        client_message_id=command.client_channel_id,
        digest=command.digest,
        body=first.body,
    )
    return (made, *rest)


def _add(state: ChannelState, command: AddMembers, now_ms: int) -> tuple[Event, ...] | Done | Refusal:
    if state.roles[command.actor_id] < Role.ADMIN:
        return _needs(Role.ADMIN)
    new = [user_id for user_id in dict.fromkeys(command.user_ids) if user_id not in state.roles]
    if not new:
        return holds_already(state)
    if len(state.roles) + len(new) > state.member_limit:
        return _full(state.member_limit)
    bodies = [MemberChanged(user_id, MemberChange.ADDED, Role.MEMBER) for user_id in new]
    return tuple(_numbered(state, bodies, command.actor_id, now_ms))


def _remove(state: ChannelState, command: RemoveMember, now_ms: int) -> tuple[Event, ...] | Done | Refusal:
    actor_role = state.roles[command.actor_id]
    if actor_role < Role.ADMIN:
        return _needs(Role.ADMIN)
    role = state.roles.get(command.user_id)
    if role is None:
        return holds_already(state)
    if role >= actor_role:
        return Refusal(
            Reason.ROLE_REQUIRED,
            "A member can be removed only by someone of a higher role. To go yourself, leave.",
        )
    body = MemberChanged(command.user_id, MemberChange.REMOVED, None)
    return tuple(_numbered(state, [body], command.actor_id, now_ms))


def _leave(state: ChannelState, command: LeaveChannel, now_ms: int) -> tuple[Event, ...] | Done | Refusal:
    owners = sum(role is Role.OWNER for role in state.roles.values())
    if state.roles[command.actor_id] is Role.OWNER and owners == 1 and len(state.roles) > 1:
        return Refusal(Reason.LAST_OWNER, "You are the last owner. Remove the other members first, or stay.")
    body = MemberChanged(command.actor_id, MemberChange.LEFT, None)
    return tuple(_numbered(state, [body], command.actor_id, now_ms))


def _numbered(
    state: ChannelState, bodies: list[EventBody] | list[MemberChanged], actor_id: str, now_ms: int
) -> Iterator[Event]:
    for offset, body in enumerate(bodies, start=1):
        yield Event(
            channel_id=state.channel_id,
            seq=state.head + offset,
            message_no=state.message_no,
            create_time_ms=max(now_ms, state.last_time_ms),
            actor_id=actor_id,
            client_message_id="",
            digest=b"",
            body=body,
        )


def _needs(role: Role) -> Refusal:
    return Refusal(
        Reason.ROLE_REQUIRED,
        f"This needs the role {role.name.lower()} in the channel. Ask an owner.",
        metadata={"role": role.name},
    )


def _full(member_limit: int) -> Refusal:
    return Refusal(
        Reason.CHANNEL_FULL,
        f"The channel may have {member_limit} members. Remove some first, or make another channel.",
        metadata={"member_limit": str(member_limit)},
    )
