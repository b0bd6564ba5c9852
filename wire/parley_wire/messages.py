"""gRPC messages in and out of a body: the five-byte prefix (gRPC over HTTP/2, "Length-Prefixed-Message")."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import grpc

from parley_wire.compression import compress, decompress
from parley_wire.status import CallFault, FaultCause

if TYPE_CHECKING:
    from collections.abc import Callable

_PREFIX = struct.Struct(">BL")
PREFIX_BYTES = 5
LARGEST_FRAMED_BYTES = 16_384 - PREFIX_BYTES
"""The largest message that goes as one DATA frame."""
LARGEST_SHARED_BYTES = 3 * 16_384 - PREFIX_BYTES
"""The largest message whose frames are made once for all connections: three, which other streams wait for."""


class PackedMessage:
    """A compressed message as it came. It is unpacked when somebody wants it: until then it costs us no more
    than it cost its sender. `len` is that size.
    """

    __slots__ = ("_data", "_encoding", "limit_bytes")

    def __init__(self, data: bytes, encoding: str, limit_bytes: int) -> None:
        self._data = data
        self._encoding = encoding
        self.limit_bytes = limit_bytes

    def __len__(self) -> int:
        return len(self._data)

    def unpacked(self) -> bytes:
        """The message. Raises CallFault if it is none, or has more than the limit."""
        return decompress(self._data, self._encoding, self.limit_bytes)


class MessageReader:
    """Cuts a body into messages. At most one message is held unfinished, of at most `limit_bytes`."""

    __slots__ = ("_buffer", "_encoding", "_limit_bytes")

    def __init__(self, limit_bytes: int, encoding: str) -> None:
        """`encoding` is what the headers named: identity, gzip or deflate."""
        self._limit_bytes = limit_bytes
        self._encoding = encoding
        self._buffer: bytearray | None = None

    @property
    def partial_bytes(self) -> int:
        """Bytes of the message that has begun and not ended."""
        return 0 if self._buffer is None else len(self._buffer)

    def feed(self, data: bytes) -> list[bytes | PackedMessage]:
        """The messages that these bytes complete. Raises CallFault: the call must end with its status."""
        if self._buffer is None:
            # The usual case: one whole message in one frame.
            size = len(data)
            if size >= PREFIX_BYTES:
                flag, length = _PREFIX.unpack_from(data)
                if length + PREFIX_BYTES == size and length <= self._limit_bytes:
                    return [self._message(flag, data[PREFIX_BYTES:])]
            elif not data:
                return []
            self._buffer = bytearray()
        buffer = self._buffer
        buffer += data
        messages: list[bytes | PackedMessage] = []
        offset = 0
        while len(buffer) - offset >= PREFIX_BYTES:
            flag, length = _PREFIX.unpack_from(buffer, offset)
            if length > self._limit_bytes:
                raise too_large(length, self._limit_bytes)
            end = offset + PREFIX_BYTES + length
            if len(buffer) < end:
                break
            messages.append(self._message(flag, bytes(buffer[offset + PREFIX_BYTES : end])))
            offset = end
        if offset == len(buffer):
            self._buffer = None
        elif offset:
            del buffer[:offset]
        return messages

    def _message(self, flag: int, message: bytes) -> bytes | PackedMessage:
        if flag == 0:
            return message
        if flag != 1:
            raise CallFault(grpc.StatusCode.INTERNAL, "the compressed flag of a message must be 0 or 1")
        if self._encoding == "identity":
            raise CallFault(grpc.StatusCode.INTERNAL, "a message is compressed without a grpc-encoding")
        return PackedMessage(message, self._encoding, self._limit_bytes)


def plain(message: bytes | PackedMessage) -> bytes:
    """The message itself. Raises CallFault for one that cannot be unpacked."""
    return message if type(message) is bytes else message.unpacked()  # type: ignore[union-attr]


def too_large(size_bytes: int, limit_bytes: int) -> CallFault:
    """The fault for a message beyond the limit, in the words of other gRPC servers."""
    return CallFault(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"received message larger than max ({size_bytes} vs. {limit_bytes})",
        FaultCause.MESSAGE_TOO_LARGE,
    )


def prefixed(message: bytes) -> bytes:
    """A message as it is sent, not compressed."""
    return _PREFIX.pack(0, len(message)) + message


def compressed(message: bytes, encoding: str) -> bytes:
    """A message as it is sent, compressed unless that makes it longer."""
    small = compress(message, encoding)
    return _PREFIX.pack(1, len(small)) + small if len(small) < len(message) else prefixed(message)


def in_bytes(serialize: Callable[[object], bytes] | None, message: object) -> bytes:
    """A message of a handler as bytes. Raises TypeError for one that is none."""
    encoded = message if serialize is None else serialize(message)
    if not isinstance(encoded, bytes):
        raise TypeError(f"a message must be bytes once it is serialized, not {type(encoded).__name__}")
    return encoded
