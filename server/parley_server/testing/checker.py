"""Judges a history of one channel: what was asked, stored, projected, announced, read and answered.

It knows the promises (architecture.md, section 5) and the rules of membership, and nothing of how the server
keeps them: it shares no code with the owner, so that a fault there cannot hide here.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from parley_runtime.refusal import Reason, Refusal
from parley_server.chat import codec
from parley_server.chat.channel_state import ChannelLimits
from parley_server.chat.command import (
    CreateChannel,
    CreateInvite,
    Done,
    EditMessage,
    PostMessage,
    client_id_of,
    targets_of,
)
from parley_server.chat.event import MessageDeleted, MessageEdited, MessagePosted
from parley_server.testing.channel_rules import ChannelAt, Rule
from parley_server.testing.channel_rules import step as next_at
from parley_server.testing.expected_answers import holds_at, refusals_at
from parley_server.testing.model_history import (
    Answered,
    Appending,
    Applied,
    Asked,
    Erased,
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
    from collections.abc import Iterable, Sequence

    from parley_server.chat.event import Event
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
    PERMITTED = "whoever wrote or changed something was permitted to at that seq"
    COUNTED = "a reaction's count is the number of its users"
    INVITED = "nobody joins by an invite that is used up, over, revoked or not for them"
    ERASED = "text goes from the log when it was deleted, and only then"
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


_BREACHES = {
    Rule.EXACT: Invariant.RULES,
    Rule.PERMITTED: Invariant.PERMITTED,
    Rule.COUNTED: Invariant.COUNTED,
    Rule.INVITED: Invariant.INVITED,
    Rule.TIME: Invariant.TIME,
    Rule.ONE_SEQ: Invariant.ONE_SEQ,
}


def check(history: Sequence[Step], limits: ChannelLimits | None = None) -> list[Violation]:
    """Every violation that the history shows, in order. `limits` are those that the owners kept."""
    return _Checker(limits or ChannelLimits()).judge(history)


class _Checker:
    def __init__(self, limits: ChannelLimits) -> None:
        self._limits = limits
        self._step = 0
        self._found: list[Violation] = []
        self._log: tuple[Row, ...] = ()
        self._events: list[Event] = []
        self._at: list[ChannelAt] = [ChannelAt()]
        self._emptied: dict[int, Event] = {}
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
                case Erased(rows=rows):
                    self._on_erased(rows)
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
        if client_id_of(step.command):
            key = (step.command.actor_id, client_id_of(step.command))
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

    def _fold(self, at: ChannelAt, event: Event) -> ChannelAt:
        after, breaches = next_at(at, event)
        for rule, why in breaches:
            self._break(_BREACHES[rule], why)
        return after

    def _on_erased(self, rows: Sequence[Row]) -> None:
        """Only what was deleted may go, and nothing but its content."""
        log = list(self._log)
        for row in rows:
            if not 1 <= row.seq <= self._head:
                self._break(Invariant.ERASED, f"emptied seq {row.seq} at head {self._head}")
                continue
            event, emptied = self._events[row.seq - 1], codec.event_of(row)
            body = event.body
            seq = body.target_seq if isinstance(body, MessageEdited) else row.seq
            message = self._at[-1].messages.get(seq)
            if message is None or not message.deleted:
                self._break(Invariant.ERASED, f"emptied seq {row.seq}, which was not deleted")
            if replace(emptied, body=body) != event or row.is_message != log[row.seq - 1].is_message:
                self._break(Invariant.ERASED, f"emptied seq {row.seq} of more than its content")
            log[row.seq - 1] = row
            self._emptied[row.seq] = emptied
        self._log = tuple(log)

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
        if not 1 <= event.seq <= self._head:
            return False
        return event in (self._events[event.seq - 1], self._emptied.get(event.seq))

    # Answers

    def _on_answered(self, step: Answered) -> None:
        asked, asked_head = self._asked[step.command_no]
        match step.outcome:
            case Done() as done:
                self._on_done(asked, asked_head, done)
            case Refusal() as refusal if refusal.reason not in _SAYS_NOTHING:
                heads = range(asked_head, self._head + 1)
                command, limits = asked.command, self._limits
                if refusal.reason is Reason.MESSAGE_NOT_FOUND and max(targets_of(command)) > asked_head:
                    # A guess: nobody was told yet of what would stand there.
                    return
                if not any(refusal.reason in refusals_at(self._at[head], command, limits) for head in heads):
                    self._break(
                        Invariant.ANSWER_IS_TRUE,
                        f"{command} was refused with {refusal.reason.text}, "
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
        if isinstance(command, CreateChannel):
            return  # It exists, and will.
        client_id = client_id_of(command)
        key = (command.actor_id, client_id)
        changed = bool(client_id) and (event.actor_id, event.client_message_id) == key
        if changed or isinstance(command, PostMessage | EditMessage | CreateInvite):
            self._on_written(key, getattr(command, "digest", b""), done, event)
            return
        holds = holds_at(self._at[done.seq], command)
        if not holds or done.seq < asked_head or (client_id and not done.duplicate):
            self._break(
                Invariant.ANSWER_IS_TRUE,
                f"{command} was said to hold at {done.seq}; asked at {asked_head}, holds: {holds}",
            )

    def _on_written(self, key: tuple[str, str], digest: bytes, done: Done, event: Event) -> None:
        if (event.actor_id, event.client_message_id) != key or event.digest != digest:
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
        else:
            self._compare(step, at)
        missing = [seq for seq in range(1, self._head + 1) if seq not in self._published]
        if missing:
            self._break(Invariant.ANNOUNCED, f"seqs {missing} never went out")
        self._look_for_deleted(step.due)

    def _compare(self, step: Rested, at: ChannelAt) -> None:
        """What became of messages, members and invites, as projected."""
        if step.banned != at.banned:
            self._break(Invariant.DERIVED, f"projected bans {step.banned}, must be {at.banned}")
        pins = frozenset(seq for seq, message in at.messages.items() if message.pinned)
        if step.pins != pins:
            self._break(Invariant.DERIVED, f"projected pins {step.pins}, must be {pins}")
        for seq, message in at.messages.items():
            must = (message.deleted, {emoji: len(users) for emoji, users in message.users.items() if users})
            deleted, counts = step.becomes.get(seq, (False, {}))
            if (deleted, dict(counts)) != must:
                self._break(Invariant.DERIVED, f"of message {seq} became {counts}, {deleted}, must be {must}")
        for invite_id, invite in at.invites.items():
            is_open = at.time_ms < invite.expire_time_ms and not 0 < invite.use_limit <= invite.uses
            if is_open and step.uses.get(invite_id) != invite.uses:
                self._break(Invariant.DERIVED, f"invite {invite_id}: {step.uses}, must be {invite.uses}")

    def _look_for_deleted(self, due: frozenset[int]) -> None:
        """What was deleted is gone from the log, or known to be due."""
        deletions = {
            event.body.target_seq: event.seq
            for event in self._events
            if isinstance(event.body, MessageDeleted)
        }
        for event in self._events:
            body = event.body
            if not isinstance(body, MessagePosted | MessageEdited):
                continue
            deleted_seq = deletions.get(body.target_seq if isinstance(body, MessageEdited) else event.seq)
            if deleted_seq is not None and deleted_seq not in due and event.seq not in self._emptied:
                self._break(Invariant.ERASED, f"seq {event.seq}, deleted at {deleted_seq}, is not empty")
