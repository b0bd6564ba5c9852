"""How a command fails: one line that says what happened and what to do, and an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_cli.exit_codes import ExitCode
from parley_cli.neutral import neutral_line

if TYPE_CHECKING:
    import parley


class CommandFailure(Exception):
    """A command did not do what was asked. It has printed nothing about it yet.

    `what` and `advice` are sentences without the full stop; `advice` may be empty where `what` says it all.
    """

    def __init__(self, exit_code: ExitCode, what: str, advice: str = "") -> None:
        super().__init__(what)
        self.exit_code = exit_code
        self.what = what
        self.advice = advice

    def line(self) -> str:
        """The one line for stderr, safe for a terminal, without a line feed."""
        sentences = [_sentence(self.what), _sentence(self.advice)]
        return neutral_line("parley: " + " ".join(part for part in sentences if part))


def _sentence(text: str) -> str:
    flat = " ".join(text.split())
    if not flat or flat.endswith((".", "!", "?")):
        return flat
    return flat + "."


_LOG_IN_AGAIN = "Log in again: parley login NAME"

# The server's message says what to do as far as the server can know. These add what only the command knows.
_ADVICE: dict[str, str] = {
    "TOKEN_MISSING": _LOG_IN_AGAIN,
    "TOKEN_INVALID": _LOG_IN_AGAIN,
    "TOKEN_EXPIRED": _LOG_IN_AGAIN,
    "DEVICE_REVOKED": _LOG_IN_AGAIN,
    "REFRESH_TOKEN_INVALID": _LOG_IN_AGAIN,
    "REFRESH_TOKEN_REUSED": _LOG_IN_AGAIN,
    "USERNAME_TAKEN": "If it is yours: parley login NAME",
    "OPERATOR_REQUIRED": "Name an operator's token with --token-file",
}

# Reasons of UNAUTHENTICATED that a new log-in would not mend.
_REFUSED_THOUGH_UNAUTHENTICATED = frozenset({"BAD_CREDENTIALS", "ACCOUNT_SUSPENDED"})


def failure_of(error: parley.ParleyError) -> CommandFailure:
    """Turn an error of the SDK into what the person at the terminal is told."""
    reason = str(error.reason or "")
    code = _code_name(error)
    message = error.message or reason or code
    advice = _ADVICE.get(reason, "")
    if error.retry_after_seconds:
        advice = f"Try again in {_seconds(error.retry_after_seconds)}"
    if code == "UNAUTHENTICATED" and reason not in _REFUSED_THOUGH_UNAUTHENTICATED:
        return CommandFailure(ExitCode.NOT_LOGGED_IN, message, advice)
    if code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
        return CommandFailure(ExitCode.UNREACHABLE, message, advice or "Try again")
    return CommandFailure(ExitCode.REFUSED, message, advice)


def _code_name(error: parley.ParleyError) -> str:
    name = getattr(error.code, "name", error.code)
    return str(name)


def _seconds(seconds: float) -> str:
    whole = max(1, round(seconds))
    return "1 second" if whole == 1 else f"{whole} seconds"
