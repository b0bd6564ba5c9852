"""From rows of the log to what a reader may see of them now. All that serves rows goes through here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from parley.chat.v1 import event_pb2
from parley_server.chat.message_view import edit_needed, show_edit, show_message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parley_server.ports.message_log import MessageLog, Row
    from parley_server.ports.projections import MessageStates, Projections


class Presenter:
    """Brings rows up to what became of their messages."""

    def __init__(self, log: MessageLog, projections: Projections) -> None:
        self._log = log
        self._projections = projections

    async def present(
        self, channel_id: str, rows: Sequence[Row], *, viewer_id: str, limit_bytes: int
    ) -> tuple[Row, ...]:
        """The rows as `viewer_id` may see them now; the first of them that together have at most
        `limit_bytes`, though one always fits. Raises StoreUnavailable.
        """
        edits = {row.seq: edit for row in rows if not row.is_message and (edit := _edit_of(row)) is not None}
        targets = [row.seq for row in rows if row.is_message]
        targets += [edit.message_edited.target_seq for edit in edits.values()]
        if not targets:
            return tuple(rows)
        states = await self._projections.message_states(channel_id, targets, viewer_id=viewer_id)
        if not states.states and not states.erased_authors and not states.deleted and not edits:
            return tuple(rows)
        shown: list[Row] = []
        left_bytes = limit_bytes
        for row in rows:
            if row.is_message:
                row = await self._message(channel_id, row, states)
            elif row.seq in edits:
                show_edit(edits[row.seq], states)
                row = replace(row, event=edits[row.seq].SerializeToString())
            left_bytes -= len(row.event)
            if shown and left_bytes < 0:
                break
            shown.append(row)
        return tuple(shown)

    async def _message(self, channel_id: str, row: Row, states: MessageStates) -> Row:
        if row.seq not in states.states and not states.erased_authors and not states.deleted:
            return row
        message = event_pb2.Event.FromString(row.event)
        edit: event_pb2.Event | None = None
        if edit_seq := edit_needed(message, states):
            # One at a time: a page of edited messages of the largest size would not fit into memory at once.
            found = await self._log.pick(channel_id, (edit_seq,))
            edit = event_pb2.Event.FromString(found[0].event)
        show_message(message, states, edit)
        return replace(row, event=message.SerializeToString())


def _edit_of(row: Row) -> event_pb2.Event | None:
    event = event_pb2.Event.FromString(row.event)
    return event if event.WhichOneof("kind") == "message_edited" else None
