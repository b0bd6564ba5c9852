"""The options that mean the same for every command, wherever they stand on the line."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from parley_cli.exit_codes import ExitCode
from parley_cli.failure import CommandFailure

DEFAULT_SERVER = "127.0.0.1:50051"
DEFAULT_PORT = 50051
UNIX = "unix:"
_SOCKET_PATH_LIMIT_BYTES = 107
"""What Linux takes; elsewhere it is a few bytes less, and connecting says so."""

WITH_VALUE = ("--server", "--as", "--tls-ca")
"""Global options that take a value."""

FLAGS = ("--tls",)
"""Global options that take none."""


@dataclass(frozen=True, slots=True)
class GlobalOptions:
    """Where to and as whom.

    `server` is HOST:PORT, or unix:/PATH. `tls_ca` names a file of PEM certificates to trust instead of the
    system's; setting it implies `tls`. Where the command line says nothing of TLS, a stored log-in may.
    """

    server: str = DEFAULT_SERVER
    as_name: str | None = None
    tls: bool = False
    tls_ca: Path | None = None


def hoist(arguments: Sequence[str]) -> list[str]:
    """Move global options to the front, so that they may stand anywhere before a bare `--`.

    Everything else keeps its order. Raises CommandFailure (USAGE) for one whose value is missing.
    """
    front: list[str] = []
    rest: list[str] = []
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        if argument == "--":
            rest.extend(arguments[position:])
            break
        if argument in WITH_VALUE:
            if position + 1 == len(arguments):
                raise CommandFailure(ExitCode.USAGE, f"{argument} needs a value", "See `parley --help`")
            front.extend(arguments[position : position + 2])
            position += 2
            continue
        if argument in FLAGS or argument.startswith(tuple(f"{name}=" for name in WITH_VALUE)):
            front.append(argument)
        else:
            rest.append(argument)
        position += 1
    return front + rest


def parse_server(text: str) -> str:
    """HOST:PORT from what was typed; the port may be left out. IPv6 addresses stand in brackets. Or
    unix:/PATH, the path made absolute.

    Raises CommandFailure (USAGE) for what cannot be an address.
    """
    if text.strip().startswith(UNIX):
        return _socket(text.strip().removeprefix(UNIX))
    host, colon, port = text.strip().rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text.strip(), str(DEFAULT_PORT)
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if (
        not bare
        or ("/" in bare)
        or (":" in bare and bare == host)
        or any(letter.isspace() for letter in bare)
    ):
        raise _bad_server(text)
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise _bad_server(text)
    return f"{host}:{int(port)}"


def _socket(path: str) -> str:
    # Two slashes would begin the name of a machine, three are none and a path, as in a URL.
    if not path or path.endswith("/") or (path.startswith("//") and not path.startswith("///")):
        raise _bad_server(UNIX + path)
    # A log-in is stored by this: it must not depend on the folder that a command is typed in.
    absolute = os.path.abspath(re.sub("^/+", "/", path))
    if len(os.fsencode(absolute)) > _SOCKET_PATH_LIMIT_BYTES:
        raise CommandFailure(
            ExitCode.USAGE,
            f"the path of a unix socket has at most {_SOCKET_PATH_LIMIT_BYTES} bytes, {absolute} has more",
            "Have the server listen on a shorter one",
        )
    return UNIX + absolute


def check_tls(server: str, *, tls: bool) -> None:
    """Raises CommandFailure (USAGE) for TLS on a unix socket: what stays on this machine is not encrypted."""
    if tls and server.startswith(UNIX):
        raise CommandFailure(
            ExitCode.USAGE, f"{server} is spoken to without TLS", "Leave --tls and --tls-ca out"
        )


def _bad_server(text: str) -> CommandFailure:
    return CommandFailure(
        ExitCode.USAGE,
        f"{text!r} is no server address",
        f"Write HOST:PORT, as in {DEFAULT_SERVER}, or unix:/PATH for a socket on this machine",
    )
