"""Run the tests that need a node on both transports, and see that as many pass on one as on the other.

    python tools/both_transports.py            scenarios, access and robustness, some 20 minutes each time
    python tools/both_transports.py PATH …     these tests only; what stands behind -- goes to pytest
    python tools/both_transports.py --passed-on-wire PATH …     on grpcio only: all of them must pass

Exit code 0 when all pass on both in equal numbers, else 1.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

TRANSPORTS = ("wire", "grpcio")
PATHS = ("tests/scenario", "tests/robustness")
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of one run's tests."""

    passed: int
    failed: int
    skipped: int

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def run(transport: str, arguments: list[str]) -> Counts:
    """Run pytest with every node on this transport."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junit-xml={report}", *arguments]
        subprocess.run(command, cwd=ROOT, env={**os.environ, "PARLEY_TEST_TRANSPORT": transport})
        if not report.exists():
            return Counts(0, 1, 0)
        return counts_of(report.read_text(encoding="utf-8"))


def collected(arguments: list[str]) -> Counts:
    """As if all of these tests had passed."""
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", *arguments]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    return Counts(sum("::" in line for line in found.splitlines()), 0, 0)


def counts_of(report: str) -> Counts:
    """The counts of a JUnit report. A test that passed and whose end failed counts as failed."""
    passed = failed = skipped = 0
    for case in ElementTree.fromstring(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return Counts(passed, failed, skipped)


def main() -> int:
    """Run both. Returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("arguments", nargs="*", default=list(PATHS), metavar="PATH")
    parser.add_argument("--passed-on-wire", action="store_true", help="they all passed on wire just now")
    options = parser.parse_args()
    arguments = options.arguments
    found = {}
    for transport in TRANSPORTS:
        if options.passed_on_wire and transport == "wire":
            found[transport] = collected(arguments)
            continue
        print(f"== {transport}", flush=True)
        found[transport] = run(transport, arguments)
    for transport, counts in found.items():
        print(f"{transport:7} {counts}")
    wire, grpcio = found.values()
    if wire == grpcio and wire.passed and not wire.failed:
        return 0
    print("the transports differ, or something failed", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
