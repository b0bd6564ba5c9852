"""Header blocks: HPACK in both directions (RFC 7541; RFC 9113, section 4.3).

Decoding is the `hpack` library's work, with a memory for repeated blocks. Encoding is stateless: literals
that never enter a table cost a few bytes more and keep no state per connection.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import hpack
from hpack.exceptions import HPACKError, OversizedHeaderListError

from parley_wire.errors import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterable

Field = tuple[bytes, bytes]

TABLE_BYTES_ZERO = b"\x20"
"""The dynamic table size update to 0 (RFC 7541, section 6.3)."""

_MEMORY_BLOCKS = 16
_MEMORY_BLOCK_BYTES = 512
_FIELD_OVERHEAD_BYTES = 32
_SHARED_NAMES = frozenset(
    (
        b":authority",
        b":path",
        b"accept-encoding",
        b"content-type",
        b"grpc-accept-encoding",
        b"te",
        b"user-agent",
    )
)

# Names of the static table that gRPC uses, with their index (RFC 7541, appendix A).
_STATIC_NAMES = {
    b":authority": 1,
    b":method": 2,
    b":path": 4,
    b":scheme": 6,
    b":status": 8,
    b"accept-encoding": 16,
    b"content-length": 28,
    b"content-type": 31,
    b"user-agent": 58,
}
_STATIC_FIELDS = {
    (b":method", b"GET"): b"\x82",
    (b":method", b"POST"): b"\x83",
    (b":path", b"/"): b"\x84",
    (b":scheme", b"http"): b"\x86",
    (b":scheme", b"https"): b"\x87",
    (b":status", b"200"): b"\x88",
}


class HeaderList:
    """One decoded block. Blocks that repeat share one, so what was found out about it is kept here:
    `checked_by` is the check that it passed, `parsed` is free for the owner.

    `size_bytes` is measured as RFC 9113, section 10.5.1 says.
    """

    __slots__ = ("checked_by", "fields", "parsed", "size_bytes")

    def __init__(self, fields: list[Field], size_bytes: int) -> None:
        self.fields = fields
        self.size_bytes = size_bytes
        self.checked_by: object = None
        self.parsed: object = None


class BlockFault(Exception):
    """A header block that cannot be decoded: the connection is lost, since the tables differ now."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class _Entries(list[Field]):
    """The entries of one compression table, newest first, in a fraction of a deque's memory.

    Where most clients say the same, connections share the field.
    """

    __slots__ = ("insertions",)

    def __init__(self) -> None:
        super().__init__()
        self.insertions = 0

    def appendleft(self, field: Field) -> None:
        self.insertions += 1
        self.insert(0, _shared(field) if field[0] in _SHARED_NAMES else field)


@lru_cache(maxsize=256)
def _shared(field: Field) -> Field:
    return field


class HeaderDecoder:
    """Decodes the header blocks of one connection. EVERY block must pass through it, in order."""

    __slots__ = ("_decoder", "_entries", "_memory", "_used")

    def __init__(self, limit_bytes: int) -> None:
        self._decoder = hpack.Decoder(max_header_list_size=limit_bytes)
        self._entries = _Entries()
        table: Any = self._decoder.header_table
        table.dynamic_entries = self._entries
        self._used = False
        # What blocks meant that left the table as it was: the same as long as nothing else changes it. Only
        # from the second block on: a connection with one stream needs no memory.
        self._memory: dict[bytes, HeaderList] | None = None

    def trim(self) -> None:
        """Give back the memory of repeated blocks."""
        self._memory = None

    def decode(self, block: bytes) -> HeaderList:
        """Decode one block. Raises BlockFault; the caller gives the connection up with its code."""
        memory = self._memory
        if memory is not None and (known := memory.get(block)) is not None:
            return known
        table = self._decoder.header_table
        entries = self._entries
        before = (entries.insertions, len(entries), table.maxsize)
        try:
            fields: list[Field] = [(name, value) for name, value in self._decoder.decode(block, raw=True)]
        except OversizedHeaderListError as error:
            raise BlockFault(ErrorCode.ENHANCE_YOUR_CALM, "the header list is too large") from error
        except (HPACKError, ValueError, IndexError) as error:
            raise BlockFault(ErrorCode.COMPRESSION_ERROR, "a header block cannot be decoded") from error
        size = sum(len(name) + len(value) for name, value in fields) + _FIELD_OVERHEAD_BYTES * len(fields)
        decoded = HeaderList(fields, size)
        if before != (entries.insertions, len(entries), table.maxsize):
            self._memory = None
        elif self._used and len(block) <= _MEMORY_BLOCK_BYTES:
            if memory is None or len(memory) >= _MEMORY_BLOCKS:
                self._memory = memory = {}
            memory[block] = decoded
        self._used = True
        return decoded


def encode(fields: Iterable[Field]) -> bytes:
    """A header block that changes no table: indexed static fields, and literals without indexing."""
    out = bytearray()
    for field in fields:
        indexed = _STATIC_FIELDS.get(field)
        if indexed is not None:
            out += indexed
            continue
        name, value = field
        index = _STATIC_NAMES.get(name)
        if index is None:
            out.append(0)
            _put_string(out, name)
        else:
            _put_integer(out, 0, 4, index)
        _put_string(out, value)
    return bytes(out)


def _put_string(out: bytearray, text: bytes) -> None:
    if len(text) < 127:
        out.append(len(text))
    else:
        _put_integer(out, 0, 7, len(text))
    out += text


def _put_integer(out: bytearray, first: int, prefix_bits: int, value: int) -> None:
    """An integer behind a prefix (RFC 7541, section 5.1)."""
    largest = (1 << prefix_bits) - 1
    if value < largest:
        out.append(first | value)
        return
    out.append(first | largest)
    value -= largest
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
