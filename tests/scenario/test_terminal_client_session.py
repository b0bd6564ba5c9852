"""The terminal client's session against a real node, without a window: what it tells, and what it keeps."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

import parley
from parley_cli.credentials import CredentialStore, LogIn
from parley_cli.global_options import GlobalOptions
from parley_cli.tui.model import actions as act
from parley_cli.tui.model.message import Message, Pending
from parley_cli.tui.model.reduce import reduce
from parley_cli.tui.model.state import State
from parley_cli.tui.session import ServerSession, now_ms

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from parley_server.testing.node_process import NodeProcess

PASSWORD = "a long password"


class Screen:
    """A model that a session feeds, as the window does it."""

    def __init__(self, node: NodeProcess, name: str) -> None:
        options = GlobalOptions(server=node.address, as_name=name)
        self.state = State(server=node.address)
        self.session = ServerSession(options, name, self.dispatch)
        self._changed = asyncio.Event()

    def dispatch(self, action: act.Action) -> None:
        """Let the model decide, and do what it asks for."""
        self.state, commands = reduce(self.state, action)
        for command in commands:
            self.session.submit(command)
        self._changed.set()

    async def until(self, holds: Callable[[State], bool]) -> State:
        """Wait until it holds."""
        try:
            async with asyncio.timeout(20):
                while not holds(self.state):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"it never held: {self.state}") from None
        return self.state

    def texts(self) -> list[str]:
        """The messages of the conversation that is shown."""
        conversation = self.state.conversation
        items = conversation.items if conversation is not None else ()
        return [item.text for item in items if isinstance(item, Message)]

    def waiting(self) -> list[Pending]:
        """The messages on their way."""
        return [each for held in self.state.conversations.values() for each in held.pending]


@asynccontextmanager
async def screen_of(node: NodeProcess, name: str) -> AsyncIterator[Screen]:
    """A screen whose session runs as long as the block does."""
    screen = Screen(node, name)
    running = asyncio.create_task(screen.session.run())
    try:
        yield screen
    finally:
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


@pytest.fixture
async def people(
    node: NodeProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, parley.Tokens]:
    """alice and bob, logged in here."""
    monkeypatch.setenv("PARLEY_HOME", str(tmp_path / "home"))
    store = CredentialStore(tmp_path / "home")
    found = {}
    for name in ("alice", "bob"):
        found[name] = await parley.sign_up(node.address, name, PASSWORD)
        store.save(LogIn(node.address, name, found[name].to_json()))
    return found


async def test_what_was_not_sent_when_one_left_is_sent_by_the_next_window_once(
    node: NodeProcess, people: dict[str, parley.Tokens]
) -> None:
    """Planted: a state store of memory alone lost it; one that kept the position too replayed the past;
    a page read before the stream had begun missed the message that was sent in between, now and then.
    """
    async with parley.connect(node.address, token=people["bob"]) as bob:
        channel = await bob.direct("@alice")
        await channel.send("before")
        async with screen_of(node, "alice") as screen:
            await screen.until(lambda state: state.connection.phase == "live" and bool(state.inbox))
            screen.dispatch(act.Open(channel.id))
            await screen.until(lambda _: screen.texts() == ["before"])
            await node.stop()
            await screen.until(lambda state: state.connection.phase == "waiting")
            screen.dispatch(act.Submit("written offline", parley.new_id(), now_ms()))
            await screen.until(lambda state: state.connection.waiting_messages == 1)
        async with screen_of(node, "alice") as screen:
            # Without a server still: it is seen, and waits on.
            await screen.until(lambda _: [each.text for each in screen.waiting()] == ["written offline"])
            await node.start()
            screen.dispatch(act.Open(channel.id))
            await screen.until(lambda _: not screen.waiting() and len(screen.texts()) == 2)
        assert [message.text async for message in channel.history()] == ["written offline", "before"]


async def test_a_second_window_of_the_same_account_works_and_says_what_it_cannot_keep(
    node: NodeProcess, people: dict[str, parley.Tokens]
) -> None:
    async with screen_of(node, "alice") as first, screen_of(node, "alice") as second:
        await first.until(lambda state: state.connection.phase == "live")
        await second.until(lambda state: state.connection.phase == "live")
        told = [screen.state.told for screen in (first, second) if screen.state.told]
        assert len(told) == 1 and told[0].startswith("Unsent messages are not kept here")
        channel_id = await second.session.desk.direct("bob")
        for screen in (first, second):
            screen.dispatch(act.Open(channel_id))
        second.dispatch(act.Submit("hi", parley.new_id(), now_ms()))
        await first.until(lambda _: first.texts() == ["hi"])
        await second.until(lambda _: second.texts() == ["hi"] and not second.waiting())


async def test_a_group_that_one_is_taken_out_of_closes(
    node: NodeProcess, people: dict[str, parley.Tokens]
) -> None:
    """Removed by somebody, and deleted. Planted: without the check the next send failed instead."""
    async with (
        parley.connect(node.address, token=people["bob"]) as bob,
        screen_of(node, "alice") as screen,
    ):
        await screen.until(lambda state: state.inbox_loaded)
        for end in ("remove", "delete"):
            group = await bob.create_group("trip", ["@alice"])
            await screen.until(lambda state: [line.label for line in state.inbox] == ["#trip"])
            screen.dispatch(act.Open(group.id))
            await screen.until(lambda state: len(state.current_members) == 2)
            if end == "remove":
                await group.remove("@alice")
            else:
                await group.delete_channel()
            state = await screen.until(lambda state: state.current is None and not state.inbox)
            assert "group" in state.told


async def test_changes_that_happen_while_a_page_is_under_way_are_seen(
    node: NodeProcess, people: dict[str, parley.Tokens]
) -> None:
    """Edits and deletions race the first page; the unit tests of `Log` make the race certain."""
    async with (
        parley.connect(node.address, token=people["bob"]) as bob,
        screen_of(node, "alice") as screen,
    ):
        channel = await bob.direct("@alice")
        sent = [await channel.send(f"message {number}") for number in range(20)]
        await screen.until(lambda state: bool(state.inbox))
        screen.dispatch(act.Open(channel.id))
        await asyncio.gather(
            *(channel.edit(each, f"edited {number}") for number, each in enumerate(sent[:10])),
            *(channel.delete(each) for each in sent[10:]),
        )
        expected = [f"edited {number}" for number in range(10)] + [""] * 10
        await screen.until(lambda _: screen.texts() == expected)


async def test_reading_elsewhere_is_seen_here(node: NodeProcess, people: dict[str, parley.Tokens]) -> None:
    """Planted: unread counts that only events moved stayed for ever."""
    async with (
        parley.connect(node.address, token=people["bob"]) as bob,
        parley.connect(node.address, token=people["alice"]) as alice,
        screen_of(node, "alice") as screen,
    ):
        channel = await bob.direct("@alice")
        await screen.until(lambda state: state.inbox_loaded)
        sent = await channel.send("hi")
        await screen.until(lambda state: [line.shown_unread for line in state.inbox] == [1])
        await alice.channel(channel.id).mark_read(sent.seq)
        await screen.until(lambda state: [line.shown_unread for line in state.inbox] == [0])


async def test_too_much_at_once_is_refused_by_name(
    node: NodeProcess, people: dict[str, parley.Tokens]
) -> None:
    """Planted: without the bound every press of a key became one more call under way."""
    async with screen_of(node, "alice") as screen:
        await screen.until(lambda state: state.inbox_loaded)
        channel_id = await screen.session.desk.direct("bob")
        screen.dispatch(act.Open(channel_id))
        screen.dispatch(act.Submit("hi", parley.new_id(), now_ms()))
        await screen.until(lambda _: screen.texts() == ["hi"])
        (message,) = [item for item in screen.state.conversation.items if isinstance(item, Message)]  # type: ignore[union-attr]
        screen.dispatch(act.Select(message.key))
        for _ in range(40):
            screen.dispatch(act.React("👍"))
        assert screen.state.told == "Too much is under way: wait for an answer."
