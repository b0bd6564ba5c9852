"""UUIDv7 (RFC 9562): the ids that a client makes, so that every call can be repeated safely."""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parley._events import Event

RANDOM_BYTES = 10
"""How many random bytes one id takes; 74 of their 80 bits are used."""

_LARGEST_UNIX_MS = (1 << 48) - 1


def uuid7(unix_ms: int, random_bytes: bytes) -> str:
    """The UUIDv7 of a time and `RANDOM_BYTES` random bytes, in lower-case text.

    `unix_ms` is in milliseconds since 1970-01-01 UTC. Raises ValueError when it does not fit 48 bits, or
    when the random bytes are not exactly `RANDOM_BYTES`.
    """
    if not 0 <= unix_ms <= _LARGEST_UNIX_MS:
        raise ValueError(f"unix_ms must be between 0 and {_LARGEST_UNIX_MS}, not {unix_ms}")
    if len(random_bytes) != RANDOM_BYTES:
        raise ValueError(f"random_bytes must be {RANDOM_BYTES} bytes, not {len(random_bytes)}")
    random = int.from_bytes(random_bytes, "big")
    number = unix_ms << 80 | 0x7 << 76 | (random >> 62 & 0xFFF) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_id() -> str:
    """A fresh UUIDv7 of now, for `client_message_id`, `client_channel_id` and the like."""
    return uuid7(time.time_ns() // 1_000_000, secrets.token_bytes(RANDOM_BYTES))


def derived_id(event: Event, purpose: str) -> str:
    """The id of a message that a program writes because of `event`: always the same for one `purpose`.

    A program that is killed after it wrote and before it acknowledged the event meets the event again, and
    writes the same message with the same id: it stands once. The id has the event's time, so that an answer
    to an event older than 7 days is refused with `MessageIdExpired`.
    """
    digest = hashlib.sha256(f"{event.channel_id}/{event.seq}/{purpose}".encode()).digest()
    return uuid7(event.create_time_ms, digest[:RANDOM_BYTES])
