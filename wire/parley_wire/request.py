"""A gRPC request's headers (gRPC over HTTP/2, "Requests")."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import grpc

from parley_wire.compression import ENCODINGS
from parley_wire.headers import encode
from parley_wire.metadata import LONGEST_REMEMBERED_BYTES, Metadata, fields_of, metadata_of
from parley_wire.status import CallFault
from parley_wire.timeout import timeout_seconds, timeout_value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from parley_wire.headers import Field, HeaderList


@dataclass(slots=True, frozen=True)
class Request:
    """What a call's headers said. Calls with equal headers share one.

    `http_status` is 0 for a gRPC request, else the status to answer. `fault` is how a gRPC request that
    cannot be served ends.
    """

    path: str
    metadata: Metadata = ()
    timeout_seconds: float | None = None
    encoding: str = "identity"
    accepts: frozenset[str] = frozenset()
    http_status: int = 0
    fault: CallFault | None = None


def request_of(headers: HeaderList) -> Request:
    """The request in a well-formed header list."""
    known = headers.parsed
    if isinstance(known, Request):
        return known
    headers.parsed = request = _parse(headers.fields)
    return request


def _parse(fields: list[Field]) -> Request:
    values = dict(fields)
    said = values.get(b":path", b"")
    path = _path(said) if len(said) <= LONGEST_REMEMBERED_BYTES else said.decode("latin-1")
    content_type = values.get(b"content-type", b"")
    if values[b":method"] != b"POST":
        return Request(path, http_status=405)
    if not is_grpc(content_type):
        return Request(path, http_status=415)
    timeout = None
    named = values.get(b"grpc-encoding")
    encoding = "identity" if named is None else named.decode("latin-1")
    try:
        if b"grpc-timeout" in values:
            timeout = timeout_seconds(values[b"grpc-timeout"])
            if timeout is None:
                raise CallFault(grpc.StatusCode.INTERNAL, "grpc-timeout is malformed")
        if encoding not in ENCODINGS:
            raise CallFault(grpc.StatusCode.UNIMPLEMENTED, f"grpc-encoding {encoding} is not supported")
        metadata = metadata_of(fields)
    except CallFault as fault:
        return Request(path, fault=fault)
    accepts = values.get(b"grpc-accept-encoding", b"")
    if len(accepts) > LONGEST_REMEMBERED_BYTES:
        # A list so long names nothing that we know and a shorter one would not.
        accepts = b""
    return Request(path, metadata, timeout, encoding, _accepted(accepts))


@lru_cache(maxsize=256)
def _accepted(value: bytes) -> frozenset[str]:
    return frozenset(part.strip() for part in value.decode("latin-1").split(","))


@lru_cache(maxsize=1024)
def _path(value: bytes) -> str:
    return value.decode("latin-1")


def is_grpc(content_type: bytes) -> bool:
    """Whether a content type is gRPC's, with protobuf or no named format."""
    return content_type.partition(b";")[0].rstrip() in (b"application/grpc", b"application/grpc+proto")


def request_block(
    path: str, authority: str, scheme: str, metadata: Iterable[tuple[str, str | bytes]], timeout: float | None
) -> bytes:
    """The header block of a client's call. Raises ValueError or TypeError for bad metadata."""
    fields: list[Field] = [
        (b":method", b"POST"),
        (b":scheme", scheme.encode()),
        (b":path", path.encode()),
        (b":authority", authority.encode()),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    ]
    if timeout is not None:
        fields.append((b"grpc-timeout", timeout_value(timeout)))
    fields.append((b"grpc-accept-encoding", b"identity,gzip,deflate"))
    fields += fields_of(metadata)
    return encode(fields)
