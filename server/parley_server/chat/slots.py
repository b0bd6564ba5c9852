"""Channels hash to slots; owners are chosen per slot. Pure."""

from __future__ import annotations

import zlib

SLOTS = 1024


def slot_of(channel_id: str) -> int:
    """The channel's slot, 0 … 1023, the same on every node and in every version."""
    return zlib.crc32(channel_id.encode()) % SLOTS
