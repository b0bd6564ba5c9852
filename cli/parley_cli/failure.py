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


_LOG_IN_AGAIN = "Log in again with `parley login NAME`"

# The server's message says what to do as far as the server can know. These add what only the command knows.
_ADVICE: dict[str, str] = {
    "TOKEN_MISSING": _LOG_IN_AGAIN,
    "TOKEN_INVALID": _LOG_IN_AGAIN,
    "TOKEN_EXPIRED": _LOG_IN_AGAIN,
    "DEVICE_REVOKED": _LOG_IN_AGAIN,
    "REFRESH_TOKEN_INVALID": _LOG_IN_AGAIN,
    "REFRESH_TOKEN_REUSED": _LOG_IN_AGAIN,
    "CHANNEL_NOT_FOUND": "A user is written @name, a group '#title' in quotes",
    "DEVICE_NOT_FOUND": "`parley devices` lists them",
    "OPERATOR_REQUIRED": "Name an operator's token with --token-file",
}

# No server was there to give a reason of its own.
_NOBODY_ANSWERED = frozenset({"", "CONNECTION_LOST"})

# Reasons of UNAUTHENTICATED that a new log-in would not mend.
_REFUSED_THOUGH_UNAUTHENTICATED = frozenset({"BAD_CREDENTIALS", "ACCOUNT_SUSPENDED"})


def failure_of(error: parley.ParleyError, server: str) -> CommandFailure:
    """Turn an error of the SDK into what the person at the terminal is told. `server` is who was asked."""
    reason = error.reason
    code = error.code.name
    message = error.message or reason or code
    advice = _ADVICE.get(reason, "")
    if code == "UNAVAILABLE" and reason in _NOBODY_ANSWERED:
        return CommandFailure(ExitCode.UNREACHABLE, *_not_reached(_cause(message), server))
    if code == "DEADLINE_EXCEEDED" and not reason:
        return CommandFailure(ExitCode.UNREACHABLE, f"{server} did not answer in time", "Try again")
    if reason == "STORE_UNAVAILABLE":
        # The server's own words are for programs, which can repeat a call with its id.
        why = "cannot take anything, its disk is full" if "disk is full" in message else "did not answer"
        message = f"the store of {server} {why}: whether something was changed is not known"
        advice = "Look before you try again"
    elif error.retry_after_seconds:
        advice = f"Try again in {_seconds(error.retry_after_seconds)}"
    if code == "UNAUTHENTICATED" and reason not in _REFUSED_THOUGH_UNAUTHENTICATED:
        return CommandFailure(ExitCode.NOT_LOGGED_IN, message, advice)
    if code == "UNAVAILABLE":
        return CommandFailure(ExitCode.UNREACHABLE, message, advice or "Try again")
    return CommandFailure(ExitCode.REFUSED, message, advice)


# Of gRPC, about a connection that was there and ended without a word, or with none that was understood.
_CUT_OFF = ("Socket closed", "Connection reset", "Broken pipe", "before receiving SETTINGS")


def _not_reached(cause: str, server: str) -> tuple[str, str]:
    """What to say of a server to which there is no connection, and the advice. `cause` is gRPC's."""
    if "CERTIFICATE_VERIFY_FAILED" in cause:
        why = cause.rpartition("CERTIFICATE_VERIFY_FAILED: ")[2].partition(":")[0]
        return (
            f"the certificate of {server} is not trusted here ({why})",
            "Name a PEM file with the certificate, or the authority that signed it, by --tls-ca FILE",
        )
    if "Hostname Verification" in cause:
        return (
            f"the certificate of {server} is for another name",
            "Call the server by a name that its certificate is for: --server NAME:PORT",
        )
    if "WRONG_VERSION_NUMBER" in cause:
        return (
            f"{server} does not speak TLS",
            "Leave --tls and --tls-ca out; where a log-in remembers them, log in again without them",
        )
    if "andshake" in cause:
        return (
            f"cannot agree on TLS with {server} ({cause})",
            "If the server there speaks no TLS, leave --tls and --tls-ca out and log in again without them; "
            "if there is none, name another with --server HOST:PORT",
        )
    if any(part in cause for part in _CUT_OFF) and not server.startswith("unix:"):
        return (
            f"cannot talk to {server} ({cause})",
            "If the server there speaks TLS, add --tls, or --tls-ca FILE for a certificate of its own; "
            "if not, try again, or name another with --server HOST:PORT",
        )
    return (
        f"cannot reach {server} ({cause})",
        "Start a server there with `parley up`, or name another with --server HOST:PORT",
    )


def _cause(message: str) -> str:
    """The end of what gRPC says, without its words about how it went through the addresses."""
    return (
        message.rpartition("last error: ")[2]
        .removeprefix("UNKNOWN: ")
        .removeprefix("UNAVAILABLE: ")
        .rstrip(".")
    )


def _seconds(seconds: float) -> str:
    whole = max(1, round(seconds))
    return "1 second" if whole == 1 else f"{whole} seconds"
