"""Deciding many commands at one head: which rows go into one append, and who gets which answer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parley_runtime.refusal import Refusal
from parley_server.chat import codec
from parley_server.chat.channel import decide
from parley_server.chat.channel_state import ChannelState, evolve
from parley_server.chat.command import Command, Done, Outcome, client_id_of
from parley_server.chat.event import Event, MessagePosted
from parley_server.chat.known_ids import Sent

if TYPE_CHECKING:
    from parley_server.ports.message_log import Row

Older = Mapping[tuple[str, str], Sent]


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Where an append stops: rows and bytes of events, though one command's events always fit."""

    rows: int = 256
    event_bytes: int = 512 * 1024


@dataclass(slots=True)
class Batch:
    """What a list of commands leads to at one head.

    `outcomes[i]` answers the i-th command; it holds once the rows are committed. Commands beyond
    `len(outcomes)` did not fit and are decided in the next batch.
    """

    expected_head: int
    events: list[Event] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    only_messages: bool = True
    """Whether all events are new messages, which is what nearly every batch is."""
    rests_on_head: bool = False
    """Whether an answer without rows is only as true as the head it was decided at: a refusal, or that a
    change holds already. That a message was sent before is true at every later head too."""


def decide_batch(
    state: ChannelState, commands: Iterable[Command], now_ms: int, older: Older, limits: BatchLimits
) -> Batch:
    """Decide the commands one after the other, each on what those before it led to. Evolves `state`.

    The state is ahead of the log from here until the rows are committed: if they are not, it must be thrown
    away.
    """
    batch = Batch(state.head)
    size_bytes = 0
    for command in commands:
        client_id = client_id_of(command)
        sent = state.sent_before(command, client_id, older.get((command.actor_id, client_id)))
        decision = decide(state, command, now_ms, sent)
        if not isinstance(decision, tuple):
            batch.outcomes.append(decision)
            if isinstance(decision, Refusal) or sent is None:
                batch.rests_on_head = True
            continue
        rows = []
        added_bytes = 0
        for event in decision:
            row = codec.row_of(event)
            rows.append(row)
            added_bytes += len(row.event)
        full = len(batch.rows) + len(rows) > limits.rows or size_bytes + added_bytes > limits.event_bytes
        if batch.rows and full:
            return batch
        size_bytes += added_bytes
        for event in decision:
            evolve(state, event)
            if not isinstance(event.body, MessagePosted):
                batch.only_messages = False
        batch.events.extend(decision)
        batch.rows.extend(rows)
        # A message is answered with its own place, anything else with the head at which it holds.
        answering = decision[0] if isinstance(decision[0].body, MessagePosted) else decision[-1]
        batch.outcomes.append(
            Done(answering.seq, answering.message_no, answering.create_time_ms, duplicate=False)
        )
    return batch
