"""Rebuilding and compacting a stopped folder: what they leave, and when they refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parley_server.backends.sqlite.database import ChatDatabase
from parley_server.backends.sqlite.folder import DataFolder, DataFolderInUse
from parley_server.backends.sqlite.message_log import SqliteMessageLog
from parley_server.backends.sqlite.projections import SqliteProjections
from parley_server.chat import codec
from parley_server.chat.event import (
    ChannelChanged,
    ChannelKind,
    Event,
    EventBody,
    HistoryVisibility,
    MemberChange,
    MemberChanged,
    MessageDeleted,
    MessagePosted,
    Role,
)
from parley_server.maintenance import compact_folder, rebuild_folder

if TYPE_CHECKING:
    from pathlib import Path

BODIES: tuple[EventBody, ...] = (
    ChannelChanged(True, ChannelKind.GROUP, "Us", HistoryVisibility.FROM_JOINING, 10),
    MemberChanged("ann", MemberChange.ADDED, Role.OWNER),
    MessagePosted("canary " * 100),
    MessagePosted("kept"),
    MessageDeleted(3),
)


async def written(data: Path) -> None:
    """A folder with a log, some of it not projected yet, and a deletion that is still to be erased."""
    with DataFolder(data) as folder:
        database = await ChatDatabase.open(folder.chat_database)
        events, messages = [], 0
        for seq, body in enumerate(BODIES, start=1):
            messages += isinstance(body, MessagePosted)
            events.append(Event("c", seq, messages, 1000 + seq, "ann", "", b"", body))
        log = SqliteMessageLog(database)
        await log.append("c", 0, [codec.row_of(event) for event in events], bytes(16))
        await SqliteProjections(database).apply("c", events[:3])
        await database.close()


async def test_a_folder_is_rebuilt_and_compacted(tmp_path: Path) -> None:
    """All channels are done, the deletion holds, and no file has the text. Planted: the sweep before the
    compaction left out; found by the canary.
    """
    await written(tmp_path)
    told: list[tuple[int, int]] = []
    await rebuild_folder(tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (1, 1)
    await compact_folder(tmp_path)
    held = _bytes_of(tmp_path)
    assert b"kept" in held
    assert b"canary" not in held
    database = await ChatDatabase.open(tmp_path / "chat.db")
    states = await SqliteProjections(database).message_states("c", (3,), viewer_id="ann")
    assert (states.as_of_seq, states.states[3].delete_seq) == (5, 5)
    await database.close()


async def test_a_compaction_erases_what_was_committed_and_not_projected(tmp_path: Path) -> None:
    """As a node that was killed leaves it, or a rebuild. Planted: only what was due already was erased; found
    by the canary.
    """
    await written(tmp_path)
    await compact_folder(tmp_path)
    held = _bytes_of(tmp_path)
    assert b"kept" in held
    assert b"canary" not in held


async def test_a_folder_that_is_in_use_or_empty_is_left_alone(tmp_path: Path) -> None:
    """Nothing is made where there was nothing, and nobody's node is disturbed."""
    with pytest.raises(FileNotFoundError, match="holds no Parley data"):
        await compact_folder(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    await written(tmp_path)
    with DataFolder(tmp_path), pytest.raises(DataFolderInUse):
        await rebuild_folder(tmp_path, progress=lambda done, total: None)


def _bytes_of(data: Path) -> bytes:
    return b"".join(path.read_bytes() for path in data.glob("chat.db*"))
