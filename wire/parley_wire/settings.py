"""The settings of one end of a connection (RFC 9113, section 6.5.2)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from parley_wire.errors import ErrorCode
from parley_wire.frames import DEFAULT_FRAME_BYTES, LARGEST_FRAME_BYTES, LARGEST_WINDOW

if TYPE_CHECKING:
    from collections.abc import Iterable

    from parley_wire.limits import Limits

HEADER_TABLE_SIZE = 0x1
ENABLE_PUSH = 0x2
MAX_CONCURRENT_STREAMS = 0x3
INITIAL_WINDOW_SIZE = 0x4
MAX_FRAME_SIZE = 0x5
MAX_HEADER_LIST_SIZE = 0x6

DEFAULT_WINDOW_BYTES = 65_535
DEFAULT_TABLE_BYTES = 4096


@dataclass(slots=True, frozen=True)
class Settings:
    """What one end asks of the other. The defaults are the protocol's own, before any SETTINGS frame."""

    header_table_bytes: int = DEFAULT_TABLE_BYTES
    push: bool = True
    streams: int = LARGEST_WINDOW
    """How many streams the other end may have open; LARGEST_WINDOW stands for no limit."""
    window_bytes: int = DEFAULT_WINDOW_BYTES
    frame_bytes: int = DEFAULT_FRAME_BYTES
    header_list_bytes: int = LARGEST_WINDOW

    def pairs(self) -> list[tuple[int, int]]:
        """The values that differ from the protocol's own, as they are sent."""
        wanted = (
            (HEADER_TABLE_SIZE, self.header_table_bytes, DEFAULT_TABLE_BYTES),
            (ENABLE_PUSH, int(self.push), 1),
            (MAX_CONCURRENT_STREAMS, self.streams, LARGEST_WINDOW),
            (INITIAL_WINDOW_SIZE, self.window_bytes, DEFAULT_WINDOW_BYTES),
            (MAX_FRAME_SIZE, self.frame_bytes, DEFAULT_FRAME_BYTES),
            (MAX_HEADER_LIST_SIZE, self.header_list_bytes, LARGEST_WINDOW),
        )
        return [(name, value) for name, value, default in wanted if value != default]

    def changed(self, pairs: Iterable[tuple[int, int]], *, by_server: bool) -> Settings | SettingsFault:
        """These settings after a SETTINGS frame. Unknown names are ignored; the last of equal ones wins."""
        values = {
            HEADER_TABLE_SIZE: self.header_table_bytes,
            ENABLE_PUSH: int(self.push),
            MAX_CONCURRENT_STREAMS: self.streams,
            INITIAL_WINDOW_SIZE: self.window_bytes,
            MAX_FRAME_SIZE: self.frame_bytes,
            MAX_HEADER_LIST_SIZE: self.header_list_bytes,
        }
        for name, value in pairs:
            if name == ENABLE_PUSH and value > 1:
                return SettingsFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH must be 0 or 1")
            if name == ENABLE_PUSH and value and by_server:
                return SettingsFault(ErrorCode.PROTOCOL_ERROR, "a server cannot ask for pushes")
            if name == INITIAL_WINDOW_SIZE and value > LARGEST_WINDOW:
                return SettingsFault(ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE too large")
            if name == MAX_FRAME_SIZE and not DEFAULT_FRAME_BYTES <= value <= LARGEST_FRAME_BYTES:
                return SettingsFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE out of range")
            if name in values:
                values[name] = value
        return _shared(
            header_table_bytes=values[HEADER_TABLE_SIZE],
            push=values[ENABLE_PUSH] == 1,
            streams=values[MAX_CONCURRENT_STREAMS],
            window_bytes=values[INITIAL_WINDOW_SIZE],
            frame_bytes=values[MAX_FRAME_SIZE],
            header_list_bytes=values[MAX_HEADER_LIST_SIZE],
        )


@dataclass(slots=True, frozen=True)
class SettingsFault:
    """A value that the protocol forbids: the connection must fail with `code`."""

    code: ErrorCode
    reason: str


# Most peers ask for the same.
_shared = lru_cache(maxsize=256)(Settings)

PROTOCOL_DEFAULTS = Settings()


@lru_cache(maxsize=64)
def announced_settings(limits: Limits, *, client: bool) -> Settings:
    """What we ask of the peer, by our limits."""
    return Settings(
        push=not client,
        streams=LARGEST_WINDOW if client else limits.streams_per_connection,
        window_bytes=limits.stream_window_bytes,
        header_list_bytes=limits.header_list_bytes,
    )
