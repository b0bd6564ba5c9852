"""Pages of lists, one rule for all: sizes, and tokens that clients cannot build."""

from __future__ import annotations

import base64
import binascii

import msgspec

from parley_runtime.refusal import invalid_field

DEFAULT_PAGE_SIZE = 50
LARGEST_PAGE_SIZE = 200
# Ours are far shorter; what is longer is not worth decoding.
TOKEN_LIMIT_CHARACTERS = 4096
# Seqs and times stay below this, and every store takes it.
LARGEST_NUMBER = 2**53


def page_size_of(requested: int) -> int:
    """The size to use: 0 means 50, larger than 200 means 200. Raises Refusal for a negative one."""
    if requested < 0:
        raise invalid_field("page_size", "must not be negative")
    return min(requested or DEFAULT_PAGE_SIZE, LARGEST_PAGE_SIZE)


def page_token_for(*place: str | int) -> str:
    """An opaque token that names the place where the next page begins."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def place_of(token: str, *kinds: type) -> tuple[str | int, ...] | None:
    """The place that `page_token_for` put into the token; None for the empty token (first page).

    `kinds` are the types of the parts. Raises Refusal when the token is not one of ours.
    """
    if not token:
        return None
    place = _decoded(token) if len(token) <= TOKEN_LIMIT_CHARACTERS else None
    if (
        not isinstance(place, list)
        or [type(part) for part in place] != list(kinds)
        or any(isinstance(part, int) and abs(part) >= LARGEST_NUMBER for part in place)
    ):
        raise invalid_field("page_token", "is not a token of this server: pass next_page_token as it came")
    return tuple(place)


def _decoded(token: str) -> object:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, binascii.Error, msgspec.DecodeError, RecursionError):
        return None
