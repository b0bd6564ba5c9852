"""Contacts and blocks: what each may do to the other, and who is told what."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from parley_runtime.refusal import Reason, Refusal
from parley_server.accounts.blocks import Blocks
from parley_server.accounts.completion import Completion
from parley_server.accounts.contacts import Contacts
from parley_server.accounts.settings import AccountSettings
from parley_server.ports.accounts import Relation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from parley_server.accounts.service import AccountService
    from parley_server.backends.memory.accounts import MemoryAccounts
    from parley_server.ports.accounts import UserRow
    from parley_server.testing.manual_clock import ManualClock


async def sign_up(service: AccountService, username: str) -> UserRow:
    return (await service.sign_up(username, "correct horse", "", "", str(uuid.uuid4()))).user


async def reason_of(call: Awaitable[object]) -> Reason | None:
    try:
        await call
    except Refusal as refusal:
        return refusal.reason
    return None


def noting_the_other(call: Callable[..., Awaitable[object]], asked: set[str]) -> Callable[..., object]:
    """The call, which also notes whom it was asked about."""

    def noting(user_id: str, relation: Relation, other_id: str, **more: int) -> Awaitable[object]:
        asked.add(other_id)
        return call(user_id, relation, other_id, **more)

    return noting


@pytest.fixture
async def ids(service: AccountService) -> list[str]:
    """The ids of alice, bob and carol."""
    return [(await sign_up(service, name)).user_id for name in ("alice", "bob", "carol")]


async def test_contacts_are_ones_own_and_listed_by_name(
    service: AccountService, ids: list[str], clock: ManualClock
) -> None:
    alice, bob, carol = ids
    await service.contacts.add(alice, carol)
    clock.advance(1)
    await service.contacts.add(alice, bob)
    clock.advance(1)
    await service.contacts.add(alice, carol)
    rows = await service.contacts.list(alice, after="", limit=10)
    assert [row.user.username for row in rows] == ["bob", "carol"]
    assert rows[0].create_time_ms - rows[1].create_time_ms == 1000
    assert [row.user.username for row in await service.contacts.list(alice, after="bob", limit=10)] == [
        "carol"
    ]
    assert await service.contacts.list(bob, after="", limit=10) == ()
    await service.contacts.remove(alice, bob)
    await service.contacts.remove(alice, bob)
    assert len(await service.contacts.list(alice, after="", limit=10)) == 1


@pytest.mark.parametrize("part", ["contacts", "blocks"])
async def test_who_cannot_be_named(
    service: AccountService,
    ids: list[str],
    accounts: MemoryAccounts,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
) -> None:
    """Planted: oneself not refused when removing; a malformed id asked of the store."""
    alice = ids[0]
    asked: set[str] = set()
    for name in ("add_relation", "remove_relation"):
        monkeypatch.setattr(accounts, name, noting_the_other(getattr(accounts, name), asked))
    contacts, blocks = service.contacts, service.blocks
    add, remove = (contacts.add, contacts.remove) if part == "contacts" else (blocks.block, blocks.unblock)
    for call in (add, remove):
        assert await reason_of(call(alice, "")) is Reason.INVALID_FIELD
        assert await reason_of(call(alice, alice)) is Reason.INVALID_FIELD
    for other in ("u" + "0" * 32, "nobody", "u\x00", "x" * 10_000, "me"):
        assert await reason_of(add(alice, other)) is Reason.USER_NOT_FOUND
        assert await reason_of(remove(alice, other)) is None
    # No text from outside reaches a database that may not take it.
    assert asked == {"u" + "0" * 32}
    listing = contacts.list if part == "contacts" else blocks.list
    for after in ("\x00", "BOB"):
        assert await reason_of(listing(alice, after=after, limit=10)) is Reason.INVALID_FIELD


async def test_being_blocked_does_not_show_in_contacts(service: AccountService, ids: list[str]) -> None:
    """Planted: BLOCKED answered to whom the other blocked."""
    alice, bob, carol = ids
    await service.contacts.add(bob, alice)
    await service.blocks.block(bob, alice)
    assert await service.contacts.list(bob, after="", limit=10) == ()
    assert await reason_of(service.contacts.add(bob, alice)) is Reason.BLOCKED
    await service.contacts.add(alice, bob)
    await service.contacts.add(alice, carol)
    listed = [row.user.username for row in await service.contacts.list(alice, after="", limit=10)]
    assert listed == ["bob", "carol"]
    found = await service.profiles.search("b", seeker_id=alice, after="", limit=10)
    assert found == ()
    assert len(await service.profiles.search("b", seeker_id=carol, after="", limit=10)) == 1


async def test_both_get_the_same_refusal_and_nothing_else_between(
    service: AccountService, ids: list[str]
) -> None:
    """Planted: a message that says who blocked; found by comparing."""
    alice, bob, carol = ids
    assert await service.blocks.refusal_between(alice, bob) is None
    await service.blocks.block(alice, bob)
    refusal = await service.blocks.refusal_between(alice, bob)
    assert refusal is not None and refusal.reason is Reason.BLOCKED
    assert await service.blocks.refusal_between(bob, alice) == refusal
    assert await service.blocks.refusal_between(alice, carol) is None
    assert await service.blocks.refusal_between(alice, alice) is None
    await service.blocks.block(carol, alice)
    assert await service.blocks.blockers_among(alice, [carol, bob, alice, carol, "nobody"]) == {bob, carol}
    assert await service.blocks.blockers_among(bob, [carol]) == set()
    await service.blocks.unblock(alice, bob)
    assert await service.blocks.refusal_between(bob, alice) is None


async def test_what_is_remembered_does_not_suspend(service: AccountService, ids: list[str]) -> None:
    """A send in a direct channel asks this. Planted: `asyncio.sleep(0)` in the question."""
    alice, bob, _ = ids
    await service.blocks.block(alice, bob)
    await service.blocks.refusal_between(bob, alice)
    await service.blocks.refusal_between(alice, bob)
    questions = (service.blocks.refusal_between(bob, alice), service.blocks.blockers_among(bob, [alice]))
    for question in questions:
        with pytest.raises(StopIteration):
            question.send(None)


async def test_the_limits_count_each_kind(
    service: AccountService, ids: list[str], accounts: MemoryAccounts, clock: ManualClock
) -> None:
    """Planted: one limit used for both."""
    alice, bob, carol = ids
    tight = AccountSettings(contact_limit=1, block_limit=2)
    completion = Completion()
    contacts, blocks = Contacts(accounts, clock, tight), Blocks(accounts, clock, completion, tight)
    await contacts.add(alice, bob)
    await contacts.add(alice, bob)
    assert await reason_of(contacts.add(alice, carol)) is Reason.TOO_MANY_CONTACTS
    await blocks.block(alice, bob)
    await blocks.block(alice, carol)
    dave = (await sign_up(service, "dave")).user_id
    assert await reason_of(blocks.block(alice, dave)) is Reason.TOO_MANY_CONTACTS
    assert await accounts.related_ids(alice, Relation.BLOCK) == {bob, carol}
    await contacts.add(alice, dave)
    await completion.close()
