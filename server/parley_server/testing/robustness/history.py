"""What the clients of one run did, were told and saw. The only thing that the checker looks at.

Times are nanoseconds of one monotonic clock. A history can be written as JSON and read again.
"""

from __future__ import annotations

import enum
import hashlib
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SHORT_CODE_POINTS = 80


class Outcome(enum.Enum):
    """What is known of one attempt. UNKNOWN: no answer came, so it may have happened, or may still."""

    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a message lies, as an acknowledgement says it."""

    seq: int
    message_no: int
    create_time_ms: int


class Send(msgspec.Struct, kw_only=True):
    """One attempt to send a message. All attempts of one message carry the same `client_message_id`.

    `way` is `unary` or `stream`. `end_ns` is None while the attempt is in flight. `reason` says why it was
    refused or remained unknown.
    """

    attempt: int
    sender_id: str
    way: str
    channel_id: str
    client_message_id: str
    content: str
    start_ns: int
    end_ns: int | None = None
    outcome: Outcome = Outcome.UNKNOWN
    place: Place | None = None
    duplicate: bool = False
    reason: str = ""


class Mark(msgspec.Struct, kw_only=True):
    """One attempt to raise a read position to `seq`. `read_seq` is what the answer said."""

    user_id: str
    channel_id: str
    seq: int
    start_ns: int
    end_ns: int | None = None
    outcome: Outcome = Outcome.UNKNOWN
    read_seq: int = 0
    reason: str = ""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One event as a reader got it. `content` tells events apart, see `content_of`."""

    seq: int
    message_no: int
    create_time_ms: int
    actor_id: str
    client_message_id: str
    is_message: bool
    content: str


class Head(msgspec.Struct, frozen=True, array_like=True):
    """Where a channel ended, as a reader was told."""

    seq: int
    message_no: int


class Session(msgspec.Struct, kw_only=True):
    """One stream of one reader, from its opening to its end.

    `heads` are those of the opening's digest. `events` are per channel, in the order in which they came.
    """

    reader_id: str
    way: str
    start_ns: int
    caught_up_ns: int | None = None
    end_ns: int | None = None
    heads: dict[str, Head] = msgspec.field(default_factory=dict)
    events: dict[str, list[Entry]] = msgspec.field(default_factory=dict)
    ended: str = ""


class Read(msgspec.Struct, kw_only=True):
    """A read in the middle of the traffic: the head that `call` told, and the events that came with it.

    `head_seq` is 0 when the server said that there is no such channel; `head_message_no` is None where the
    call does not tell it.
    """

    reader_id: str
    call: str
    channel_id: str
    start_ns: int
    end_ns: int
    head_seq: int
    head_message_no: int | None = None
    events: list[Entry] = msgspec.field(default_factory=list)


class LogRead(msgspec.Struct, kw_only=True):
    """A channel's log as one reader read it at the end, from its first event on. `head_seq` is what the pages
    said.

    `missing` is the reason when the server refused the reading.
    """

    reader_id: str
    channel_id: str
    head_seq: int
    events: list[Entry]
    missing: str = ""


class InboxLine(msgspec.Struct, kw_only=True):
    """One channel of one reader's inbox, read at the end."""

    reader_id: str
    channel_id: str
    head: Head
    read_seq: int
    unread_count: int
    last_message_seq: int


class Step(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """One thing that a device was given, by `what`.

    `event`: an event of the stream (`entry`). `fetched`: one read by ListEvents (`entry`). `began`: the
    device met the channel and begins after `seq`. `read`: the user has read up to `seq`. `cursor`: all before
    this brings the device to the cursor `text`. `caught_up`: the stream is live.
    """

    what: str
    channel_id: str = ""
    seq: int = 0
    entry: Entry | None = None
    text: str = ""


class DeviceStream(msgspec.Struct, kw_only=True):
    """One stream of one device, with everything that the device was given, in its order.

    `life` counts how often the device lost its state; `number` its streams. `cursor` is what its Hello said;
    `resume` what the Welcome answered, with the reason of a reset. `kind` is `book` for a client by the book
    and `sdk` for a program with our SDK, whose streams are the lives of its client.
    """

    kind: str = "book"

    device: str
    user_id: str
    life: int
    number: int
    start_ns: int
    cursor: str = ""
    resume: str = ""
    welcome_ns: int | None = None
    end_ns: int | None = None
    ended: str = ""
    lags: int = 0
    steps: list[Step] = msgspec.field(default_factory=list)


class Fault(msgspec.Struct, kw_only=True):
    """What was done to the node. `in_flight` are the attempts that had no answer when it happened."""

    kind: str
    start_ns: int
    end_ns: int | None = None
    in_flight: list[int] = msgspec.field(default_factory=list)


class History(msgspec.Struct, kw_only=True):
    """A whole run. `members` are the readers of each channel, members from its first event on.
    `inbox_readers` are those whose inbox was read, also when it had no line.

    `gave_up` holds the client_message_ids that their senders no longer wait for, because the run was over.
    """

    seed: int = 0
    members: dict[str, list[str]] = msgspec.field(default_factory=dict)
    sends: list[Send] = msgspec.field(default_factory=list)
    marks: list[Mark] = msgspec.field(default_factory=list)
    sessions: list[Session] = msgspec.field(default_factory=list)
    device_streams: list[DeviceStream] = msgspec.field(default_factory=list)
    reads: list[Read] = msgspec.field(default_factory=list)
    faults: list[Fault] = msgspec.field(default_factory=list)
    logs: list[LogRead] = msgspec.field(default_factory=list)
    inbox: list[InboxLine] = msgspec.field(default_factory=list)
    inbox_readers: list[str] = msgspec.field(default_factory=list)
    gave_up: list[str] = msgspec.field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write the history as JSON."""
        path.write_bytes(msgspec.json.encode(self))

    @classmethod
    def load(cls, path: Path) -> History:
        """Read what `save` wrote. Raises msgspec.DecodeError for anything else."""
        return msgspec.json.decode(path.read_bytes(), type=cls)


def content_of(text: str, attributes: Mapping[str, str]) -> str:
    """A message's content in short: equal for equal messages, different for all others.

    Short texts stand as they are, so that a finding can be read.
    """
    if len(text) <= _SHORT_CODE_POINTS and not attributes:
        return text
    digest = hashlib.sha256()
    for part in (text, *(half for pair in sorted(attributes.items()) for half in pair)):
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return f"{text[:20]}… {len(text)} code points, {len(attributes)} attributes, {digest.hexdigest()}"
