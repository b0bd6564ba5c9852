"""Lines that strangers cause."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from parley_wire import frames
from parley_wire.limited_log import LimitedLog
from parley_wire.testing.echo_service import EchoService
from parley_wire.testing.quick_options import quick_options
from parley_wire.testing.socket_peer import SocketPeer

if TYPE_CHECKING:
    import pytest

    from .conftest import StartServer


def test_lines_beyond_are_counted_and_told_with_the_next(caplog: pytest.LogCaptureFixture) -> None:
    """Planted: the count not begun anew; no limit."""
    caplog.set_level(logging.INFO)
    limited = LimitedLog(2)
    for now_seconds in (0.0, 0.0, 0.0, 0.0, 60.0, 60.0):
        limited.write(logging.INFO, "%s did %d", "he", 1, now_seconds=now_seconds)
    assert [record.getMessage() for record in caplog.records] == [
        "he did 1",
        "he did 1",
        "he did 1 (2 more like it were not logged)",
        "he did 1",
    ]


async def test_connections_that_are_given_up_do_not_fill_the_log(
    start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Planted: a line for each."""
    caplog.set_level(logging.INFO)
    _, address = await start_server(EchoService().add_to, options=quick_options(given_up_lines_per_minute=3))
    for _ in range(10):
        async with SocketPeer(address) as peer:
            peer.write(frames.PREFACE, frames.frame(frames.DATA, 0, 0, b""))
            await peer.until_closed()
    lines = [record.getMessage() for record in caplog.records if "given up" in record.getMessage()]
    assert len(lines) == 3
