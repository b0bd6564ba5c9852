"""The SDK's promise on a real node: each event once and in order, each message once, come what may."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

import parley
from parley_server.testing.fault_proxy import FaultProxy
from parley_server.testing.sdk_stream import stream_findings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.scenario.conftest import StartNode

    from parley_server.testing.node_process import NodeProcess

PASSWORD = "correct horse battery"
QUICK = {"sessions.heartbeat_seconds": 1.0}


@asynccontextmanager
async def _client(
    address: str | list[str],
    name: str,
    on_status: Callable[[parley.ClientStatus], None] | None = None,
) -> AsyncIterator[parley.Client]:
    """A client of a new account."""
    first = address if isinstance(address, str) else address[0]
    tokens = await parley.sign_up(first, name, PASSWORD)
    async with parley.connect(address, token=tokens, on_status=on_status) as client:
        yield client


class Reader:
    """Reads a client's events and remembers them in their order."""

    def __init__(self, client: parley.Client) -> None:
        self.client = client
        self.events: list[parley.Event] = []

    async def until(self, channel_id: str, seq: int, seconds: float = 60.0) -> None:
        """Read until the channel's event at `seq` came."""
        async with asyncio.timeout(seconds):
            while not any(event.channel_id == channel_id and event.seq >= seq for event in self.events):
                self.events.append(await anext(self.client.events()))

    async def findings(self, **first_seqs: int) -> list[str]:
        """What is wrong, against the logs as the user may read them; channels from their first event on."""
        handed_out = [(event.channel_id, event.seq) for event in self.events]
        starts: dict[str, int] = dict(first_seqs)
        for channel_id, seq in handed_out:
            starts.setdefault(channel_id, seq)
        expected: dict[str, list[int]] = defaultdict(list)
        for channel_id, start in starts.items():
            async for event in self.client.channel(channel_id).event_range(start):
                expected[channel_id].append(event.seq)
        return stream_findings(handed_out, expected)


async def _write(channel: parley.Channel, count: int) -> int:
    """Send messages, one after the other. Returns the last seq."""
    sent = [await channel.send(f"message {number}") for number in range(count)]
    return sent[-1].seq


@pytest.mark.parametrize("fault", ["cut", "reset", "half_close", "blackhole", "1 KiB/s"])
async def test_a_bad_network_loses_nothing(start_node: StartNode, fault: str) -> None:
    """Every event once and in order, the messages too. Planted once: no second stream; the seqs forgotten
    with the first.
    """
    node = await start_node(**QUICK)
    async with FaultProxy(node.address) as proxy, AsyncExitStack() as stack:
        alice = await stack.enter_async_context(_client(node.address, "alice"))
        gone = asyncio.Event()
        bob = await stack.enter_async_context(
            _client(
                proxy.address,
                "bob",
                on_status=lambda now: gone.set() if now.phase is parley.Phase.WAITING else None,
            )
        )
        reader = Reader(bob)
        await bob.events().ready()
        channel = await alice.direct("bob")
        await reader.until(channel.id, await _write(channel, 20))
        if fault == "blackhole":
            proxy.set(blackhole=True)
        elif fault == "1 KiB/s":
            proxy.set(bytes_per_second=1024)
        else:
            getattr(proxy, fault)()
        posted = [await bob.channel(channel.id).post(f"mine {number}") for number in range(5)]
        last = await _write(channel, 20)
        if fault == "blackhole":
            async with asyncio.timeout(30):
                await gone.wait()
        if fault != "1 KiB/s":
            proxy.heal()
        await reader.until(channel.id, last)
        proxy.heal()
        results = [await bob.result(message_id) for message_id in posted]
        assert [each.seq for each in results] == sorted({each.seq for each in results})
        await reader.until(channel.id, await _write(channel, 5))
        assert await reader.findings() == []
        mine = [event for event in reader.events if event.client_message_id in posted]
        assert [event.client_message_id for event in mine] == posted


async def test_a_node_that_was_killed_is_caught_up_with_from_the_log(start_node: StartNode) -> None:
    """Its feed is gone and every cursor with it; much is written before the client is back. Planted once: a
    reset taken for a first day, which begins at the heads.
    """
    node = await start_node()
    async with FaultProxy(node.address) as proxy, AsyncExitStack() as stack:
        alice = await stack.enter_async_context(_client(node.address, "alice"))
        bob = await stack.enter_async_context(_client(proxy.address, "bob"))
        reader = Reader(bob)
        await bob.events().ready()
        channel = await alice.direct("bob")
        await reader.until(channel.id, await _write(channel, 10))
        for _ in range(2):
            proxy.set(refuse=True)
            await node.kill()
            await node.start()
            last = await _write(channel, 10)
            proxy.heal()
            await reader.until(channel.id, last)
        assert await reader.findings() == []


async def test_away_during_much_and_many_changes(node: NodeProcess) -> None:
    """More than is replayed, and memberships that began and ended meanwhile: the user's windows, exactly.

    Planted once: a channel never met read from its first event; the end of one that was left passed over.
    """
    tokens = await parley.sign_up(node.address, "bob", PASSWORD)
    state = parley.MemoryState()
    async with _client(node.address, "alice") as alice:
        left = await alice.create_group("left", ["bob"])
        back = await alice.create_group("back", ["bob"])
        quiet = await alice.create_group("quiet", ["bob"])
        await _write(quiet, 3)
        groups = [await alice.create_group(f"busy {number}", ["bob"]) for number in range(6)]
        async with parley.connect(node.address, token=tokens, state=state) as bob:
            before = Reader(bob)
            await bob.events().ready()
            await before.until(left.id, await _write(left, 2))
            await before.until(quiet.id, await _write(quiet, 1))
            before.events[-1].ack()
        starts = {event.channel_id: event.seq for event in reversed(before.events)}
        await asyncio.gather(*(_write(group, 200) for group in groups))
        removed = (await left.remove("bob")).head_seq
        await _write(left, 5)
        await back.remove("bob")
        await _write(back, 5)
        await back.add(["@bob"])
        last_back = await _write(back, 2)
        # Its past may be read by who comes later, and is not news to a device all the same.
        new = await alice.create_group("new", history_from_start=True)
        await _write(new, 4)
        joined = (await new.add(["@bob"])).head_seq
        last_new = await _write(new, 2)
        async with parley.connect(node.address, token=tokens, state=state) as bob:
            after = Reader(bob)
            after.events = [*before.events]
            for group in groups:
                await after.until(group.id, (await group.info()).head_seq)
            for channel_id, seq in ((left.id, removed), (back.id, last_back), (new.id, last_new)):
                await after.until(channel_id, seq)
            await after.until(quiet.id, await _write(quiet, 1))
            assert await after.findings(**starts) == []
            of_left = [event.seq for event in after.events if event.channel_id == left.id]
            assert of_left[-1] == removed
            of_back = [event.seq for event in after.events if event.channel_id == back.id]
            assert of_back[-3:] == [last_back - 2, last_back - 1, last_back]
            assert last_back - 3 not in of_back
            of_new = [event.seq for event in after.events if event.channel_id == new.id]
            assert of_new == list(range(joined, last_new + 1))
            assert len(after.events) > 1_200


async def test_after_a_reset_the_end_of_a_known_channel_is_told(node: NodeProcess) -> None:
    """The program learns that it is no member any more, also where it came back meanwhile and was removed
    again; of a channel that came and went while it was away it hears nothing.

    Planted once: former channels that a reset names passed over; and, both at once, such channels not named
    by the server and not missed by the client.
    """
    tokens = await parley.sign_up(node.address, "bob", PASSWORD)
    state = parley.MemoryState()
    async with _client(node.address, "alice") as alice:
        stays, left, twice = [await alice.create_group(title, ["bob"]) for title in ("s", "l", "t")]
        async with parley.connect(node.address, token=tokens, state=state) as bob:
            before = Reader(bob)
            await bob.events().ready()
            for channel in (stays, left, twice):
                await before.until(channel.id, await _write(channel, 1))
            before.events[-1].ack()
        starts = {event.channel_id: event.seq for event in reversed(before.events)}
        ends = {left.id: (await left.remove("bob")).head_seq}
        await twice.remove("bob")
        await twice.add(["@bob"])
        ends[twice.id] = (await twice.remove("bob")).head_seq
        fleeting = await alice.create_group("f", ["bob"])
        await fleeting.remove("bob")
        for channel in (left, twice, fleeting):
            await _write(channel, 2)
        await node.kill()
        await node.start()
        async with parley.connect(node.address, token=tokens, state=state) as bob:
            after = Reader(bob)
            after.events = [*before.events]
            for channel_id, seq in ends.items():
                await after.until(channel_id, seq)
            await after.until(stays.id, await _write(stays, 1))
            assert await after.findings(**starts) == []
            for channel_id in ends:
                last = [event for event in after.events if event.channel_id == channel_id][-1]
                assert last.seq == ends[channel_id]
                assert isinstance(last, parley.MemberEvent)
                assert (last.change, last.user_id) == (parley.MemberChange.REMOVED, tokens.user_id)
            assert fleeting.id not in {event.channel_id for event in after.events}


async def test_of_two_servers_the_next_is_used_when_one_is_gone(start_node: StartNode) -> None:
    """Stream and calls go on there, and come back. Planted once: the stream moved and calls did not."""
    node = await start_node(**QUICK)
    async with FaultProxy(node.address) as one, FaultProxy(node.address) as two:
        async with _client(node.address, "alice") as alice, _client([one.address, two.address], "bob") as bob:
            reader = Reader(bob)
            await bob.events().ready()
            assert bob.status().server == one.address
            channel = await alice.direct("bob")
            for gone, left in ((one, two), (two, one)):
                await reader.until(channel.id, await _write(channel, 5))
                gone.set(refuse=True)
                gone.cut()
                sent = await bob.channel(channel.id).send("over there")
                await reader.until(channel.id, max(sent.seq, await _write(channel, 5)))
                assert bob.status().server == left.address
                gone.heal()
            assert await reader.findings() == []


_PROGRAM = """
import asyncio, json, sys, parley

async def main():
    address, tokens, state, channel_id, ids = json.loads(sys.argv[1])
    async with parley.connect(
        address, token=parley.Tokens.from_json(tokens), state=parley.SqliteState(state)
    ) as client:
        stream = client.events()
        stream.acknowledges = False
        await stream.ready()
        print("ready", flush=True)

        async def send():
            for message_id in ids:
                await client.channel(channel_id).post(message_id, client_message_id=message_id)
                print("posted", message_id, flush=True)
                await client.result(message_id)
            await client.flush()
            print("flushed", "all", flush=True)

        sending = asyncio.create_task(send())
        async for event in stream:
            await asyncio.sleep(0.01)  # The program's own work, in which it may be killed.
            print("got", event.seq, flush=True)
            await event.ack()
            print("acked", event.seq, flush=True)

asyncio.run(main())
"""


async def test_a_killed_program_misses_nothing_and_sends_nothing_twice(
    node: NodeProcess, tmp_path: Path
) -> None:
    """SIGKILL between receipt and ack, and between send and reply, again and again. What was posted is not
    posted again by the program: the outbox goes on with it.

    Planted once: positions stored before ack; a message removed from the outbox before its answer; ids made
    anew after a restart.
    """
    tokens = await parley.sign_up(node.address, "bob", PASSWORD)
    async with _client(node.address, "alice") as alice:
        channel = await alice.direct("bob")
        first = (await channel.info()).head_seq + 1
        ids = [parley.new_id() for _ in range(150)]
        got: list[list[int]] = []
        acked: set[int] = set()
        posted = last = 0
        flushed = False
        for kill in range(8):
            arguments = json.dumps(
                [node.address, tokens.to_json(), str(tmp_path / "state"), channel.id, ids[posted:]]
            )
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _PROGRAM, arguments), stdout=asyncio.subprocess.PIPE
            )
            assert process.stdout is not None
            got.append([])
            lines = 0
            async with asyncio.timeout(30):
                while line := (await process.stdout.readline()).decode().split():
                    if line[0] == "ready":
                        last = await _write(channel, 10)
                        continue
                    lines += 1
                    if line[0] == "got":
                        assert int(line[1]) not in acked
                        got[-1].append(int(line[1]))
                    elif line[0] == "acked":
                        acked.add(int(line[1]))
                    else:
                        posted += line[0] == "posted"
                        flushed = line[0] == "flushed"
                    # Early and late in turn, and at the end not before everything is done.
                    if lines == 7 + 5 * kill if kill < 7 else flushed and last in acked:
                        break
                process.kill()
                rest = (await process.stdout.read()).decode().splitlines()
                await process.wait()
            for line in (each.split() for each in rest):
                if len(line) == 2:
                    if line[0] == "got":
                        got[-1].append(int(line[1]))
                    elif line[0] == "acked":
                        acked.add(int(line[1]))
                    else:
                        posted += line[0] == "posted"
        head = (await channel.info()).head_seq
        handed_out = [seq for run in got for seq in run]
        assert sorted(set(handed_out)) == list(range(first, max(handed_out) + 1))
        for run in got:
            assert run == list(range(run[0], run[-1] + 1)) if run else True
        mine = [event.text async for event in channel.history(None) if event.actor_id == tokens.user_id]
        assert mine[::-1] == ids
        assert head >= max(handed_out)
