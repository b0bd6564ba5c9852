"""The `parley` command as people run it: a process of its own, with a home of its own."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    import signal
    from collections.abc import AsyncIterator

_LIMIT_SECONDS = 60.0

PROGRAM = (sys.executable, "-m", "parley_cli")

_ON_A_TERMINAL = (
    sys.executable,
    "-c",
    "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))",
)


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str


class RunningCommand:
    """A command that runs on, as `tail` and `up` do."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def ended_by_now(self) -> bool:
        """Whether it has ended."""
        return self._process.returncode is not None

    def has_open(self, path: Path) -> bool:
        """Whether it holds this file open now."""
        with contextlib.suppress(FileNotFoundError):
            for link in Path(f"/proc/{self._process.pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if link.readlink() == path:
                        return True
        return False

    async def error_line(self, *, patient: bool = True) -> str:
        """The next line that it writes to standard error.

        With `patient`, one that says that a connection takes long is passed over: a busy machine writes it.
        """
        assert self._process.stderr is not None
        line = await self._line(self._process.stderr)
        while patient and line.startswith("Trying to reach "):
            line = await self._line(self._process.stderr)
        return line

    async def line(self) -> str:
        """The next line that it writes to standard output."""
        assert self._process.stdout is not None
        return await self._line(self._process.stdout)

    async def line_with(self, part: str) -> str:
        """The next line of standard output that holds `part`."""
        while part not in (line := await self.line()):
            assert line, f"the output ended without {part!r}"
        return line

    async def end(self, number: signal.Signals) -> Done:
        """Send a signal and wait for the end."""
        self._process.send_signal(number)
        return await self.ended()

    async def ended(self) -> Done:
        """Wait for the end."""
        async with asyncio.timeout(_LIMIT_SECONDS):
            out, err = await self._process.communicate()
        assert self._process.returncode is not None
        return Done(self._process.returncode, (out or b"").decode(), err.decode())

    async def close(self) -> None:
        """End it if it still runs."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.communicate()

    async def _line(self, stream: asyncio.StreamReader) -> str:
        async with asyncio.timeout(_LIMIT_SECONDS):
            return (await stream.readline()).decode().rstrip("\n")


class Terminal:
    """Runs commands with one home folder and one set of environment variables."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home = home
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
        # So few that no machine's limit of open files makes a node warn.
        self.environ = kept | {"PARLEY_HOME": str(home), "PARLEY_LIMITS__STREAMS": "100"}
        self._running: list[RunningCommand] = []

    async def start(
        self, *arguments: str, stdin: bytes | None = None, output: int | None = None
    ) -> RunningCommand:
        """Start a command. `stdin` None: nothing to read. `output`: a descriptor for it, closed here."""
        process = await asyncio.create_subprocess_exec(
            *PROGRAM,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE if output is None else output,
            stderr=asyncio.subprocess.PIPE,
            env=self.environ,
            cwd=self.folder,
            limit=4 * 1024 * 1024,
            # No terminal to ask for a password: a prompt would wait for ever.
            start_new_session=True,
        )
        if output is not None:
            os.close(output)
        command = RunningCommand(process)
        self._running.append(command)
        if stdin is not None:
            assert process.stdin is not None
            process.stdin.write(stdin)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                await process.stdin.drain()
            process.stdin.close()
        return command

    async def run(self, *arguments: str, stdin: bytes | None = None, output: int | None = None) -> Done:
        """Run a command to its end."""
        return await (await self.start(*arguments, stdin=stdin, output=output)).ended()

    async def typed(self, *arguments: str, answers: list[tuple[str, str]]) -> Done:
        """Run a command on a terminal where each prompt gets its answer; `out` is all that it shows."""
        process = await asyncio.create_subprocess_exec(
            *_ON_A_TERMINAL,
            *PROGRAM,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self.environ,
            cwd=self.folder,
            start_new_session=True,
        )
        assert process.stdin is not None and process.stdout is not None
        shown = b""
        try:
            async with asyncio.timeout(_LIMIT_SECONDS):
                for prompt, answer in answers:
                    shown += await process.stdout.readuntil(prompt.encode())
                    process.stdin.write(f"{answer}\n".encode())
                shown += await process.stdout.read()
                return Done(await process.wait(), shown.decode(), "")
        finally:
            if process.returncode is None:
                process.kill()
            process.stdin.close()
            await process.wait()

    async def ok(self, *arguments: str, stdin: bytes | None = None) -> str:
        """Run a command that must succeed; its standard output."""
        done = await self.run(*arguments, stdin=stdin)
        assert done.code == 0, done
        return done.out

    async def sign_up(self, *names: str) -> None:
        """Open accounts whose passwords are "password of" the name."""
        for name in names:
            await self.ok("signup", name, "--password-stdin", stdin=f"password of {name}\n".encode())

    async def close(self) -> None:
        """End what still runs."""
        for command in self._running:
            await command.close()


@pytest.fixture
async def terminal(tmp_path: Path) -> AsyncIterator[Terminal]:
    """A terminal without a server: `terminal.environ["PARLEY_SERVER"]` names one."""
    folder = tmp_path / "folder"
    folder.mkdir()
    terminal = Terminal(tmp_path / "home", folder)
    yield terminal
    await terminal.close()


@pytest.fixture
def unused_tcp_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


@pytest.fixture
def tls_files(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "parley test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate_file, key_file
