"""Which header lists are well formed (RFC 9113, sections 8.1 to 8.3)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parley_wire.headers import Field

# Tokens without upper case (section 8.2.1).
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
# No NUL, CR or LF anywhere. Space at the ends is forbidden too, but grpcio sends it: tolerated, a known
# difference (docs/design/wire.md).
_VALUE = re.compile(rb"[^\x00\r\n]*").fullmatch
_CONNECTION_SPECIFIC = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
_REQUEST_PSEUDO = frozenset((b":method", b":scheme", b":path", b":authority"))
_REQUIRED = frozenset((b":method", b":scheme", b":path"))


def request_fault(fields: Sequence[Field]) -> str:
    """Why these are not the headers of a request; "" if they are (section 8.3.1)."""
    seen, fault = _pseudo_and_regular(fields, _REQUEST_PSEUDO)
    if fault:
        return fault
    if seen.get(b":method") == b"CONNECT":
        return "" if seen.keys() == {b":method", b":authority"} else "CONNECT takes :method and :authority"
    if not _REQUIRED <= seen.keys():
        return "a request needs :method, :scheme and :path"
    return "" if seen[b":path"] else ":path is empty"


def response_fault(fields: Sequence[Field]) -> str:
    """Why these are not the headers of a response; "" if they are (section 8.3.2)."""
    seen, fault = _pseudo_and_regular(fields, frozenset((b":status",)))
    if fault:
        return fault
    status = seen.get(b":status", b"")
    return "" if len(status) == 3 and status.isdigit() else "a response needs a :status of three digits"


def trailers_fault(fields: Sequence[Field]) -> str:
    """Why these are not trailers; "" if they are (section 8.1)."""
    return _pseudo_and_regular(fields, frozenset())[1]


def content_length(fields: Sequence[Field]) -> int:
    """What the headers say of the body's length: -1 for nothing, -2 for nonsense."""
    said = {value for name, value in fields if name == b"content-length"}
    if not said:
        return -1
    value = said.pop()
    return int(value) if not said and value.isdigit() and len(value) < 20 else -2


def _pseudo_and_regular(fields: Sequence[Field], allowed: frozenset[bytes]) -> tuple[dict[bytes, bytes], str]:
    seen: dict[bytes, bytes] = {}
    regular = False
    for name, value in fields:
        if _VALUE(value) is None:
            return seen, "a header value has forbidden characters"
        if name[:1] == b":":
            if regular:
                return seen, "a pseudo-header stands behind a regular one"
            if name not in allowed:
                return seen, "a pseudo-header that is not allowed here"
            if name in seen:
                return seen, "a pseudo-header is repeated"
            seen[name] = value
            continue
        regular = True
        if _NAME(name) is None:
            return seen, "a header name has forbidden characters"
        if name in _CONNECTION_SPECIFIC or (name == b"te" and value != b"trailers"):
            return seen, "a header that speaks of the connection"
    return seen, ""
