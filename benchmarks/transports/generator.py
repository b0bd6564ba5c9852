"""The load generator's program: built with Go, once, from benchmarks/streamload."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from benchmarks.machine import ROOT, MachineUnfit

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = ROOT / "benchmarks" / "streamload"
PROGRAM = ROOT / ".tools" / "bin" / "streamload"


def built_generator(program: Path = PROGRAM) -> Path:
    """The program, built anew where its source is newer. Raises MachineUnfit without Go."""
    newest = max(path.stat().st_mtime for path in SOURCE.iterdir())
    if program.exists() and program.stat().st_mtime > newest:
        return program
    if shutil.which("go") is None:
        raise MachineUnfit(
            "the load generator of scenario g is written in Go, and there is no Go toolchain here. "
            "Install Go 1.25 or later, or choose other scenarios (--only)."
        )
    program.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["go", "build", "-trimpath", "-o", str(program), "."],
        cwd=SOURCE,
        env={**os.environ, "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise MachineUnfit(f"the load generator of scenario g does not build:\n{done.stderr}")
    return program
