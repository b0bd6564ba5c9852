"""How many files this process may have open: each connection is one."""

from __future__ import annotations

import resource

from parley_runtime.logs import get_logger

BESIDE_STREAMS = 500
"""For the stores, what listens, and connections that carry no stream."""

log = get_logger(__name__)


def provide_open_files() -> int:
    """Let this process open as many files as the system lets it without asking. How many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        # Few systems begin with more than 1,024, whatever they would allow: that many connections, and
        # the next ones get nowhere.
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        # macOS says "unlimited" and takes less. What there was stays.
        return soft
    return hard


def warn_of_too_few(streams: int, open_files: int) -> None:
    """Log one warning when so many streams, each on a connection of its own, need more."""
    if (needed := files_wanted(streams, open_files)) is not None:
        log.warning(
            "too few open files for as many streams as the settings allow: further connections get nowhere",
            open_files=open_files,
            needed=needed,
            streams=streams,
            advice=f"raise the limit (`ulimit -n {needed}` before the start, or LimitNOFILE={needed} in a "
            "systemd unit), or lower limits.streams",
        )


def files_wanted(streams: int, open_files: int) -> int | None:
    """How many open files so many streams need, None where `open_files` (-1 for any number) will do."""
    needed = streams + BESIDE_STREAMS
    return None if open_files == resource.RLIM_INFINITY or open_files >= needed else needed
