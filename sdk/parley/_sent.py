"""What becomes of messages that are sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parley._errors import ParleyError


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that is durable and in its final place.

    `create_time_ms` is in milliseconds since 1970-01-01 UTC. `duplicate` is true when an earlier attempt
    with the same `client_message_id`, also one within the same `send`, had written it.
    """

    seq: int
    message_no: int
    create_time_ms: int
    client_message_id: str
    duplicate: bool


@dataclass(frozen=True, slots=True)
class WaitingMessage:
    """A message in the outbox. `attempts` counts since the client was made; `last_error` is why the last one
    failed.
    """

    client_message_id: str
    channel_id: str
    text: str
    attributes: Mapping[str, str] = field(hash=False)
    attempts: int
    last_error: ParleyError | None = field(hash=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a message: it was `sent`, or refused with `error`. The other one is None."""

    client_message_id: str
    channel_id: str
    sent: Sent | None
    error: ParleyError | None
