"""Draws the commands of the owner model: all kinds, about few messages, users and invites, often repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from parley_server.chat import client_id
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
from parley_server.chat.event import ChannelKind, HistoryVisibility, Role
from parley_server.chat.message_rules import digest_of

if TYPE_CHECKING:
    import random

    from parley_server.testing.model_store import ModelStore

START_MS = 1_760_000_000_000
USERS = ("ann", "bob", "cho", "dai", "eve")
EMOJIS = ("a", "b")
INVITE_IDS = ("one", "two")

_Identified = PostMessage | EditMessage | DeleteMessage | React | Pin | CreateInvite


class CommandDraws:
    """What the clients of one channel ask for. `store` is looked at for the messages that there are."""

    def __init__(self, store: ModelStore, choices: random.Random) -> None:
        self._store = store
        self._choices = choices
        self._ids = 0
        self._sent: list[_Identified] = []
        self._invited: set[str] = set()
        self._create = self._draw_create()

    def draw(self, now_ms: int) -> Command:
        """A new command, or one of before, as it was or varied. `now_ms` is the asked node's time."""
        choices = self._choices
        roll = choices.random()
        actor, other = choices.choice(("ann", "ann", *USERS)), choices.choice(USERS)
        if not self._store.rows() and choices.random() < 0.7:
            return self._create
        if roll < 0.04:
            return (
                self._create
                if roll < 0.03 or not self._create.digest
                else replace(self._create, digest=digest_of("Them"))
            )
        if roll < 0.25:
            if self._sent:
                return self._vary(choices.choice(self._sent))
        elif roll < 0.40:
            adder = "ann" if choices.random() < 0.8 else actor
            return AddMembers(adder, tuple(choices.sample(USERS, choices.randint(1, 2))))
        elif roll < 0.46:
            return RemoveMember("ann" if choices.random() < 0.8 else actor, other)
        elif roll < 0.50:
            return LeaveChannel(actor)
        elif roll < 0.62:
            return self._draw_rule(now_ms, actor, other)
        elif roll < 0.84 and (self._has_messages() or choices.random() < 0.05):
            return self._draw_change(now_ms, actor)
        return self._draw_message(now_ms, actor)

    def _draw_message(self, now_ms: int, actor: str) -> Command:
        own_id = self._draw_id(now_ms)
        text = f"message {self._ids}" + "." * self._choices.choice((0, 0, 150))
        roll = self._choices.random()
        command = PostMessage(
            actor,
            own_id,
            digest_of(text),
            text,
            reply_to_seq=self._draw_target() if roll < 0.1 else 0,
            thread_root_seq=self._draw_target() if roll > 0.8 and self._has_messages() else 0,
        )
        self._sent.append(command)
        return command

    def _draw_change(self, now_ms: int, actor: str) -> Command:
        choices = self._choices
        own_id, seq = self._draw_id(now_ms), self._draw_target()
        digest = digest_of("change", str(self._ids))
        roll = choices.random()
        command: _Identified
        if roll < 0.60:
            command = self._draw_reaction(own_id, digest, seq)
        elif roll < 0.78:
            command = EditMessage(actor, own_id, digest, seq, f"edit {self._ids}")
        elif roll < 0.88:
            command = DeleteMessage(actor, own_id, digest, seq)
        else:
            command = Pin(actor, own_id, digest, seq, pinned=choices.random() < 0.7)
        self._sent.append(command)
        return command

    def _draw_reaction(self, own_id: str, digest: bytes, seq: int) -> React:
        """Few emojis on few messages, put on and taken off in turn by those who may."""
        choices = self._choices
        put = [sent for sent in self._sent if isinstance(sent, React) and sent.added]
        if put and choices.random() < 0.35:
            before = choices.choice(put)
            return replace(before, client_message_id=own_id, digest=digest, added=False)
        actor = choices.choice(("ann", "ann", *self._create.member_ids, *USERS))
        return React(actor, own_id, digest, seq, choices.choice(EMOJIS), added=True)

    def _draw_rule(self, now_ms: int, actor: str, other: str) -> Command:
        choices = self._choices
        roll = choices.random()
        ruler = "ann" if choices.random() < 0.8 else actor
        if roll < 0.15:
            return SetMemberRole(ruler, other, choices.choice(tuple(Role)))
        if roll < 0.32:
            return SetBan(ruler, other, banned=choices.random() < 0.5)
        invite_id = choices.choice(INVITE_IDS)
        if roll < 0.35:
            return RevokeInvite(ruler, invite_id)
        if invite_id in self._invited:
            return JoinByInvite(choices.choice(USERS[1:]), invite_id)
        self._invited.add(invite_id)
        expire_time_ms = START_MS + 366 * 24 * 3_600_000
        command = CreateInvite(
            ruler,
            self._draw_id(now_ms),
            digest_of(invite_id),
            invite_id,
            expire_time_ms,
            choices.randint(1, 2),
        )
        self._sent.append(command)
        return command

    def _draw_id(self, now_ms: int) -> str:
        self._ids += 1
        offset_ms = self._choices.choice((0, 0, -3_000, -7_000_000, 60_000, client_id.AHEAD_LIMIT_MS))
        return _uuid7(now_ms + offset_ms, self._ids)

    def _has_messages(self) -> bool:
        return any(row.is_message for row in self._store.rows())

    def _draw_target(self) -> int:
        """A message, mostly one of the first two, now and then any place, also one that is not there yet."""
        rows = self._store.rows()
        seqs = [row.seq for row in rows if row.is_message]
        if not seqs or self._choices.random() < 0.1:
            return self._choices.randint(1, len(rows) + 2)
        return self._choices.choice(seqs[:2] if self._choices.random() < 0.7 else seqs)

    def _vary(self, sent: _Identified) -> Command:
        roll = self._choices.random()
        if roll < 0.10 and isinstance(sent, PostMessage):
            text = f"{sent.text}, but other"
            return replace(sent, digest=digest_of(text), text=text)
        if roll < 0.10:
            return replace(sent, digest=digest_of(client_id_of(sent), "but other"))
        if roll < 0.20 and not isinstance(sent, CreateInvite):
            return replace(sent, actor_id=self._choices.choice(USERS))
        return sent

    def _draw_create(self) -> CreateChannel:
        self._ids += 1
        members = ("ann", *self._choices.sample(USERS[1:], self._choices.randint(1, 3)))
        direct = self._choices.random() < 0.1
        return CreateChannel(
            actor_id="ann",
            kind=ChannelKind.DIRECT if direct else ChannelKind.GROUP,
            title="" if direct else "Us",
            member_ids=members[:2] if direct else members,
            history_visibility=HistoryVisibility.FROM_JOINING,
            member_limit=2 if direct else 4,
            client_channel_id="" if direct else _uuid7(START_MS, self._ids),
            digest=b"" if direct else digest_of("Us"),
        )


def _uuid7(time_ms: int, number: int) -> str:
    digits = f"{time_ms:012x}7000{0x8000_0000_0000_0000 + number:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
