"""Ids that nobody may repeat any more are forgotten, and no others."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import apsw

from parley_server.testing.node_process import NodeProcess
from parley_server.testing.raw_client import RawClient

PLANTED = Path(__file__).parents[2] / "planted"
HOUR_MS = 3600 * 1000


def _made_at(time_ms: int) -> str:
    digits = f"{time_ms:012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-000000000000"


def _ids_kept(data: Path) -> int:
    connection = apsw.Connection(str(data / "chat.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        count: int = connection.execute("SELECT count(*) FROM client_id").get
        return count
    finally:
        connection.close()


async def test_a_node_forgets_ids_while_it_runs(tmp_path: Path) -> None:
    """Here those of more than an hour ago. What is younger is known also to the next process. Planted: nobody
    who forgets; the rows stayed.
    """
    plants = (PLANTED / "cheap_passwords.py", PLANTED / "ids_forgotten_soon.py")
    node = NodeProcess(tmp_path / "node", plants=plants)
    await node.start()
    try:
        async with RawClient(node.address) as client:
            alice, bob = await client.sign_up(), await client.sign_up()
            channel_id = await client.direct(alice, bob)
            now_ms = time.time_ns() // 1_000_000
            young = _made_at(now_ms - HOUR_MS // 2)
            await client.send(alice, channel_id, client_message_id=_made_at(now_ms - 2 * HOUR_MS))
            sent = await client.send(alice, channel_id, client_message_id=young)
        for _ in range(1000):
            if _ids_kept(node.data) == 1:
                break
            await asyncio.sleep(0.02)
        await node.stop()
        assert _ids_kept(node.data) == 1
        await node.start()
        async with RawClient(node.address) as client:
            again = await client.send(alice, channel_id, client_message_id=young)
            assert (again.seq, again.duplicate) == (sent.seq, True)
    finally:
        await node.close()
