"""The laws of the accounts port as tests: subclass `AccountsContract` and give it the fixtures `accounts`
and `reopen`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

from parley_server.ports.accounts import (
    Accounts,
    DeviceAdded,
    DeviceRow,
    ProfileChange,
    UserAdded,
    UserRow,
)

Reopen = Callable[[], Awaitable[Accounts]]
"""Closes the store and opens it again. A store that keeps nothing gives the one there is."""

NOW_MS = 1_800_000_000_000
DAY_MS = 24 * 3600 * 1000


def user_row(user_id: str, folded_username: str, folded_display_name: str = "") -> UserRow:
    """A user whose shown names differ from the folded ones."""
    return UserRow(
        user_id=user_id,
        username=folded_username.upper(),
        folded_username=folded_username,
        display_name=folded_display_name.upper(),
        folded_display_name=folded_display_name,
        about="",
        avatar_url="",
        operator=False,
        create_time_ms=NOW_MS,
    )


def device_row(device_id: str, user_id: str, *, refresh_time_ms: int = NOW_MS) -> DeviceRow:
    """A device made at `NOW_MS`, live for 30 days after its last renewal."""
    return DeviceRow(
        device_id=device_id,
        user_id=user_id,
        device_name=f"name of {device_id}",
        create_time_ms=NOW_MS,
        refresh_time_ms=refresh_time_ms,
        access_expire_time_ms=refresh_time_ms + 900_000,
        refresh_expire_time_ms=refresh_time_ms + 30 * DAY_MS,
        refresh_state=b"\x00\xffstate of " + device_id.encode(),
    )


async def add_users(accounts: Accounts, *names: str) -> list[UserRow]:
    """Users with these folded names; the id of `bob` is `u-bob`."""
    rows = [user_row(f"u-{name}", name) for name in names]
    for row in rows:
        assert await accounts.add_user(row, f"hash of {row.folded_username}") is UserAdded.ADDED
    return rows


async def add_device(
    accounts: Accounts,
    device: DeviceRow,
    *,
    device_limit: int = 20,
    now_ms: int = NOW_MS,
    forget_before_ms: int = 0,
) -> DeviceAdded:
    """`Accounts.add_device` with defaults."""
    return await accounts.add_device(
        device, device_limit=device_limit, now_ms=now_ms, forget_before_ms=forget_before_ms
    )


async def live_ids(accounts: Accounts, user_id: str, *, now_ms: int = NOW_MS) -> list[str]:
    """The ids of the user's live devices, as listed."""
    rows = await accounts.devices(user_id, now_ms=now_ms, before=None, limit=1000)
    return [row.device_id for row in rows]


class AccountsContract:
    """Every backend of `Accounts` passes these. Each law was broken once by hand in a backend and found
    here.
    """

    async def test_a_user_reads_back_as_written(self, accounts: Accounts, reopen: Reopen) -> None:
        """Planted: `operator` not stored; found by the second user."""
        bob = replace(
            user_row("u-bob", "bob", "밥 😀"), about="line\nline", avatar_url="https://example.org/b.png"
        )
        root = replace(user_row("u-root", "root"), operator=True, suspend_time_ms=NOW_MS)
        assert await accounts.add_user(bob, "secret hash") is UserAdded.ADDED
        assert await accounts.add_user(root, "") is UserAdded.ADDED
        store = accounts
        for _ in range(2):
            await store.ping()
            assert await store.user("u-bob") == bob
            assert await store.user_named("root") == root
            assert await store.password_hash("u-bob") == "secret hash"
            assert await store.password_hash("u-root") == ""
            store = await reopen()

    async def test_who_is_not_there_is_none(self, accounts: Accounts) -> None:
        """Planted: names looked up without regard to the exact code points; found by the upper case."""
        await add_users(accounts, "bob")
        assert await accounts.user("bob") is None
        assert await accounts.user("") is None
        assert await accounts.user_named("BOB") is None
        assert await accounts.user_named("") is None
        assert await accounts.password_hash("u-nobody") == ""
        assert await accounts.change_profile("u-nobody", ProfileChange(about="x")) is None
        assert await accounts.set_suspended("u-nobody", NOW_MS) is None
        assert await accounts.device("d-nothing") is None
        assert await accounts.revoke_device("u-bob", "d-nothing", now_ms=NOW_MS) is None
        assert await live_ids(accounts, "u-nobody") == []

    async def test_of_a_hundred_sign_ups_of_one_name_one_succeeds(
        self, accounts: Accounts, reopen: Reopen
    ) -> None:
        """Planted: the unique constraint dropped, the name only looked up first; found by two who succeed."""
        outcomes = await asyncio.gather(
            *(accounts.add_user(user_row(f"u{number}", "bob"), f"hash {number}") for number in range(100))
        )
        assert outcomes.count(UserAdded.ADDED) == 1
        assert outcomes.count(UserAdded.USERNAME_TAKEN) == 99
        winner = f"u{outcomes.index(UserAdded.ADDED)}"
        store = await reopen()
        everybody = await store.users([f"u{number}" for number in range(100)])
        assert [row.user_id for row in everybody] == [winner]
        named = await store.user_named("bob")
        assert named is not None and named.user_id == winner

    async def test_of_a_hundred_sign_ups_with_one_id_one_succeeds(self, accounts: Accounts) -> None:
        """Planted: an upsert instead of an insert; found by the password hash of a later one."""
        outcomes = await asyncio.gather(
            *(accounts.add_user(user_row("u-bob", "bob"), f"hash {number}") for number in range(100))
        )
        assert outcomes.count(UserAdded.ADDED) == 1
        assert outcomes.count(UserAdded.USER_ID_EXISTS) == 99
        assert await accounts.password_hash("u-bob") == f"hash {outcomes.index(UserAdded.ADDED)}"

    async def test_a_taken_id_or_name_changes_nothing(self, accounts: Accounts) -> None:
        """Planted: USERNAME_TAKEN answered first; found by the first assertion."""
        bob, _ = await add_users(accounts, "bob", "carol")
        assert await accounts.add_user(user_row("u-bob", "carol"), "other") is UserAdded.USER_ID_EXISTS
        assert await accounts.add_user(user_row("u-new", "bob"), "other") is UserAdded.USERNAME_TAKEN
        assert await accounts.user_named("bob") == bob
        assert await accounts.user("u-new") is None
        assert await accounts.password_hash("u-bob") == "hash of bob"

    async def test_many_users_at_once(self, accounts: Accounts) -> None:
        """Planted: only the first 500 ids asked for; found by the last user."""
        bob, carol = await add_users(accounts, "bob", "carol")
        wanted = ["u-bob", "u-bob", *(f"u-{number}" for number in range(1200)), "u-carol", "u-bob"]
        found = sorted(await accounts.users(wanted), key=lambda row: row.user_id)
        assert found == [bob, carol]
        assert await accounts.users([]) == ()

    async def test_a_profile_changes_where_asked(self, accounts: Accounts, reopen: Reopen) -> None:
        """Planted: None written as an empty text; found by `about` after the second change."""
        (bob,) = await add_users(accounts, "bob")
        change = ProfileChange(display_name="Bob B.", folded_display_name="bob b.", about="hello")
        changed = replace(bob, display_name="Bob B.", folded_display_name="bob b.", about="hello")
        assert await accounts.change_profile("u-bob", change) == changed
        changed = replace(changed, avatar_url="https://example.org/b.png")
        assert await accounts.change_profile("u-bob", ProfileChange(avatar_url=changed.avatar_url)) == changed
        assert await accounts.change_profile("u-bob", ProfileChange()) == changed
        assert await (await reopen()).user("u-bob") == changed

    async def test_changes_of_different_fields_at_once_all_stand(self, accounts: Accounts) -> None:
        """Planted: the row read before the write transaction; found by a lost change."""
        (bob,) = await add_users(accounts, "bob")
        await asyncio.gather(
            accounts.change_profile("u-bob", ProfileChange(about="hello")),
            accounts.change_profile("u-bob", ProfileChange(display_name="B", folded_display_name="b")),
            accounts.change_profile("u-bob", ProfileChange(avatar_url="https://example.org/b.png")),
            accounts.set_suspended("u-bob", NOW_MS),
        )
        assert await accounts.user("u-bob") == replace(
            bob,
            about="hello",
            display_name="B",
            folded_display_name="b",
            avatar_url="https://example.org/b.png",
            suspend_time_ms=NOW_MS,
        )

    async def test_search_takes_every_character_literally(self, accounts: Accounts) -> None:
        """Planted: LIKE without escapes; found by `_` and `%`."""
        for number, name in enumerate(["a_b", "axb", "a.b", "a-b", "ab", "b"]):
            await accounts.add_user(user_row(f"u{number}", name, f"100{name[1:]}"), "")
        await accounts.add_user(user_row("u-percent", "z", "100% sure"), "")
        assert [row.folded_username for row in await self._all_found(accounts, "a_")] == ["a_b"]
        assert [row.folded_username for row in await self._all_found(accounts, "100%")] == ["z"]
        assert await self._all_found(accounts, "%") == []
        assert await self._all_found(accounts, "/") == []
        assert await self._all_found(accounts, "\\") == []
        assert await self._all_found(accounts, "'") == []

    async def test_search_pages_are_what_a_plain_search_finds(self, accounts: Accounts) -> None:
        """Planted: `after` taken inclusively; found by a user twice. Planted: sorted by user id; found by
        the order.
        """
        rng = random.Random(20)
        alphabet = "ab.한글\u00df\ud7ff\ue000\U00010400\U0010ffff"

        def word(longest: int) -> str:
            return "".join(rng.choice(alphabet) for _ in range(rng.randint(0, longest)))

        rows: dict[str, UserRow] = {}
        for number in range(150):
            name = word(4) + str(number)
            rows[name] = user_row(f"u{rng.random()}", name, word(3))
            await accounts.add_user(rows[name], "")
        for prefix in [
            "a",
            "한",
            "글글",
            "\ud7ff",
            "\ue000",
            "\U0010ffff",
            "\U0010ffff\U0010ffff",
            "1",
            ".b",
        ]:
            expected = sorted(
                name
                for name, row in rows.items()
                if name.startswith(prefix) or row.folded_display_name.startswith(prefix)
            )
            assert [row.folded_username for row in await self._all_found(accounts, prefix)] == expected

    async def _all_found(self, accounts: Accounts, prefix: str) -> list[UserRow]:
        found: list[UserRow] = []
        while page := await accounts.search(
            prefix, after=found[-1].folded_username if found else "", limit=3
        ):
            assert len(page) <= 3
            found += page
        return found

    async def test_suspended_users_that_still_matter(self, accounts: Accounts, reopen: Reopen) -> None:
        """Planted: users in good standing with a device listed too; found by carol."""
        await add_users(accounts, "bob", "carol", "dave", "erin")
        await accounts.set_suspended("u-bob", NOW_MS)
        await accounts.set_suspended("u-dave", NOW_MS - 1)
        await accounts.set_suspended("u-erin", NOW_MS - 1)
        await add_device(accounts, device_row("d-carol", "u-carol"))
        await add_device(accounts, device_row("d-erin", "u-erin"))
        store = await reopen()

        async def listed(since_ms: int, access_after_ms: int) -> set[str]:
            found = await store.suspended_users(since_ms=since_ms, access_after_ms=access_after_ms)
            assert len({row.user_id for row in found}) == len(found)
            return {row.user_id for row in found}

        assert await listed(NOW_MS, NOW_MS) == {"u-bob", "u-erin"}
        assert await listed(NOW_MS - 1, NOW_MS + DAY_MS) == {"u-bob", "u-dave", "u-erin"}
        assert await listed(NOW_MS + 1, NOW_MS + 900_000) == set()
        restored = await store.set_suspended("u-bob", None)
        assert restored is not None and restored.suspend_time_ms is None
        assert await listed(NOW_MS, NOW_MS + DAY_MS) == set()

    async def test_a_device_reads_back_as_written(self, accounts: Accounts, reopen: Reopen) -> None:
        """Planted: the refresh state kept as text; found by its bytes."""
        await add_users(accounts, "bob")
        device = device_row("d1", "u-bob")
        assert await add_device(accounts, device) == DeviceAdded(added=True)
        assert await accounts.device("d1") == device
        assert await (await reopen()).device("d1") == device

    async def test_a_device_is_added_once(self, accounts: Accounts) -> None:
        """Planted: an existing device replaced; found by its name."""
        await add_users(accounts, "bob")
        devices = [replace(device_row("d1", "u-bob"), device_name=str(number)) for number in range(20)]
        outcomes = await asyncio.gather(*(add_device(accounts, device) for device in devices))
        assert [outcome.added for outcome in outcomes].count(True) == 1
        kept = await accounts.device("d1")
        assert kept is not None and outcomes[int(kept.device_name)].added
        # One that was revoked does not come back either.
        await accounts.revoke_device("u-bob", "d1", now_ms=NOW_MS)
        assert await add_device(accounts, devices[0]) == DeviceAdded(added=False)
        assert await live_ids(accounts, "u-bob") == []

    async def test_the_device_renewed_longest_ago_makes_room(
        self, accounts: Accounts, reopen: Reopen
    ) -> None:
        """Planted: the oldest log-in goes instead; found by the renewed first device."""
        await add_users(accounts, "bob", "carol")
        other = device_row("d-carol", "u-carol", refresh_time_ms=0)
        await add_device(accounts, other)
        for number in range(3):
            await add_device(accounts, device_row(f"d{number}", "u-bob", refresh_time_ms=NOW_MS + number))
        await accounts.renew_device(
            replace(device_row("d0", "u-bob", refresh_time_ms=NOW_MS + 10), version=2)
        )
        later = NOW_MS + 20
        outcome = await add_device(
            accounts, device_row("d3", "u-bob", refresh_time_ms=later), device_limit=3, now_ms=later
        )
        expected = replace(device_row("d1", "u-bob", refresh_time_ms=NOW_MS + 1), revoke_time_ms=later)
        assert outcome == DeviceAdded(added=True, logged_out=(expected,))
        store = await reopen()
        assert await store.device("d1") == expected
        assert set(await live_ids(store, "u-bob")) == {"d0", "d2", "d3"}
        assert await store.device("d-carol") == other

    async def test_a_smaller_limit_makes_several_go(self, accounts: Accounts) -> None:
        """Planted: at most one device goes; found by the others. Planted: expired ones count; found by
        d-expired.
        """
        await add_users(accounts, "bob")
        expired = device_row("d-expired", "u-bob", refresh_time_ms=NOW_MS - 31 * DAY_MS)
        await add_device(accounts, expired)
        for number in range(6):
            await add_device(accounts, device_row(f"d{number}", "u-bob", refresh_time_ms=NOW_MS + number))
        outcome = await add_device(
            accounts, device_row("d-new", "u-bob", refresh_time_ms=0), device_limit=2, now_ms=NOW_MS
        )
        assert {row.device_id for row in outcome.logged_out} == {"d0", "d1", "d2", "d3", "d4"}
        assert await accounts.device("d-expired") == expired

    async def test_log_ins_at_once_keep_to_the_limit(self, accounts: Accounts) -> None:
        """Planted: the live devices counted before the write transaction; found by more than five that are
        live.
        """
        await add_users(accounts, "bob")
        outcomes = await asyncio.gather(
            *(add_device(accounts, device_row(f"d{number}", "u-bob"), device_limit=5) for number in range(40))
        )
        logged_out = [row.device_id for outcome in outcomes for row in outcome.logged_out]
        live = await live_ids(accounts, "u-bob")
        assert len(live) == 5
        assert sorted(logged_out + live) == sorted(f"d{number}" for number in range(40))

    async def test_only_what_nobody_can_use_any_more_is_forgotten(self, accounts: Accounts) -> None:
        """Planted: the access token's expiry not looked at; found by the revoked device whose token still
        runs.
        """
        await add_users(accounts, "bob", "carol")
        border = NOW_MS + 100 * DAY_MS
        gone = replace(device_row("d-gone", "u-bob"), revoke_time_ms=NOW_MS)
        expired = device_row("d-expired", "u-bob")
        recent = replace(device_row("d-recent", "u-bob"), revoke_time_ms=border)
        running = replace(
            device_row("d-running", "u-bob"), revoke_time_ms=NOW_MS, access_expire_time_ms=border
        )
        foreign = replace(device_row("d-foreign", "u-carol"), revoke_time_ms=NOW_MS)
        live = replace(device_row("d-live", "u-bob"), refresh_expire_time_ms=border + DAY_MS)
        for device in (gone, expired, recent, running, foreign, live):
            await add_device(accounts, device, now_ms=NOW_MS)
        newest = device_row("d-newest", "u-bob", refresh_time_ms=border)
        await add_device(accounts, newest, now_ms=border, forget_before_ms=border)
        assert await accounts.device("d-gone") is None
        assert await accounts.device("d-expired") is None
        for device in (recent, running, foreign, live, newest):
            assert await accounts.device(device.device_id) == device

    async def test_live_devices_newest_first_in_pages(self, accounts: Accounts) -> None:
        """Planted: devices of one moment told apart by nothing; found by one left out between two pages."""
        await add_users(accounts, "bob")
        for number in range(10):
            made = replace(device_row(f"d{number}", "u-bob"), create_time_ms=NOW_MS + number // 4)
            await add_device(accounts, made)
        await accounts.revoke_device("u-bob", "d5", now_ms=NOW_MS)
        await add_device(accounts, device_row("d-expired", "u-bob", refresh_time_ms=NOW_MS - 30 * DAY_MS))
        found: list[DeviceRow] = []
        while page := await accounts.devices(
            "u-bob",
            now_ms=NOW_MS,
            before=(found[-1].create_time_ms, found[-1].device_id) if found else None,
            limit=2,
        ):
            assert len(page) <= 2
            found += page
        assert [row.device_id for row in found] == ["d9", "d8", "d7", "d6", "d4", "d3", "d2", "d1", "d0"]

    async def test_of_renewals_from_one_version_one_succeeds(
        self, accounts: Accounts, reopen: Reopen
    ) -> None:
        """Planted: the version not compared; found by more than one that succeeds."""
        await add_users(accounts, "bob")
        await add_device(accounts, device_row("d1", "u-bob"))
        renewals = [
            replace(
                device_row("d1", "u-bob", refresh_time_ms=NOW_MS + number),
                refresh_state=str(number).encode(),
                version=2,
            )
            for number in range(100)
        ]
        outcomes = await asyncio.gather(*(accounts.renew_device(renewal) for renewal in renewals))
        assert outcomes.count(True) == 1
        winner = renewals[outcomes.index(True)]
        store = await reopen()
        assert await store.device("d1") == winner
        assert not await store.renew_device(winner)
        assert await store.renew_device(replace(winner, version=3))

    async def test_a_renewal_keeps_what_is_not_its_own(self, accounts: Accounts) -> None:
        """Planted: the whole row replaced; found by the device's name."""
        await add_users(accounts, "bob")
        await add_device(accounts, device_row("d1", "u-bob"))
        other = replace(device_row("d1", "u-bob"), device_name="other", create_time_ms=1, version=2)
        assert await accounts.renew_device(other)
        assert await accounts.device("d1") == replace(device_row("d1", "u-bob"), version=2)
        assert not await accounts.renew_device(replace(device_row("d-nothing", "u-bob"), version=2))

    async def test_a_revoked_device_is_never_live_again(self, accounts: Accounts, reopen: Reopen) -> None:
        """Planted: a renewal that lifts the revocation; found by the last assertion."""
        await add_users(accounts, "bob", "carol")
        await add_device(accounts, device_row("d1", "u-bob"))
        assert await accounts.revoke_device("u-carol", "d1", now_ms=NOW_MS) is None
        assert await live_ids(accounts, "u-bob") == ["d1"]
        revoked = replace(device_row("d1", "u-bob"), revoke_time_ms=NOW_MS + 1)
        assert await accounts.revoke_device("u-bob", "d1", now_ms=NOW_MS + 1) == revoked
        assert await accounts.revoke_device("u-bob", "d1", now_ms=NOW_MS + 2) == revoked
        store = await reopen()
        assert not await store.renew_device(replace(device_row("d1", "u-bob"), version=2))
        assert await store.device("d1") == revoked

    async def test_revocations_and_renewals_at_once(self, accounts: Accounts) -> None:
        """Planted: the revocation not compared in a renewal; found by a device that is live after it."""
        await add_users(accounts, "bob")
        for number in range(20):
            device = device_row(f"d{number}", "u-bob")
            await add_device(accounts, device)
            await asyncio.gather(
                accounts.renew_device(replace(device, version=2)),
                accounts.revoke_device("u-bob", device.device_id, now_ms=NOW_MS),
                accounts.renew_device(replace(device, version=3)),
            )
        assert await live_ids(accounts, "u-bob") == []

    async def test_revoked_devices_that_still_matter(self, accounts: Accounts, reopen: Reopen) -> None:
        """Planted: live devices listed too; found by d-live."""
        await add_users(accounts, "bob")
        recent = replace(device_row("d-recent", "u-bob"), revoke_time_ms=NOW_MS)
        running = replace(
            device_row("d-running", "u-bob"), revoke_time_ms=1, access_expire_time_ms=NOW_MS + DAY_MS
        )
        old = replace(device_row("d-old", "u-bob"), revoke_time_ms=1)
        for device in (recent, running, old, device_row("d-live", "u-bob")):
            await add_device(accounts, device)
        store = await reopen()

        async def listed(since_ms: int, access_after_ms: int) -> set[str]:
            found = await store.revoked_devices(since_ms=since_ms, access_after_ms=access_after_ms)
            return {row.device_id for row in found}

        assert await listed(NOW_MS, NOW_MS) == {"d-recent", "d-running", "d-old"}
        assert await listed(NOW_MS, NOW_MS + 900_000) == {"d-recent", "d-running"}
        assert await listed(NOW_MS + 1, NOW_MS + DAY_MS - 1) == {"d-running"}
        assert await listed(NOW_MS + 1, NOW_MS + DAY_MS) == set()
        assert await listed(0, NOW_MS + DAY_MS) == {"d-recent", "d-running", "d-old"}
