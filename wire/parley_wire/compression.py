"""Message compression: gzip and deflate, with a bound on what a small message may become."""

from __future__ import annotations

import zlib

import grpc

from parley_wire.status import CallFault, FaultCause

ENCODINGS = ("identity", "gzip", "deflate")
ACCEPTED = b"identity,gzip,deflate"

_WINDOW_BITS = {"gzip": 31, "deflate": 15}
_LEVEL = 6


def decompress(message: bytes, encoding: str, limit_bytes: int) -> bytes:
    """The message as it was. Raises CallFault if it is no such thing or has more than `limit_bytes`."""
    stream = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        # One byte more than allowed is enough to know; the rest is never made.
        plain = stream.decompress(message, limit_bytes + 1)
    except zlib.error:
        raise CallFault(grpc.StatusCode.INTERNAL, f"a message is not valid {encoding}") from None
    if len(plain) > limit_bytes:
        raise CallFault(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"received message larger than max (more than {limit_bytes} once decompressed)",
            FaultCause.MESSAGE_TOO_LARGE,
        )
    if not stream.eof or stream.unused_data:
        raise CallFault(grpc.StatusCode.INTERNAL, f"a message is not valid {encoding}")
    return plain


def compress(message: bytes, encoding: str) -> bytes:
    """The message in its encoding."""
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS[encoding])
    return stream.compress(message) + stream.flush()
