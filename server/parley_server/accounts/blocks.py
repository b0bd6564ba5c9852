"""Blocks: who wants nothing to do with whom. Asked at every direct message, so answered from memory."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from parley_runtime.refusal import Reason, Refusal
from parley_server.accounts.relations import check_other, relate, related, unrelate
from parley_server.ports.accounts import Relation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from parley_runtime.clock import Clock
    from parley_server.accounts.completion import Completion
    from parley_server.accounts.settings import AccountSettings
    from parley_server.ports.accounts import Accounts, RelatedRow


class Blocks:
    """The blocks of all users. Raises StoreUnavailable where the store cannot answer.

    Remembers whom a user blocked. That is exact as long as every change of the store goes through this
    object: a question asked after a change returned, or failed with an unknown outcome, sees what the store
    holds.
    """

    def __init__(
        self, accounts: Accounts, clock: Clock, completion: Completion, settings: AccountSettings
    ) -> None:
        self._accounts = accounts
        self._clock = clock
        self._completion = completion
        self._limit = settings.block_limit
        self._cache_limit = settings.block_cache_size
        self._cached: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._cached_ids = 0
        self._changes = 0

    async def block(self, user_id: str, other_id: str) -> None:
        """`user_id` blocks `other_id`, durably, and has him as a contact no more. The other's own contacts
        stay. One that is blocked already stays so.

        Raises Refusal: INVALID_FIELD (oneself), USER_NOT_FOUND, TOO_MANY_CONTACTS.
        """
        now_ms = self._clock.now_ms()
        change = relate(self._accounts, user_id, Relation.BLOCK, other_id, limit=self._limit, now_ms=now_ms)
        await self._completion.run(self._changed(user_id, change))

    async def unblock(self, user_id: str, other_id: str) -> None:
        """End a block, durably; fine if there is none. A contact does not come back. Raises Refusal
        INVALID_FIELD.
        """
        check_other(user_id, other_id)
        change = unrelate(self._accounts, user_id, Relation.BLOCK, other_id)
        await self._completion.run(self._changed(user_id, change))

    async def list(self, user_id: str, *, after: str, limit: int) -> tuple[RelatedRow, ...]:
        """Whom the user blocked by folded username, after `after`, at most `limit`. Raises Refusal
        INVALID_FIELD.
        """
        return await related(self._accounts, user_id, Relation.BLOCK, after=after, limit=limit)

    async def refusal_between(self, one: str, other: str) -> Refusal | None:
        """BLOCKED when either user blocked the other, else None. The same for both, whoever blocked.

        Does not suspend while both are remembered.
        """
        if one != other and (other in await self._blocked_by(one) or one in await self._blocked_by(other)):
            return blocked()
        return None

    def remembers(self, user_id: str) -> bool:
        """Whether no store is asked whom the user blocked."""
        return user_id in self._cached

    async def blockers_among(self, user_id: str, others: Iterable[str]) -> set[str]:
        """Those of the others who blocked the user or whom he blocked. Any number of ids, one question to
        the store at most for those who are not remembered.
        """
        blocked_ids = await self._blocked_by(user_id)
        found, unknown = set(), []
        for other in others:
            theirs = self._cached.get(other)
            if other in blocked_ids or (theirs is not None and user_id in theirs):
                found.add(other)
            elif theirs is None and other != user_id:
                unknown.append(other)
        if unknown:
            found |= await self._accounts.related_to(user_id, Relation.BLOCK, unknown)
        return found

    def user_deleted(self, user_id: str) -> None:
        """To be called once the store has forgotten all blocks of and on a user."""
        self._changes += 1
        concerned = [who for who, ids in self._cached.items() if who == user_id or user_id in ids]
        for who in concerned:
            self._forget(who)

    async def _changed(self, user_id: str, change: Awaitable[None]) -> None:
        try:
            await change
        finally:
            # Whatever came of it: the store may have taken a change whose answer was lost.
            self._changes += 1
            self._forget(user_id)

    async def _blocked_by(self, user_id: str) -> frozenset[str]:
        remembered = self._cached.get(user_id)
        if remembered is not None:
            self._cached.move_to_end(user_id)
            return remembered
        changes = self._changes
        blocked_ids = await self._accounts.related_ids(user_id, Relation.BLOCK)
        # What was read while something changed may be older than the change: good for this answer, which
        # overlaps the change, but not for later ones.
        if changes == self._changes:
            self._remember(user_id, blocked_ids)
        return blocked_ids

    def _remember(self, user_id: str, blocked_ids: frozenset[str]) -> None:
        self._forget(user_id)
        self._cached[user_id] = blocked_ids
        self._cached_ids += 1 + len(blocked_ids)
        while self._cached_ids > self._cache_limit:
            self._forget(next(iter(self._cached)))

    def _forget(self, user_id: str) -> None:
        ids = self._cached.pop(user_id, None)
        if ids is not None:
            self._cached_ids -= 1 + len(ids)


def blocked() -> Refusal:
    """The answer to both of two users of whom one blocked the other."""
    return Refusal(
        Reason.BLOCKED,
        "One of you blocked the other. Whoever blocked can unblock; nobody else can change it.",
    )
