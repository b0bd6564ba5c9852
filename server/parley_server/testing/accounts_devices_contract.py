"""The laws of the accounts port about devices."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from parley_server.ports.accounts import Accounts, DeviceAdded, DeviceRow
from parley_server.testing.accounts_rows import (
    DAY_MS,
    NOW_MS,
    Reopen,
    add_device,
    add_users,
    device_row,
    live_ids,
)


class DevicesContract:
    """Each law was broken once by hand in a backend and found here."""

    async def test_a_device_reads_back_as_written(self, accounts: Accounts, reopen: Reopen) -> None:
        """Planted: the refresh state kept as text; found by its bytes."""
        await add_users(accounts, "bob")
        device = device_row("d1", "u-bob")
        assert await add_device(accounts, device) == DeviceAdded(added=True)
        assert await accounts.device("d1") == device
        assert await (await reopen()).device("d1") == device

    async def test_a_device_is_added_once(self, accounts: Accounts) -> None:
        """Planted: an existing device replaced; found by how many are added."""
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
            # Or this would never end.
            assert not set(page) & set(found)
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
        """Planted: the revocation not compared in a renewal; found by the renewal afterwards."""
        await add_users(accounts, "bob")
        for number in range(20):
            device = device_row(f"d{number}", "u-bob")
            await add_device(accounts, device)
            await asyncio.gather(
                accounts.renew_device(replace(device, version=2)),
                accounts.revoke_device("u-bob", device.device_id, now_ms=NOW_MS),
                accounts.renew_device(replace(device, version=3)),
            )
            kept = await accounts.device(device.device_id)
            assert kept is not None
            assert not await accounts.renew_device(replace(kept, version=kept.version + 1))
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

    async def test_a_log_in_with_a_former_password_adds_nothing(self, accounts: Accounts) -> None:
        """The password may change while it is being checked. Planted: the hash compared before the write
        transaction only; found by a live device of the former hash.
        """
        await add_users(accounts, "bob")
        refused = DeviceAdded(added=False, refused=True)
        assert await add_device(accounts, device_row("d1", "u-bob"), password_hash="hash of carol") == refused
        assert (await add_device(accounts, device_row("d2", "u-bob"), password_hash="hash of bob")).added
        assert (await add_device(accounts, device_row("d3", "u-bob"))).added
        assert sorted(await live_ids(accounts, "u-bob")) == ["d2", "d3"]
        # One that is there already: whether the password is right comes first.
        assert await add_device(accounts, device_row("d2", "u-bob"), password_hash="hash of carol") == refused
        # At once with the change: whichever comes first, the device is not there or logged out.
        for number in range(10):
            before = "hash of bob" if number == 0 else f"hash {number - 1}"
            await asyncio.gather(
                add_device(accounts, device_row(f"e{number}", "u-bob"), password_hash=before),
                accounts.set_password(
                    "u-bob",
                    f"hash {number}",
                    former_hash=before,
                    revoke=True,
                    keep_device_id="",
                    now_ms=NOW_MS,
                ),
                add_device(accounts, device_row(f"f{number}", "u-bob"), password_hash=before),
            )
            assert await live_ids(accounts, "u-bob") == []

    async def test_a_new_password_ends_the_other_devices_with_it(
        self, accounts: Accounts, reopen: Reopen
    ) -> None:
        """Planted: the kept device revoked; another user's devices revoked. That a crash leaves both or
        nothing is shown by the kills of `test_account_changes`.
        """
        await add_users(accounts, "bob", "carol")
        for name in ("d1", "d2", "d3"):
            await add_device(accounts, device_row(name, "u-bob"))
        await add_device(accounts, device_row("d-carol", "u-carol"))
        await accounts.revoke_device("u-bob", "d3", now_ms=NOW_MS - 5)
        revoked = await accounts.set_password(
            "u-bob", "new", former_hash="hash of bob", revoke=True, keep_device_id="d2", now_ms=NOW_MS + 1
        )
        ended = [
            replace(device_row("d1", "u-bob"), revoke_time_ms=NOW_MS + 1),
            replace(device_row("d3", "u-bob"), revoke_time_ms=NOW_MS - 5),
        ]
        assert revoked is not None and sorted(revoked, key=lambda row: row.device_id) == ended
        store = await reopen()
        assert await store.password_hash("u-bob") == "new"
        assert await live_ids(store, "u-bob") == ["d2"]
        assert await live_ids(store, "u-carol") == ["d-carol"]
        kept = await store.set_password(
            "u-bob", "newer", former_hash=None, revoke=False, keep_device_id="", now_ms=NOW_MS + 2
        )
        assert kept is not None and sorted(kept, key=lambda row: row.device_id) == ended
        assert await live_ids(store, "u-bob") == ["d2"]
        everything = await store.set_password(
            "u-bob", "newest", former_hash=None, revoke=True, keep_device_id="", now_ms=NOW_MS + 3
        )
        assert everything is not None and {row.device_id for row in everything} == {"d1", "d2", "d3"}
        assert await store.password_hash("u-bob") == "newest"

    async def test_of_password_changes_from_one_hash_one_succeeds(self, accounts: Accounts) -> None:
        """Planted: the former hash not compared; found by how many succeed."""
        await add_users(accounts, "bob")
        outcomes = await asyncio.gather(
            *(
                accounts.set_password(
                    "u-bob",
                    f"new {number}",
                    former_hash="hash of bob",
                    revoke=True,
                    keep_device_id="",
                    now_ms=NOW_MS,
                )
                for number in range(20)
            )
        )
        assert outcomes.count(None) == 19
        assert await accounts.password_hash("u-bob") == f"new {outcomes.index(())}"
        nobody = await accounts.set_password(
            "u-nobody", "x", former_hash=None, revoke=True, keep_device_id="", now_ms=NOW_MS
        )
        assert nobody is None
