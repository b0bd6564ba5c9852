"""The command starts fast: what a command does not need is not imported."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys

import pytest

_HEAVY = (
    "grpc",
    "google.protobuf",
    "parley_server",
    "parley_runtime.settings",
    "uvloop",
    "apsw",
    "sqlalchemy",
)

_PROGRAM = """
import sys
from parley_cli.app import run
code = run(sys.argv[1:])
print(",".join(name for name in {heavy!r} if name in sys.modules), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["send", "--help"], 0),
        (["up", "--help"], 0),
        (["version"], 0),
        (["version", "--json"], 0),
        (["send", "@"], 2),
        (["--as", "nobody-here", "nonsense"], 2),
    ],
)
def test_neither_grpc_nor_a_role_is_imported_without_need(arguments: list[str], code: int) -> None:
    """Planted: `import grpc` at the top of a command's module was caught here."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(heavy=_HEAVY), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert done.stderr.splitlines()[-1:] == [""], done.stderr


def test_ctrl_c_is_quiet_while_the_command_is_still_loading() -> None:
    """Planted: importing the application at the top of the entry point made a traceback."""
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "parley_cli", "version"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stderr is not None
        # A pipe that is soon full: the command cannot end before it is read, however busy the machine is.
        fcntl.fcntl(process.stderr, fcntl.F_SETPIPE_SZ, 4096)
        while line := process.stderr.readline():
            if "typer._click.exceptions" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
        assert process.wait(60) == 130, rest
    assert "Traceback" not in rest
