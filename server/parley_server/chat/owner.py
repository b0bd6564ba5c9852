"""The owner of a channel: takes commands, decides them in batches, commits, projects, answers, fans out.

Correctness does not hang on there being one owner: the log commits only at the head that a decision was made
at (architecture.md, section 5). An owner that is behind conflicts, learns, and decides again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from parley_runtime.disk_full import is_disk_full, note_disk_full
from parley_runtime.logs import get_logger
from parley_runtime.refusal import Reason, Refusal
from parley_server.chat import codec
from parley_server.chat.activation import ActivationLimits, activate, events_after
from parley_server.chat.batch import Batch, BatchLimits, decide_batch
from parley_server.chat.command import Command, Done, EraseAuthor, Outcome, client_id_of
from parley_server.chat.event import MemberChange, MemberChanged
from parley_server.chat.known_ids import Sent
from parley_server.chat.presenting import Presenter
from parley_server.chat.slots import slot_of
from parley_server.chat.targets import learn_targets
from parley_server.ports.message_log import (
    LARGEST_SEQ,
    Committed,
    Conflict,
    MessageLog,
    StoreUnavailable,
    Unknown,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from parley_runtime.clock import Clock
    from parley_server.chat.channel_state import ChannelState
    from parley_server.chat.channels import KnowsUsers
    from parley_server.chat.erasure import Eraser
    from parley_server.chat.fanout import Fanout
    from parley_server.ports.commits import Commits
    from parley_server.ports.projections import Projections

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OwnerLimits:
    """Bounds of one channel's owner. `tries` is how often a batch is decided before its senders are told to
    retry; `events_between_marks` how far the mark of what was fanned out may trail while the channel is busy.
    """

    waiting_commands: int = 4096
    tries: int = 8
    events_between_marks: int = 1024
    batch: BatchLimits = field(default_factory=BatchLimits)
    activation: ActivationLimits = field(default_factory=ActivationLimits)


@dataclass(frozen=True, slots=True)
class OwnerPorts:
    """What an owner works with. `new_batch_id` makes 16 bytes that no other attempt has."""

    log: MessageLog
    projections: Projections
    commits: Commits
    fanout: Fanout
    clock: Clock
    new_batch_id: Callable[[], bytes]
    eraser: Eraser
    users: KnowsUsers


@dataclass(slots=True)
class _Waiting:
    command: Command
    answer: asyncio.Future[Done]


@dataclass(frozen=True, slots=True)
class _Attempt:
    """An append whose outcome is not known yet."""

    batch_id: bytes
    batch: Batch
    cause: str
    """Why it is not known."""


class ChannelOwner:
    """Owns one channel on this node. One append in flight; what comes meanwhile waits for the next batch."""

    def __init__(self, channel_id: str, ports: OwnerPorts, limits: OwnerLimits) -> None:
        self.channel_id = channel_id
        self._ports = ports
        self._limits = limits
        self._presenter = Presenter(ports.log, ports.projections)
        self._waiting: deque[_Waiting] = deque()
        self._newcomers: set[str] = set()
        self._state: ChannelState | None = None
        self._fanned = 0
        self._fanned_marked = 0
        self._active_minute = -1

    @property
    def idle(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    @property
    def exists(self) -> bool:
        """Whether the channel is known to have been made."""
        return self._state is not None and self._state.exists

    def enqueue(self, command: Command) -> asyncio.Future[Done]:
        """Queue a command; the future answers once its outcome is durable, or with a Refusal.

        A refusal with STORE_UNAVAILABLE means unknown: repeating the command is safe. Raises Refusal
        (CHANNEL_BUSY) when too many wait.
        """
        if len(self._waiting) >= self._limits.waiting_commands:
            raise Refusal(
                Reason.CHANNEL_BUSY,
                "Too many writes wait for this channel. Retry later.",
                retry_after_seconds=1.0,
            )
        answer: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(command, answer))
        return answer

    @property
    def mark_trails(self) -> bool:
        """Whether more was announced than the log's mark says."""
        return self._fanned > self._fanned_marked

    async def drain(self) -> None:
        """Serve until nothing waits. Must not run twice at a time. The mark may trail then."""
        while self._waiting:
            await self._serve()
            if self._fanned - self._fanned_marked >= self._limits.events_between_marks:
                await self.mark_fanned()

    async def _serve(self) -> None:
        taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._limits.batch.rows))]
        try:
            outcomes = await self._settle([waiting.command for waiting in taken])
        except StoreUnavailable as error:
            self._state = None
            if is_disk_full(str(error)):
                note_disk_full()
            else:
                log.error("store unavailable", channel_id=self.channel_id, error=str(error))
            outcomes = [_unavailable(str(error))] * len(taken)
        except BaseException as error:
            self._state = None
            for waiting in taken:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error if isinstance(error, Exception) else _unavailable())
            raise
        for waiting, outcome in zip(taken, outcomes, strict=False):
            if waiting.answer.done():
                continue
            if isinstance(outcome, Done):
                waiting.answer.set_result(outcome)
            else:
                waiting.answer.set_exception(outcome)
        self._waiting.extendleft(reversed(taken[len(outcomes) :]))

    async def _settle(self, commands: list[Command]) -> list[Outcome]:
        """Outcomes of the first commands, as many as fit one batch, once they hold."""
        unsettled: list[_Attempt] = []
        for _ in range(self._limits.tries):
            state = self._state or await self._activate()
            if unsettled and (landed := await self._landed(state, unsettled)) is not None:
                await self._see_off_deleted(landed)
                return landed.outcomes
            state.shrink()
            await learn_targets(state, commands, self._ports.log, self._ports.projections)
            older = await self._look_up(state, commands)
            if older and any(sent.seq > state.head for sent in older.values()):
                # Others, or an attempt of ours, wrote since the state was learnt: learn again.
                self._state = None
                continue
            batch = decide_batch(state, commands, self._ports.clock.now_ms(), older, self._limits.batch)
            if not batch.rows:
                head = batch.expected_head
                if not batch.rests_on_head or await self._ports.log.head(self.channel_id) == head:
                    return batch.outcomes
                # Somebody else wrote: what rests on an old state is not an answer.
                self._state = None
                continue
            if await self._commit(batch, unsettled):
                if not batch.only_messages:
                    await self._ports.eraser.erase_now(self.channel_id, batch.events)
                await self._fan_out(state, batch)
                if self._newcomers or not batch.only_messages:
                    await self._see_off_deleted(batch)
                return batch.outcomes
            self._state = None
        if unsettled:
            raise StoreUnavailable(f"not settled after {self._limits.tries} tries: {unsettled[-1].cause}")
        raise StoreUnavailable(f"other writers won {self._limits.tries} times")

    async def _commit(self, batch: Batch, unsettled: list[_Attempt]) -> bool:
        """Whether the batch is in the log for certain, and projected. If not, decide again; it may be in
        `unsettled` now.
        """
        await self._mark_active()
        batch_id = self._ports.new_batch_id()
        result = await self._ports.commits.commit(
            self.channel_id, batch.expected_head, batch.rows, batch.events, batch_id
        )
        match result:
            case Committed():
                return True
            case Conflict():
                return False
            case Unknown(cause):
                # Not there yet may mean not there ever or still to land: either way it is safe to decide
                # again, since both attempts expect the same head and at most one can win.
                attempt = _Attempt(batch_id, batch, cause)
                if await self._is_in_log(attempt):
                    await self._ports.projections.apply(self.channel_id, batch.events)
                    return True
                unsettled.append(attempt)
                return False

    async def _landed(self, state: ChannelState, unsettled: list[_Attempt]) -> Batch | None:
        """The attempt that is in the log after all. Deciding its commands once more would answer them
        wrongly: that a leaver is a stranger, that a first message is a repeat.
        """
        for attempt in tuple(unsettled):
            if state.head > attempt.batch.expected_head:
                if await self._is_in_log(attempt):
                    return attempt.batch
                unsettled.remove(attempt)
        return None

    async def _is_in_log(self, attempt: _Attempt) -> bool:
        # All or nothing, so the first row speaks for all.
        first_seq = attempt.batch.expected_head + 1
        return await self._ports.log.batch_at(self.channel_id, first_seq) == attempt.batch_id

    async def _see_off_deleted(self, batch: Batch) -> None:
        """Have those leave again whose account was deleted while they became members.

        A deletion is marked in the accounts first and then walks the user's channels. Where that walk came
        before this batch was projected, the mark is seen here.
        """
        for event in batch.events:
            if isinstance(event.body, MemberChanged) and event.body.change is MemberChange.ADDED:
                self._newcomers.add(event.body.user_id)
        if not self._newcomers:
            return
        try:
            existing = await self._ports.users.existing(tuple(self._newcomers))
        except StoreUnavailable as error:
            # They are asked for again with the next batch.
            log.error("new members not checked yet", channel_id=self.channel_id, error=str(error))
            return
        deleted, self._newcomers = self._newcomers - existing, set()
        for user_id in deleted:
            answer: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
            answer.add_done_callback(partial(self._seen_off, user_id))
            self._waiting.append(_Waiting(EraseAuthor(user_id), answer))

    def _seen_off(self, user_id: str, answer: asyncio.Future[Done]) -> None:
        if answer.exception() is not None:
            self._newcomers.add(user_id)

    async def _activate(self) -> ChannelState:
        ports = self._ports
        state = await activate(self.channel_id, ports.log, ports.projections, self._limits.activation)
        self._fanned = self._fanned_marked = await ports.log.fanned(self.channel_id)
        await self._announce_what_is_behind(state)
        self._state = state
        return state

    async def _announce_what_is_behind(self, state: ChannelState) -> None:
        try:
            async for page in events_after(state, self._ports.log, self._fanned, self._limits.activation):
                # What was taken back meanwhile goes to nobody any more.
                shown = await self._presenter.present(
                    self.channel_id, page.rows, viewer_id="", limit_bytes=LARGEST_SEQ
                )
                encoded = [row.event for row in shown]
                await self._ports.fanout.publish(self.channel_id, page.members_after, page.events, encoded)
                self._fanned = page.events[-1].seq
        except StoreUnavailable as error:
            # Feeds are hints and the log is the truth: writing goes on, and the mark stays where announcing
            # ended.
            log.error("not announced yet", channel_id=self.channel_id, error=str(error))

    async def _look_up(self, state: ChannelState, commands: list[Command]) -> dict[tuple[str, str], Sent]:
        """Client ids that may be older than what the state knows, each checked against the log itself."""
        found: dict[tuple[str, str], Sent] = {}
        for command in commands:
            client_id = client_id_of(command)
            key = (command.actor_id, client_id)
            if not client_id or key in found or not state.known_ids.may_be_older(*key):
                continue
            for seq in await self._ports.projections.seqs_of(self.channel_id, *key):
                page = await self._ports.log.read(self.channel_id, seq, seq, limit=1, limit_bytes=1)
                for event in map(codec.event_of, page.rows):
                    if (event.actor_id, event.client_message_id) == key:
                        found[key] = Sent(event.seq, event.message_no, event.create_time_ms, event.digest)
        return found

    async def _mark_active(self) -> None:
        minute = self._ports.clock.now_ms() // 60_000
        if minute != self._active_minute:
            await self._ports.log.mark_active(slot_of(self.channel_id), minute, self.channel_id)
            self._active_minute = minute

    async def _fan_out(self, state: ChannelState, batch: Batch) -> None:
        if self._fanned != batch.expected_head:
            # An earlier announcement failed. In order, or the mark would pass over what was not announced.
            await self._announce_what_is_behind(state)
            return
        encoded = [row.event for row in batch.rows]
        try:
            await self._ports.fanout.publish(self.channel_id, state.roles, batch.events, encoded)
        except StoreUnavailable as error:
            log.error("not announced yet", channel_id=self.channel_id, error=str(error))
            return
        self._fanned = batch.events[-1].seq

    async def mark_fanned(self) -> None:
        """Raise the log's mark to what was announced. It may go on trailing when the store fails: the next
        owner announces some events once more, which is harmless.
        """
        fanned = self._fanned
        if fanned > self._fanned_marked:
            try:
                await self._ports.log.mark_fanned(self.channel_id, fanned)
            except StoreUnavailable:
                return
            self._fanned_marked = max(fanned, self._fanned_marked)


def _unavailable(cause: str = "") -> Refusal:
    said = (
        "The store cannot take it: the disk is full." if is_disk_full(cause) else "The store did not answer."
    )
    return Refusal(
        Reason.STORE_UNAVAILABLE,
        f"{said} The outcome is not known. Repeat the call with the same client-made id.",
        retry_after_seconds=1.0,
    )
