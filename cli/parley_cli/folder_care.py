"""`parley admin rebuild` and `compact`: work on the data folder of a node that is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from parley_cli.exit_codes import ExitCode
from parley_cli.failure import CommandFailure
from parley_cli.help_text import examples
from parley_cli.output import note, print_lines

_FOLDER = typer.Argument(metavar="FOLDER", help="The data folder of a node that is stopped.")
_STEP = 1000


def register(admin: typer.Typer) -> None:
    """Add the commands to `parley admin`."""
    admin.command(epilog=examples("parley admin rebuild parley-data"))(rebuild)
    admin.command(epilog=examples("parley admin compact parley-data"))(compact)


def rebuild(data: Annotated[Path, _FOLDER]) -> None:
    """Derive anew what follows from the logs: members, inboxes, what became of messages.

    Nothing that anybody wrote is touched. Needed only after a defect; an interrupted run may be run again."""
    progress = _Progress()

    async def work() -> None:
        from parley_server import maintenance

        await maintenance.rebuild_folder(data, progress=progress.told)

    _on_the_folder(work)
    print_lines([f"rebuilt {data}: {progress.total} channels"])


def compact(data: Annotated[Path, _FOLDER]) -> None:
    """Take deleted texts out of unused parts of the chat's files too, where old copies of rows may lie.

    Needs as much free disk as the files have, twice."""

    async def work() -> None:
        from parley_server import maintenance

        await maintenance.compact_folder(data)

    _on_the_folder(work)
    print_lines([f"compacted {data}"])


class _Progress:
    """Tells how far a long run is: on a terminal at once, elsewhere now and then."""

    def __init__(self) -> None:
        self.total = 0

    def told(self, done: int, total: int) -> None:
        self.total = total
        if done % _STEP == 0 or done == total:
            note(f"{done} of {total} channels")


def _on_the_folder(work: Callable[[], Awaitable[None]]) -> None:
    from parley_cli.up import without_server

    try:
        from parley_server import node
    except ModuleNotFoundError as error:
        raise without_server(error) from error

    async def run() -> None:
        await work()

    try:
        asyncio.run(run())
    except node.DataFolderInUse as error:
        raise CommandFailure(ExitCode.DATA_IN_USE, str(error), "Stop the node first") from error
    except FileNotFoundError as error:
        raise CommandFailure(ExitCode.LOCAL_FILE, str(error), "Name the data folder of a node") from error
    except node.DATA_UNUSABLE as error:
        said = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        raise CommandFailure(
            ExitCode.LOCAL_FILE, f"cannot use the data folder: {said}", "Mend it, and run this again"
        ) from error
