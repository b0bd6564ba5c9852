"""Reading a log as far as one was a member: against the plain definition, with the smallest pages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.chat.v1 import event_pb2
from parley_runtime.refusal import Reason, Refusal
from parley_server.backends.memory.message_log import MemoryMessageLog
from parley_server.backends.memory.projections import MemoryProjections
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
    MessageEdited,
    MessagePosted,
    PinChanged,
    ReactionChanged,
    Role,
)
from parley_server.chat.history import History
from parley_server.testing.projected_log import LogWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parley_server.ports.projections import MessageStates

FROM_JOINING, FROM_START = HistoryVisibility.FROM_JOINING, HistoryVisibility.FROM_START


class World:
    """A channel of ann's, in which bob comes and goes."""

    def __init__(self, visibility: HistoryVisibility, steps: list[tuple[str, int]]) -> None:
        self.events: list[Event] = []
        self.visible: set[int] = set()
        self.was_member = self.is_member = False
        self.message_no = 0
        self._add(ChannelChanged(True, ChannelKind.GROUP, "Us", visibility, 10))
        self._add(MemberChanged("ann", MemberChange.ADDED, Role.OWNER))
        for what, size in steps:
            if what == "say":
                self.message_no += 1
                self._add(MessagePosted("x" * size))
            elif self.is_member:
                self._add(MemberChanged("bob", MemberChange.LEFT, None))
                self.is_member = False
            else:
                if visibility is FROM_START or self.message_no == 0:
                    self.visible = set(range(1, len(self.events) + 1))
                self.is_member = self.was_member = True
                self._add(MemberChanged("bob", MemberChange.ADDED, Role.MEMBER))

    def _add(self, body: EventBody) -> None:
        seq = len(self.events) + 1
        self.events.append(Event("c", seq, self.message_no, seq, "ann", "", b"", body))
        if self.is_member:
            self.visible.add(seq)

    @property
    def bobs_head(self) -> int:
        return len(self.events) if self.is_member else max(self.visible)

    async def history(self, page_limit_bytes: int) -> History:
        log, projections = MemoryMessageLog(), MemoryProjections()
        await log.append("c", 0, [codec.row_of(event) for event in self.events], b"1" * 16)
        await projections.apply("c", self.events)
        return History(log, projections, page_limit_bytes=page_limit_bytes)


WORLDS = st.builds(
    World,
    st.sampled_from(HistoryVisibility),
    st.lists(st.tuples(st.sampled_from(["say", "bob"]), st.sampled_from([1, 60, 300])), max_size=25),
)


@settings(deadline=None, max_examples=200)
@given(
    world=WORLDS,
    limit=st.integers(1, 4),
    page_bytes=st.sampled_from([1, 90, 150, 400, 10_000]),
    from_seq=st.integers(0, 30),
    to_seq=st.integers(0, 30),
    before_seq=st.integers(0, 30),
)
def test_the_pages_are_what_is_visible(
    world: World, limit: int, page_bytes: int, from_seq: int, to_seq: int, before_seq: int
) -> None:
    """Both directions, any range: every visible event once, in order, nothing else, and pages keep their
    bounds. A former member who rejoined has two windows: stopping after the first fails, as does a page
    that begins at the wrong end.
    """
    asyncio.run(_pages(world, limit, page_bytes, from_seq, to_seq, before_seq))


async def _pages(
    world: World, limit: int, page_bytes: int, from_seq: int, to_seq: int, before_seq: int
) -> None:
    history = await world.history(page_bytes)
    if not world.was_member:
        with pytest.raises(Refusal) as refused:
            await history.events("bob", "c", from_seq=0, to_seq=0, limit=limit)
        assert refused.value.reason is Reason.CHANNEL_NOT_FOUND
        return
    seqs: list[int] = []
    next_seq: int | None = from_seq
    while next_seq is not None:
        page = await history.events("bob", "c", from_seq=next_seq, to_seq=to_seq, limit=limit)
        _within(page.rows, limit, page_bytes)
        assert page.head == world.bobs_head
        seqs += [row.seq for row in page.rows]
        next_seq = page.next_seq
    last = to_seq or len(world.events)
    assert seqs == [seq for seq in sorted(world.visible) if from_seq <= seq <= last]

    seqs, place = [], before_seq
    while True:
        page = await history.messages("bob", "c", before_seq=place, limit=limit)
        _within(page.rows, limit, page_bytes)
        assert page.head == world.bobs_head
        seqs += [row.seq for row in page.rows]
        if page.next_seq is None:
            break
        place = page.next_seq + 1
    messages = [event.seq for event in world.events if isinstance(event.body, MessagePosted)]
    up_to = before_seq - 1 if before_seq else len(world.events)
    assert seqs == [seq for seq in reversed(messages) if seq in world.visible and seq <= up_to]

    for event in world.events:
        may = event.seq in world.visible and isinstance(event.body, MessagePosted)
        if may:
            assert await history.message("bob", "c", event.seq) == codec.encode(event)
        else:
            with pytest.raises(Refusal) as refused:
                await history.message("bob", "c", event.seq)
            assert refused.value.reason is Reason.MESSAGE_NOT_FOUND


def _within(rows: tuple[object, ...], limit: int, page_bytes: int) -> None:
    sizes = [len(row.event) for row in rows]  # type: ignore[attr-defined]
    assert len(rows) <= limit
    assert len(rows) <= 1 or sum(sizes) <= page_bytes


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda history: history.messages("ann", "c", before_seq=-1, limit=5), "before_seq"),
        (lambda history: history.events("ann", "c", from_seq=-1, to_seq=0, limit=5), "from_seq"),
        (lambda history: history.events("ann", "c", from_seq=0, to_seq=-1, limit=5), "to_seq"),
        (lambda history: history.message("ann", "c", 0), "seq"),
        (lambda history: history.message("ann", "", 1), "channel_id"),
    ],
)
async def test_bad_places_are_named(call: object, field: str) -> None:
    """Never a page of something else."""
    history = await World(FROM_START, []).history(1000)
    with pytest.raises(Refusal) as refused:
        await call(history)  # type: ignore[operator]
    assert [violation.field for violation in refused.value.violations] == [field]


async def test_places_beyond_every_log() -> None:
    """The largest numbers of the contract are places like any other."""
    history = await World(FROM_START, [("say", 1)]).history(1000)
    top = 2**63 - 1
    assert [row.seq for row in (await history.messages("ann", "c", before_seq=top, limit=5)).rows] == [3]
    assert (await history.events("ann", "c", from_seq=top, to_seq=top, limit=5)).rows == ()
    with pytest.raises(Refusal):
        await history.message("ann", "c", top)


async def test_a_page_keeps_its_bytes_across_windows() -> None:
    """One event of any size fits a page, but only as its first. Reading on in the next window without asking
    what is left made a page larger than its bound.
    """
    steps = [("say", 1), ("bob", 0), ("say", 300), ("bob", 0), ("say", 1), ("bob", 0), ("say", 60)]
    world = World(FROM_JOINING, steps)
    history = await world.history(150)
    page = await history.messages("bob", "c", before_seq=0, limit=10)
    assert [row.seq for row in page.rows] == [9]
    page = await history.messages("bob", "c", before_seq=(page.next_seq or 0) + 1, limit=10)
    assert ([row.seq for row in page.rows], page.next_seq) == ([5], None)


async def test_nobody_reads_beyond_what_is_known_of_memberships() -> None:
    """The log may already hold the event that ends the membership, and what others wrote after it. Reading
    to the log's head served it.
    """
    world = World(FROM_JOINING, [("say", 1), ("bob", 1), ("say", 1), ("bob", 1), ("say", 1)])
    log, projections = MemoryMessageLog(), MemoryProjections()
    await log.append("c", 0, [codec.row_of(event) for event in world.events], b"1" * 16)
    await projections.apply("c", world.events[:5])
    history = History(log, projections, page_limit_bytes=1000)
    page = await history.events("bob", "c", from_seq=1, to_seq=0, limit=10)
    assert ([row.seq for row in page.rows], page.head) == ([4, 5], 5)
    page = await history.messages("bob", "c", before_seq=0, limit=10)
    assert [row.seq for row in page.rows] == [5]
    with pytest.raises(Refusal):
        await history.message("bob", "c", 7)


async def test_a_former_member_is_not_told_what_was_written_after_leaving() -> None:
    """An edit replaces what the former member saw, and nobody is served that any more: an empty message
    remains. Messages were shown as they are now, which let whoever was removed read on.
    """
    log = LogWriter("c")
    for user_id in ("ann", "bob"):
        log.join(user_id, Role.OWNER)
    edited_before, edited_after, deleted_after = (log.say(text) for text in ("one", "two", "three"))
    log.add(MessageEdited(edited_before.seq, "one, while bob was there"))
    left = log.leave("bob")
    log.add(MessageEdited(edited_after.seq, "two, behind bob's back"))
    log.add(MessageDeleted(deleted_after.seq))
    log.add(ReactionChanged(edited_before.seq, "👍", True, 1))
    log.add(PinChanged(edited_before.seq, True, "ann"))
    log.add(MessagePosted("in a thread", thread_root_seq=edited_before.seq))
    rows, projections = MemoryMessageLog(), MemoryProjections()
    await rows.append("c", 0, [codec.row_of(event) for event in log.events], b"1" * 16)
    await projections.apply("c", log.events)
    history = History(rows, projections, page_limit_bytes=10_000)

    page = await history.messages("bob", "c", before_seq=0, limit=10)
    shown = {row.seq: event_pb2.Event.FromString(row.event).message for row in page.rows}
    texts = {seq: message.text for seq, message in shown.items()}
    assert texts == {
        edited_before.seq: "one, while bob was there",
        edited_after.seq: "",
        deleted_after.seq: "",
    }
    state = shown[edited_before.seq].state
    assert (list(state.reactions), state.pin_seq, state.reply_count, state.last_reply_seq) == ([], 0, 0, 0)
    assert {message.state.as_of_seq for message in shown.values()} == {left.seq}
    assert shown[edited_after.seq].state.edit_seq
    assert shown[deleted_after.seq].state.delete_seq
    for seq, message in shown.items():
        one = event_pb2.Event.FromString(await history.message("bob", "c", seq))
        assert one.message == message
    events = await history.events("bob", "c", from_seq=0, to_seq=0, limit=50)
    assert not [row for row in events.rows if b"behind" in row.event]
    now = event_pb2.Event.FromString(await history.message("ann", "c", edited_after.seq))
    assert now.message.text == "two, behind bob's back"


class LeavesMeanwhile(MemoryProjections):
    """Bob is removed, and what ann wrote is edited, while a page for bob is being made."""

    later: Sequence[Event] = ()

    async def message_states(self, channel_id: str, seqs: Sequence[int], *, viewer_id: str) -> MessageStates:
        later, self.later = self.later, ()
        if later:
            await self.apply(channel_id, later)
        return await super().message_states(channel_id, seqs, viewer_id=viewer_id)


async def test_who_is_removed_while_a_page_is_made_does_not_see_what_came_after() -> None:
    """Planted once: with the membership asked only at the beginning, bob read the edit that was made after
    the removal.
    """
    log, projections = MemoryMessageLog(), LeavesMeanwhile()
    written = LogWriter("c")
    written.join("ann", Role.OWNER)
    written.join("bob")
    said = written.say("for both")
    before = len(written.events)
    written.add(MemberChanged("bob", MemberChange.REMOVED, None))
    written.add(MessageEdited(said.seq, "canary"))
    await log.append("c", 0, [codec.row_of(event) for event in written.events], b"1" * 16)
    await projections.apply("c", written.events[:before])
    projections.later = written.events[before:]
    history = History(log, projections, page_limit_bytes=1 << 20)
    page = await history.messages("bob", "c", before_seq=0, limit=10)
    assert [row.seq for row in page.rows] == [said.seq]
    assert b"canary" not in page.rows[0].event
