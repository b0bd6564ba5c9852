"""What the SDK makes of a node's last words: go on over there, or that it is over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import parley
from parley_server.testing.fault_proxy import FaultProxy
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_server.testing.sdk_stream import stream_findings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PASSWORD = "correct horse battery"
SPREAD_SECONDS = 0.1


@pytest.fixture
def plants(planted: Path) -> tuple[Path, ...]:
    return CHEAP_PASSWORDS, planted / "go_away_endpoints.py"


@pytest.fixture
async def leaving(tmp_path: Path, plants: tuple[Path, ...]) -> AsyncIterator[NodeProcess]:
    """A node that will name others when it leaves."""
    node = NodeProcess(tmp_path / "node", {"sessions.reconnect_spread_seconds": SPREAD_SECONDS}, plants)
    await node.start()
    yield node
    await node.close()


async def test_a_leaving_node_names_another_and_the_client_goes_on_there(
    leaving: NodeProcess, plants: tuple[Path, ...]
) -> None:
    """The named address is one that the client was never given. It goes there, resumes, has every event once
    and in order, and what was posted on the way is written once; its calls go there as well. The data move
    with the node: another process serves them there, and nobody at the old address any more.

    Planted once: the endpoints of GoAway ignored; the client tried the old address for ever.
    """
    async with FaultProxy(leaving.address) as here, FaultProxy("127.0.0.1:1") as there:
        (leaving.data / "ENDPOINTS").write_text(f"{there.address}\n", encoding="utf-8")
        tokens = await parley.sign_up(here.address, "alice", PASSWORD)
        async with parley.connect(here.address, token=tokens) as alice:
            group = await alice.create_group("g")
            stream = alice.events()
            await stream.ready()
            sent = [await group.send(f"before {number}") for number in range(5)]
            seen = [await anext(stream)]
            assert await leaving.stop() == 0
            posted = [await group.post(f"on the way {number}") for number in range(5)]
            moved = NodeProcess(leaving.data, {**leaving.settings, "listen": "127.0.0.1:0"}, plants)
            try:
                await moved.start()
                there.target = moved.address
                async with asyncio.timeout(30):
                    sent += [await alice.result(message_id) for message_id in posted]
                    sent.append(await group.send("after"))
                    while seen[-1].seq < sent[-1].seq:
                        seen.append(await anext(stream))
                assert alice.status().server == there.address
                assert alice.status().phase is parley.Phase.LIVE
                assert there.accepted > 0
                handed_out = [(event.channel_id, event.seq) for event in seen]
                expected = {group.id: [each.seq for each in sent]}
                assert stream_findings(handed_out, expected) == []
                assert [each.seq for each in sent] == list(range(seen[0].seq, seen[0].seq + len(sent)))
            finally:
                await moved.close()


async def test_a_suspended_account_ends_the_stream_and_says_so(leaving: NodeProcess) -> None:
    """The loop over events raises AccountSuspended, the status shows it, and so do calls and sends; nothing
    is tried again. What was to be sent stays: once the account is let in again the same client goes on,
    behind the last event.

    Planted once: ACCOUNT_SUSPENDED taken for a lost connection; the client waited and came back. A refusal
    with it taken for the last word on a message; the message was gone.
    """
    tokens = await parley.sign_up(leaving.address, "alice", PASSWORD)
    phases: list[parley.Phase] = []
    async with (
        parley.connect(leaving.address, token=leaving.operator_token) as operator,
        parley.connect(
            leaving.address, token=tokens, on_status=lambda now: phases.append(now.phase)
        ) as alice,
    ):
        group = await alice.create_group("g")
        stream = alice.events()
        await stream.ready()
        first = await group.send("one")
        event = await anext(stream)
        assert event.seq == first.seq
        await event.ack()
        await operator.admin.suspend_user("@alice")
        async with asyncio.timeout(10):
            with pytest.raises(parley.AccountSuspended) as told:
                await anext(stream)
        assert told.value.reason == "ACCOUNT_SUSPENDED"
        assert told.value.advice is parley.Advice.GIVE_UP
        status = alice.status()
        assert status.phase is parley.Phase.ENDED
        assert isinstance(status.last_error, parley.AccountSuspended)
        assert status.retry_in_seconds is None
        assert parley.Phase.WAITING not in phases
        with pytest.raises(parley.AccountSuspended):
            await group.info()
        async with asyncio.timeout(10):
            with pytest.raises(parley.AccountSuspended):
                await group.send("two")
        assert [waiting.text for waiting in alice.outbox()] == ["two"]
        await operator.admin.suspend_user("@alice", lift=True)
        third = await group.send("three")
        stream = alice.events()
        async with asyncio.timeout(30):
            seen = [await anext(stream), await anext(stream)]
        assert [each.seq for each in seen] == [first.seq + 1, third.seq]
        assert [each.text for each in seen if isinstance(each, parley.MessageEvent)] == ["two", "three"]
        assert alice.outbox() == []
