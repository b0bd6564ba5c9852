"""The laws of Projections about what becomes of messages. A part of projections_contract."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from parley_server.chat.event import (
    AuthorErased,
    ChannelDeleted,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    PinChanged,
    ReactionChanged,
    Role,
)
from parley_server.ports.projections import MessageState, MessageStates, ReactionRow
from parley_server.testing.projected_log import FIRST_MS, LogWriter
from parley_server.testing.projections_suite import EVERYBODY, ProjectionsSuite, assert_says

if TYPE_CHECKING:
    from parley_server.ports.projections import Projections

BEYOND = 1 << 32


class ProjectedMessagesContract(ProjectionsSuite):
    """Edits, deletions, reactions, threads and pins."""

    async def test_nothing_is_known_of_messages_to_which_nothing_happened(self) -> None:
        """Caught when a plain message had a state: each of a page's messages would be decoded and encoded."""
        async with self.opened() as projections:
            nothing = MessageStates(0, {}, {})
            assert await projections.message_states("a", [1, 2], viewer_id="ann") == nothing
            assert await projections.edits_of("a", 1) == ()
            assert await projections.own_reactions("a", 1, "ann") == frozenset()
            assert await projections.thread("a", 1, before_seq=9, limit=9) == ()
            assert await projections.pins("a") == ()
            log = _talk()
            await projections.apply("a", log.events)
            states = await projections.message_states("a", range(9), viewer_id="ann")
            assert states == MessageStates(5, {}, {})
            assert await projections.message_states("a", (), viewer_id="") == states

    async def test_the_newest_edit_stands_and_all_are_known(self) -> None:
        """Caught when an edit replaced the one before in `edits_of`: erasing the message left its text."""
        async with self.opened() as projections:
            log = _talk()
            log.add(MessageEdited(4, "two"))
            log.add(MessageEdited(5, "other"))
            log.add(MessageEdited(4, "three"))
            await projections.apply("a", log.events)
            assert await _state(projections, 4) == MessageState(4, edit_seq=8, edit_time_ms=FIRST_MS + 8000)
            assert await projections.edits_of("a", 4) == (6, 8)
            log.add(MessageDeleted(4))
            await projections.apply("a", log.events)
            assert await projections.edits_of("a", 4) == (6, 8)
            await assert_says(projections, "a", log.events)

    async def test_reactions_are_counted_and_name_the_first_ten(self) -> None:
        """Caught when the users were ordered by name, and when `own` was looked for among the ten only."""
        async with self.opened() as projections:
            log = _talk()
            users = [f"user {number:02}" for number in range(13, 0, -1)]
            for count, user_id in enumerate(users, 1):
                log.add(ReactionChanged(4, "👍", True, count), actor_id=user_id)
            log.add(ReactionChanged(4, "가", True, 1), actor_id="user 05")
            await projections.apply("a", log.events)
            state = await projections.message_states("a", [4], viewer_id="user 01")
            assert state.states[4].reactions == (
                ReactionRow("👍", 13, tuple(users[:10]), own=True),
                ReactionRow("가", 1, ("user 05",), own=False),
            )
            assert await projections.own_reactions("a", 4, "user 05") == {"👍", "가"}
            assert await projections.own_reactions("a", 4, "ann") == frozenset()
            log.add(ReactionChanged(4, "👍", False, 12), actor_id=users[0])
            await projections.apply("a", log.events)
            first = (await _state(projections, 4)).reactions[0]
            assert first == ReactionRow("👍", 12, tuple(users[1:11]), own=False)

    async def test_emojis_stand_in_the_order_in_which_they_came(self) -> None:
        """Caught when the order was that of the users still there: it changed when the first one went."""
        async with self.opened() as projections:
            log = _talk()

            async def emojis() -> list[str]:
                await projections.apply("a", log.events)
                return [row.emoji for row in (await _state(projections, 4)).reactions]

            log.add(ReactionChanged(4, "z", True, 1), actor_id="ann")
            log.add(ReactionChanged(4, "a", True, 1), actor_id="ann")
            log.add(ReactionChanged(4, "z", True, 2), actor_id="bob")
            log.add(ReactionChanged(4, "z", False, 1), actor_id="ann")
            assert await emojis() == ["z", "a"]
            log.add(ReactionChanged(4, "z", False, 0), actor_id="bob")
            assert await emojis() == ["a"]
            log.add(ReactionChanged(4, "z", True, 1), actor_id="bob")
            assert await emojis() == ["a", "z"]

    async def test_what_is_taken_off_and_put_on_again_within_a_batch_comes_last(self) -> None:
        """Caught when the emoji, or the user, kept the place that it had before the batch."""
        async with self.opened() as projections:
            log = _talk()
            log.add(ReactionChanged(4, "z", True, 1), actor_id="ann")
            log.add(ReactionChanged(4, "z", True, 2), actor_id="bob")
            log.add(ReactionChanged(4, "a", True, 1), actor_id="bob")
            await projections.apply("a", log.events)
            log.add(ReactionChanged(4, "z", False, 1), actor_id="ann")
            log.add(ReactionChanged(4, "z", True, 2), actor_id="ann")
            await projections.apply("a", log.events)
            reactions = (await _state(projections, 4)).reactions
            assert [(row.emoji, row.user_ids) for row in reactions] == [
                ("z", ("bob", "ann")),
                ("a", ("bob",)),
            ]
            for user_id, count in (("ann", 1), ("bob", 0)):
                log.add(ReactionChanged(4, "z", False, count), actor_id=user_id)
            log.add(ReactionChanged(4, "z", True, 1), actor_id="ann")
            await projections.apply("a", log.events)
            assert [row.emoji for row in (await _state(projections, 4)).reactions] == ["a", "z"]

    async def test_a_deleted_message_has_no_reactions_and_no_pin(self) -> None:
        """Caught when reactions that came with the deletion in one batch were written after it."""
        async with self.opened() as projections:
            log = _talk()
            log.add(ReactionChanged(4, "old", True, 1), actor_id="bob")
            log.add(PinChanged(4, True, "ann"))
            log.add(MessageEdited(4, "two"))
            await projections.apply("a", log.events)
            log.add(ReactionChanged(4, "new", True, 1), actor_id="bob")
            log.add(MessageDeleted(4))
            await projections.apply("a", log.events)
            assert await _state(projections, 4) == MessageState(
                4, edit_seq=8, edit_time_ms=FIRST_MS + 8000, delete_seq=10
            )
            assert await projections.own_reactions("a", 4, "bob") == frozenset()
            assert await projections.pins("a") == ()

    async def test_a_thread_counts_its_replies_deleted_ones_too(self) -> None:
        """Caught when replies took the way of plain messages, which only moves the head."""
        async with self.opened() as projections:
            log = _talk()
            await projections.apply("a", log.events)
            for _ in range(5):
                log.add(MessagePosted("in the thread", thread_root_seq=4))
                log.say()
            await projections.apply("a", log.events)
            log.add(MessageDeleted(8))
            await projections.apply("a", log.events)
            assert await _state(projections, 4) == MessageState(4, reply_count=5, last_reply_seq=14)
            assert await projections.thread("a", 4, before_seq=99, limit=9) == (14, 12, 10, 8, 6)
            assert await projections.thread("a", 4, before_seq=12, limit=2) == (10, 8)
            assert await projections.thread("a", 4, before_seq=6, limit=2) == ()
            assert await projections.thread("a", 5, before_seq=99, limit=2) == ()

    async def test_pins_name_the_author_and_the_newest_comes_first(self) -> None:
        """Caught when pins were ordered by the messages' places instead of when they were pinned."""
        async with self.opened() as projections:
            log = _talk()
            log.add(PinChanged(5, True, "bob"))
            log.add(PinChanged(4, True, "ann"))
            await projections.apply("a", log.events)
            assert await projections.pins("a") == ((4, "ann"), (5, "bob"))
            assert (await _state(projections, 4)).pin_seq == 7
            log.add(PinChanged(4, False, "ann"))
            await projections.apply("a", log.events)
            assert await projections.pins("a") == ((5, "bob"),)
            assert await _state(projections, 4) == MessageState(4)

    async def test_an_erased_author_has_no_pins(self) -> None:
        """Caught when only pins of earlier batches were taken away, not those that came with the event."""
        async with self.opened() as projections:
            log = _talk()
            log.say(actor_id="ann")
            log.add(PinChanged(4, True, "ann"))
            log.add(PinChanged(5, True, "bob"))
            await projections.apply("a", log.events)
            log.add(PinChanged(6, True, "ann"))
            log.leave("ann")
            log.add(AuthorErased("ann"))
            log.say(actor_id="bob")
            await projections.apply("a", log.events)
            assert await projections.pins("a") == ((5, "bob"),)
            states = await projections.message_states("a", [4, 5, 6], viewer_id="bob")
            assert states.erased_authors == {"ann": 11}
            assert [states.states[seq].pin_seq for seq in (4, 5, 6)] == [0, 8, 0]

    async def test_states_are_found_however_they_are_asked_for(self) -> None:
        """Caught when a page of messages close together brought the states of those between them."""
        async with self.opened() as projections:
            log = _talk()
            for _ in range(200):
                log.say()
            for target_seq in range(4, 204, 3):
                log.add(MessageEdited(target_seq, "edited"))
            await projections.apply("a", log.events)
            for seqs in (
                [4, 203],
                [203, 4, 4],
                [5, 6],
                [10],
                [*range(4, 60)],
                [-1, 0, 7, 10_000, BEYOND + 4],
            ):
                states = await projections.message_states("a", seqs, viewer_id="ann")
                assert set(states.states) == {seq for seq in seqs if 4 <= seq <= 203 and seq % 3 == 1}

    async def test_places_beyond_a_channel_are_nobodys(self) -> None:
        """Caught when a seq was added to the channel's number unchecked: it named another one's message."""
        async with self.opened() as projections:
            logs = [_talk(name) for name in "abc"]
            for log in logs:
                log.add(MessageEdited(4, "two"))
                log.add(ReactionChanged(4, "x", True, 1))
                log.add(MessagePosted("reply", thread_root_seq=4))
                log.add(PinChanged(4, True, "ann"))
                await projections.apply(log.channel_id, log.events)
            for seq in (BEYOND + 4, 4 - BEYOND, 0, -1, 1 << 53):
                states = await projections.message_states("b", [seq], viewer_id="ann")
                assert states == MessageStates(9, {}, {})
                assert await projections.edits_of("b", seq) == ()
                assert await projections.own_reactions("b", seq, "ann") == frozenset()
                assert await projections.thread("b", seq, before_seq=EVERYBODY, limit=9) == ()

    async def test_states_are_of_one_moment(self) -> None:
        """Caught when the watermark was read apart from the states: an edit was there that `as_of_seq` did
        not cover.
        """
        async with self.opened() as projections:
            log = _talk()
            await projections.apply("a", log.events)
            edits = 120

            async def write() -> None:
                for number in range(edits):
                    event = log.add(MessageEdited(4, f"{number}"))
                    if number % 3 == 0:
                        log.add(ReactionChanged(5, f"{number}", True, 1))
                    await projections.apply("a", log.events[event.seq - 1 :])

            async def read() -> None:
                as_of_seq = 0
                while as_of_seq < 5 + edits + edits // 3:
                    states = await projections.message_states("a", [4, 5], viewer_id="ann")
                    assert states.as_of_seq >= as_of_seq
                    as_of_seq = states.as_of_seq
                    told = log.events[5:as_of_seq]
                    edited = [event.seq for event in told if isinstance(event.body, MessageEdited)]
                    reacted = [event for event in told if isinstance(event.body, ReactionChanged)]
                    found = states.states.get(4, MessageState(4)).edit_seq
                    assert found == (edited[-1] if edited else 0)
                    assert len(states.states.get(5, MessageState(5)).reactions) == len(reacted)
                    await asyncio.sleep(0)

            await asyncio.gather(write(), read(), read(), read())

    async def test_what_became_of_messages_outlives_the_store_being_closed(self) -> None:
        async with self.opened() as projections:
            log = _talk()
            log.add(ReactionChanged(4, "x", True, 1))
            log.add(PinChanged(4, True, "ann"))
            log.add(MessagePosted("reply", thread_root_seq=4))
            await projections.apply("a", log.events)
            projections = await self.reopen(projections)
            try:
                await assert_says(projections, "a", log.events)
                log.add(ReactionChanged(4, "x", False, 0))
                log.add(MessagePosted("reply", thread_root_seq=4))
                await projections.apply("a", log.events)
                await assert_says(projections, "a", log.events)
            finally:
                await self.discard(projections)

    async def test_nothing_is_told_of_the_messages_of_a_deleted_channel(self) -> None:
        """Caught when only the states were withheld: the thread of a deleted channel was still there."""
        async with self.opened() as projections:
            log = _talk()
            log.add(ReactionChanged(4, "x", True, 1))
            log.add(PinChanged(4, True, "ann"))
            log.add(MessageEdited(4, "two"))
            log.add(MessagePosted("reply", thread_root_seq=4))
            log.add(ChannelDeleted())
            await projections.apply("a", log.events)
            states = await projections.message_states("a", [4], viewer_id="ann")
            assert states == MessageStates(10, {}, {}, deleted=True)
            await assert_says(projections, "a", log.events)
            await projections.erasure_done("a", 10)
            assert await projections.thread("a", 4, before_seq=99, limit=9) == ()


def _talk(channel_id: str = "a") -> LogWriter:
    """Ann and bob are in the channel, ann has written at 4, bob at 5."""
    log = LogWriter(channel_id)
    log.join("ann", Role.OWNER)
    log.join("bob")
    log.say()
    log.say(actor_id="bob")
    return log


async def _state(projections: Projections, seq: int) -> MessageState:
    return (await projections.message_states("a", [seq], viewer_id="")).states[seq]
