"""Writing to standard output: at once, and with a clear end when nobody reads any more."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator

from parley_cli.exit_codes import ExitCode
from parley_cli.failure import CommandFailure


class ReaderGone(Exception):
    """The reader of our output went away, as `head` does. Nothing is to be said about it."""


def print_lines(lines: Iterable[str], *, style: str = "") -> None:
    """Write text lines and flush. `style` (a rich style) is used on a terminal that wants colours only.

    Letters that the terminal's encoding lacks are written as escapes. Raises ReaderGone or
    CommandFailure (LOCAL_FILE).
    """
    text = "".join(f"{line}\n" for line in lines)
    if style and _wants_colour():
        text = _styled(text, style)
    stream = sys.stdout
    with _writing():
        encoding = stream.encoding or "utf-8"
        stream.flush()
        stream.buffer.write(text.encode(encoding, "backslashreplace"))
        stream.buffer.flush()


def print_json(line: str) -> None:
    """Write one line of JSON, always as UTF-8, and flush. Raises as `print_lines`."""
    with _writing():
        sys.stdout.flush()
        sys.stdout.buffer.write(line.encode() + b"\n")
        sys.stdout.buffer.flush()


def note(text: str) -> None:
    """Tell the person something that is no part of the output: on standard error. A closed one is ignored."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def discard_output() -> None:
    """Point standard output at nothing, so that the interpreter's last flush finds no broken pipe."""
    with contextlib.suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGone from error
    except OSError as error:
        discard_output()
        raise CommandFailure(
            ExitCode.LOCAL_FILE, f"cannot write the output: {error.strerror}", "Make room or write elsewhere"
        ) from error


def _wants_colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _styled(text: str, style: str) -> str:
    from rich.console import Console
    from rich.text import Text

    console = Console(force_terminal=True, highlight=False, soft_wrap=True)
    with console.capture() as capture:
        console.print(Text(text, style=style), end="")
    return capture.get()
