"""How many connections a node holds where the system lets it open few files."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, closing
from typing import TYPE_CHECKING

from parley_server.open_files import BESIDE_STREAMS, files_wanted
from parley_server.testing.raw_client import RawClient

if TYPE_CHECKING:
    from pathlib import Path

    from tests.scenario.conftest import StartNode

CONNECTIONS = 200


async def test_a_node_takes_what_the_system_allows_and_says_when_it_is_too_little(
    start_node: StartNode, planted: Path
) -> None:
    """Planted: the soft limit left as it was; with 64 files, nobody could connect behind 200 others. No
    warning.
    """
    node = await start_node(planted / "few_open_files.py", **{"limits.streams": 1000})
    host, _, port = node.address.rpartition(":")
    async with AsyncExitStack() as held, asyncio.timeout(30):
        for _ in range(CONNECTIONS):
            _, writer = await asyncio.open_connection(host, int(port))
            held.enter_context(closing(writer))
        async with RawClient(node.address) as client:
            await client.sign_up()
    (warning,) = [line for line in node.stderr.splitlines() if "too few open files" in line]
    for said in ("open_files=400", "needed=1500", "ulimit -n 1500", "LimitNOFILE=1500"):
        assert said in warning
    assert await node.stop() == 0


def test_what_is_enough() -> None:
    """A file for each stream, and some. -1 is as many as one likes."""
    assert files_wanted(1000, 1000 + BESIDE_STREAMS) is None
    assert files_wanted(1000, 999 + BESIDE_STREAMS) == 1000 + BESIDE_STREAMS
    assert files_wanted(1_000_000, -1) is None
