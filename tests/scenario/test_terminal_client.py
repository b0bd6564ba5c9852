"""`parley chat` as people use it: two of them, in two panes of tmux, with a real node between them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import parley
from parley_cli.credentials import CredentialStore, LogIn
from parley_server.testing.tmux import POLL_SECONDS, SEEN_SECONDS, Tmux

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from parley_server.testing.node_process import NodeProcess
    from parley_server.testing.tmux import Pane

PAGE = Path(__file__).resolve().parents[2] / "docs" / "terminal-client.md"
PASSWORD = "a long password"

WRITING = "━━━━━"
"""The line above the composer when it has the focus."""


@pytest.fixture
async def tmux(tmp_path: Path) -> AsyncIterator[Tmux]:
    """tmux. Skips without one; with CI=true that is a failure."""
    program = shutil.which("tmux")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no tmux: `make deps` installs it where it may")
        pytest.skip("no tmux: on Debian, sudo apt-get install tmux")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PARLEY_", "TMUX"))}
    environ = kept | {"PARLEY_HOME": str(tmp_path / "home"), "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
    server = Tmux(program, tmp_path / "tmux", environ)
    yield server
    await server.do("kill-server")


async def _log_in(home: Path, node: NodeProcess, *names: str) -> dict[str, parley.Tokens]:
    store = CredentialStore(home)
    found = {}
    for name in names:
        found[name] = await parley.sign_up(node.address, name, PASSWORD)
        store.save(LogIn(node.address, name, found[name].to_json()))
    return found


async def _escape(pane: Pane) -> None:
    """Press Esc until one can write: sent in one go with the next key it would be Alt and that key."""
    for _ in range(4):
        await pane.press("Escape")
        with contextlib.suppress(AssertionError):
            await pane.shows(WRITING, without="Esc: ", seconds=1.0)
            return
    await pane.shows(WRITING, without="Esc: ")


def _chat(node: NodeProcess, name: str) -> str:
    # tmux sometimes forgets how a program ended: the shell writes it down.
    command = f"{sys.executable} -m parley_cli --server {node.address} --as {name} chat"
    return f"{command}; echo $? > $PARLEY_HOME/{name}.code"


async def _ended(home: Path, name: str) -> None:
    file = home / f"{name}.code"
    async with asyncio.timeout(SEEN_SECONDS):
        while True:
            code = file.read_text().strip() if file.exists() else ""
            if code:
                break
            await asyncio.sleep(POLL_SECONDS)
    assert code == "0"


# --- the screens of the page


def still(screen: str) -> str:
    """A screen without what differs from run to run: times, port, codes."""
    screen = re.sub(r"127\.0\.0\.1:\d{5}", "127.0.0.1:50051", screen)
    screen = re.sub(r"\b[0-2]\d:[0-5]\d\b", "14:05", screen)
    return "\n".join(line.rstrip() for line in screen.rstrip().splitlines())


def shown_on_page(page: str) -> dict[str, str]:
    """The screens of the page by name."""
    return dict(re.findall(r"^```text screen (\S+)\n(.*?)\n```$", page, re.DOTALL | re.MULTILINE))


def likeness(screen: str) -> list[str]:
    """What must agree: the words in their order, not the blanks and rules between them."""
    return [words for line in screen.splitlines() if (words := " ".join(re.findall(r"[^\s─━▕▏│┃✓]+", line)))]


def check_page(screens: dict[str, str]) -> None:
    """The page shows these screens. PARLEY_WRITE_SCREENS=1 writes them there."""
    page = PAGE.read_text(encoding="utf-8")
    if os.environ.get("PARLEY_WRITE_SCREENS"):
        for name, screen in screens.items():
            before, _, rest = page.partition(f"```text screen {name}\n")
            page = f"{before}```text screen {name}\n{screen}\n```{rest.partition('```')[2]}"
        PAGE.write_text(page, encoding="utf-8")
    shown = shown_on_page(page)
    assert shown.keys() == screens.keys()
    for name, screen in screens.items():
        assert likeness(shown[name]) == likeness(screen), (
            f"the screen {name} of {PAGE.name} is old: run this test with PARLEY_WRITE_SCREENS=1"
        )


# --- the test


@pytest.mark.slow
@pytest.mark.needs_tmux
async def test_two_people_chat_through_a_restart_of_the_server(
    tmux: Tmux, node: NodeProcess, tmp_path: Path
) -> None:
    """Caught here before they were mended: a reader thrown back to the end by the next paint, F6 taken by the
    text area, keys typed ahead that went to the window before, a deleted text that stayed in the inbox.
    """
    tokens = await _log_in(tmp_path / "home", node, "alice", "bob", "carol")
    alice, bob = await tmux.two_panes((_chat(node, "alice"), _chat(node, "bob")), 100, 26)
    screens: dict[str, str] = {}
    await asyncio.gather(alice.shows("alice @", "connected"), bob.shows("bob @", "connected"))

    await _direct_chat(alice, bob)
    await _changes(alice, bob)
    screens["direct"] = still(await bob.calm())
    await _group(alice, bob)
    await _pins_and_deletion(alice, bob)
    await _invite(alice, bob)
    await _escape(bob)
    screens["group"] = still(await bob.calm())
    screens["members"] = still(await alice.shows("@carol admin", "@bob", "@alice owner (you)"))
    await alice.press("F3")
    screens["no-connection"] = await _restart(alice, bob, node)
    await _history(alice, bob, node, tokens["carol"])
    await _resize(alice, tmux)

    await alice.press("C-q")
    await _ended(tmp_path / "home", "alice")
    await bob.press("C-c")
    await _ended(tmp_path / "home", "bob")
    check_page(screens)


async def _direct_chat(alice: Pane, bob: Pane) -> None:
    await alice.press("F1")
    await alice.shows("Everywhere", "Esc: close")
    await alice.press("Escape")
    await alice.shows("no conversation", without="Esc: close")
    await alice.press("F5")
    await alice.shows("write to somebody")
    await alice.press("Enter")
    await alice.shows("type the beginning of a name")
    await alice.type("bo")
    await alice.shows("@bob")
    await alice.press("Enter")
    await alice.shows(" @bob", "no message yet", WRITING)
    await alice.type("안녕하세요 밥")
    screen = await alice.shows("안녕하세요 밥")
    column, row = await alice.cursor()
    line = screen.splitlines()[row]
    assert line.rstrip().endswith("안녕하세요 밥")
    # Wide letters take two cells: the cursor, where the input method opens its window, is behind them.
    begin = line.index("안")
    assert column == begin + 2 * 5 + 1 + 2
    await alice.press("Enter")
    await alice.shows("alice · ")
    await bob.shows("@alice", "(1)", "alice: 안녕하세요 밥")
    await bob.press("Enter")
    await bob.shows(" @alice", "  안녕하세요 밥", without="(1)")
    await bob.press("C-p")
    await bob.shows("▶ alice")
    await bob.press("r")
    await bob.shows("ANSWERING alice")
    await bob.type("반가워요")
    await bob.press("C-j")
    await bob.type("두 번째 줄")
    await bob.shows("두 번째 줄")
    await bob.press("Enter")
    await alice.shows("↳ answers alice: 안녕하세요 밥", "  반가워요", "  두 번째 줄")


async def _changes(alice: Pane, bob: Pane) -> None:
    await alice.press("Up")
    await alice.shows("EDITING")
    await alice.type(" (고침)")
    await alice.press("Enter")
    await bob.shows("안녕하세요 밥 (고침)", "edited")
    await bob.press("C-p", "Up")
    await bob.shows("▶ alice")
    await bob.press("+")
    await bob.shows("React: choose", "heart")
    await bob.press("Down", "Enter")
    await alice.shows("❤️ 1")
    await bob.shows("❤️ 1 (you)")
    await bob.press("a")
    await alice.shows("edited", without="❤️ 1")
    await bob.press("a")
    await alice.shows("❤️ 1")
    await bob.press("t")
    await bob.shows("› thread")
    await bob.say("스레드에서")
    await bob.shows("1 reply")
    await _escape(bob)
    await alice.shows("1 reply in the thread", "↳ in the thread of alice")


async def _group(alice: Pane, bob: Pane) -> None:
    await alice.press("F5")
    await alice.shows("make a group")
    await alice.press("Down", "Enter")
    await alice.shows("Title")
    await alice.type("여행")
    await alice.press("Enter")
    await alice.type("bob")
    await alice.press("Enter")
    await alice.shows(" #여행 · 2 members", WRITING)
    await bob.shows("#여행")
    await alice.type("@b")
    await alice.shows("Tab: [bob]")
    await alice.press("Tab")
    await alice.type("같이 가요 🎉")
    await alice.shows("@bob 같이 가요 🎉")
    await alice.press("Enter")
    await bob.shows("@(1)")
    await bob.press("F2", "Home", "Enter")
    await bob.shows(" #여행 · 2 members", "calls you", without="@(1)")


async def _pins_and_deletion(alice: Pane, bob: Pane) -> None:
    await alice.press("C-p")
    await alice.shows("▶ alice")
    await alice.press("p")
    await bob.shows("· pinned", "alice pinned a message")
    await bob.press("F4")
    await bob.shows("Pinned", "alice: @bob 같이 가요")
    await _escape(bob)
    await _escape(alice)
    await alice.say("지울 말")
    await bob.shows("  지울 말")
    await alice.press("C-p")
    await alice.shows("▶ alice", "지울 말")
    await alice.press("d")
    await alice.shows("Delete this message for everybody?")
    await alice.press("y")
    await bob.shows("(deleted)", without="  지울 말")
    await alice.shows("(deleted)")
    await _escape(alice)


async def _invite(alice: Pane, bob: Pane) -> None:
    await alice.press("F6")
    await alice.shows("For how many people")
    await alice.press("Enter")
    await alice.press("Enter")
    screen = await alice.shows("It is shown only now.")
    found = re.search(r"┃ (\S{30,}) +┃", screen)
    assert found is not None, screen
    await _escape(alice)
    await _be(alice, "carol")
    await alice.press("F5")
    await alice.shows("join a group by an invite's code")
    await alice.press("Down", "Down", "Enter")
    await alice.shows("The invite's code")
    await alice.type(found[1])
    await alice.press("Enter")
    await alice.shows(" #여행 · 3 members")
    await bob.shows("carol joined", "3 members")
    await _be(alice, "alice")
    await alice.shows("#여행")
    await alice.press("Home", "Enter")
    await alice.shows(" #여행 · 3 members")
    await alice.press("F3")
    await alice.shows("@carol")
    await alice.press("End", "Enter")
    await alice.shows("make @carol an admin")
    await alice.press("Down", "Enter")
    await bob.shows("alice made carol admin")


async def _be(pane: Pane, name: str) -> None:
    await pane.press("F7")
    screen = await pane.shows("Accounts", "bob @ 127", "carol @ 127")
    names = re.findall(r"(\w+) @ 127", screen.split("Accounts", 1)[1])
    await pane.press(*["Down"] * names.index(name), "Enter")
    await pane.shows(f"Parley · {name} @", "connected", without="Accounts")


async def _restart(alice: Pane, bob: Pane, node: NodeProcess) -> str:
    await node.stop()
    await asyncio.gather(alice.shows("NO CONNECTION"), bob.shows("NO CONNECTION"))
    await alice.say("끊긴 동안 쓴 말")
    screen = still(await alice.shows("sending …", "1 unsent", "NO CONNECTION, next try in"))
    await node.start()
    await asyncio.gather(
        alice.shows("connected", without="sending …"), bob.shows("connected", "끊긴 동안 쓴 말")
    )
    assert (await bob.screen()).count("  끊긴 동안 쓴 말") == 1
    return re.sub(r"next try in \d+ s", "next try in 2 s", screen)


async def _history(alice: Pane, bob: Pane, node: NodeProcess, carol: parley.Tokens) -> None:
    async with parley.connect(node.address, token=carol) as client:
        (group,) = [info async for info in client.channels() if info.title == "여행"]
        channel = client.channel(group.channel_id)
        for number in range(150):
            await channel.post(f"지난 이야기 {number}")
        await client.flush()
        await alice.shows("지난 이야기 149")
        await alice.press("PageUp", "PageUp")
        await alice.shows("  지난 이야기 ", without="  지난 이야기 149")
        before = await alice.calm()
        await channel.send("새 말")
    await bob.shows("  새 말")
    await alice.shows("새 말")  # In the list of conversations; the messages stay where they are.
    assert _stories(await alice.screen()) == _stories(before)
    await _until_top(alice)


async def _until_top(pane: Pane) -> None:
    async with asyncio.timeout(SEEN_SECONDS):
        while "the beginning" not in await pane.screen():
            await pane.press("PageUp")
            await asyncio.sleep(POLL_SECONDS)


def _stories(screen: str) -> list[str]:
    return re.findall(r"  지난 이야기 \d+", screen)


async def _resize(alice: Pane, tmux: Tmux) -> None:
    await _escape(alice)
    await alice.press("PageDown", "PageDown")
    await alice.shows("  지난 이야기", without="the beginning")
    before = _stories(await alice.calm())
    await tmux.do("resize-pane", "-t", alice.name, "-x", "60")
    # Narrow: the conversations give way to the messages, and the reader stays where he is.
    screen = await alice.shows(before[-3], without="@bob ")
    assert before[-3] in _stories(screen)
    await alice.press("F2")
    await alice.shows("@bob", "» #여행")
    await alice.press("F2")
