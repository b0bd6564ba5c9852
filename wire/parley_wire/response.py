"""Header blocks of a gRPC response, made once where they do not change (gRPC over HTTP/2, "Responses")."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from parley_wire.compression import ACCEPTED
from parley_wire.headers import encode
from parley_wire.metadata import fields_of
from parley_wire.status import percent_encoded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from parley_wire.headers import Field

_BASIC: list[Field] = [
    (b":status", b"200"),
    (b"content-type", b"application/grpc"),
    (b"grpc-accept-encoding", ACCEPTED),
]
BASIC_HEADERS = encode(_BASIC)
"""The headers of a response that adds nothing."""
BASIC_TRAILERS = encode([(b"grpc-status", b"0")])
"""The trailers of a call that went well and adds nothing."""

NOT_GRPC_TEXT = b"This is a gRPC server: POST with content-type application/grpc.\n"
_NOT_GRPC = {
    status: encode(
        [
            (b":status", str(status).encode()),
            (b"content-type", b"text/plain"),
            (b"content-length", str(len(NOT_GRPC_TEXT)).encode()),
            *([(b"allow", b"POST")] if status == 405 else []),
        ]
    )
    for status in (405, 415)
}


def headers_block(metadata: Iterable[tuple[str, str | bytes]], encoding: str) -> bytes:
    """The first headers of a response. Raises ValueError or TypeError for bad metadata."""
    if encoding == "identity" and not metadata:
        return BASIC_HEADERS
    compressed = [] if encoding == "identity" else [(b"grpc-encoding", encoding.encode())]
    return encode([*_BASIC, *compressed, *fields_of(metadata)])


def trailers_block(
    code: grpc.StatusCode, details: str, metadata: Iterable[tuple[str, str | bytes]], *, only: bool
) -> bytes:
    """The trailers; `only` if no headers came before. Raises ValueError or TypeError for bad metadata."""
    if code is grpc.StatusCode.OK and not details and not metadata and not only:
        return BASIC_TRAILERS
    fields: list[Field] = list(_BASIC) if only else []
    fields.append((b"grpc-status", str(code.value[0]).encode()))
    if details:
        fields.append((b"grpc-message", percent_encoded(details)))
    fields += fields_of(metadata)
    return encode(fields)


def not_grpc_block(status: int) -> bytes:
    """The headers that answer a request which is not gRPC; NOT_GRPC_TEXT follows."""
    return _NOT_GRPC[status]
