"""The laws of Projections as tests. See message_log_contract for how a backend uses them."""

from __future__ import annotations

import asyncio
import random

import pytest

from parley_server.chat.event import (
    ChannelChanged,
    ChannelKind,
    Event,
    HistoryVisibility,
    MessagePosted,
    Role,
)
from parley_server.ports.projections import ChannelRow, InboxRow, MemberRow, Window
from parley_server.testing.projected_groups_contract import ProjectedGroupsContract
from parley_server.testing.projected_histories_contract import ProjectedHistoriesContract
from parley_server.testing.projected_log import FIRST_MS, LogWriter
from parley_server.testing.projected_messages_contract import ProjectedMessagesContract
from parley_server.testing.projected_model import ProjectedModel
from parley_server.testing.projections_suite import EVERYBODY


class ProjectionsContract(ProjectedMessagesContract, ProjectedGroupsContract, ProjectedHistoriesContract):
    """Every test of every Projections. `make` opens an empty one."""

    async def test_what_was_never_seen_is_empty(self) -> None:
        async with self.opened() as projections:
            assert await projections.watermark("a") == 0
            assert await projections.channel("a") is None
            assert await projections.member("a", "ann") is None
            assert await projections.members("a", after_user_id="", limit=9) == ()
            assert await projections.channels_of("ann", after_channel_id="", limit=9) == ()
            assert await projections.inbox("ann", before=None, limit=9) == ()
            assert await projections.seqs_of("a", "ann", "id") == ()

    async def test_a_channel_is_what_its_events_say(self) -> None:
        async with self.opened() as projections:
            log = LogWriter("a")
            log.join("ann", Role.OWNER)
            log.join("bob")
            log.say()
            log.say()
            log.add(ChannelChanged(False, ChannelKind.GROUP, "새 이름", HistoryVisibility.FROM_START, 7))
            log.leave("bob")
            await projections.apply("a", log.events)
            assert await projections.channel("a") == ChannelRow(
                "a",
                ChannelKind.GROUP,
                "새 이름",
                HistoryVisibility.FROM_START,
                7,
                "ann",
                FIRST_MS + 1000,
                1,
                7,
                2,
                FIRST_MS + 7000,
                5,
            )
            assert await projections.watermark("a") == 7
            assert await projections.member("a", "ann") == MemberRow(
                "a", "ann", Role.OWNER, 2, 0, (Window(1, None),)
            )
            assert await projections.member("a", "bob") == MemberRow("a", "bob", None, 3, 0, (Window(1, 7),))

    async def test_applying_again_changes_nothing(self) -> None:
        """Caught when events at the watermark were not passed over: the members were counted twice."""
        async with self.opened() as projections:
            log = LogWriter("a")
            log.join("ann", Role.OWNER)
            log.say(client_message_id="id")
            await projections.apply("a", log.events)
            before = await projections.channel("a")
            for first in range(3):
                await projections.apply("a", log.events[first:])
            await projections.apply("a", [])
            assert await projections.channel("a") == before
            assert await projections.seqs_of("a", "ann", "id") == (3,)
            log.join("bob")
            await projections.apply("a", log.events)
            assert await projections.channel("a") == ProjectedModel("a", log.events).channel()

    async def test_a_gap_is_refused_and_leaves_nothing_behind(self) -> None:
        async with self.opened() as projections:
            log = LogWriter("a")
            log.join("ann", Role.OWNER)
            for _ in range(4):
                log.say(client_message_id="id")
            await projections.apply("a", log.events[:2])
            for wrong in (
                log.events[3:],
                [log.events[2], log.events[4]],
                [log.events[3], log.events[2]],
                [*log.events[2:4], LogWriter("b").events[0]],
            ):
                with pytest.raises(ValueError):
                    await projections.apply("a", wrong)
            assert await projections.channel("a") == ProjectedModel("a", log.events[:2]).channel()
            assert await projections.seqs_of("a", "ann", "id") == ()
            await projections.apply("a", log.events[2:])
            assert await projections.watermark("a") == 6

    async def test_a_log_begins_with_the_making_of_its_channel(self) -> None:
        async with self.opened() as projections:
            event = Event("a", 1, 1, FIRST_MS, "ann", "id", b"", MessagePosted("too early"))
            with pytest.raises(ValueError):
                await projections.apply("a", [event])
            assert await projections.watermark("a") == 0
            assert await projections.seqs_of("a", "ann", "id") == ()

    async def test_a_refused_channel_does_not_harm_those_applied_with_it(self) -> None:
        """Caught when one refusal undid the transaction that others waited in."""
        async with self.opened() as projections:
            logs = [LogWriter(f"channel {number:02}") for number in range(30)]
            for log in logs:
                log.join("ann", Role.OWNER)
            applied = [
                projections.apply(log.channel_id, log.events if number % 3 else log.events[1:])
                for number, log in enumerate(logs)
            ]
            results = await asyncio.gather(*applied, return_exceptions=True)
            for number, (log, result) in enumerate(zip(logs, results, strict=True)):
                if number % 3:
                    assert result is None
                    assert await projections.watermark(log.channel_id) == 2
                else:
                    assert isinstance(result, ValueError)
                    assert await projections.watermark(log.channel_id) == 0

    async def test_windows_open_and_close_with_memberships(self) -> None:
        async with self.opened() as projections:
            log = LogWriter("a")
            log.say()
            log.join("bob")
            log.leave("bob")
            log.say()
            log.join("bob", Role.ADMIN)
            log.say()
            log.join("bob", Role.MEMBER)
            await projections.apply("a", log.events)
            assert await projections.member("a", "bob") == MemberRow(
                "a", "bob", Role.MEMBER, 6, 2, (Window(3, 4), Window(6, None))
            )

    async def test_the_first_members_see_how_the_channel_was_made(self) -> None:
        async with self.opened() as projections:
            log = LogWriter("a")
            log.join("ann", Role.OWNER)
            log.leave("ann")
            log.join("ann", Role.OWNER)
            await projections.apply("a", log.events)
            assert await projections.member("a", "ann") == MemberRow(
                "a", "ann", Role.OWNER, 4, 0, (Window(1, None),)
            )

    async def test_nobody_leaves_who_is_not_there(self) -> None:
        async with self.opened() as projections:
            log = LogWriter("a")
            log.say(client_message_id="id")
            log.leave("bob")
            with pytest.raises(ValueError):
                await projections.apply("a", log.events)
            assert await projections.watermark("a") == 0
            assert await projections.seqs_of("a", "ann", "id") == ()

    async def test_from_start_opens_the_whole_past(self) -> None:
        async with self.opened() as projections:
            log = LogWriter("a")
            log.join("bob")
            log.say()
            log.leave("bob")
            log.add(ChannelChanged(False, ChannelKind.GROUP, "", HistoryVisibility.FROM_START, 9))
            log.join("bob")
            await projections.apply("a", log.events)
            assert await projections.member("a", "bob") == MemberRow(
                "a", "bob", Role.MEMBER, 6, 0, (Window(1, None),)
            )

    async def test_the_newest_64_windows_are_kept(self) -> None:
        async with self.opened() as projections:
            log = LogWriter("a")
            log.say()
            for _ in range(70):
                log.join("bob")
                log.leave("bob")
            await projections.apply("a", log.events)
            member = await projections.member("a", "bob")
            assert member is not None
            assert member.windows == tuple(Window(2 * n + 1, 2 * n + 2) for n in range(7, 71))

    async def test_members_come_in_pages_by_user_id(self) -> None:
        async with self.opened() as projections:
            log = LogWriter("a")
            names = [f"user {number:03}" for number in range(25)]
            for name in random.Random(5).sample(names, 25):
                log.join(name)
            for name in names[::5]:
                log.leave(name)
            await projections.apply("a", log.events)
            present = [name for number, name in enumerate(names) if number % 5]
            found: list[str] = []
            while page := await projections.members("a", after_user_id=found[-1] if found else "", limit=7):
                assert len(page) <= 7
                found += [member.user_id for member in page]
            assert found == present

    async def test_the_inbox_is_sorted_by_last_activity(self) -> None:
        """Caught when the tie of two channels with one time was not broken by channel id: paging lost one."""
        async with self.opened() as projections:
            logs: dict[str, LogWriter] = {}
            for number in range(12):
                # Three channels share each time.
                log = LogWriter(f"c{number:02}", start_ms=FIRST_MS + number // 3 * 10_000)
                log.join("ann", Role.OWNER)
                log.say()
                logs[log.channel_id] = log
                await projections.apply(log.channel_id, log.events)
            await projections.apply("c04", [logs["c04"].leave("ann")])
            for _ in range(60):
                await projections.apply("c01", [logs["c01"].say()])
            expected = sorted(
                (log.events[-1].create_time_ms, name) for name, log in logs.items() if name != "c04"
            )[::-1]
            assert expected[0][1] == "c01"
            found: list[tuple[int, str]] = []
            while page := await projections.inbox("ann", before=found[-1] if found else None, limit=5):
                assert len(page) <= 5
                for row in page:
                    assert row.channel == await projections.channel(row.channel.channel_id)
                    assert row.member == await projections.member(row.channel.channel_id, "ann")
                    found.append((row.channel.last_activity_ms, row.channel.channel_id))
            assert found == expected
            by_id: list[str] = []
            while page := await projections.channels_of(
                "ann", after_channel_id=by_id[-1] if by_id else "", limit=5
            ):
                by_id += [row.channel.channel_id for row in page]
            assert by_id == sorted(name for _, name in expected)

    async def test_a_direct_channel_names_the_other_member(self) -> None:
        async with self.opened() as projections:
            direct = LogWriter("direct", kind=ChannelKind.DIRECT)
            direct.join("ann")
            direct.join("bob")
            group = LogWriter("group")
            group.join("ann")
            group.join("bob")
            for log in (direct, group):
                await projections.apply(log.channel_id, log.events)

            def peers(rows: tuple[InboxRow, ...]) -> dict[str, str]:
                return {row.channel.channel_id: row.peer_user_id for row in rows}

            assert peers(await projections.inbox("ann", before=None, limit=9)) == {
                "direct": "bob",
                "group": "",
            }
            assert peers(await projections.channels_of("bob", after_channel_id="", limit=9)) == {
                "direct": "ann",
                "group": "",
            }

    async def test_client_ids_are_found_by_channel_actor_and_id(self) -> None:
        async with self.opened() as projections:
            first, second = "0199aaaa-0000-7000-8000-000000000001", "0199aaaa-0000-7000-8000-000000000002"
            log = LogWriter("a")
            log.say(client_message_id=first)
            log.say(actor_id="bob", client_message_id=first)
            log.say(client_message_id=second)
            log.say(client_message_id="any text 가")
            log.say()
            await projections.apply("a", log.events)
            await projections.apply("b", LogWriter("b").events)
            assert await projections.seqs_of("a", "ann", first) == (2,)
            assert await projections.seqs_of("a", "bob", first) == (3,)
            assert await projections.seqs_of("a", "ann", second) == (4,)
            assert await projections.seqs_of("a", "ann", "any text 가") == (5,)
            assert await projections.seqs_of("a", "bob", second) == ()
            assert await projections.seqs_of("b", "ann", first) == ()

    async def test_everything_outlives_the_store_being_closed(self) -> None:
        async with self.opened() as projections:
            log = LogWriter("a", kind=ChannelKind.DIRECT)
            log.join("ann")
            log.join("bob")
            log.say(client_message_id="id")
            await projections.apply("a", log.events)
            before = await projections.inbox("ann", before=None, limit=9)
            projections = await self.reopen(projections)
            try:
                assert await projections.inbox("ann", before=None, limit=9) == before
                assert await projections.seqs_of("a", "ann", "id") == (4,)
                await projections.apply("a", [log.say()])
                assert await projections.channel("a") == ProjectedModel("a", log.events).channel()
            finally:
                await self.discard(projections)

    async def test_many_channels_applied_at_once_are_each_whole(self) -> None:
        async with self.opened() as projections:
            chooser = random.Random(3)
            logs = []
            for number in range(40):
                log = LogWriter(f"channel {number}")
                log.join("ann", Role.OWNER)
                joined: set[str] = set()
                for _ in range(20):
                    log.say(client_message_id=f"id {len(log.events)}")
                    if chooser.random() < 0.2:
                        log.join("bob")
                        joined.add("bob")
                    if chooser.random() < 0.2 and "bob" in joined:
                        log.leave("bob")
                        joined.remove("bob")
                logs.append(log)

            async def apply(log: LogWriter) -> None:
                done = 0
                while done < len(log.events):
                    count = chooser.randint(1, 6)
                    await projections.apply(log.channel_id, log.events[done : done + count])
                    done += count
                    assert await projections.watermark(log.channel_id) == min(done, len(log.events))

            await asyncio.gather(*map(apply, logs))
            for log in logs:
                model = ProjectedModel(log.channel_id, log.events)
                assert await projections.channel(log.channel_id) == model.channel()
                present = [row for row in model.members().values() if row.role is not None]
                found = await projections.members(log.channel_id, after_user_id="", limit=EVERYBODY)
                assert list(found) == sorted(present, key=lambda row: row.user_id)
