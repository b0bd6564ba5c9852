"""The laws of the accounts port about users and their passwords."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

from parley_server.ports.accounts import Accounts, ProfileChange, UserAdded, UserRow
from parley_server.testing.accounts_rows import (
    DAY_MS,
    NOW_MS,
    Reopen,
    add_device,
    add_users,
    device_row,
    live_ids,
    user_row,
)


class UsersContract:
    """Each law was broken once by hand in a backend and found here."""

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
        """Planted: an upsert instead of an insert; found by how many succeed."""
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
            prefix, seeker_id="u-nobody", after=found[-1].folded_username if found else "", limit=3
        ):
            assert len(page) <= 3
            # Or this would never end.
            assert not set(page) & set(found)
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
