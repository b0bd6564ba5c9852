"""What the command's exit code says."""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """Exit codes of `parley`. Scripts may rely on them: a number never gets another meaning."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_LOGGED_IN = 4
    LOCAL_FILE = 5
    BAD_SETTINGS = 6
    CANNOT_LISTEN = 7
    DATA_IN_USE = 8
    DEFECT = 70
    INTERRUPTED = 130
    BROKEN_PIPE = 141


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "done (`parley up` and `parley server`: also after SIGTERM)",
    ExitCode.REFUSED: "the server refused; the line on stderr says why",
    ExitCode.USAGE: "the command line or the text given cannot be used",
    ExitCode.UNREACHABLE: "the server cannot be reached, or cannot answer now",
    ExitCode.NOT_LOGGED_IN: "not logged in, or the log-in no longer works",
    ExitCode.LOCAL_FILE: "a local file cannot be read or written",
    ExitCode.BAD_SETTINGS: "`up`, `server`: a setting is wrong",
    ExitCode.CANNOT_LISTEN: "`up`, `server`: the address cannot be listened on",
    ExitCode.DATA_IN_USE: "`up`, `server`: another process uses the data folder",
    ExitCode.DEFECT: "a defect of the command itself",
    ExitCode.INTERRUPTED: "ended by Ctrl-C",
    ExitCode.BROKEN_PIPE: "the reader of a pipe went away, as in `| head`",
}
"""One line per code, for `parley --help` and the documentation."""


def exit_code_lines() -> list[str]:
    """The codes and their meanings, one aligned line each."""
    return [f"{code.value:>3}  {MEANINGS[code]}" for code in ExitCode]
