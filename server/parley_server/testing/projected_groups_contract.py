"""The laws of Projections about roles, bans, invites, settings and a channel's end. A part of
projections_contract.
"""

from __future__ import annotations

import pytest

from parley_server.chat.event import (
    AuthorErased,
    BanChanged,
    ChannelChanged,
    ChannelDeleted,
    ChannelKind,
    HistoryVisibility,
    InviteChanged,
    MemberChange,
    MemberChanged,
    MessageDeleted,
    Role,
)
from parley_server.ports.projections import BanRow, InviteRow, MemberRow, Window
from parley_server.testing.projected_log import FIRST_MS, LogWriter
from parley_server.testing.projections_suite import EVERYBODY, ProjectionsSuite, assert_says

LATER_MS = FIRST_MS + 10_000_000


class ProjectedGroupsContract(ProjectionsSuite):
    """What rules a channel."""

    async def test_settings_are_those_of_the_newest_change(self) -> None:
        """Caught when a change of nothing but the description was not written."""
        async with self.opened() as projections:
            log = LogWriter("a")
            log.join("ann", Role.OWNER)
            await projections.apply("a", log.events)
            for change in (
                ChannelChanged(False, ChannelKind.GROUP, "t", HistoryVisibility.FROM_JOINING, 9, "about"),
                ChannelChanged(False, ChannelKind.GROUP, "t", HistoryVisibility.FROM_JOINING, 9, "other"),
                ChannelChanged(False, ChannelKind.GROUP, "t", HistoryVisibility.FROM_JOINING, 9, "other", 30),
            ):
                log.add(change)
                await projections.apply("a", log.events)
                row = await projections.channel("a")
                assert row is not None
                assert (row.title, row.description) == ("t", change.description)
                assert row.slow_mode_seconds == change.slow_mode_seconds
                await assert_says(projections, "a", log.events)

    async def test_another_role_changes_no_window(self) -> None:
        """Caught when a change of role counted as a joining: the member lost what was written before it."""
        async with self.opened() as projections:
            log = LogWriter("a")
            log.say()
            log.join("bob")
            log.say()
            log.add(MemberChanged("bob", MemberChange.ROLE_CHANGED, Role.ADMIN))
            await projections.apply("a", log.events)
            assert await projections.member("a", "bob") == MemberRow(
                "a", "bob", Role.ADMIN, 3, 1, (Window(3, None),)
            )
            log.leave("bob")
            await projections.apply("a", log.events)
            log.add(MemberChanged("bob", MemberChange.ROLE_CHANGED, Role.ADMIN))
            with pytest.raises(ValueError):
                await projections.apply("a", log.events)

    async def test_bans_hold_until_they_are_lifted(self) -> None:
        """Caught when a lifted ban stayed as a row: the user was still kept out after an activation."""
        async with self.opened() as projections:
            assert await projections.bans("a", after_user_id="", limit=9) == ()
            log = LogWriter("a")
            users = [f"user {number:02}" for number in range(8)]
            for user_id in reversed(users):
                log.add(BanChanged(user_id, True), actor_id="ann")
            log.add(BanChanged(users[3], False))
            log.add(BanChanged(users[4], False))
            log.add(BanChanged(users[4], True), actor_id="bob")
            await projections.apply("a", log.events)
            await projections.apply("b", LogWriter("b").events)
            found: list[BanRow] = []
            while page := await projections.bans(
                "a", after_user_id=found[-1].user_id if found else "", limit=3
            ):
                assert len(page) <= 3
                found += page
            assert [row.user_id for row in found] == [user for user in users if user != users[3]]
            assert found[3] == BanRow(users[4], "bob", FIRST_MS + 12_000)
            assert await projections.bans("b", after_user_id="", limit=9) == ()

    async def test_invites_are_there_while_they_can_be_used(self) -> None:
        """Caught when uses were counted for each membership that had an invite's id, those who left too; and
        when an expired one was still listed.
        """
        async with self.opened() as projections:
            assert await projections.invites("a") == ()
            log = LogWriter("a")

            async def ids() -> list[str]:
                await projections.apply("a", log.events)
                return [row.invite_id for row in await projections.invites("a")]

            log.add(InviteChanged("twice", False, LATER_MS, 2))
            log.add(InviteChanged("any", False, LATER_MS, 0))
            log.add(InviteChanged("short", False, FIRST_MS + 6000, 0))
            assert await ids() == ["twice", "any", "short"]
            log.add(MemberChanged("bob", MemberChange.ADDED, Role.MEMBER, "twice"), actor_id="bob")
            log.leave("bob")
            assert await ids() == ["twice", "any"]
            assert (await projections.invites("a"))[0] == InviteRow(
                "twice", "ann", FIRST_MS + 2000, LATER_MS, 2, 1
            )
            log.add(MemberChanged("bob", MemberChange.ADDED, Role.MEMBER, "twice"), actor_id="bob")
            assert await ids() == ["any"]
            log.add(InviteChanged("any", True, LATER_MS, 0))
            log.add(InviteChanged("new", False, LATER_MS, 1))
            assert await ids() == ["new"]
            await assert_says(projections, "a", log.events)

    async def test_uses_within_one_batch_are_all_counted(self) -> None:
        """Caught when each use was counted from the row before the batch: of ten uses one was seen."""
        async with self.opened() as projections:
            log = LogWriter("a")
            log.add(InviteChanged("ten", False, LATER_MS, 11))
            await projections.apply("a", log.events)
            for number in range(10):
                log.add(MemberChanged(f"user {number}", MemberChange.ADDED, Role.MEMBER, "ten"))
            await projections.apply("a", log.events)
            assert [row.uses for row in await projections.invites("a")] == [10]

    async def test_memberships_over_and_present_are_found_by_user(self) -> None:
        """Caught when the walk ended at the first former membership."""
        async with self.opened() as projections:
            assert await projections.memberships_of("bob", after_channel_id="", limit=9) == ()
            for number in range(12):
                log = LogWriter(f"c{number:02}")
                log.join("bob")
                if number % 3 == 0:
                    log.leave("bob")
                await projections.apply(log.channel_id, log.events)
            found: list[MemberRow] = []
            while page := await projections.memberships_of(
                "bob", after_channel_id=found[-1].channel_id if found else "", limit=5
            ):
                assert len(page) <= 5
                found += page
            assert [row.channel_id for row in found] == [f"c{number:02}" for number in range(12)]
            assert [row.role is None for row in found] == [number % 3 == 0 for number in range(12)]
            inbox = await projections.channels_of("bob", after_channel_id="", limit=EVERYBODY)
            assert [row.member for row in inbox] == [row for row in found if row.role is not None]

    async def test_of_a_deleted_channel_members_can_read_just_that(self) -> None:
        """Caught when former members kept their windows, and when those did who came with the last batch."""
        async with self.opened() as projections:
            log = LogWriter("a")
            log.join("ann", Role.OWNER)
            log.join("bob")
            log.join("cyd")
            log.leave("bob")
            log.add(BanChanged("bob", True))
            log.add(InviteChanged("i", False, LATER_MS, 0))
            await projections.apply("a", log.events)
            log.say()
            log.join("dan")
            log.leave("cyd")
            log.add(ChannelDeleted())
            await projections.apply("a", log.events)
            end = (Window(11, 11),)
            assert await projections.member("a", "ann") == MemberRow("a", "ann", None, 2, 1, end)
            assert await projections.member("a", "dan") == MemberRow("a", "dan", None, 9, 1, end)
            assert await projections.member("a", "bob") is None
            assert await projections.member("a", "cyd") is None
            assert await projections.memberships_of("bob", after_channel_id="", limit=9) == ()
            assert await projections.inbox("ann", before=None, limit=9) == ()
            assert await projections.members("a", after_user_id="", limit=9) == ()
            row = await projections.channel("a")
            assert row is not None
            assert (row.deleted, row.title, row.description, row.member_count) == (True, "", "", 0)
            assert await projections.bans("a", after_user_id="", limit=9) == ()
            assert await projections.invites("a") == ()
            await assert_says(projections, "a", log.events)

    async def test_nothing_follows_the_end(self) -> None:
        """Caught when an event after the end was taken: the channel had a member again."""
        async with self.opened() as projections:
            log = LogWriter("a")
            log.join("ann", Role.OWNER)
            log.add(ChannelDeleted())
            ended = list(log.events)
            log.say(client_message_id="id")
            with pytest.raises(ValueError):
                await projections.apply("a", log.events)
            assert await projections.watermark("a") == 0
            await projections.apply("a", ended)
            with pytest.raises(ValueError):
                await projections.apply("a", log.events)
            assert await projections.seqs_of("a", "ann", "id") == ()
            await assert_says(projections, "a", ended)

    async def test_erasures_are_due_until_they_are_done(self) -> None:
        """Caught when pages went by channel only: of a channel with more than a page the rest was passed
        over.
        """
        async with self.opened() as projections:
            assert await projections.erasures_due(after=("", 0), limit=9) == ()
            expected = []
            for name in ("b", "a", "c"):
                log = LogWriter(name)
                log.join("ann", Role.OWNER)
                for _ in range(3):
                    log.say()
                for target_seq in (3, 4):
                    log.add(MessageDeleted(target_seq))
                log.add(AuthorErased("bob"))
                log.add(ChannelDeleted())
                await projections.apply(name, log.events)
                expected += [(name, seq) for seq in (6, 7, 8, 9)]
            expected.sort()
            found: list[tuple[str, int]] = []
            while page := await projections.erasures_due(after=found[-1] if found else ("", 0), limit=3):
                assert len(page) <= 3
                found += page
            assert found == expected
            for channel_id, seq in (("a", 7), ("b", 9), ("a", 7), ("nowhere", 1), ("c", 2)):
                await projections.erasure_done(channel_id, seq)
            expected = [due for due in expected if due not in (("a", 7), ("b", 9))]
            assert list(await projections.erasures_due(after=("", 0), limit=99)) == expected
            await projections.apply("a", log.events[:0])
            assert list(await projections.erasures_due(after=("", 0), limit=99)) == expected
