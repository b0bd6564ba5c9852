"""Ids that clients make: UUIDv7 in lower-case text (RFC 9562, section 5.7). Pure."""

from __future__ import annotations

import re
from functools import lru_cache

from parley_runtime.refusal import Reason, Refusal, invalid_field

DEDUP_WINDOW_MS = 7 * 24 * 3600 * 1000
AHEAD_LIMIT_MS = 3600 * 1000

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)


@lru_cache(maxsize=4096)
def time_of(client_id: str) -> int:
    """The id's own time in milliseconds since 1970. The id must be well-formed."""
    return int(client_id[:8] + client_id[9:13], 16)


def check(field: str, client_id: str, now_ms: int) -> Refusal | None:
    """None if the id may be used now, else why not: malformed, too far ahead, or expired."""
    if not _UUID7.fullmatch(client_id):
        return invalid_field(
            field, "must be a UUIDv7 in lower-case text, such as 01890a5d-ac96-774b-bcce-b302099a8057"
        )
    made_ms = time_of(client_id)
    if made_ms > now_ms + AHEAD_LIMIT_MS:
        return invalid_field(field, "is dated more than one hour ahead of the server: set the client's clock")
    if made_ms + DEDUP_WINDOW_MS < now_ms:
        return Refusal(
            Reason.MESSAGE_ID_EXPIRED,
            f"{field} is older than 7 days, so a retry can no longer be told from a new message. "
            "Look in the history whether it was sent; if not, send it with a new id.",
        )
    return None
