"""`parley` commands for messages that change, groups with rules, people and one's own account."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parley_server.testing.node_process import NodeProcess

Json = dict[str, Any]


def _objects(text: str) -> list[Json]:
    return [json.loads(line) for line in text.splitlines()]


async def test_a_message_and_what_becomes_of_it(node: NodeProcess, terminal: Any) -> None:
    """Both ways of showing it: as it happens, and afterwards. Planted: a message shown without its marks."""
    terminal.environ["PARLEY_SERVER"] = node.address
    await terminal.sign_up("alice", "bob")
    bob = await terminal.start("--as", "bob", "tail")
    await bob.error_line()

    async def alice(*arguments: str) -> str:
        shown: str = await terminal.ok("--as", "alice", *arguments)
        return shown

    sent = json.loads(await alice("send", "@bob", "first", "--json"))
    seq = str(sent["seq"])
    assert await alice("edit", "@bob", seq, "second") == f"edited message {seq}\n"
    assert await alice("react", "@bob", seq, "👍") == f"put 👍 on message {seq}\n"
    assert await alice("pin", "@bob", seq) == f"pinned message {seq}\n"
    await terminal.ok("--as", "bob", "send", "@alice", "an answer", "--reply-to", seq)
    await terminal.ok("--as", "bob", "send", "@alice", "in the thread", "--thread", seq)
    again = json.loads(await alice("react", "@bob", seq, "👍", "--json"))
    assert again["duplicate"] is True
    for said in (
        "* alice began the conversation",
        "alice: first",
        f"alice (edits {seq}): second",
        f"* alice put 👍 on message {seq}",
        f"* alice pinned message {seq}",
        f"bob (answers {seq}): an answer",
        f"bob (in the thread of {seq}): in the thread",
    ):
        assert (await bob.line()).endswith(f" [@alice] {said}")

    shown = (await alice("history", "@bob", "--numbers")).splitlines()
    assert shown[0].endswith(f" {seq} alice (edited, pinned, 1 in its thread, 👍 1): second")
    (found,) = _objects(await alice("pins", "@bob", "--json"))
    assert (found["text"], found["edited"], found["pinned"]) == ("second", True, True)
    assert found["reactions"] == [{"emoji": "👍", "count": 1, "own": True}]
    thread = _objects(await terminal.ok("--as", "bob", "thread", "@alice", seq, "--json"))
    assert [message["text"] for message in thread] == ["second", "in the thread"]

    refused = await terminal.run("--as", "bob", "edit", "@alice", seq, "mine now")
    assert (refused.code, refused.out) == (1, "") and refused.err.count("\n") == 1
    await alice("unpin", "@bob", seq)
    await alice("unreact", "@bob", seq, "👍")
    assert await alice("delete", "@bob", seq) == f"deleted message {seq}\n"
    for person, peer in (("alice", "@bob"), ("bob", "@alice")):
        everything = await terminal.ok("--as", person, "history", peer)
        assert f"* {seq}, a message of alice, was deleted" in everything
        assert "first" not in everything and "second" not in everything
    assert _objects(await alice("history", "@bob", "--json"))[0]["deleted"] is True


async def test_a_group_with_rules(node: NodeProcess, terminal: Any) -> None:
    """From its settings to its end. Planted: a group deleted without --yes."""
    terminal.environ["PARLEY_SERVER"] = node.address
    await terminal.sign_up("alice", "bob", "carol")

    async def alice(*arguments: str) -> str:
        shown: str = await terminal.ok("--as", "alice", *arguments)
        return shown

    await alice("group", "create", "trip", "@bob")
    assert await alice("group", "update", "#trip", "--title", "jeju", "--slow-mode", "0") == (
        "changed the group #jeju\n"
    )
    changed = json.loads(await alice("group", "update", "#jeju", "--description", "바다", "--json"))
    assert changed["description"] == "바다"
    assert (await terminal.run("--as", "alice", "group", "update", "#jeju")).code == 2
    refused = await terminal.run("--as", "bob", "invite", "create", "#jeju")
    assert refused.code == 1 and "admin" in refused.err
    assert await alice("group", "role", "#jeju", "@bob", "admin") == "bob is admin now\n"

    invite = json.loads(
        await terminal.ok("--as", "bob", "invite", "create", "#jeju", "--uses", "2", "--json")
    )
    assert (await terminal.ok("--as", "carol", "join", invite["code"])).startswith("joined #jeju")
    (listed,) = _objects(await alice("invite", "list", "#jeju", "--json"))
    assert (listed["invite_id"], listed["uses"], listed["creator"]) == (invite["invite_id"], 1, "bob")
    assert "1 of 2" in await alice("invite", "list", "#jeju")
    assert invite["code"] not in json.dumps(listed)
    await alice("invite", "revoke", "#jeju", invite["invite_id"])
    assert await alice("invite", "list", "#jeju", "--json") == ""

    assert await alice("group", "ban", "#jeju", "@carol") == "banned carol\n"
    (ban,) = _objects(await alice("group", "bans", "#jeju", "--json"))
    assert (ban["user"], ban["actor"]) == ("carol", "alice")
    code = (await alice("invite", "create", "#jeju")).strip()
    kept_out = await terminal.run("--as", "carol", "join", code)
    assert (kept_out.code, kept_out.out) == (1, "")
    await alice("group", "unban", "#jeju", "@carol")
    await terminal.ok("--as", "carol", "join", code)

    await alice("send", "#jeju", "@bob, @carol: hello", "--mention", "@bob", "--mention-all")
    (message,) = _objects(await terminal.ok("--as", "carol", "history", "#jeju", "--json"))
    assert message["mention_all"] and len(message["mentions"]) == 1

    assert (await terminal.run("--as", "alice", "group", "delete", "#jeju")).code == 2
    assert await alice("group", "delete", "#jeju", "--yes") == "deleted #jeju\n"
    assert (await terminal.run("--as", "bob", "history", message["channel_id"])).out == ""


async def test_people_and_one_s_own_account(node: NodeProcess, terminal: Any) -> None:
    """Down to the account's end, which is forgotten here too. Planted: the log-in left in its file."""
    terminal.environ["PARLEY_SERVER"] = node.address
    await terminal.sign_up("alice", "bob")

    async def alice(*arguments: str, stdin: bytes | None = None) -> str:
        shown: str = await terminal.ok("--as", "alice", *arguments, stdin=stdin)
        return shown

    assert await alice("contact", "add", "@bob") == "added bob to your contacts\n"
    assert [each["username"] for each in _objects(await alice("contact", "list", "--json"))] == ["bob"]
    await alice("contact", "remove", "@bob")
    assert await alice("contact", "list", "--json") == ""
    await alice("send", "@bob", "what I said")
    assert await alice("block", "@bob") == "blocked bob\n"
    assert "@bob" in await alice("blocked")
    assert (await terminal.run("--as", "bob", "send", "@alice", "hello?")).code == 1
    await alice("unblock", "@bob")
    assert await alice("blocked", "--json") == ""

    copy = Path(terminal.folder) / "alice.json"
    assert (await alice("export", str(copy))).startswith(f"wrote {copy}, ")
    assert "what I said" in json.dumps(json.loads(copy.read_text()), ensure_ascii=False)
    assert copy.stat().st_mode & 0o777 == 0o600
    nowhere = await terminal.run("--as", "alice", "export", str(copy / "below"))
    assert nowhere.code == 5 and nowhere.err.count("\n") == 1

    both = b"password of alice\na newer password\n"
    assert await alice("password", "change", "--password-stdin", stdin=both) == "changed the password\n"
    wrong = await terminal.run(
        *("--as", "alice", "password", "change", "--password-stdin"),
        stdin=b"not this one\nanother password\n",
    )
    assert wrong.code == 1 and wrong.err.count("\n") == 1
    token = str(node.data / "operator.token")
    reset = await terminal.ok(
        *("admin", "user", "reset-password", "@bob", "--token-file", token, "--password-stdin"),
        stdin=b"password by the operator\n",
    )
    assert reset.startswith("bob has a new password")
    assert (await terminal.run("--as", "bob", "channels")).code == 4
    await terminal.ok("login", "bob", "--password-stdin", stdin=b"password by the operator\n")

    assert (await terminal.run("--as", "alice", "account", "delete")).code == 2
    newest = b"a newer password\n"
    gone = await alice("account", "delete", "--yes", "--password-stdin", stdin=newest)
    assert gone.startswith("deleted the account alice")
    forgotten = await terminal.run("--as", "alice", "whoami")
    assert forgotten.code == 4 and "no log-in of alice" in forgotten.err


async def test_care_of_a_stopped_folder(node: NodeProcess, terminal: Any) -> None:
    """Refused while a node runs; afterwards all is as it was. Planted: a folder in use told as a defect."""
    terminal.environ |= {"PARLEY_SERVER": node.address, "PARLEY_AS": "alice"}
    await terminal.sign_up("alice", "bob")
    await terminal.ok("send", "@bob", "before")
    history = await terminal.ok("history", "@bob", "--json")
    refused = await terminal.run("admin", "rebuild", str(node.data))
    assert refused.code == 8 and refused.err.count("\n") == 1 and "Stop the node" in refused.err
    await node.stop()
    rebuilt = await terminal.run("admin", "rebuild", str(node.data))
    assert (rebuilt.code, rebuilt.out) == (0, f"rebuilt {node.data}: 1 channels\n")
    assert "1 of 1 channels" in rebuilt.err
    assert await terminal.ok("admin", "compact", str(node.data)) == f"compacted {node.data}\n"
    nothing = await terminal.run("admin", "compact", str(node.data / "nothing"))
    assert nothing.code == 5 and nothing.err.count("\n") == 1
    await node.start()
    assert await terminal.ok("history", "@bob", "--json") == history


async def test_a_conversation_is_muted_and_heard_again(node: NodeProcess, terminal: Any) -> None:
    """`channels` says it, in a word and in JSON; messages come all the same."""
    terminal.environ["PARLEY_SERVER"] = node.address
    await terminal.sign_up("alice", "bob")
    await terminal.ok("--as", "bob", "send", "@alice", "hello")
    assert await terminal.ok("--as", "alice", "mute", "@bob", "--hours", "8") == "muted for 8 h\n"
    assert "1 (muted)" in await terminal.ok("--as", "alice", "channels")
    assert await terminal.ok("--as", "alice", "mute", "@bob") == "muted\n"
    (line,) = _objects(await terminal.ok("--as", "alice", "channels", "--json"))
    assert line["mute_until_ms"] == 253_402_300_799_000
    assert await terminal.ok("--as", "alice", "unmute", "@bob") == "no longer muted\n"
    (line,) = _objects(await terminal.ok("--as", "alice", "channels", "--json"))
    assert (line["mute_until_ms"], line["unread_count"]) == (None, 1)
