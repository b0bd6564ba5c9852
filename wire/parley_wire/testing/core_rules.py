"""What holds of a connection's books, whatever its peer and its owner did."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parley_wire.connection import Connection

OUTPUT_LIMIT_BYTES = 4_000_000


def rules_at_any_time(core: Connection) -> Iterator[tuple[bool, str]]:
    """Whether each rule holds, with its name."""
    sender = core.sender
    waiting = sum(stream.queued_bytes for stream in core.streams.open.values())
    yield waiting == sender.queued_bytes, "queued bytes are counted"
    count = sum(stream.queue is not None for stream in core.streams.open.values())
    yield count == sender.waiting_streams, "waiting streams are counted"
    yield len(sender.ready) <= 2 * max(count, 8) + 66, "the round is bounded"
    yield sum(map(len, sender.out)) < OUTPUT_LIMIT_BYTES, "output is bounded"
    yield len(core.streams.open) <= max(core.limits.streams_per_connection, 1000), "streams are bounded"
    window = core.window
    held = window.left_bytes + window.uncredited_bytes + core.withheld_bytes
    yield core.failed or held == window.size_bytes, "the connection's window is whole"
    for stream in core.streams.open.values():
        held = stream.window.left_bytes + stream.window.uncredited_bytes + stream.unread_bytes
        yield (
            stream.remote_closed or core.failed or held == stream.window.size_bytes,
            "streams' windows are whole",
        )
    unread = sum(stream.unread_bytes for stream in core.streams.open.values())
    yield unread == core.unread_bytes, "unread bytes are counted"
    yield (
        unread <= 2 * core.limits.connection_window_bytes + core.limits.connection_unread_bytes,
        "unread bytes are bounded",
    )
    for stream in core.streams.open.values():
        yield not stream.closed, "closed streams are forgotten"
        yield stream.queued_bytes == sum(map(len, stream.queue or ())), "queues are counted"


def rules_at_the_end(core: Connection) -> Iterator[tuple[bool, str]]:
    """The same for a connection that is closed and whose streams were released."""
    yield core.unread_bytes == 0, "nothing stays unread"
    yield core.sender.queued_bytes == 0, "nothing stays queued"
    yield core.streams.peer_load == 0, "nothing stays counted"
    yield not core.streams.open, "nothing stays open"
