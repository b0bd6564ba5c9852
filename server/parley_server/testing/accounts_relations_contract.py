"""The laws of the accounts port about contacts and blocks."""

from __future__ import annotations

import asyncio

from parley_server.ports.accounts import Accounts, RelatedRow, Relation, RelationAdded
from parley_server.testing.accounts_rows import NOW_MS, Reopen, add_users, user_row


async def relate(
    accounts: Accounts,
    user_id: str,
    relation: Relation,
    other_id: str,
    *,
    limit: int = 100,
    at_ms: int = NOW_MS,
) -> RelationAdded:
    """`Accounts.add_relation` with defaults."""
    return await accounts.add_relation(user_id, relation, other_id, limit=limit, now_ms=at_ms)


class RelationsContract:
    """Each law was broken once by hand in a backend and found here."""

    async def test_a_relation_stands_until_it_is_ended(self, accounts: Accounts, reopen: Reopen) -> None:
        """One way and of one kind only. Planted: the kind left out of the key; found by the block that ends
        with the contact.
        """
        bob, carol, dave = await add_users(accounts, "bob", "carol", "dave")
        assert await relate(accounts, "u-bob", Relation.CONTACT, "u-carol") is RelationAdded.ADDED
        assert await relate(accounts, "u-carol", Relation.BLOCK, "u-bob", at_ms=7) is RelationAdded.ADDED
        again = await relate(accounts, "u-bob", Relation.CONTACT, "u-carol", at_ms=9)
        assert again is RelationAdded.THERE_ALREADY
        store = await reopen()
        assert await self._all_of(store, "u-bob", Relation.CONTACT) == [RelatedRow(carol, NOW_MS)]
        assert await self._all_of(store, "u-carol", Relation.BLOCK) == [RelatedRow(bob, 7)]
        assert await self._all_of(store, "u-carol", Relation.CONTACT) == []
        assert await self._all_of(store, "u-bob", Relation.BLOCK) == []
        assert await store.related_ids("u-carol", Relation.BLOCK) == {"u-bob"}
        assert await store.related_ids("u-bob", Relation.BLOCK) == frozenset()
        assert not await store.remove_relation("u-carol", Relation.CONTACT, "u-bob")
        assert not await store.remove_relation("u-bob", Relation.BLOCK, "u-carol")
        assert await store.remove_relation("u-bob", Relation.CONTACT, "u-carol")
        assert not await store.remove_relation("u-bob", Relation.CONTACT, "u-carol")
        assert await self._all_of(store, "u-bob", Relation.CONTACT) == []
        assert await self._all_of(store, "u-carol", Relation.BLOCK) == [RelatedRow(bob, 7)]
        assert dave.user_id == "u-dave"

    async def test_a_block_ends_the_blockers_contact_and_keeps_it_from_coming_back(
        self, accounts: Accounts
    ) -> None:
        """The other's own contact stays: it is his. Planted: the contact kept; both contacts ended."""
        await add_users(accounts, "bob", "carol")
        await relate(accounts, "u-bob", Relation.CONTACT, "u-carol")
        await relate(accounts, "u-carol", Relation.CONTACT, "u-bob")
        assert await relate(accounts, "u-bob", Relation.BLOCK, "u-carol") is RelationAdded.ADDED
        assert await accounts.related_ids("u-bob", Relation.CONTACT) == frozenset()
        assert await accounts.related_ids("u-carol", Relation.CONTACT) == {"u-bob"}
        assert await relate(accounts, "u-bob", Relation.CONTACT, "u-carol") is RelationAdded.BLOCKED
        assert await accounts.remove_relation("u-bob", Relation.BLOCK, "u-carol")
        assert await relate(accounts, "u-bob", Relation.CONTACT, "u-carol") is RelationAdded.ADDED

    async def test_only_users_are_related(self, accounts: Accounts) -> None:
        """Planted: the users not looked up; found by a relation to nobody."""
        await add_users(accounts, "bob")
        for user_id, other_id in (("u-bob", "u-nobody"), ("u-nobody", "u-bob")):
            for relation in Relation:
                outcome = await relate(accounts, user_id, relation, other_id)
                assert outcome is RelationAdded.USER_NOT_FOUND
        assert await accounts.related_ids("u-bob", Relation.CONTACT) == frozenset()

    async def test_the_limit_holds_for_each_kind_and_at_once(self, accounts: Accounts) -> None:
        """Planted: the count read before the write transaction; found by more than ten contacts."""
        await add_users(accounts, "bob", *(f"c{number}" for number in range(30)))
        outcomes = await asyncio.gather(
            *(relate(accounts, "u-bob", Relation.CONTACT, f"u-c{number}", limit=10) for number in range(30))
        )
        assert outcomes.count(RelationAdded.ADDED) == 10
        assert outcomes.count(RelationAdded.TOO_MANY) == 20
        there = sorted(await accounts.related_ids("u-bob", Relation.CONTACT))
        assert len(there) == 10
        # Full or not, what is there is there, and the other kind has a limit of its own.
        again = await relate(accounts, "u-bob", Relation.CONTACT, there[0], limit=10)
        assert again is RelationAdded.THERE_ALREADY
        assert await relate(accounts, "u-bob", Relation.BLOCK, there[0], limit=10) is RelationAdded.ADDED
        assert await relate(accounts, "u-c0", Relation.CONTACT, "u-bob", limit=10) is RelationAdded.ADDED

    async def test_lists_come_by_name_in_pages(self, accounts: Accounts) -> None:
        """Planted: ordered by id; `after` taken inclusively."""
        names = ["f", "a", "e", "b", "d", "c"]
        await add_users(accounts, "me")
        for number, name in enumerate(names):
            await accounts.add_user(user_row(f"u-{number}", name), "")
            await relate(accounts, "u-me", Relation.CONTACT, f"u-{number}", at_ms=number)
        found = await self._all_of(accounts, "u-me", Relation.CONTACT)
        assert [row.user.folded_username for row in found] == sorted(names)
        assert [row.create_time_ms for row in found] == [names.index(name) for name in sorted(names)]

    async def test_who_among_many_has_a_relation_to_one(self, accounts: Accounts) -> None:
        """Planted: only the first 500 ids asked for; the direction turned round."""
        await add_users(accounts, "bob", "carol", "dave")
        await relate(accounts, "u-carol", Relation.BLOCK, "u-bob")
        await relate(accounts, "u-bob", Relation.BLOCK, "u-dave")
        await relate(accounts, "u-dave", Relation.CONTACT, "u-bob")
        among = [*(f"u-{number}" for number in range(1200)), "u-carol", "u-dave", "u-carol"]
        assert await accounts.related_to("u-bob", Relation.BLOCK, among) == {"u-carol"}
        assert await accounts.related_to("u-bob", Relation.BLOCK, ["u-dave"]) == set()
        assert await accounts.related_to("u-bob", Relation.BLOCK, []) == set()

    async def test_a_search_leaves_out_who_blocked_the_seeker(self, accounts: Accounts) -> None:
        """Before the page is cut. Planted: those whom the seeker blocked left out instead; contacts counted
        as blocks.
        """
        await add_users(accounts, "a1", "a2", "a3", "a4")
        await relate(accounts, "u-a1", Relation.BLOCK, "u-a4")
        await relate(accounts, "u-a4", Relation.BLOCK, "u-a2")
        await relate(accounts, "u-a3", Relation.CONTACT, "u-a4")

        async def found(seeker_id: str, limit: int) -> list[str]:
            rows = await accounts.search("a", seeker_id=seeker_id, after="", limit=limit)
            return [row.folded_username for row in rows]

        assert await found("u-a4", 2) == ["a2", "a3"]
        assert await found("u-a4", 9) == ["a2", "a3", "a4"]
        assert await found("u-a2", 9) == ["a1", "a2", "a3"]
        assert await found("u-a1", 9) == ["a1", "a2", "a3", "a4"]

    async def _all_of(self, accounts: Accounts, user_id: str, relation: Relation) -> list[RelatedRow]:
        found: list[RelatedRow] = []
        while page := await accounts.relations(
            user_id, relation, after=found[-1].user.folded_username if found else "", limit=2
        ):
            assert len(page) <= 2
            # Or this would never end.
            assert not set(page) & set(found)
            found += page
        return found
