"""Structured fuzzing of the core, in both roles: mostly legal conversations with something wrong in them.

`python -m parley_wire.testing.fuzz --frames 10000000 --seed 1` prints what it did; a failure names the seed
of its case, which `replay` plays again.
"""

from __future__ import annotations

import argparse
import sys
import time

from parley_wire.testing.fuzz_case import FuzzCase, FuzzFailure, Report


def replay(seed: int) -> Report:
    """Play the case of one seed. Even seeds are servers, odd ones clients."""
    return FuzzCase(seed, client=bool(seed & 1)).play()


def fuzz(first_seed: int, frames_wanted: int, seconds: float) -> Report:
    """Play cases until so many frames were sent or seconds passed. Raises FuzzFailure with the seed."""
    total = Report()
    until = time.monotonic() + seconds
    seed = first_seed
    while total.frames < frames_wanted and time.monotonic() < until:
        try:
            report = replay(seed)
        except Exception as error:
            raise FuzzFailure(f"seed {seed}: {type(error).__name__}: {error}") from error
        total.cases += 1
        total.frames += report.frames
        total.past_settings += report.past_settings
        total.events += report.events
        total.failed_connections += report.failed_connections
        seed += 1
    return total


def main() -> int:
    """The command behind `make fuzz`."""
    parser = argparse.ArgumentParser(description="Fuzz the HTTP/2 core in both roles.")
    parser.add_argument("--frames", type=int, default=10_000_000)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started = time.monotonic()
    report = fuzz(arguments.seed, arguments.frames, arguments.seconds)
    share = 100 * report.past_settings / max(1, report.frames)
    sys.stdout.write(
        f"seeds {arguments.seed}..{arguments.seed + report.cases - 1}: {report.frames} frames, "
        f"{share:.1f} % past SETTINGS, {report.events} events, {report.cases} connections, "
        f"{report.failed_connections} given up, {time.monotonic() - started:.0f} s: nothing broken\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
