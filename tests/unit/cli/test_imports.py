"""The command starts fast: what a command does not need is not imported."""

from __future__ import annotations

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
from parley_cli.main import run
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
