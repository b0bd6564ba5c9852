"""The machine that is measured on: facts for the record, which core belongs to whom, what it must allow."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import statistics
import subprocess
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("grpcio", "protobuf", "uvloop", "apsw", "hpack", "grpclib", "websockets")
SPARE_FILES = 200
"""Files that a process needs beside its sockets."""


class MachineUnfit(Exception):
    """The machine does not allow what was asked for. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores the node and the generators run on. Empty: no pinning, the machine has one core only."""

    node: frozenset[int]
    generator: frozenset[int]

    @staticmethod
    def divide() -> Cores:
        """One core for the node, another for the generators, of those this process may use."""
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) < 2:
            return Cores(frozenset(), frozenset())
        return Cores(frozenset(usable[:1]), frozenset(usable[1:2]))


@contextlib.contextmanager
def on_cores(cores: frozenset[int]) -> Iterator[None]:
    """Processes started within the block run on these cores; this one does too, until the block ends."""
    before = os.sched_getaffinity(0)
    if cores:
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def require_files(sockets: int) -> None:
    """Raise the limit of open files as far as allowed. Raises MachineUnfit if that is not enough."""
    needed = sockets + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise MachineUnfit(
                f"{sockets} sessions need {needed} open files, and `ulimit -n` allows {hard}. "
                f"Raise it (as root: ulimit -n {needed}), or choose other scenarios (--only)."
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and all its threads so far, to the nanosecond. Raises OSError if it is gone."""
    # The kernel's name for "CPU clock of that process": see clock_getcpuclockid(3).
    return time.clock_gettime((~pid << 3) | 2)


def sync_milliseconds(folder: Path, tries: int = 50) -> float:
    """Median time of an fdatasync after writing 4 KiB in this folder."""
    path = folder / "sync-probe"
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(tries):
            file.write(b"\0" * 4096)
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - started)
    path.unlink()
    return statistics.median(times) * 1e3


def host_facts(folder: Path) -> dict[str, object]:
    """What a reader needs to judge the figures. Names neither the host nor its folders."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "sqlite": apsw.sqlite_lib_version(),
        "open_files_limit": [soft, hard],
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "file_system": _file_system(folder),
        "fdatasync_ms": round(sync_milliseconds(folder), 3),
    }


def commit() -> dict[str, object]:
    """The commit that is measured and whether tracked files differ from it."""
    try:
        head = _git("rev-parse", "HEAD")
        return {"id": head, "dirty": bool(_git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.CalledProcessError):
        return {"id": "", "dirty": True}


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    path = folder.resolve()
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    return next((mounts[place] for place in (path, *path.parents) if place in mounts), "unknown")
