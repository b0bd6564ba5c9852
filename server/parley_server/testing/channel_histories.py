"""Histories of a channel in which everything happens that the rules allow, made by the rules themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from msgspec.structs import replace

from parley_runtime.refusal import Refusal
from parley_server.chat.channel import decide
from parley_server.chat.channel_state import ChannelLimits, ChannelState, Target, evolve
from parley_server.chat.command import (
    AddMembers,
    Command,
    CreateChannel,
    CreateInvite,
    DeleteChannel,
    DeleteMessage,
    Done,
    EditMessage,
    EraseAuthor,
    JoinByInvite,
    LeaveChannel,
    Pin,
    PostMessage,
    React,
    RemoveMember,
    RevokeInvite,
    SetBan,
    SetMemberRole,
    UpdateChannel,
)
from parley_server.chat.event import (
    ChannelKind,
    Event,
    HistoryVisibility,
    MessagePosted,
    Role,
)
from parley_server.chat.known_ids import KnownIds
from parley_server.testing.projected_log import FIRST_MS

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

USERS = ("ann", "bob", "cyd", "dan", "eve")
EMOJIS = ("👍", "🎉", "가")
LIMITS = ChannelLimits(emojis_per_message=2, emojis_per_user_and_message=2, pins=2, invites=3, bans=2)

Step = tuple[int, int, int, int]
"""Which command, by whom, about what and how; numbers of any size, folded onto what there is."""

steps = st.lists(st.tuples(*[st.integers(0, 1 << 16)] * 4), max_size=100) | st.builds(
    lambda chooser: random_steps(chooser, 100), st.randoms(use_true_random=False)
)
"""Steps for `history`."""


def random_steps(chooser: random.Random, count: int) -> list[Step]:
    """Steps without Hypothesis, for long histories."""

    def number() -> int:
        return chooser.randrange(1 << 16)

    return [(number(), number(), number(), number()) for _ in range(count)]


def history(
    channel_id: str,
    walk: Sequence[Step],
    *,
    kind: ChannelKind = ChannelKind.GROUP,
    visibility: HistoryVisibility = HistoryVisibility.FROM_JOINING,
) -> list[Event]:
    """The events of a channel in which the steps are tried one after the other. What the rules refuse
    leaves no event.
    """
    maker = _Maker(ChannelState(channel_id, KnownIds(1 << 20), LIMITS))
    users = USERS[:2] if kind is ChannelKind.DIRECT else USERS[:3]
    maker.take(CreateChannel("ann", kind, "첫 제목", users, visibility, 4, "", b""))
    # Most of all that happens is messages, or nothing would happen to any.
    kinds = (*[_post] * 5, *_COMMANDS)
    for number, who, what, how in walk:
        maker.now_ms += how % 3 * 500
        present = tuple(maker.state.roles)
        among = present if present and who % 8 else USERS
        command = kinds[number % len(kinds)](maker, among[who % len(among)], what, how)
        if command is not None:
            maker.take(command)
    return maker.events


@dataclass(slots=True)
class _Maker:
    state: ChannelState
    events: list[Event] = field(default_factory=list)
    now_ms: int = FIRST_MS
    ids: int = 0

    def new_id(self) -> str:
        """A UUIDv7 of now."""
        self.ids += 1
        time = f"{self.now_ms:012x}"
        return f"{time[:8]}-{time[8:]}-7000-8000-{self.ids:012x}"

    def boss(self) -> str:
        """Who may do most; somebody who is no member where there is none."""
        roles = self.state.roles
        return max(roles, key=lambda user_id: roles[user_id], default=USERS[-1])

    def a_message(self, what: int) -> int:
        """The seq of a message, mostly a new one, so that much happens to the same; of an event that is none,
        or of no event, where there is no message.
        """
        seqs = [event.seq for event in self.events if isinstance(event.body, MessagePosted)]
        if not seqs:
            return what % 9
        return seqs[what // 8 % len(seqs)] if what % 8 == 0 else seqs[-1 - what % min(3, len(seqs))]

    def take(self, command: Command) -> None:
        """Decide the command and let its events happen."""
        decision = decide(self.state, command, self.now_ms)
        if isinstance(decision, Done | Refusal):
            return
        for event in decision:
            evolve(self.state, event)
            self.events.append(event)
            if isinstance(event.body, MessagePosted):
                self.state.targets[event.seq] = Target(
                    event.actor_id,
                    event.create_time_ms,
                    event.body.thread_root_seq,
                    own={user_id: set() for user_id in USERS},
                )


def _post(maker: _Maker, actor: str, what: int, how: int) -> Command:
    about = maker.a_message(what)
    return PostMessage(
        actor,
        maker.new_id(),
        b"d" * 32,
        f"text {what}",
        mentions=USERS[: how % 3],
        reply_to_seq=about if how % 5 == 0 else 0,
        thread_root_seq=about if how % 3 == 0 else 0,
    )


def _edit(maker: _Maker, actor: str, what: int, how: int) -> Command:
    seq = maker.a_message(what)
    target = maker.state.targets.get(seq)
    author = actor if target is None or how % 5 == 0 else target.author_id
    return EditMessage(author, maker.new_id(), b"e" * 32, seq, f"edited {how}")


def _delete(maker: _Maker, actor: str, what: int, how: int) -> Command:
    return DeleteMessage(actor, maker.new_id(), b"x" * 32, maker.a_message(what))


def _react(maker: _Maker, actor: str, what: int, how: int) -> Command:
    emoji = EMOJIS[how % len(EMOJIS)]
    return React(actor, maker.new_id(), b"r" * 32, maker.a_message(what), emoji, what % 5 < 3)


def _pin(maker: _Maker, actor: str, what: int, how: int) -> Command:
    return Pin(maker.boss(), maker.new_id(), b"p" * 32, maker.a_message(what), how % 4 != 0)


def _add(maker: _Maker, actor: str, what: int, how: int) -> Command:
    return AddMembers(maker.boss(), (USERS[what % len(USERS)], USERS[how % len(USERS)]))


def _remove(maker: _Maker, actor: str, what: int, how: int) -> Command:
    return RemoveMember(maker.boss(), USERS[what % len(USERS)])


def _leave(maker: _Maker, actor: str, what: int, how: int) -> Command | None:
    return LeaveChannel(actor) if how % 4 == 0 else None


def _set_role(maker: _Maker, actor: str, what: int, how: int) -> Command:
    return SetMemberRole(maker.boss(), USERS[what % len(USERS)], Role(1 + how % 3))


def _set_ban(maker: _Maker, actor: str, what: int, how: int) -> Command:
    return SetBan(maker.boss(), USERS[what % len(USERS)], how % 2 == 0)


def _update(maker: _Maker, actor: str, what: int, how: int) -> Command:
    command = UpdateChannel(maker.boss(), title=f"title {what % 3}", slow_mode_seconds=how % 2)
    if how % 3 == 0:
        visibility = HistoryVisibility.FROM_START if how % 2 else HistoryVisibility.FROM_JOINING
        return replace(command, history_visibility=visibility)
    return replace(command, description=f"about {how % 3}")


def _invite(maker: _Maker, actor: str, what: int, how: int) -> Command:
    invite_id = f"invite {len(maker.events)}"
    expire_time_ms = maker.now_ms + 300 * (1 + what % 40)
    return CreateInvite(maker.boss(), maker.new_id(), b"i" * 32, invite_id, expire_time_ms, how % 3)


def _revoke(maker: _Maker, actor: str, what: int, how: int) -> Command | None:
    known = list(maker.state.invites)
    return RevokeInvite(actor, known[what % len(known)]) if known else None


def _join(maker: _Maker, actor: str, what: int, how: int) -> Command | None:
    known = list(maker.state.invites)
    return JoinByInvite(USERS[how % len(USERS)], known[what % len(known)]) if known else None


def _erase(maker: _Maker, actor: str, what: int, how: int) -> Command | None:
    return EraseAuthor(actor) if how % 16 == 0 else None


def _end(maker: _Maker, actor: str, what: int, how: int) -> Command | None:
    return DeleteChannel(maker.boss()) if how % 32 == 0 else None


_COMMANDS = (
    _edit,
    _edit,
    _delete,
    *[_react] * 6,
    _pin,
    _add,
    _remove,
    _leave,
    _set_role,
    _set_ban,
    _update,
    _invite,
    _revoke,
    _join,
    _join,
    _erase,
    _end,
)
