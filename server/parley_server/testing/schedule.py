"""Runs several real owners of one channel over one model store, every step chosen by a seed.

Port calls take effect and answer in any order; they fail before, after, or land late; owners crash at any
await, sleep, and wake with old views; clients repeat what they do not know; clocks differ and are set back.
Then the faults stop, everything unknown is repeated, and a new owner takes over what the active set names.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from parley_runtime.at_once import run_at_once
from parley_runtime.refusal import Reason, Refusal
from parley_server.chat.activation import ActivationLimits
from parley_server.chat.batch import BatchLimits
from parley_server.chat.channel_state import ChannelLimits
from parley_server.chat.command import Command, Done, LeaveChannel
from parley_server.chat.erasure import Eraser
from parley_server.chat.event import Role
from parley_server.chat.owner import ChannelOwner, OwnerLimits, OwnerPorts
from parley_server.chat.separate_commits import SeparateCommits
from parley_server.chat.slots import slot_of
from parley_server.testing.checker import check
from parley_server.testing.command_draws import START_MS, CommandDraws
from parley_server.testing.faults import Faults
from parley_server.testing.model_history import Answered, Asked, Failed, Read, Rested
from parley_server.testing.node_ports import NodeClock, NodeFanout, NodeLog, NodeProjections

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine, Iterable, Sequence

    from parley_server.testing.checker import Violation
    from parley_server.testing.model_history import Step
    from parley_server.testing.model_store import Call, ModelStore

# Small enough that every path runs: ids are forgotten, batches end, activation reads several pages.
LIMITS = OwnerLimits(
    waiting_commands=64,
    tries=4,
    events_between_marks=3,
    batch=BatchLimits(rows=3, event_bytes=400),
    activation=ActivationLimits(
        known_ids=2,
        newest_rows=2,
        page_rows=3,
        page_bytes=100_000,
        channel=ChannelLimits(emojis_per_message=2, emojis_per_user_and_message=1, pins=1),
    ),
)
_STEPS_LIMIT = 4000

MakeOwner = Callable[[str, OwnerPorts, OwnerLimits], ChannelOwner]


class EverybodyExists:
    """Accounts of which none is ever deleted."""

    async def existing(self, user_ids: Sequence[str]) -> set[str]:
        """All of them."""
        return set(user_ids)


@dataclass(slots=True)
class _Node:
    number: int
    clock: NodeClock
    ports: OwnerPorts
    owner: ChannelOwner
    running: Coroutine[Any, Any, None] | None = None
    call: Call | None = None
    awake_at: int = 0
    asked: dict[int, asyncio.Future[Done]] = field(default_factory=dict)


class Schedule:
    """One run. `play` returns its history. Needs a running event loop, though it never waits on it."""

    def __init__(
        self,
        store: ModelStore,
        choices: random.Random,
        make_owner: MakeOwner,
        *,
        nodes: int = 3,
        commands: int = 24,
    ) -> None:
        self._store = store
        self._choices = choices
        self._make_owner = make_owner
        self._faults = Faults.drawn(choices)
        self._now_ms = START_MS
        self._step = 0
        self._batches = 0
        self._commands_left = commands
        self._commands: dict[int, Command] = {}
        self._unknown: list[int] = []
        self._late: list[Call] = []
        self._node_numbers = 0
        self._nodes = [self._new_node() for _ in range(nodes)]
        self._draws = CommandDraws(store, choices)

    def play(self) -> list[Step]:
        """Run with faults, then without, then rest."""
        choices = self._choices
        try:
            while self._commands_left or choices.random() < 0.9:
                self._step += 1
                if self._step > _STEPS_LIMIT:
                    break
                self._one_step()
            self._settle()
        finally:
            for node in self._nodes:
                _end(node)
        return self._store.history

    # While things go wrong

    def _one_step(self) -> None:
        choices, faults = self._choices, self._faults
        self._now_ms += choices.choice((0, 1, 5, 400))
        roll = choices.random()
        if roll < faults.crash:
            self._crash(choices.choice(self._nodes))
        elif roll < faults.crash + faults.sleep:
            choices.choice(self._nodes).awake_at = self._step + choices.randint(5, 60)
        elif roll < faults.crash + faults.sleep + faults.clock:
            self._disturb_clocks()
        elif roll < 0.2 and self._commands_left:
            self._ask_something()
        elif roll < 0.22:
            self._read_something()
        elif roll < 0.22 + faults.land and self._late:
            self._land(self._late.pop(choices.randrange(len(self._late))))
        else:
            ready = [node for node in self._nodes if node.call and node.awake_at <= self._step]
            if ready:
                self._resolve(choices.choice(ready))
            elif self._commands_left:
                self._ask_something()

    def _resolve(self, node: _Node) -> None:
        call, faults = node.call, self._faults
        assert call is not None
        roll = self._choices.random()
        if not call.performed:
            lose = faults.lose_append if call.name == "append" else 0.0
            if roll < max(faults.fail_before, lose):
                if call.writes and self._choices.random() < faults.lands_late:
                    self._late.append(call)
                self._answer(node, call.failure())
                return
            call.perform()
            if self._choices.random() < faults.delay_answer:
                return
        if roll > 1 - faults.fail_after:
            self._answer(node, call.failure())
        else:
            self._answer(node, call.result)

    def _land(self, call: Call) -> None:
        self._store.late = True
        call.perform()
        self._store.late = False

    def _disturb_clocks(self) -> None:
        choices = self._choices
        if choices.random() < 0.5:
            self._now_ms += choices.choice((59_000, 61_000, 200_000))
        else:
            # Half an hour back is more than any real clock is set back, and harmless.
            choices.choice(self._nodes).clock.skew_ms = choices.choice((-1_800_000, -70_000, 0, 90_000))

    def _read_something(self) -> None:
        choices = self._choices
        first = choices.randint(1, 4)
        newest_first = choices.random() < 0.5
        page = self._store.read(
            first, choices.choice((first + 3, 2**53 - 1)), limit=5, newest_first=newest_first
        )
        rows = tuple(reversed(page.rows)) if newest_first else page.rows
        self._store.history.append(Read(rows, page.head))

    # Clients

    def _ask_something(self) -> None:
        self._commands_left -= 1
        choices = self._choices
        node = choices.choice(self._nodes)
        self._ask(node, self._draw_command(node))
        if choices.random() < 0.4:
            # Several at once, so that batches have more than one command.
            for _ in range(choices.randint(1, 4)):
                self._ask(node, self._draw_command(node))

    def _ask(self, node: _Node, command: Command) -> None:
        number = len(self._commands)
        self._commands[number] = command
        self._store.history.append(Asked(number, node.number, command))
        try:
            answer = node.owner.enqueue(command)
        except Refusal as refusal:
            self._store.history.append(Answered(number, refusal))
            return
        node.asked[number] = answer
        if node.running is None:
            self._run(node)

    def _draw_command(self, node: _Node) -> Command:
        if self._unknown and self._choices.random() < 0.06:
            # Another try of something whose outcome is not known, at any node.
            return self._commands[self._unknown.pop(self._choices.randrange(len(self._unknown)))]
        # Not by asking the node's clock: what it showed last is part of the history.
        return self._draws.draw(self._now_ms + node.clock.skew_ms)

    # Nodes

    def _new_node(self) -> _Node:
        number, self._node_numbers = self._node_numbers, self._node_numbers + 1
        clock = NodeClock(lambda: self._now_ms, self._choices.choice((0, 0, -70_000, 90_000)))
        log = NodeLog(self._store, number, clock)
        projections = NodeProjections(self._store, number, self._choices)
        ports = OwnerPorts(
            log,
            projections,
            SeparateCommits(log, projections),
            NodeFanout(self._store, number),
            clock,
            self._new_batch_id,
            Eraser(log, projections),
            EverybodyExists(),
        )
        return _Node(number, clock, ports, self._make_owner(self._store.channel_id, ports, LIMITS))

    def _new_batch_id(self) -> bytes:
        self._batches += 1
        return self._batches.to_bytes(16, "big")

    def _run(self, node: _Node) -> None:
        node.running = _serve(node.owner)
        self._advance(node, lambda running: running.send(None))

    def _answer(self, node: _Node, result: Any) -> None:
        node.call = None
        if isinstance(result, Exception):
            self._advance(node, lambda running: running.throw(result))
        else:
            self._advance(node, lambda running: running.send(result))

    def _advance(self, node: _Node, go: Callable[[Coroutine[Any, Any, None]], Any]) -> None:
        assert node.running is not None
        try:
            node.call = go(node.running)
        except StopIteration:
            node.running = None
        except Exception as error:
            node.running = None
            self._store.history.append(Failed(node.number, repr(error)))
        self._collect(node)
        if node.running is None:
            if not node.owner.idle:
                self._run(node)
            elif not node.owner.exists or self._choices.random() < 0.05:
                node.owner = self._make_owner(self._store.channel_id, node.ports, LIMITS)

    def _collect(self, node: _Node) -> None:
        for number in [number for number, answer in node.asked.items() if answer.done()]:
            answer = node.asked.pop(number)
            error = answer.exception()
            if error is None:
                self._store.history.append(Answered(number, answer.result()))
            elif isinstance(error, Refusal):
                self._store.history.append(Answered(number, error))
                if error.reason is Reason.STORE_UNAVAILABLE:
                    self._unknown.append(number)
            else:
                self._unknown.append(number)

    def _crash(self, node: _Node) -> None:
        call = node.call
        if call is not None and call.writes and not call.performed and self._choices.random() < 0.5:
            # Sent before the crash, and it lands whenever it does.
            self._late.append(call)
        self._unknown.extend(node.asked)
        _end(node)
        self._nodes[self._nodes.index(node)] = self._new_node()

    # When nothing goes wrong any more

    def _settle(self) -> None:
        for call in self._late:
            if self._choices.random() < 0.5:
                self._land(call)
        self._late.clear()
        self._faults = Faults()
        self._run_until_idle()
        for _ in range(3):
            again, self._unknown = self._unknown, []
            for number in again:
                self._ask(self._choices.choice(self._nodes), self._commands[number])
                self._run_until_idle()
        self._take_over()
        waiting = [number for node in self._nodes for number in node.asked]
        projections, channel_id = self._store.projections, self._store.channel_id
        channel = run_at_once(projections.channel(channel_id))
        members = run_at_once(projections.members(channel_id, after_user_id="", limit=100))
        seqs = [row.seq for row in self._store.rows() if row.is_message]
        states = run_at_once(projections.message_states(channel_id, seqs, viewer_id="")).states
        bans = run_at_once(projections.bans(channel_id, after_user_id="", limit=100))
        self._store.history.append(
            Rested(
                channel.watermark if channel else 0,
                channel.message_no if channel else 0,
                {row.user_id: row.role or Role.MEMBER for row in members},
                (*waiting, *self._unknown),
                banned=frozenset(row.user_id for row in bans),
                pins=frozenset(seq for seq, _ in run_at_once(projections.pins(channel_id))),
                becomes={
                    seq: (state.delete_seq > 0, {each.emoji: each.count for each in state.reactions})
                    for seq, state in states.items()
                },
                uses={row.invite_id: row.uses for row in run_at_once(projections.invites(channel_id))},
                due=frozenset(
                    seq for _, seq in run_at_once(projections.erasures_due(after=("", 0), limit=1000))
                ),
            )
        )

    def _run_until_idle(self) -> None:
        # Bounded: an owner that never comes to an end leaves commands without an answer, which is found.
        for _ in range(_STEPS_LIMIT):
            busy = [node for node in self._nodes if node.call]
            if not busy:
                return
            self._now_ms += 1
            self._resolve(self._choices.choice(busy))

    def _take_over(self) -> None:
        slot = slot_of(self._store.channel_id)
        since_minute = START_MS // 60_000 - 60
        if self._store.channel_id in run_at_once(self._store.log.active(slot, since_minute)):
            node = self._new_node()
            self._nodes.append(node)
            # Whatever is asked of a new owner, it first learns, and announces what was not.
            self._ask(node, LeaveChannel("nobody"))
            self._run_until_idle()


def first_violations(
    seeds: Iterable[int], make_store: Callable[[], ModelStore], make_owner: MakeOwner
) -> tuple[int, list[Violation]] | None:
    """The first seed whose run breaks an invariant, and what it broke; None if none does."""
    for seed in seeds:
        history = Schedule(make_store(), random.Random(seed), make_owner).play()
        found = check(history, LIMITS.activation.channel)
        if found:
            return seed, found
    return None


async def _serve(owner: ChannelOwner) -> None:
    await owner.drain()
    await owner.mark_fanned()


def _end(node: _Node) -> None:
    if node.running is not None:
        node.running.close()
    for answer in node.asked.values():
        if answer.done():
            answer.exception()
