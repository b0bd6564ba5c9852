"""Judges a history of one channel: what was asked, stored, projected, announced, read and answered.

It knows the promises (architecture.md, section 5) and the rules of membership, and nothing of how the server
keeps them: it shares no code with the owner, so that a fault there cannot hide here.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from parley_runtime.refusal import Reason, Refusal
from parley_server.chat import codec
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
    MemberChange,
    MemberChanged,
    MessagePosted,
    Role,
)
from parley_server.testing.model_history import (
    Answered,
    Appending,
    Applied,
    Asked,
    Failed,
    MarkedActive,
    MarkedFanned,
    Published,
    Read,
    Rested,
    Step,
    Stored,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from parley_server.ports.message_log import Row


class Invariant(enum.Enum):
    """What must hold in every history."""

    ONE_CONTENT = "one content per seq, for ever"
    COMPARE = "the head grows only by a compare from the head that the decision was made at"
    COMMITTED = "acknowledged means committed"
    PROJECTED = "acknowledged means projected"
    ACTIVE = "acknowledged means in the active set"
    ONE_SEQ = "one seq per channel, sender and client id"
    PREFIX = "a reader sees a prefix"
    MARKS = "fanned <= applied <= head"
    ANSWER_IS_ROW = "an answer's seq, message number and time are those of the row"
    ANSWER_IS_TRUE = "an answer was true at some head between call and answer"
    RULES = "message numbers, members and roles are exact at every seq"
    TIME = "event times never go back"
    DERIVED = "projections are what the log leads to"
    ANNOUNCED = "every event is announced to those who were members"
    ANSWERED = "once the faults stop, every command is answered"


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken invariant, and where: `step` is an index into the history."""

    invariant: Invariant
    step: int
    detail: str

    def __str__(self) -> str:
        return f"step {self.step}: {self.invariant.value}: {self.detail}"


# Answers that say nothing about the channel: the outcome is unknown, or the node did not take the command.
_SAYS_NOTHING = frozenset({Reason.STORE_UNAVAILABLE, Reason.CHANNEL_BUSY, Reason.NODE_STOPPING})


@dataclass(frozen=True, slots=True)
class _At:
    """The channel at one head, folded in the plainest way."""

    exists: bool = False
    kind: ChannelKind = ChannelKind.GROUP
    member_limit: int = 0
    message_no: int = 0
    time_ms: int = 0
    roles: Mapping[str, Role] = field(default_factory=dict)
    digests: Mapping[tuple[str, str], bytes] = field(default_factory=dict)


def check(history: Sequence[Step]) -> list[Violation]:
    """Every violation that the history shows, in order."""
    return _Checker().judge(history)


class _Checker:
    def __init__(self) -> None:
        self._step = 0
        self._found: list[Violation] = []
        self._log: tuple[Row, ...] = ()
        self._events: list[Event] = []
        self._at: list[_At] = [_At()]
        self._minute_of_seq: dict[int, int] = {}
        self._appending: dict[bytes, Appending] = {}
        self._asked: dict[int, tuple[Asked, int]] = {}
        self._asked_keys: dict[tuple[str, str], int] = {}
        self._first_answers: set[tuple[str, str]] = set()
        self._newest_active_minute = -1
        self._watermark = 0
        self._published: set[int] = set()

    def judge(self, history: Iterable[Step]) -> list[Violation]:
        for self._step, step in enumerate(history):
            match step:
                case Asked():
                    self._on_asked(step)
                case Appending():
                    self._appending[step.batch_id] = step
                case Stored():
                    self._on_stored(step)
                case MarkedActive(minute):
                    self._newest_active_minute = max(self._newest_active_minute, minute)
                case Applied():
                    self._on_applied(step)
                case Published():
                    self._on_published(step)
                case MarkedFanned(seq):
                    self._on_fanned(seq)
                case Read():
                    self._on_read(step)
                case Answered():
                    self._on_answered(step)
                case Failed(node, error):
                    self._break(Invariant.ANSWERED, f"the owner on node {node} failed: {error}")
                case Rested():
                    self._on_rested(step)
        return self._found

    def _break(self, invariant: Invariant, detail: str) -> None:
        self._found.append(Violation(invariant, self._step, detail))

    @property
    def _head(self) -> int:
        return len(self._log)

    def _on_asked(self, step: Asked) -> None:
        self._asked[step.command_no] = (step, self._head)
        if isinstance(step.command, PostMessage):
            key = (step.command.actor_id, step.command.client_message_id)
            self._asked_keys[key] = self._asked_keys.get(key, 0) + 1

    def _on_stored(self, step: Stored) -> None:
        before, after = self._log, step.log
        attempt = self._appending.get(step.batch_id)
        for seq, (old, new) in enumerate(zip(before, after, strict=False), start=1):
            if old != new:
                self._break(Invariant.ONE_CONTENT, f"seq {seq} was replaced")
                return
        if len(after) < len(before):
            self._break(Invariant.ONE_CONTENT, f"the head went back from {len(before)} to {len(after)}")
            return
        if attempt is None or attempt.expected_head != len(before) or after[len(before) :] != attempt.rows:
            self._break(Invariant.COMPARE, f"head {len(before)} -> {len(after)} by an append not made for it")
        self._log = after
        for seq, row in enumerate(after[len(before) :], start=len(before) + 1):
            event = codec.event_of(row)
            if row.seq != seq or event.seq != seq:
                self._break(Invariant.RULES, f"the row at {seq} says that it is {row.seq}, {event.seq}")
            if attempt is not None:
                self._minute_of_seq[seq] = attempt.clock_minute
            self._events.append(event)
            self._at.append(self._fold(self._at[-1], event))

    def _fold(self, at: _At, event: Event) -> _At:
        is_message = isinstance(event.body, MessagePosted)
        if event.message_no != at.message_no + is_message:
            self._break(Invariant.RULES, f"message_no {event.message_no} at seq {event.seq}")
        if event.create_time_ms < at.time_ms:
            self._break(Invariant.TIME, f"seq {event.seq} is {at.time_ms - event.create_time_ms} ms back")
        at = replace(at, message_no=event.message_no, time_ms=event.create_time_ms)
        if event.client_message_id:
            key = (event.actor_id, event.client_message_id)
            if key in at.digests:
                self._break(Invariant.ONE_SEQ, f"{key} again at seq {event.seq}")
            at = replace(at, digests={**at.digests, key: event.digest})
        match event.body:
            case MessagePosted():
                if event.actor_id not in at.roles:
                    self._break(Invariant.RULES, f"{event.actor_id} wrote at {event.seq}, not being a member")
            case ChannelChanged(created=created, kind=kind, member_limit=limit):
                if created == at.exists or (created and event.seq != 1):
                    self._break(Invariant.RULES, f"made at seq {event.seq}")
                at = replace(at, exists=True, kind=kind, member_limit=limit)
            case MemberChanged() as change:
                why = _why_not(at, event, change)
                if why:
                    self._break(Invariant.RULES, f"seq {event.seq}: {why}")
                roles = {user_id: role for user_id, role in at.roles.items() if user_id != change.user_id}
                if change.role is not None:
                    roles[change.user_id] = change.role
                at = replace(at, roles=roles)
        return at

    def _on_applied(self, step: Applied) -> None:
        for event in step.events:
            if not self._is_committed(event):
                self._break(Invariant.DERIVED, f"seq {event.seq} was applied without being committed so")
        self._watermark = max(self._watermark, step.watermark)
        if self._watermark > self._head:
            self._break(Invariant.MARKS, f"applied {self._watermark}, head {self._head}")

    def _on_published(self, step: Published) -> None:
        for event in step.events:
            if not self._is_committed(event):
                self._break(Invariant.ANNOUNCED, f"seq {event.seq} was announced without being committed so")
            elif event.seq > self._watermark:
                self._break(Invariant.MARKS, f"seq {event.seq} was announced, applied is {self._watermark}")
            self._published.add(event.seq)
        last = step.events[-1].seq
        if last <= self._head and step.members_after != frozenset(self._at[last].roles):
            self._break(
                Invariant.ANNOUNCED,
                f"up to {last} to {sorted(step.members_after)}, members are {sorted(self._at[last].roles)}",
            )

    def _on_fanned(self, seq: int) -> None:
        if not seq <= self._watermark <= self._head:
            self._break(Invariant.MARKS, f"fanned {seq}, applied {self._watermark}, head {self._head}")
        missing = [earlier for earlier in range(1, seq + 1) if earlier not in self._published]
        if missing:
            self._break(Invariant.ANNOUNCED, f"marked up to {seq}, but {missing} never went out")

    def _on_read(self, step: Read) -> None:
        if step.head > self._head or any(row.seq > step.head for row in step.rows):
            self._break(Invariant.PREFIX, f"read at head {step.head}, committed is {self._head}")
        for before, row in zip((None, *step.rows), step.rows, strict=False):
            if row.seq > self._head or self._log[row.seq - 1] != row:
                self._break(Invariant.PREFIX, f"read something else at seq {row.seq} than was committed")
            if before is not None and row.seq != before.seq + 1:
                self._break(Invariant.PREFIX, f"seq {row.seq} after {before.seq}")

    def _is_committed(self, event: Event) -> bool:
        return event.seq <= self._head and self._events[event.seq - 1] == event

    # Answers

    def _on_answered(self, step: Answered) -> None:
        asked, asked_head = self._asked[step.command_no]
        match step.outcome:
            case Done() as done:
                self._on_done(asked, asked_head, done)
            case Refusal() as refusal if refusal.reason not in _SAYS_NOTHING:
                heads = range(asked_head, self._head + 1)
                if not any(refusal.reason in _refusals(self._at[head], asked.command) for head in heads):
                    self._break(
                        Invariant.ANSWER_IS_TRUE,
                        f"{asked.command} was refused with {refusal.reason.text}, "
                        f"true at no head from {asked_head} to {self._head}",
                    )

    def _on_done(self, asked: Asked, asked_head: int, done: Done) -> None:
        if not 1 <= done.seq <= self._head:
            self._break(Invariant.COMMITTED, f"answered with seq {done.seq} at head {self._head}")
            return
        if done.seq > self._watermark:
            self._break(Invariant.PROJECTED, f"answered with seq {done.seq}, applied is {self._watermark}")
        minute = self._minute_of_seq.get(done.seq, 0)
        if self._newest_active_minute < minute:
            self._break(Invariant.ACTIVE, f"seq {done.seq} is of minute {minute}, in the set since never")
        event, command = self._events[done.seq - 1], asked.command
        if (done.message_no, done.create_time_ms) != (event.message_no, event.create_time_ms):
            self._break(Invariant.ANSWER_IS_ROW, f"{done} is not {event}")
        match command:
            case PostMessage():
                self._on_posted(command, done, event)
            case CreateChannel():
                pass  # It exists, and will.
            case _:
                holds = _holds(self._at[done.seq], command)
                if not holds or done.seq < asked_head:
                    self._break(
                        Invariant.ANSWER_IS_TRUE,
                        f"{command} was said to hold at {done.seq}; asked at {asked_head}, holds: {holds}",
                    )

    def _on_posted(self, command: PostMessage, done: Done, event: Event) -> None:
        key = (command.actor_id, command.client_message_id)
        if (event.actor_id, event.client_message_id) != key or event.digest != command.digest:
            self._break(Invariant.ANSWER_IS_ROW, f"{key} was answered with {event}")
        if not done.duplicate:
            if key in self._first_answers:
                self._break(Invariant.ANSWER_IS_TRUE, f"{key} was new twice")
            self._first_answers.add(key)
        elif self._asked_keys[key] < 2:
            self._break(Invariant.ANSWER_IS_TRUE, f"{key} was called a repeat, but was asked once")

    def _on_rested(self, step: Rested) -> None:
        at = self._at[-1]
        if step.unanswered:
            self._break(Invariant.ANSWERED, f"commands {list(step.unanswered)} are without an answer")
        if step.watermark != self._head:
            self._break(Invariant.DERIVED, f"projected up to {step.watermark} of {self._head}")
        elif (step.message_no, dict(step.roles)) != (at.message_no, dict(at.roles)):
            self._break(Invariant.DERIVED, f"projected {step}, but the log leads to {at}")
        missing = [seq for seq in range(1, self._head + 1) if seq not in self._published]
        if missing:
            self._break(Invariant.ANNOUNCED, f"seqs {missing} never went out")


def _why_not(at: _At, event: Event, change: MemberChanged) -> str:
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
            if not making and (actor is None or actor < Role.ADMIN):
                return f"{event.actor_id} may not add"
        case MemberChange.LEFT:
            owners = [user_id for user_id, role in at.roles.items() if role is Role.OWNER]
            if before is None or event.actor_id != change.user_id or change.role is not None:
                return f"{change.user_id} could not leave"
            if owners == [change.user_id] and len(at.roles) > 1:
                return "the last owner left"
        case MemberChange.REMOVED:
            if before is None or change.role is not None or actor is None or actor <= before:
                return f"{event.actor_id} could not remove {change.user_id}"
        case MemberChange.ROLE_CHANGED:
            if before is None or change.role in (None, before) or actor is not Role.OWNER:
                return f"{event.actor_id} could not change the role of {change.user_id}"
    if at.kind is ChannelKind.DIRECT and not making:
        return "a direct channel changed"
    return ""


def _refusals(at: _At, command: Command) -> set[Reason]:
    """The reasons for which the command may be refused at this head."""
    actor = at.roles.get(command.actor_id)
    if isinstance(command, PostMessage):
        digest = at.digests.get((command.actor_id, command.client_message_id))
        if digest is not None:
            return {Reason.CLIENT_ID_REUSED} if digest != command.digest else set()
        too_far_ahead = time_of(command.client_message_id) > at.time_ms + AHEAD_LIMIT_MS
        if actor is None:
            return {Reason.CHANNEL_NOT_FOUND}
        return {Reason.INVALID_FIELD} if too_far_ahead else set()
    if isinstance(command, CreateChannel):
        if at.exists:
            digest = at.digests.get((command.actor_id, command.client_channel_id), command.digest)
            return {Reason.CLIENT_ID_REUSED} if digest != command.digest else set()
        return {Reason.CHANNEL_FULL} if len(command.member_ids) > command.member_limit else set()
    if actor is None:
        return {Reason.CHANNEL_NOT_FOUND}
    if at.kind is ChannelKind.DIRECT:
        return {Reason.DIRECT_CHANNEL}
    match command:
        case AddMembers(user_ids=user_ids):
            new = set(user_ids) - set(at.roles)
            if actor < Role.ADMIN:
                return {Reason.ROLE_REQUIRED}
            return {Reason.CHANNEL_FULL} if new and len(at.roles) + len(new) > at.member_limit else set()
        case RemoveMember(user_id=user_id):
            too_high = user_id in at.roles and at.roles[user_id] >= actor
            return {Reason.ROLE_REQUIRED} if actor < Role.ADMIN or too_high else set()
        case LeaveChannel():
            owners = [user_id for user_id, role in at.roles.items() if role is Role.OWNER]
            last = owners == [command.actor_id] and len(at.roles) > 1
            return {Reason.LAST_OWNER} if last else set()
        case _:
            raise ValueError(f"the model has no rule for {command}")


def _holds(at: _At, command: Command) -> bool:
    """Whether what the command asked for is so at this head."""
    match command:
        case AddMembers(user_ids=user_ids):
            return set(user_ids) <= set(at.roles)
        case RemoveMember(user_id=user_id):
            return user_id not in at.roles
        case LeaveChannel(actor_id=actor_id):
            return actor_id not in at.roles
        case _:
            return at.exists
