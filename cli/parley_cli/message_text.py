"""The text of a message to send: from the command line, or from standard input byte for byte."""

from __future__ import annotations

from typing import BinaryIO

from parley_cli.exit_codes import ExitCode
from parley_cli.failure import CommandFailure

LIMIT_BYTES = 4 * 1024 * 1024
"""More is not read: no server takes a message of this size. Lower limits are for the server to say."""


def text_of_argument(argument: str) -> str:
    """The argument as typed. Raises CommandFailure (USAGE) when it is not UTF-8."""
    try:
        argument.encode()
    except UnicodeEncodeError as error:
        raise _not_utf8("the text") from error
    return argument


def read_text(stream: BinaryIO) -> str:
    """All of `stream` as text. Nothing is added, removed or changed: a line feed at the end is sent too.

    Raises CommandFailure (USAGE) when it is not UTF-8 or longer than LIMIT_BYTES.
    """
    content = stream.read(LIMIT_BYTES + 1)
    if len(content) > LIMIT_BYTES:
        raise CommandFailure(
            ExitCode.USAGE,
            f"standard input is longer than {LIMIT_BYTES // (1024 * 1024)} MiB",
            "A message has at most 100,000 letters",
        )
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise _not_utf8(f"standard input, at byte {error.start},") from error


def _not_utf8(what: str) -> CommandFailure:
    return CommandFailure(
        ExitCode.USAGE,
        f"{what} is not UTF-8",
        "Convert it first, as `iconv -f EUC-KR -t UTF-8` does",
    )
