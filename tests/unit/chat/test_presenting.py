"""What is served of rows that were read while, or after, their channel was deleted."""

from __future__ import annotations

import pytest

from parley_server.backends.memory.message_log import MemoryMessageLog
from parley_server.backends.memory.projections import MemoryProjections
from parley_server.chat import codec
from parley_server.chat.event import ChannelDeleted, MessageEdited
from parley_server.chat.export import ChatExport
from parley_server.chat.presenting import Presenter
from parley_server.ports.message_log import LARGEST_SEQ
from parley_server.testing.projected_log import LogWriter


class Deleted:
    """A channel in which ann wrote and edited, and which was then deleted. Nothing is erased yet."""

    async def make(self) -> None:
        self.log, self.projections = MemoryMessageLog(), MemoryProjections()
        written = LogWriter("c")
        written.join("ann")
        said = written.say("canary before the edit")
        written.add(MessageEdited(said.seq, "canary after it"))
        written.say("canary alone")
        written.add(ChannelDeleted())
        self.rows = [codec.row_of(event) for event in written.events]
        await self.log.append("c", 0, self.rows, b"1" * 16)
        await self.projections.apply("c", written.events)


@pytest.fixture
async def deleted() -> Deleted:
    channel = Deleted()
    await channel.make()
    return channel


async def test_rows_that_were_read_before_the_end_say_nothing_after_it(deleted: Deleted) -> None:
    """A reader holds rows while the channel is deleted. Without the look at `MessageStates.deleted` it served
    the texts from before the edits, for what became of the messages is forgotten with the channel.
    """
    presenter = Presenter(deleted.log, deleted.projections)
    shown = await presenter.present("c", deleted.rows, viewer_id="ann", limit_bytes=LARGEST_SEQ)
    assert [row.seq for row in shown] == [row.seq for row in deleted.rows]
    assert not any(b"canary" in row.event for row in shown)


async def test_an_export_holds_nothing_of_a_deleted_channel_that_is_not_erased_yet(deleted: Deleted) -> None:
    """The export reads the whole log, and the erasure of a large channel takes its time. It gave the texts
    from before the edits, as long as they stood in the log.
    """
    export = ChatExport(deleted.log, deleted.projections)
    assert [message async for message in export.messages("ann", "c")] == []
