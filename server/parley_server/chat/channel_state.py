"""A channel as of its head, and how each event changes it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parley_server.chat.event import (
    AuthorErased,
    BanChanged,
    ChannelChanged,
    ChannelDeleted,
    ChannelKind,
    Event,
    HistoryVisibility,
    InviteChanged,
    MemberChanged,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    PinChanged,
    ReactionChanged,
    Role,
)
from parley_server.chat.known_ids import KnownIds, Sent

if TYPE_CHECKING:
    from parley_server.chat.command import Command

TARGETS_KEPT = 4096
REACTORS_KEPT = 16_384


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """Bounds of what a channel holds besides its messages. `edit_window_seconds` 0: no end."""

    edit_window_seconds: int = 0
    emojis_per_message: int = 50
    emojis_per_user_and_message: int = 10
    pins: int = 50
    invites: int = 50
    bans: int = 1000


@dataclass(slots=True)
class Target:
    """What has to be known of a message before it is changed or answered.

    `reactions` counts users per emoji; `own` holds, for the users that were asked for, what they put there.
    """

    author_id: str
    create_time_ms: int
    thread_root_seq: int = 0
    deleted: bool = False
    reactions: dict[str, int] = field(default_factory=dict)
    own: dict[str, set[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Invite:
    """An invite that was not revoked. `use_limit` 0: any number of times."""

    expire_time_ms: int
    use_limit: int
    uses: int = 0

    def open(self, now_ms: int) -> bool:
        """Whether somebody may join by it at `now_ms`."""
        return now_ms < self.expire_time_ms and (not self.use_limit or self.uses < self.use_limit)


@dataclass(slots=True)
class ChannelState:
    """A channel as of `head`. Changed by `evolve` only; thrown away when the log is elsewhere.

    `roles` is in the order of joining. `pins` names the author of each pinned message. `targets` holds the
    messages that commands were about; None stands for a seq at which there is no message. `reactors_known`
    counts the users in their `own`. `last_post_ms` matters in slow mode only.
    """

    channel_id: str
    known_ids: KnownIds
    limits: ChannelLimits = field(default_factory=ChannelLimits)
    head: int = 0
    message_no: int = 0
    last_time_ms: int = 0
    deleted: bool = False
    kind: ChannelKind = ChannelKind.GROUP
    title: str = ""
    description: str = ""
    history_visibility: HistoryVisibility = HistoryVisibility.FROM_JOINING
    slow_mode_seconds: int = 0
    member_limit: int = 0
    roles: dict[str, Role] = field(default_factory=dict)
    banned: set[str] = field(default_factory=set)
    invites: dict[str, Invite] = field(default_factory=dict)
    pins: dict[int, str] = field(default_factory=dict)
    erased_authors: set[str] = field(default_factory=set)
    last_post_ms: dict[str, int] = field(default_factory=dict)
    targets: dict[int, Target | None] = field(default_factory=dict)
    reactors_known: int = 0

    @property
    def exists(self) -> bool:
        """Whether the channel was ever made."""
        return self.head > 0

    def sent_before(self, command: Command, client_id: str, older: Sent | None) -> Sent | None:
        """Where the command's client id went when it was tried before, None when it is new."""
        return (self.known_ids.find(command.actor_id, client_id) if client_id else None) or older

    def shrink(self) -> None:
        """Between batches: forget what can be read again."""
        self.known_ids.shrink()
        if len(self.targets) > TARGETS_KEPT or self.reactors_known > REACTORS_KEPT:
            self.targets.clear()
            self.reactors_known = 0
        if len(self.last_post_ms) > TARGETS_KEPT:
            since_ms = self.last_time_ms - 1000 * self.slow_mode_seconds
            self.last_post_ms = {user: at for user, at in self.last_post_ms.items() if at >= since_ms}


def evolve(state: ChannelState, event: Event) -> None:
    """Fold the next event into the state. `event.seq` must be head + 1."""
    if event.seq != state.head + 1:
        raise ValueError(f"{state.channel_id}: event {event.seq} does not follow {state.head}")
    state.head = event.seq
    state.message_no = event.message_no
    state.last_time_ms = event.create_time_ms
    match event.body:
        case MessagePosted():
            if state.slow_mode_seconds:
                state.last_post_ms[event.actor_id] = event.create_time_ms
        case MessageEdited():
            pass
        case ReactionChanged() as change:
            _fold_reaction(state, event.actor_id, change)
        case MessageDeleted(target_seq=target_seq):
            state.pins.pop(target_seq, None)
            _fold_deletion(state.targets.get(target_seq))
        case PinChanged(target_seq=target_seq, pinned=pinned, author_id=author_id):
            if pinned:
                state.pins[target_seq] = author_id
            else:
                state.pins.pop(target_seq, None)
        case AuthorErased(user_id=user_id):
            state.erased_authors.add(user_id)
            state.pins = {seq: author for seq, author in state.pins.items() if author != user_id}
            for target in state.targets.values():
                if target is not None and target.author_id == user_id:
                    _fold_deletion(target)
        case _:
            _fold_administration(state, event)
    if event.client_message_id:
        sent = Sent(event.seq, event.message_no, event.create_time_ms, event.digest)
        state.known_ids.add(event.actor_id, event.client_message_id, sent)


def _fold_administration(state: ChannelState, event: Event) -> None:
    match event.body:
        case ChannelChanged() as settings:
            state.kind = settings.kind
            state.title = settings.title
            state.description = settings.description
            state.history_visibility = settings.history_visibility
            state.slow_mode_seconds = settings.slow_mode_seconds
            state.member_limit = settings.member_limit
        case MemberChanged(user_id=user_id, role=None):
            state.roles.pop(user_id, None)
        case MemberChanged(user_id=user_id, role=Role() as role, invite_id=invite_id):
            state.roles[user_id] = role
            if invite_id in state.invites:
                state.invites[invite_id].uses += 1
        case BanChanged(user_id=user_id, banned=banned):
            (state.banned.add if banned else state.banned.discard)(user_id)
        case InviteChanged(invite_id=invite_id, revoked=True):
            state.invites.pop(invite_id, None)
        case InviteChanged(invite_id=invite_id, expire_time_ms=expire_time_ms, use_limit=use_limit):
            state.invites[invite_id] = Invite(expire_time_ms, use_limit)
        case ChannelDeleted():
            # The roles stay, for the event that ends the channel is still for the members.
            state.deleted = True


def _fold_reaction(state: ChannelState, user_id: str, change: ReactionChanged) -> None:
    target = state.targets.get(change.target_seq)
    if target is None:
        return
    if change.count:
        target.reactions[change.emoji] = change.count
    else:
        target.reactions.pop(change.emoji, None)
    if user_id in target.own:
        (target.own[user_id].add if change.added else target.own[user_id].discard)(change.emoji)


def _fold_deletion(target: Target | None) -> None:
    if target is not None:
        target.deleted = True
        target.reactions.clear()
        target.own.clear()
