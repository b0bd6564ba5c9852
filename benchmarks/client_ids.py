"""Message ids as clients make them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def client_ids(seed: bytes) -> Iterator[bytes]:
    """UUIDv7s of the moment in lower-case text. `seed` is 8 bytes; different seeds never give equal ids."""
    origin = int.from_bytes(seed, "big") & 0xFFF_FFFF_FFFF
    number = 0
    while True:
        number += 1
        stamp = f"{time.time_ns() // 1_000_000:012x}"
        yield (
            f"{stamp[:8]}-{stamp[8:]}-7{number & 0xFFF:03x}-8{number >> 12 & 0xFFF:03x}"
            f"-{origin:011x}{number >> 24 & 0xF:x}"
        ).encode()
