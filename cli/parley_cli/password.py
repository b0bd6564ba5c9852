"""Passwords: typed without echo or read from standard input, never taken from the command line."""

from __future__ import annotations

import getpass
import sys

from parley_cli.exit_codes import ExitCode
from parley_cli.failure import CommandFailure

_LIMIT_BYTES = 4096


def read_password(*, from_stdin: bool, twice: bool) -> str:
    """The password, without the line feed that ended it.

    With `from_stdin` it is the first line of standard input. Else the terminal is asked, without echo, and
    with `twice` once more for a new password. Raises CommandFailure (USAGE) where there is neither.
    """
    if from_stdin:
        return _first_line(sys.stdin.buffer.readline(_LIMIT_BYTES + 1))
    if not _has_terminal():
        raise CommandFailure(
            ExitCode.USAGE,
            "there is no terminal to ask for the password",
            "Give it on standard input with --password-stdin",
        )
    password = getpass.getpass("Password: ")
    if twice and getpass.getpass("The same again: ") != password:
        raise CommandFailure(ExitCode.USAGE, "the two passwords differ", "Try again")
    return password


def read_passwords(*, from_stdin: bool) -> tuple[str, str]:
    """The old password and the new one: the first two lines of standard input, or asked for.

    The new one is asked for twice. Raises CommandFailure (USAGE) where there are none.
    """
    if from_stdin:
        lines = [sys.stdin.buffer.readline(_LIMIT_BYTES + 1) for _ in range(2)]
        return _first_line(lines[0]), _first_line(lines[1])
    old = read_password(from_stdin=False, twice=False)
    new = getpass.getpass("New password: ")
    if getpass.getpass("The same again: ") != new:
        raise CommandFailure(ExitCode.USAGE, "the two passwords differ", "Try again")
    return old, new


def _first_line(line: bytes) -> str:
    if len(line) > _LIMIT_BYTES:
        raise CommandFailure(ExitCode.USAGE, "the password is too long", "A password has 8 to 256 letters")
    stripped = line.removesuffix(b"\n").removesuffix(b"\r")
    if not stripped:
        raise CommandFailure(
            ExitCode.USAGE,
            "standard input holds no password",
            "Write it there, as `printf '%s' \"$PASSWORD\" | parley login NAME --password-stdin` does",
        )
    try:
        return stripped.decode()
    except UnicodeDecodeError as error:
        raise CommandFailure(ExitCode.USAGE, "the password is not UTF-8", "Check its encoding") from error


def _has_terminal() -> bool:
    try:
        with open("/dev/tty", "rb"):
            return True
    except OSError:
        return False
