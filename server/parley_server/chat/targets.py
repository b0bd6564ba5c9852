"""Learning what commands need to know of the messages that they are about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_server.chat import codec
from parley_server.chat.channel_state import Target
from parley_server.chat.command import React, targets_of
from parley_server.chat.event import MessagePosted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parley_server.chat.channel_state import ChannelState
    from parley_server.chat.command import Command
    from parley_server.ports.message_log import MessageLog, Row
    from parley_server.ports.projections import MessageStates, Projections

PICKED_ROWS = 16


async def learn_targets(
    state: ChannelState, commands: Sequence[Command], log: MessageLog, projections: Projections
) -> None:
    """Have `state.targets` hold what `commands` are about, as of the state's head. Raises StoreUnavailable.

    The projections must be applied exactly up to the head. A seq beyond it is left out: nobody was told yet
    of what may stand there.
    """
    wanted = {
        seq
        for command in commands
        for seq in targets_of(command)
        if seq not in state.targets and seq <= state.head
    }
    if wanted:
        found = {seq: None for seq in wanted} | await _read(state, tuple(wanted), log, projections)
        state.targets.update(found)
    for command in commands:
        if isinstance(command, React):
            target = state.targets.get(command.target_seq)
            if target is not None and command.actor_id not in target.own:
                own = await projections.own_reactions(state.channel_id, command.target_seq, command.actor_id)
                target.own[command.actor_id] = set(own)
                state.reactors_known += 1


async def _read(
    state: ChannelState, seqs: Sequence[int], log: MessageLog, projections: Projections
) -> dict[int, Target | None]:
    states = await projections.message_states(state.channel_id, seqs, viewer_id="")
    targets: dict[int, Target | None] = {}
    for first in range(0, len(seqs), PICKED_ROWS):
        # A few at a time: a batch may be about hundreds of messages of the largest size.
        rows = await log.pick(state.channel_id, seqs[first : first + PICKED_ROWS])
        targets |= _targets_of(rows, states)
    return targets


def _targets_of(rows: Sequence[Row], states: MessageStates) -> dict[int, Target | None]:
    targets: dict[int, Target | None] = {}
    for event in (codec.event_of(row) for row in rows if row.is_message):
        if not isinstance(event.body, MessagePosted):
            continue
        changed = states.states.get(event.seq)
        targets[event.seq] = Target(
            author_id=event.actor_id,
            create_time_ms=event.create_time_ms,
            thread_root_seq=event.body.thread_root_seq,
            deleted=(changed is not None and changed.delete_seq > 0)
            or event.seq <= states.erased_authors.get(event.actor_id, 0),
            reactions={} if changed is None else {row.emoji: row.count for row in changed.reactions},
        )
    return targets
