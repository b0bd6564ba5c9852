"""Work on the data folder of a node that is stopped."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from parley_server.backends.sqlite.database import ChatDatabase
from parley_server.backends.sqlite.folder import DataFolder
from parley_server.backends.sqlite.message_log import SqliteMessageLog
from parley_server.backends.sqlite.projections import SqliteProjections
from parley_server.backends.sqlite.rebuild import catch_up_all, rebuild
from parley_server.chat.erasure import Eraser

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


async def rebuild_folder(data: Path, *, progress: Callable[[int, int], None]) -> None:
    """Derive everything that follows from the logs anew: members, inboxes, what became of messages.

    `progress` is told how many channels are done, of how many. An interrupted run is finished by the next
    one, and by the next start of the node. Raises FileNotFoundError for a folder without data,
    DataFolderInUse, and as `node.DATA_UNUSABLE`.
    """
    async with _stopped(data) as database:
        await rebuild(SqliteMessageLog(database), SqliteProjections(database), progress=progress)


async def compact_folder(data: Path) -> None:
    """Erase what is due, and leave nothing in the chat's files of what was deleted before this call.

    Needs as much free disk as the files have, twice. Raises as `rebuild_folder`.
    """
    async with _stopped(data) as database:
        message_log, projections = SqliteMessageLog(database), SqliteProjections(database)
        await catch_up_all(message_log, projections)
        await Eraser(message_log, projections).sweep()
        await database.compact()


@asynccontextmanager
async def _stopped(data: Path) -> AsyncIterator[ChatDatabase]:
    if not (data / "chat.db").exists():
        raise FileNotFoundError(f"{data} holds no Parley data")
    with DataFolder(data) as folder:
        database = await ChatDatabase.open(folder.chat_database)
        try:
            yield database
        finally:
            await database.close()
