"""The laws of the accounts port about deleted users."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from parley_server.ports.accounts import (
    Accounts,
    Deletion,
    DeviceAdded,
    ProfileChange,
    Relation,
    RelationAdded,
    UserAdded,
    UserDeleted,
)
from parley_server.testing.accounts_relations_contract import relate
from parley_server.testing.accounts_rows import (
    NOW_MS,
    Reopen,
    add_device,
    add_users,
    device_row,
    live_ids,
    user_row,
)


async def delete_user(accounts: Accounts, name: str, *, password_hash: str | None = None) -> UserDeleted:
    """`Accounts.delete_user` of a user that `add_users` made."""
    expected = f"hash of {name}" if password_hash is None else password_hash
    return await accounts.delete_user(f"u-{name}", password_hash=expected, now_ms=NOW_MS + 1)


class DeletionContract:
    """Each law was broken once by hand in a backend and found here."""

    async def test_a_deleted_user_is_there_for_nobody(self, accounts: Accounts, reopen: Reopen) -> None:
        """Planted, each found: the mark not looked at in one of the reads; a relation of or to the user
        kept; the devices kept alive.
        """
        await add_users(accounts, "bob", "carol", "dave")
        await accounts.change_profile(
            "u-bob", ProfileChange(display_name="Bob B.", folded_display_name="bob b.", about="hi")
        )
        await add_device(accounts, device_row("d1", "u-bob"))
        await add_device(accounts, device_row("d-carol", "u-carol"))
        await relate(accounts, "u-bob", Relation.CONTACT, "u-carol")
        await relate(accounts, "u-carol", Relation.CONTACT, "u-bob")
        await relate(accounts, "u-carol", Relation.BLOCK, "u-bob")
        bare = replace(
            device_row("d1", "u-bob"), device_name="", refresh_state=b"", revoke_time_ms=NOW_MS + 1
        )
        assert await delete_user(accounts, "bob") == UserDeleted(Deletion.DELETED, (bare,))
        await accounts.set_suspended("u-dave", NOW_MS)
        assert await delete_user(accounts, "dave") == UserDeleted(Deletion.DELETED)
        store = await reopen()
        for _ in range(2):
            assert await store.user("u-bob") is None
            assert await store.user_named("bob") is None
            assert [row.user_id for row in await store.users(["u-bob", "u-carol"])] == ["u-carol"]
            assert await store.password_hash("u-bob") == ""
            assert await store.change_profile("u-bob", ProfileChange(about="x")) is None
            assert await store.set_suspended("u-bob", NOW_MS) is None
            assert await store.suspended_users(since_ms=0, access_after_ms=0) == ()
            for prefix in ("bob", "b", "deleted", "!", ""):
                found = await store.search(prefix, seeker_id="u-carol", after="", limit=9)
                assert [row.user_id for row in found] in ([], ["u-carol"])
            hashed = await store.set_password(
                "u-bob", "x", former_hash=None, revoke=False, keep_device_id="", now_ms=NOW_MS
            )
            assert hashed is None
            refused = DeviceAdded(added=False, refused=True)
            assert await add_device(store, device_row("d2", "u-bob")) == refused
            assert await live_ids(store, "u-bob") == []
            assert await store.device("d1") == bare
            assert await live_ids(store, "u-carol") == ["d-carol"]
            for relation in Relation:
                assert await store.related_ids("u-bob", relation) == frozenset()
                assert await store.related_ids("u-carol", relation) == frozenset()
                for user_id, other_id in (("u-bob", "u-carol"), ("u-carol", "u-bob")):
                    outcome = await relate(store, user_id, relation, other_id)
                    assert outcome is RelationAdded.USER_NOT_FOUND
            assert (await delete_user(store, "bob", password_hash="")).outcome is Deletion.USER_NOT_FOUND
            # Nothing of it changes when the deletion is finished.
            await store.deletion_finished("u-bob")
            store = await reopen()

    async def test_the_devices_of_a_deleted_user_are_told_after_a_restart(
        self, accounts: Accounts, reopen: Reopen
    ) -> None:
        """Their access tokens still run. Planted: the rows dropped with the user."""
        await add_users(accounts, "bob")
        await add_device(accounts, device_row("d1", "u-bob"))
        await delete_user(accounts, "bob")
        await accounts.deletion_finished("u-bob")
        told = await (await reopen()).revoked_devices(since_ms=NOW_MS, access_after_ms=NOW_MS)
        assert [row.device_id for row in told] == ["d1"]

    async def test_the_name_is_free_when_the_deletion_is_finished_the_id_never(
        self, accounts: Accounts, reopen: Reopen
    ) -> None:
        """Planted: the name freed at once; found by carol. Planted: the id given to another."""
        await add_users(accounts, "bob")
        await delete_user(accounts, "bob")
        store = await reopen()
        assert await store.add_user(user_row("u-new", "bob"), "") is UserAdded.USERNAME_TAKEN
        assert await store.add_user(user_row("u-bob", "other"), "") is UserAdded.USER_ID_EXISTS
        await store.deletion_finished("u-bob")
        await store.deletion_finished("u-bob")
        assert await store.add_user(user_row("u-bob", "other"), "") is UserAdded.USER_ID_EXISTS
        assert await store.add_user(user_row("u-new", "bob"), "") is UserAdded.ADDED
        named = await store.user_named("bob")
        assert named is not None and named.user_id == "u-new"
        # A second one of the same name goes the same way.
        assert (await delete_user(store, "new", password_hash="")).outcome is Deletion.DELETED
        await store.deletion_finished("u-new")
        assert await store.user_named("bob") is None

    async def test_unfinished_deletions_are_listed_until_they_are_finished(
        self, accounts: Accounts, reopen: Reopen
    ) -> None:
        """Planted: the list kept in memory; found after reopening. Planted: finished ones listed."""
        names = [f"n{number}" for number in range(7)]
        await add_users(accounts, *names, "stays")
        assert await accounts.deleting_users(after="", limit=10) == ()
        for name in reversed(names):
            await delete_user(accounts, name)
        store = await reopen()
        ids = [f"u-{name}" for name in names]
        assert await store.deleting_users(after="", limit=10) == tuple(ids)
        assert await store.deleting_users(after=ids[2], limit=2) == tuple(ids[3:5])
        await store.deletion_finished(ids[3])
        await store.deletion_finished("u-stays")
        await store.deletion_finished("u-nobody")
        store = await reopen()
        assert await store.deleting_users(after="", limit=10) == tuple(ids[:3] + ids[4:])
        assert await store.user("u-stays") is not None

    async def test_a_password_that_changed_meanwhile_deletes_nothing(self, accounts: Accounts) -> None:
        """Planted: the hash not compared."""
        (bob,) = await add_users(accounts, "bob")
        await add_device(accounts, device_row("d1", "u-bob"))
        outcome = await delete_user(accounts, "bob", password_hash="other")
        assert outcome == UserDeleted(Deletion.PASSWORD_CHANGED)
        assert await accounts.user("u-bob") == bob
        assert await live_ids(accounts, "u-bob") == ["d1"]
        assert (await delete_user(accounts, "nobody")).outcome is Deletion.USER_NOT_FOUND

    async def test_one_operator_in_good_standing_stays(self, accounts: Accounts) -> None:
        """Whatever happens at once. Planted: suspended operators counted; the operators read before the
        write transaction, found by two who both go.
        """
        for name in ("one", "two", "three"):
            row = replace(user_row(f"u-{name}", name), operator=True)
            await accounts.add_user(row, f"hash of {name}")
        await add_users(accounts, "bob")
        await accounts.set_suspended("u-three", NOW_MS)
        outcomes = await asyncio.gather(*(delete_user(accounts, name) for name in ("one", "two")))
        assert {each.outcome for each in outcomes} == {Deletion.DELETED, Deletion.LAST_OPERATOR}
        assert (await delete_user(accounts, "bob")).outcome is Deletion.DELETED

    async def test_a_log_in_or_a_contact_at_once_does_not_outlive_the_user(self, accounts: Accounts) -> None:
        """Planted: the mark looked at before the write transaction; found by a live device or a contact."""
        for number in range(10):
            name = f"n{number}"
            await add_users(accounts, name, f"friend{number}")
            await asyncio.gather(
                add_device(accounts, device_row(f"d{number}", f"u-{name}")),
                relate(accounts, f"u-friend{number}", Relation.CONTACT, f"u-{name}"),
                delete_user(accounts, name),
                relate(accounts, f"u-{name}", Relation.BLOCK, f"u-friend{number}"),
                add_device(accounts, device_row(f"e{number}", f"u-{name}")),
            )
            assert await live_ids(accounts, f"u-{name}") == []
            assert await accounts.related_ids(f"u-friend{number}", Relation.CONTACT) == frozenset()
            assert await accounts.related_ids(f"u-{name}", Relation.BLOCK) == frozenset()
