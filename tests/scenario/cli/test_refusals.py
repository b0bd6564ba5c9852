"""Every failure is one line that says what to do, and an exit code of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from parley_server.testing.node_process import NodeProcess


def _assert_one_line(err: str) -> None:
    assert err.startswith("parley: ") and err.endswith(".\n") and err.count("\n") == 1, err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "part"),
    [
        (["send", "@alice", "hi there", "more"], None, 2, "quotes"),
        (["send"], None, 2, "TARGET"),
        (["send", "@", "hi"], None, 2, "user name"),
        (["send", "@alice"], b"\xff", 2, "not UTF-8"),
        (["history", "@alice", "--limit", "0"], None, 2, "--limit"),
        (["nonsense"], None, 2, "nonsense"),
        (["send", "--as"], None, 2, "--as needs a value"),
        (["--server", "http://x", "whoami"], None, 2, "HOST:PORT"),
        (["--server", "unix://h/x", "whoami"], None, 2, "unix:/PATH"),
        (["--server", "unix:/x", "--tls", "whoami"], None, 2, "Leave --tls"),
        (["--server", "unix:/x", "--tls-ca", "ca.pem", "whoami"], None, 2, "Leave --tls"),
        (["signup", "carol"], None, 2, "--password-stdin"),
        (["signup", "carol", "--password-stdin"], b"", 2, "no password"),
        (["whoami"], None, 4, "parley login"),
        (["--as", "bob", "tail"], None, 4, "parley login bob"),
        (["admin", "user", "suspend", "bob"], None, 5, "--token-file"),
        (["--tls-ca", "nowhere.pem", "login", "bob", "--password-stdin"], b"x\n", 5, "nowhere.pem"),
    ],
)
async def test_what_needs_no_server_is_said_without_one(
    terminal: Any, arguments: list[str], stdin: bytes | None, code: int, part: str
) -> None:
    terminal.environ["PARLEY_SERVER"] = "127.0.0.1:9"
    done = await terminal.run(*arguments, stdin=stdin)
    assert (done.code, done.out) == (code, "")
    _assert_one_line(done.err)
    assert part in done.err


async def test_a_server_that_is_not_there_is_exit_code_3(terminal: Any, unused_tcp_port: int) -> None:
    terminal.environ["PARLEY_SERVER"] = f"127.0.0.1:{unused_tcp_port}"
    done = await terminal.run("login", "bob", "--password-stdin", stdin=b"password of bob\n")
    assert done.code == 3
    _assert_one_line(done.err)
    assert f"cannot reach 127.0.0.1:{unused_tcp_port}" in done.err and "parley up" in done.err


async def test_refusals_of_the_server_are_exit_code_1(node: NodeProcess, terminal: Any) -> None:
    terminal.environ["PARLEY_SERVER"] = node.address
    await terminal.sign_up("alice")
    for arguments, stdin, part in [
        (["send", "@nobody", "hi"], None, "No such user: @nobody"),
        (["group", "create", "trip", "@alice", "@carol"], None, "No such user: @carol"),
        (["send", "@alice", "hi"], None, "another user"),
        (["send", "alice", "hi"], None, "@name"),
        (["devices", "--revoke", "mine"], None, "parley devices"),
        (["history", "#nothing"], None, "parley channels"),
        (["signup", "alice", "--password-stdin"], b"password of alice\n", "taken"),
        (["signup", "a b", "--password-stdin"], b"password of alice\n", "username"),
        (["signup", "bob", "--password-stdin"], b"short\n", "password"),
        (["login", "alice", "--password-stdin"], b"wrong password\n", "do not match"),
    ]:
        done = await terminal.run(*arguments, stdin=stdin)
        assert (done.code, done.out) == (1, ""), done
        _assert_one_line(done.err)
        assert part in done.err


async def test_who_speaks_is_never_guessed(node: NodeProcess, terminal: Any) -> None:
    terminal.environ["PARLEY_SERVER"] = node.address
    await terminal.sign_up("alice", "bob")
    done = await terminal.run("whoami")
    assert done.code == 2 and "alice, bob" in done.err
    _assert_one_line(done.err)
    assert json.loads(await terminal.ok("whoami", "--json", "--as", "BOB"))["username"] == "bob"
    await terminal.ok("logout", "--as", "bob")
    assert json.loads(await terminal.ok("whoami", "--json"))["username"] == "alice"


async def test_a_device_logged_out_elsewhere_is_exit_code_4(node: NodeProcess, terminal: Any) -> None:
    terminal.environ["PARLEY_SERVER"] = node.address
    await terminal.sign_up("alice")
    device_id = json.loads(await terminal.ok("whoami", "--json"))["device_id"]
    tail = await terminal.start("tail")
    await tail.error_line()
    await terminal.ok("devices", "--revoke", device_id)
    ended = await tail.ended()
    assert ended.code == 4
    _assert_one_line(ended.err)
    done = await terminal.run("whoami")
    assert done.code == 4 and "parley login" in done.err
    _assert_one_line(done.err)
    # Logging out what is logged out already only forgets it.
    await terminal.ok("logout")
    await terminal.ok("login", "alice", "--password-stdin", stdin=b"password of alice\n")
    assert [
        device["current"] for device in map(json.loads, (await terminal.ok("devices", "--json")).splitlines())
    ] == [True]


async def test_operators_open_and_suspend_accounts(node: NodeProcess, terminal: Any) -> None:
    terminal.environ["PARLEY_SERVER"] = node.address
    token = ["--token-file", str(node.data / "operator.token")]
    await terminal.ok(
        "admin", "user", "create", "dave", "--password-stdin", *token, stdin=b"password of dave\n"
    )
    await terminal.ok("login", "dave", "--password-stdin", stdin=b"password of dave\n")
    await terminal.ok("admin", "user", "suspend", "@dave", *token)
    refused = await terminal.run("login", "dave", "--password-stdin", stdin=b"password of dave\n")
    assert refused.code == 1
    await terminal.ok("admin", "user", "unsuspend", "@dave", *token)
    await terminal.ok("login", "dave", "--password-stdin", stdin=b"password of dave\n")

    (own,) = (terminal.home / "log-ins").rglob("*.json")
    access_token = json.loads(json.loads(own.read_text())["tokens"])["access_token"]
    not_an_operators = Path(terminal.folder) / "token"
    not_an_operators.write_text(access_token)
    not_an_operators.chmod(0o600)
    refused = await terminal.run("admin", "user", "suspend", "@dave", "--token-file", str(not_an_operators))
    assert refused.code == 1 and "--token-file" in refused.err
    _assert_one_line(refused.err)
    not_an_operators.chmod(0o644)
    refused = await terminal.run("admin", "user", "suspend", "@dave", "--token-file", str(not_an_operators))
    assert refused.code == 5 and "chmod 600" in refused.err


async def test_output_that_cannot_be_written_is_said(node: NodeProcess, terminal: Any) -> None:
    terminal.environ["PARLEY_SERVER"] = node.address
    await terminal.sign_up("alice")
    done = await terminal.run("whoami", output=os.open("/dev/full", os.O_WRONLY))
    assert done.code == 5 and "No space left" in done.err
    _assert_one_line(done.err)


async def test_the_password_is_asked_for_without_echo(node: NodeProcess, terminal: Any) -> None:
    """On a terminal of its own. Planted: input() instead of getpass showed the password."""
    terminal.environ["PARLEY_SERVER"] = node.address
    password = "a secret of 일곱 words"
    done = await terminal.typed(
        "signup", "alice", answers=[("Password: ", password), ("The same again: ", password)]
    )
    assert done.code == 0, done
    assert "signed up and logged in as alice" in done.out
    assert "secret" not in done.out
    await terminal.ok("login", "alice", "--password-stdin", stdin=f"{password}\n".encode())

    differs = await terminal.typed(
        "signup", "bob", answers=[("Password: ", password), ("The same again: ", "another secret")]
    )
    assert differs.code == 2 and "parley: the two passwords differ" in differs.out
