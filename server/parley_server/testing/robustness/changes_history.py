"""What came of a run with changes: what was asked, what everybody ended with, and what was found wrong."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from parley_server.testing.robustness.changes_fold import ChannelView, MessageView
from parley_server.testing.robustness.history import History

if TYPE_CHECKING:
    from pathlib import Path


class ChangeKind(enum.Enum):
    """Names of findings, each a broken promise."""

    DIVERGED = "a device does not end with what the log leads to"
    SERVED_WRONGLY = "a read does not serve what the log leads to"
    PROJECTED_WRONGLY = "the projections are not what the log leads to"
    REBUILT_WRONGLY = "projections derived anew are not what the log leads to"
    NOT_ERASED = "deleted text is still in the log"
    ERASED_WRONGLY = "the text of a message that stands is gone from the log"
    LOST = "an acknowledged change is not in the log"
    DUPLICATED = "one client id of one user is in the log more than once"
    MOVED = "an acknowledged place is not the change's place"
    REFUSED_BUT_WRITTEN = "a change is in the log though every attempt was refused"
    PHANTOM = "a change is in the log that nobody asked for"
    NOT_PERMITTED = "a change is in the log that was not permitted at its seq"
    TAKEN_BACK_SERVED = "text was served that had been edited away or deleted before the reader came"
    MISCOUNTED = "reactions are not counted as they were put there"
    STALE = "a reading said less than what its reader had been given before"
    ENDED_EARLY = "a device that stayed to the end does not have everything"


@dataclass(frozen=True, slots=True)
class ChangeFinding:
    """One thing that cannot be."""

    kind: ChangeKind
    channel_id: str
    what: str

    def __str__(self) -> str:
        where = f" [{self.channel_id}]" if self.channel_id else ""
        return f"{self.kind.name}{where}: {self.what}"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One change or message that somebody wanted, under its client id. `text` is what it wrote, `emoji` what
    it put on or took off.
    """

    actor_id: str
    channel_id: str
    client_message_id: str
    kind: str
    target_seq: int = 0
    text: str = ""
    emoji: str = ""


class Glimpse(msgspec.Struct, frozen=True, array_like=True):
    """The last time that a text was served: to a stream or call that began at `since_ns`."""

    since_ns: int
    who: str


class Ended(msgspec.Struct, kw_only=True):
    """What one device ended with. `timeline_differs` says how the messages of the SDK's timeline, given the
    same, differ; `timeline_channel` is what it says of the channel, but for bans.

    `whole`: it was given every event of the channel, so that `channel` is right.
    """

    device: str
    user_id: str
    channel_id: str
    messages: dict[int, MessageView]
    channel: ChannelView
    whole: bool
    finished: bool = True
    timeline_differs: str = ""
    timeline_channel: ChannelView | None = None


class Served(msgspec.Struct, kw_only=True):
    """What reads served one user of one channel at the end."""

    user_id: str
    channel_id: str
    messages: dict[int, MessageView]
    by_get: dict[int, MessageView]
    threads: dict[int, list[MessageView]]
    channel: ChannelView


class Projected(msgspec.Struct, kw_only=True):
    """What the projections of a channel say: one text per row, in a fixed order, and what became of each
    message that something became of.
    """

    rows: list[str]
    becomes: dict[int, list[str]] = msgspec.field(default_factory=dict)


class StoredEvent(msgspec.Struct, frozen=True, array_like=True):
    """An event of the log as it is stored."""

    seq: int
    encoded: bytes


class ChangesHistory(msgspec.Struct, kw_only=True):
    """A whole run. `base` has the attempts, faults and streams; `logs` the stored events by channel.

    `problems` are what clients noticed while it ran: (kind, channel id, what). `governed` counts what rulers
    did. `projected` and `rebuilt` are what the projections say on the stopped folder, before and after they
    were derived anew; `due` names the deletions whose text is still to be taken out of the log.
    """

    base: History = msgspec.field(default_factory=History)
    asked: list[Asked] = msgspec.field(default_factory=list)
    glimpses: dict[str, Glimpse] = msgspec.field(default_factory=dict)
    problems: list[tuple[str, str, str]] = msgspec.field(default_factory=list)
    governed: dict[str, int] = msgspec.field(default_factory=dict)
    ended: list[Ended] = msgspec.field(default_factory=list)
    served: list[Served] = msgspec.field(default_factory=list)
    logs: dict[str, list[StoredEvent]] = msgspec.field(default_factory=dict)
    projected: dict[str, Projected] = msgspec.field(default_factory=dict)
    rebuilt: dict[str, Projected] = msgspec.field(default_factory=dict)
    due: list[tuple[str, int]] = msgspec.field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write the history as JSON."""
        path.write_bytes(msgspec.json.encode(self))

    @classmethod
    def load(cls, path: Path) -> ChangesHistory:
        """Read what `save` wrote. Raises msgspec.DecodeError for anything else."""
        return msgspec.json.decode(path.read_bytes(), type=cls)


class Witness:
    """Collects what clients are given, for the search for what should have been gone."""

    def __init__(self, history: ChangesHistory) -> None:
        self._history = history

    def saw(self, text: str, since_ns: int, who: str) -> None:
        """A text was served to a stream or call that began at `since_ns`."""
        if not text:
            return
        before = self._history.glimpses.get(text)
        if before is None or since_ns > before.since_ns:
            self._history.glimpses[text] = Glimpse(since_ns, who)

    def problem(self, kind: ChangeKind, channel_id: str, what: str) -> None:
        """Something that cannot be."""
        self._history.problems.append((kind.name, channel_id, what))
