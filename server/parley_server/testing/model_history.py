"""What can be seen of one channel from outside, step by step: the histories that `checker` judges."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parley_runtime.refusal import Refusal
    from parley_server.chat.command import Command, Done
    from parley_server.chat.event import Event, Role
    from parley_server.ports.message_log import Row


@dataclass(frozen=True, slots=True)
class Asked:
    """A client gave a command to a node."""

    command_no: int
    node: int
    command: Command


@dataclass(frozen=True, slots=True)
class Appending:
    """An owner sent an append to the store. `clock_minute` is the minute its clock showed last."""

    node: int
    batch_id: bytes
    expected_head: int
    rows: tuple[Row, ...]
    clock_minute: int


@dataclass(frozen=True, slots=True)
class Stored:
    """An append took effect at the store; `log` is all of the log after it."""

    batch_id: bytes
    log: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Erased:
    """An owner had these rows emptied: they stand in the place of those with their seqs."""

    node: int
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class MarkedActive:
    """The channel went into the active set of a minute."""

    minute: int


@dataclass(frozen=True, slots=True)
class Applied:
    """Events went into the projections, which stand at `watermark` after it."""

    node: int
    events: tuple[Event, ...]
    watermark: int


@dataclass(frozen=True, slots=True)
class Published:
    """An owner announced events."""

    node: int
    members_after: frozenset[str]
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class MarkedFanned:
    """The store's fanned mark was raised to `seq`, if it was lower."""

    seq: int


@dataclass(frozen=True, slots=True)
class Read:
    """A reader got these rows (ascending, dense) and this head."""

    rows: tuple[Row, ...]
    head: int


@dataclass(frozen=True, slots=True)
class Answered:
    """A client got the answer to its command."""

    command_no: int
    outcome: Done | Refusal


@dataclass(frozen=True, slots=True)
class Failed:
    """An owner ended with an error that is not one of the documented ones."""

    node: int
    error: str


@dataclass(frozen=True, slots=True)
class Rested:
    """The end: faults stopped, all repeated what was unknown, a new owner took the active channels over.

    The projections then: `becomes` says by message whether it was deleted and how many users have which
    emoji on it, for those to which anything happened; `uses` how often each open invite was used; `due` names
    the deletions whose text is still to be taken out of the log.
    """

    watermark: int
    message_no: int
    roles: Mapping[str, Role]
    unanswered: tuple[int, ...]
    banned: frozenset[str] = frozenset()
    pins: frozenset[int] = frozenset()
    becomes: Mapping[int, tuple[bool, Mapping[str, int]]] = field(default_factory=dict)
    uses: Mapping[str, int] = field(default_factory=dict)
    due: frozenset[int] = frozenset()


Step = (
    Asked
    | Appending
    | Stored
    | Erased
    | MarkedActive
    | Applied
    | Published
    | MarkedFanned
    | Read
    | Answered
    | Failed
    | Rested
)
