"""The outbox: what is sent is stored first, goes in order, once, and stays until it is answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest

import parley

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.sdk.conftest import Context, FakeNode


class _Switch:
    """SendMessage that is out of order until it is switched on: refuses with a reason, or gives no answer."""

    def __init__(self, node: FakeNode, code: grpc.StatusCode, reason: str) -> None:
        self.node = node
        self.code, self.reason = code, reason
        self.on = asyncio.Event()
        self.reached = asyncio.Event()
        node.unary["SendMessage"] = self

    async def __call__(self, request: Any, context: Context) -> Any:
        self.reached.set()
        if not self.on.is_set():
            await self.node.refuse(context, self.code, self.reason)
        return self.node.write(request)


def _down(node: FakeNode) -> _Switch:
    return _Switch(node, grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")


async def test_a_time_out_leaves_the_message_and_it_goes_on(node: FakeNode) -> None:
    """The last error is told, and later what came of it. Planted once: removed at the time-out."""
    switch = _down(node)
    outcomes: list[parley.Outcome] = []
    async with parley.connect(node.target, token="t", on_outcome=outcomes.append) as client:
        message_id = parley.new_id()
        with pytest.raises(parley.StoreUnavailable):
            await client.channel("c").send("a", client_message_id=message_id, timeout_seconds=0.3)
        (waiting,) = client.outbox()
        assert (waiting.client_message_id, waiting.text, waiting.channel_id) == (message_id, "a", "c")
        assert waiting.attempts >= 1
        assert isinstance(waiting.last_error, parley.StoreUnavailable)
        assert client.status().waiting_messages == 1
        with pytest.raises(parley.TimedOut):
            await client.flush(timeout_seconds=0.01)
        switch.on.set()
        sent = await client.result(message_id)
        assert await client.channel("c").send("b") != sent
        assert await client.result(message_id) == sent
        assert outcomes[0] == parley.Outcome(message_id, "c", sent, None)
        assert client.outbox() == []
    assert list(node.written.values()) == [1, 2]


async def test_a_channel_is_served_in_order_and_does_not_hold_up_others(node: FakeNode) -> None:
    """A message that is refused for now is not overtaken. Planted once: two lanes for a channel; one lane for
    all channels.
    """
    order: list[str] = []
    first = asyncio.Event()

    async def picky(request: Any, context: Context) -> Any:
        if request.channel_id == "slow" and not first.is_set():
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            await node.refuse(context, code, "RATE_LIMITED", retry_after_seconds=0.1)
        order.append(request.text)
        return node.write(request)

    node.unary["SendMessage"] = picky
    async with parley.connect(node.target, token="t") as client:
        slow, quick = client.channel("slow"), client.channel("quick")
        for number in range(5):
            await slow.post(f"slow {number}")
        for number in range(5):
            await quick.send(f"quick {number}")
        first.set()
        await client.flush()
    assert order == [f"quick {number}" for number in range(5)] + [f"slow {number}" for number in range(5)]


async def test_what_is_refused_for_good_leaves_and_the_next_goes(node: FakeNode) -> None:
    """Planted once: refusals never the last word; the first such message blocked its channel for ever."""

    async def refuse_bad(request: Any, context: Context) -> Any:
        if request.text == "bad":
            await node.refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
        if request.text == "old":
            await node.refuse(context, grpc.StatusCode.FAILED_PRECONDITION, "MESSAGE_ID_EXPIRED")
        return node.write(request)

    node.unary["SendMessage"] = refuse_bad
    outcomes: list[parley.Outcome] = []
    async with parley.connect(node.target, token="t", on_outcome=outcomes.append) as client:
        channel = client.channel("c")
        old = await channel.post("old")
        with pytest.raises(parley.InvalidField):
            await channel.send("bad")
        assert (await channel.send("good")).seq == 1
        with pytest.raises(parley.MessageIdExpired):
            await client.result(old)
        assert client.outbox() == []
    assert [type(outcome.error).__name__ for outcome in outcomes] == [
        "MessageIdExpired",
        "InvalidField",
        "NoneType",
    ]
    assert len(node.called("SendMessage")) == 3


async def test_a_restart_goes_on_with_the_same_ids(node: FakeNode, tmp_path: Path) -> None:
    """By itself, and in order. Planted once: the stored messages not read; new ids for them; a message
    removed from the store before its answer.
    """
    switch = _down(node)
    tokens = node.tokens()
    node.now_seconds = 4_000_000_000
    async with parley.connect(node.target, token=tokens, state=parley.SqliteState(tmp_path / "s")) as client:
        ids = [await client.channel(f"c{number % 2}").post(str(number)) for number in range(10)]
        await switch.reached.wait()
    switch.on.set()
    outcomes: list[parley.Outcome] = []
    async with parley.connect(
        node.target, token=tokens, state=parley.SqliteState(tmp_path / "s"), on_outcome=outcomes.append
    ) as client:
        await client.flush()
    assert sorted(outcome.client_message_id for outcome in outcomes) == sorted(ids)
    assert set(node.written) == set(ids)
    for channel_id in ("c0", "c1"):
        seqs = [outcome.sent.seq for outcome in outcomes if outcome.channel_id == channel_id and outcome.sent]
        assert seqs == sorted(seqs)
    async with parley.connect(node.target, token=tokens, state=parley.SqliteState(tmp_path / "s")) as client:
        assert client.outbox() == []
        with pytest.raises(LookupError):
            await client.result(ids[0])


async def test_it_is_bounded_and_says_so(node: FakeNode) -> None:
    """By number and by bytes, before anything is stored. Planted once: no bound by number; none by bytes."""
    _down(node)
    state = parley.MemoryState()
    async with parley.connect(node.target, token="t", outbox_limit=3, state=state) as client:
        channel = client.channel("c")
        ids = [await channel.post("x") for _ in range(3)]
        with pytest.raises(parley.OutboxFull) as caught:
            await channel.send("x")
        assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await channel.post("x", client_message_id=ids[0]) == ids[0]
        assert [each.client_message_id for each in client.outbox()] == ids
    async with parley.connect(node.target, token="t") as client:
        with pytest.raises(parley.OutboxFull):
            for _ in range(40):
                await client.channel("c").post("x" * 1_000_000)
        assert len(client.outbox()) == 33


async def test_an_id_that_waits_is_one_message(node: FakeNode) -> None:
    """Calls that meet share it; other content is refused. Planted once: each call a message of its own; the
    second text dropped in silence.
    """
    switch = _down(node)
    async with parley.connect(node.target, token="t") as client:
        channel, message_id = client.channel("c"), parley.new_id()
        both = [asyncio.create_task(channel.send("x", client_message_id=message_id)) for _ in range(2)]
        await switch.reached.wait()
        with pytest.raises(parley.ClientIdReused):
            await channel.send("y", client_message_id=message_id)
        switch.on.set()
        one, other = await asyncio.gather(*both)
        assert one == other
    assert len(node.written) == 1


async def test_what_only_the_user_can_mend_is_told_at_once_and_keeps_the_messages(node: FakeNode) -> None:
    """A log-in later they go. Planted once: the refusal taken for the last word, and the messages gone; the
    same tried again and again until the time-out.
    """
    switch = _Switch(node, grpc.StatusCode.UNAUTHENTICATED, "DEVICE_REVOKED")
    state = parley.MemoryState()
    async with parley.connect(node.target, token="t", state=state) as client:
        async with asyncio.timeout(10):
            for _ in range(2):
                with pytest.raises(parley.DeviceRevoked):
                    await client.channel("c").send("x")
        assert len(client.outbox()) == 2
    switch.on.set()
    async with parley.connect(node.target, token="t", state=state) as client:
        await client.flush()
    assert len(node.written) == 2


async def test_a_callback_that_raises_is_told_to_who_waits(node: FakeNode) -> None:
    """A full disk under on_tokens, say. Planted once: the lane begun again and again; the failure told to
    nobody, and the sender left waiting.
    """
    node.now_seconds = 4_000_000_000
    node.access_tokens = set()

    def disk_full(tokens: parley.Tokens) -> None:
        raise OSError("disk full")

    async with parley.connect(node.target, token=node.tokens(), on_tokens=disk_full) as client:
        async with asyncio.timeout(5):
            with pytest.raises(OSError, match="disk full"):
                await client.channel("c").send("x")
        assert (await client.channel("c").send("y")).seq == 2


async def test_closing_tells_who_waits(node: FakeNode) -> None:
    """Planted once: nobody told; the sender waited for ever."""
    switch = _down(node)
    client = parley.connect(node.target, token="t")
    sending = asyncio.create_task(client.channel("c").send("x"))
    await switch.reached.wait()
    await client.aclose()
    with pytest.raises(RuntimeError, match="waits in its state store"):
        await sending
