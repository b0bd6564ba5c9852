"""The start screen."""

from __future__ import annotations

from parley.chat.v1 import event_pb2
from parley_server.backends.memory.message_log import MemoryMessageLog
from parley_server.backends.memory.positions import MemoryPositions
from parley_server.backends.memory.projections import MemoryProjections
from parley_server.chat import codec
from parley_server.chat.inbox import PREVIEW_CODE_POINTS, Inbox
from parley_server.testing.projected_log import LogWriter


async def test_a_page_holds_previews_and_no_whole_texts() -> None:
    """A few callers with full pages of the longest texts must not fill the memory of the node.

    Planted once: texts were cut only when the page was encoded; twenty calls at once took 1.5 GB.
    """
    log, projections = MemoryMessageLog(), MemoryProjections()
    for name in ("one", "two"):
        writer = LogWriter(name)
        writer.join("ann")
        writer.say("가🙂" * 50_000)
        await log.append(name, 0, [codec.row_of(event) for event in writer.events], b"b" * 16)
        await projections.apply(name, writer.events)
    page = await Inbox(log, projections, MemoryPositions()).page("ann", before=None, limit=10)
    assert len(page) == 2
    for entry in page:
        assert entry.last_message is not None
        assert len(entry.last_message) < 5 * PREVIEW_CODE_POINTS
        text = event_pb2.Event.FromString(entry.last_message).message.text
        assert text == ("가🙂" * PREVIEW_CODE_POINTS)[:PREVIEW_CODE_POINTS]
