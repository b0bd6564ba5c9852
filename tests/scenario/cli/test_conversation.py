"""Two and three people talk through `parley` commands, each a real process, with a real node."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import parley

if TYPE_CHECKING:
    from parley_server.testing.node_process import NodeProcess

GREETING = "안녕하세요, 앨리스! 👩‍👩‍👧‍👦 café\u0301"


def _events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


async def test_two_people_talk_and_history_survives_a_restart(node: NodeProcess, terminal: Any) -> None:
    """The README's story. Planted: `tail` that took heads for shown lost the first message."""
    terminal.environ["PARLEY_SERVER"] = node.address
    await terminal.sign_up("alice", "지민")

    tail = await terminal.start("--as", "alice", "tail")
    assert await tail.error_line() == "Listening as alice. Ctrl-C ends."
    followed = await terminal.start("--as", "지민", "tail", "@alice", "--json")
    assert await followed.error_line() == "Listening as 지민. Ctrl-C ends."

    assert (
        await terminal.ok("--as", "지민", "send", "@alice", GREETING)
        == "sent, number 1 in this conversation\n"
    )
    assert (await tail.line()).endswith(" [@지민] * 지민 began the conversation")
    assert (await tail.line()).endswith(f" [@지민] 지민: {GREETING}")
    # Escapes, a forged line, and a line feed at the end: exact in JSON, harmless on a terminal.
    nasty = "one\n23:59:59 [@지민] 지민: forged\x1b]0;title\x07\r\n\u202ex\n"
    await terminal.ok("send", "--as", "alice", "@지민", stdin=nasty.encode())
    assert (await tail.line()).endswith(" [@지민] alice: one")
    assert await tail.line() == "    23:59:59 [@지민] 지민: forged␛]0;title␇"
    assert await tail.line() == "    <U+202E>x"

    texts: list[str] = []
    while len(texts) < 2:
        event = json.loads(await followed.line())
        if event["kind"] == "message":
            texts.append(event["text"])
    assert texts == [GREETING, nasty]

    inbox = _events(await terminal.ok("--as", "alice", "channels", "--json"))
    assert [(entry["label"], entry["unread_count"]) for entry in inbox] == [("@지민", 2)]
    assert "@지민" in await terminal.ok("--as", "alice", "channels")
    await terminal.ok("--as", "alice", "read", "@지민")
    inbox = _events(await terminal.ok("--as", "alice", "channels", "--json"))
    assert inbox[0]["unread_count"] == 0

    await node.stop()
    assert await tail.error_line() == "The connection is gone. Trying again …"
    await node.start()
    assert await tail.error_line() == "Connected again."
    await terminal.ok("--as", "지민", "send", "@alice", "다시")
    assert (await tail.line()).endswith(" [@지민] 지민: 다시")

    history = _events(await terminal.ok("--as", "alice", "history", "@지민", "--json"))
    assert [event["text"] for event in history] == [GREETING, nasty, "다시"]
    assert [event["message_no"] for event in history] == [1, 2, 3]
    shown = await terminal.ok("--as", "alice", "history", "@지민", "--limit", "1")
    assert shown.endswith(" 지민: 다시\n") and "[" not in shown

    # Ended before it is back, it would have said only the first.
    assert await followed.error_line() == "The connection is gone. Trying again …"
    assert await followed.error_line() == "Connected again."
    for running in (tail, followed):
        done = await running.end(signal.SIGINT)
        assert (done.code, done.err) == (130, "")


async def test_a_message_sent_again_with_its_id_is_written_once(node: NodeProcess, terminal: Any) -> None:
    """Planted: a new id for every attempt."""
    terminal.environ["PARLEY_SERVER"] = node.address
    await terminal.sign_up("alice", "bob")
    send = [
        "--as",
        "alice",
        "send",
        "@bob",
        "--client-message-id",
        parley.new_id(),
        "--json",
    ]
    first, again = [json.loads(await terminal.ok(*send, "Hello!")) for _ in range(2)]
    assert (first["duplicate"], again["duplicate"]) == (False, True)
    assert first | {"duplicate": True} == again
    other = await terminal.run(*send, "Something else")
    assert other.code == 1 and "used" in other.err


async def test_tail_says_whom_it_tries_to_reach(node: NodeProcess, terminal: Any) -> None:
    """Long before it gives up. Planted: no word until it did."""
    terminal.environ["PARLEY_SERVER"] = node.address
    await terminal.sign_up("alice")
    await node.stop()
    tail = await terminal.start("tail")
    assert await tail.error_line(patient=False) == f"Trying to reach {node.address} …"
    ended = await tail.end(signal.SIGINT)
    assert (ended.code, ended.out, ended.err) == (130, "", "")


async def test_a_file_of_100_000_characters_goes_through_byte_for_byte(
    node: NodeProcess, terminal: Any
) -> None:
    terminal.environ |= {"PARLEY_SERVER": node.address, "PARLEY_AS": "alice"}
    await terminal.sign_up("alice", "bob")
    unit = "가나다 👍🏽 é\u0301\t\x07\r\n"
    text = (unit * (100_000 // len(unit) + 1))[:100_000]
    sent = json.loads(await terminal.ok("send", "@bob", "--json", stdin=text.encode()))
    assert (sent["message_no"], sent["duplicate"]) == (1, False)
    (event,) = _events(await terminal.ok("--as", "bob", "history", "@alice", "--json"))
    assert event["text"].encode() == text.encode()
    assert event["client_message_id"] == sent["client_message_id"]

    refused = await terminal.run("send", "@bob", stdin=(text + "!").encode())
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.count("\n") == 1 and "100001" in refused.err


async def test_a_group_of_three(node: NodeProcess, terminal: Any) -> None:
    terminal.environ["PARLEY_SERVER"] = node.address
    await terminal.sign_up("alice", "bob", "carol")
    created = json.loads(
        await terminal.ok("--as", "alice", "group", "create", "제주 여행 🏝️", "@bob", "--json")
    )
    carol = await terminal.start("--as", "carol", "tail")
    await carol.error_line()
    added = await terminal.ok("--as", "alice", "group", "add", "#제주 여행 🏝️", "@carol")
    assert added == "#제주 여행 🏝️ has 3 members now\n"
    assert (await carol.line()).endswith(" [#제주 여행 🏝️] * alice added carol")

    for name in ("alice", "bob", "carol"):
        await terminal.ok("--as", name, "send", "#제주 여행 🏝️", f"{name} 왔어요")
    for name in ("alice", "bob", "carol"):
        assert (await carol.line()).endswith(f" [#제주 여행 🏝️] {name}: {name} 왔어요")

    members = _events(await terminal.ok("--as", "bob", "group", "members", created["channel_id"], "--json"))
    assert {member["user"]: member["role"] for member in members} == {
        "alice": "owner",
        "bob": "member",
        "carol": "member",
    }
    refused = await terminal.run("--as", "bob", "group", "remove", "#제주 여행 🏝️", "@carol")
    assert refused.code == 1 and refused.err.startswith("parley: ")
    await terminal.ok("--as", "alice", "group", "remove", "#제주 여행 🏝️", "@carol")
    assert (await carol.line()).endswith(" * alice removed carol")
    await terminal.ok("--as", "alice", "send", created["channel_id"], "without carol")
    gone = await terminal.run("--as", "carol", "send", created["channel_id"], "still here?")
    assert gone.code == 1 and gone.err.startswith("parley: No such channel")
    assert "without carol" not in (await terminal.run("--as", "carol", "history", created["channel_id"])).out
    await terminal.ok("--as", "bob", "group", "leave", "#제주 여행 🏝️")
    assert "bob" not in await terminal.ok("--as", "alice", "group", "members", "#제주 여행 🏝️")


async def test_tail_shows_history_first_and_nothing_twice(node: NodeProcess, terminal: Any) -> None:
    terminal.environ["PARLEY_SERVER"] = node.address
    await terminal.sign_up("alice", "bob", "carol")
    for number in range(3):
        await terminal.ok("--as", "bob", "send", "@alice", f"bob {number}")
        await terminal.ok("--as", "carol", "send", "@alice", f"carol {number}")
    everything = await terminal.start("--as", "alice", "tail", "--history", "3", "--json")
    assert [json.loads(await everything.line())["text"] for _ in range(3)] == ["carol 1", "bob 2", "carol 2"]
    await everything.error_line()
    only_bob = await terminal.start("--as", "alice", "tail", "@bob", "--history", "10", "--json")
    assert [json.loads(await only_bob.line())["text"] for _ in range(3)] == ["bob 0", "bob 1", "bob 2"]
    await only_bob.error_line()
    await terminal.ok("--as", "carol", "send", "@alice", "not for this one")
    await terminal.ok("--as", "bob", "send", "@alice", "bob 3")
    assert json.loads(await only_bob.line())["text"] == "bob 3"
    assert [json.loads(await everything.line())["text"] for _ in range(2)] == ["not for this one", "bob 3"]


async def test_a_reader_that_goes_away_is_no_error(node: NodeProcess, terminal: Any) -> None:
    """As in `parley history @bob | head -n 1`. Planted: letting BrokenPipeError pass made a line there."""
    terminal.environ |= {"PARLEY_SERVER": node.address, "PARLEY_AS": "alice"}
    await terminal.sign_up("alice", "bob")
    for _ in range(3):
        await terminal.ok("send", "@bob", stdin=b"x" * 100_000)
    reading_end, writing_end = os.pipe()
    os.close(reading_end)
    done = await terminal.run("history", "@bob", "--json", output=writing_end)
    assert (done.code, done.err) == (141, "")


async def test_only_writing_begins_a_conversation(node: NodeProcess, terminal: Any) -> None:
    """To look for a conversation that never was is told, and the other user never sees that somebody looked.

    Planted once: all commands made the direct channel, and it stood in the other user's list.
    """
    terminal.environ["PARLEY_SERVER"] = node.address
    await terminal.sign_up("alice", "bob")
    for arguments in (
        ["history", "@bob"],
        ["read", "@bob"],
        ["group", "members", "@bob"],
        ["group", "leave", "@bob"],
    ):
        done = await terminal.run("--as", "alice", *arguments)
        assert (done.code, done.out) == (1, "")
        assert "parley send @bob" in done.err
    assert await terminal.ok("--as", "bob", "channels", "--json") == ""
    await terminal.ok("--as", "alice", "send", "@bob", "now it begins")
    assert "now it begins" in await terminal.ok("--as", "bob", "history", "@alice")
