"""Call metadata: pairs of name and value, binary under names that end in -bin."""

from __future__ import annotations

import binascii
import re
from functools import lru_cache
from typing import TYPE_CHECKING

import grpc

from parley_wire.status import CallFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from parley_wire.headers import Field

Metadatum = tuple[str, str | bytes]
Metadata = tuple[Metadatum, ...]

# Headers of the protocol, which calls do not see. grpc.aio hides the same.
_PROTOCOL = frozenset(
    (
        b"te",
        b"content-type",
        b"content-length",
        b"accept-encoding",
        b"grpc-timeout",
        b"grpc-encoding",
        b"grpc-accept-encoding",
        b"grpc-status",
        b"grpc-message",
        b"grpc-message-type",
    )
)
LONGEST_REMEMBERED_BYTES = 128
"""Names and paths that repeat are decoded once; longer ones each time."""
_NAME = re.compile(r"[0-9a-z_.\-]+").fullmatch
_TEXT = re.compile(r"[\x20-\x7e]*").fullmatch


def metadata_of(fields: Sequence[Field]) -> Metadata:
    """The metadata in a header list. Raises CallFault for a -bin value that is not base64."""
    metadata: list[Metadatum] = []
    for name, value in fields:
        if name[:1] == b":" or name in _PROTOCOL:
            continue
        # What a client makes up must not fill the memory.
        key = _key(name) if len(name) <= LONGEST_REMEMBERED_BYTES else name.decode("ascii")
        if name.endswith(b"-bin"):
            # Several values of one name may come joined by commas.
            metadata += [(key, _binary(part)) for part in value.split(b",")]
        else:
            metadata.append((key, value.decode("latin-1")))
    return tuple(metadata)


def fields_of(metadata: Iterable[tuple[str, str | bytes]]) -> list[Field]:
    """Metadata as header fields. Raises ValueError or TypeError for a pair that cannot be sent."""
    fields: list[Field] = []
    for key, value in metadata:
        if not isinstance(key, str) or _NAME(key) is None:
            raise ValueError(f"metadata name {key!r}: lower case letters, digits, - _ and . only")
        if key.endswith("-bin"):
            if not isinstance(value, bytes):
                raise TypeError(f"metadata {key}: the value of a -bin name must be bytes")
            fields.append((key.encode(), binascii.b2a_base64(value, newline=False).rstrip(b"=")))
            continue
        text = value.decode("ascii") if isinstance(value, bytes) else value
        if not isinstance(text, str) or _TEXT(text) is None:
            raise ValueError(f"metadata {key}: printable ASCII only, unless the name ends in -bin")
        # Space at the ends has no meaning in a header (RFC 9113, section 8.2.1).
        fields.append((key.encode(), text.strip().encode()))
    return fields


@lru_cache(maxsize=1024)
def _key(name: bytes) -> str:
    return name.decode("ascii")


def _binary(value: bytes) -> bytes:
    """Base64 with padding or without, and space around it from a joined list."""
    value = value.strip()
    try:
        return binascii.a2b_base64(value + b"=" * (-len(value) % 4), strict_mode=True) if value else b""
    except binascii.Error:
        raise CallFault(grpc.StatusCode.INTERNAL, "a -bin header is not base64") from None
