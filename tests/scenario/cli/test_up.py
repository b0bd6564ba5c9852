"""`parley up` and `parley server`: starting, saying what to type, leaving, and not starting."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import tempfile
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# The promise is two seconds. A machine that runs other tests beside this one gets twice as long.
_LEAVE_LIMIT_SECONDS = 4.0


async def _started(terminal: Any, *arguments: str, listen: str = "127.0.0.1:0") -> tuple[Any, str]:
    """`parley up`, on a free port unless said otherwise; the running command and its address."""
    up = await terminal.start("up", "--listen", listen, *arguments)
    line = await up.line()
    assert line.startswith(f"Parley is running on {listen.removesuffix('0')}"), await up.ended()
    return up, line.split()[4].rstrip(".")


@pytest.fixture(params=["a port", "a socket"])
def listen(request: pytest.FixtureRequest) -> Iterator[str]:
    # The path of a socket may have 107 bytes: pytest's own folders can be longer.
    with tempfile.TemporaryDirectory() as folder:
        yield "127.0.0.1:0" if request.param == "a port" else f"unix:{folder}/node.sock"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
async def test_up_leaves_within_two_seconds_also_with_a_client_connected(
    terminal: Any, number: signal.Signals, code: int
) -> None:
    """Planted: waiting for open streams to end by themselves passed the two seconds."""
    up, terminal.environ["PARLEY_SERVER"] = await _started(terminal)
    await terminal.sign_up("alice")
    tail = await terminal.start("tail")
    await tail.error_line()
    began = time.monotonic()
    done = await up.end(number)
    took = time.monotonic() - began
    assert done.code == code
    assert took < _LEAVE_LIMIT_SECONDS
    assert "Traceback" not in done.err
    assert await tail.error_line() == "The connection is gone. Trying again …"
    ended = await tail.end(signal.SIGINT)
    assert (ended.code, ended.err) == (130, "")


async def test_what_up_says_can_be_typed(terminal: Any, listen: str) -> None:
    """Every command line in the banner runs. Planted: a missing --server was caught here, and a unix socket
    that is no server address to the commands.
    """
    up, address = await _started(terminal, listen=listen)
    commands: list[str] = []
    while not (line := await up.line()).startswith("More: "):
        if line.startswith("  "):
            commands.append(line.strip())
    assert len(commands) == 4 and all(address in command for command in commands)
    for command in (commands[0], commands[2], commands[3]):
        words = shlex.split(command)
        arguments = words[words.index("parley_cli") + 1 :]
        password = ["--password-stdin"] if "signup" in arguments else []
        await terminal.ok(*arguments, *password, stdin=b"a long password\n" if password else None)
    words = shlex.split(commands[1])
    tail = await terminal.start(*words[words.index("parley_cli") + 1 :])
    assert await tail.error_line() == "Listening as alice. Ctrl-C ends."
    await up.end(signal.SIGTERM)


async def test_data_lies_in_one_folder_that_one_process_uses(terminal: Any) -> None:
    up, _ = await _started(terminal)
    second = await terminal.run("up", "--listen", "127.0.0.1:0")
    assert (second.code, second.out) == (8, "")
    assert second.err.startswith("parley: ") and second.err.count("\n") == 1 and "parley-data" in second.err
    token = terminal.folder / "parley-data" / "operator.token"
    assert token.stat().st_mode & 0o777 == 0o600
    await up.end(signal.SIGTERM)
    again, _ = await _started(terminal)
    await again.end(signal.SIGTERM)


async def test_server_logs_and_says_nothing_else(terminal: Any) -> None:
    server = await terminal.start("server", "--listen", "127.0.0.1:0", "--data", "here")
    while json.loads(await server.error_line())["event"] != "node serves":
        pass
    done = await server.end(signal.SIGTERM)
    assert (done.code, done.out) == (0, "")
    assert all(json.loads(line) for line in done.err.splitlines())
    assert (terminal.folder / "here" / "operator.token").exists()


async def test_what_keeps_a_node_from_starting_is_one_line(terminal: Any) -> None:
    """Planted: gRPC's own log line beside ours was caught by the count of lines; the words for a port in use
    for every address that cannot be listened on.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (terminal.folder / "bad.toml").write_text("auth = 3\n")
        (terminal.folder / "broken.toml").write_text("listen =\n")
        (terminal.folder / "foreign").mkdir()
        (terminal.folder / "foreign" / "chat.db").write_text("this is no database, whatever its name says")
        (terminal.folder / "file").write_text("")
        for arguments, code, part in [
            (["up", "--listen", f"127.0.0.1:{port}"], 7, f"127.0.0.1:{port}: the port is in use."),
            (["up", "--listen", "192.0.2.1:0"], 7, "192.0.2.1:0: the address is not this machine's."),
            (["up", "--listen", "foo"], 6, "'foo' is no address: write HOST:PORT"),
            (["up", "--listen", "unix:bad.toml"], 7, "unix:bad.toml: the socket is in use by another"),
            (["up", "--listen", "unix:missing/x"], 7, "unix:missing/x: No such file or directory."),
            (["server", "--config", "nowhere.toml"], 6, "nowhere.toml"),
            (["up", "--config", "bad.toml"], 6, "auth"),
            (["up", "--config", "broken.toml"], 6, "broken.toml"),
            (["up", "--listen", "127.0.0.1:0", "--data", "foreign"], 5, "chat.db"),
            (["up", "--listen", "127.0.0.1:0", "--data", "file/below"], 5, "file"),
        ]:
            done = await terminal.run(*arguments)
            assert (done.code, done.out) == (code, ""), (arguments, done)
            assert done.err.startswith("parley: ") and done.err.count("\n") == 1 and part in done.err, done


async def test_tls_with_a_certificate_of_ones_own(terminal: Any, tls_files: Any) -> None:
    """Planted: the advice to start a server where one runs, to those who use no TLS or do not trust it."""
    certificate, key = tls_files
    (terminal.folder / "parley.toml").write_text(
        f'[tls]\ncertificate_file = "{certificate}"\nkey_file = "{key}"\n'
    )
    up, terminal.environ["PARLEY_SERVER"] = await _started(terminal, "--config", "parley.toml")
    password = b"password of alice\n"
    await terminal.ok("signup", "alice", "--password-stdin", "--tls-ca", str(certificate), stdin=password)
    # The log-in remembers how to trust this server.
    assert "alice" in await terminal.ok("whoami")
    plain = await terminal.run("login", "alice", "--password-stdin", stdin=password)
    assert plain.code == 3 and "add --tls, or --tls-ca FILE" in plain.err
    untrusted = await terminal.run("login", "alice", "--password-stdin", "--tls", stdin=password)
    assert untrusted.code == 3 and "--tls-ca FILE" in untrusted.err
    await up.end(signal.SIGTERM)


async def test_tls_to_a_server_without_it(terminal: Any) -> None:
    """Planted: the advice to start a server where one runs."""
    up, terminal.environ["PARLEY_SERVER"] = await _started(terminal)
    done = await terminal.run("login", "alice", "--password-stdin", "--tls", stdin=b"password of alice\n")
    assert done.code == 3 and "does not speak TLS. Leave --tls" in done.err
    await up.end(signal.SIGTERM)
