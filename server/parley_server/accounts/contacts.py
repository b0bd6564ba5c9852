"""Contacts: whom a user wants at hand. They are the user's own list; nobody else is told or asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_server.accounts.relations import relate, related, unrelate
from parley_server.ports.accounts import Relation

if TYPE_CHECKING:
    from parley_runtime.clock import Clock
    from parley_server.accounts.settings import AccountSettings
    from parley_server.ports.accounts import Accounts, RelatedRow


class Contacts:
    """The contacts of all users. Raises StoreUnavailable where the store cannot answer."""

    def __init__(self, accounts: Accounts, clock: Clock, settings: AccountSettings) -> None:
        self._accounts = accounts
        self._clock = clock
        self._limit = settings.contact_limit

    async def add(self, user_id: str, other_id: str) -> None:
        """Add a contact, durably. One that is there already stays as it is.

        Raises Refusal: INVALID_FIELD (oneself), USER_NOT_FOUND, BLOCKED (by the user himself: being blocked
        by the other must not show), TOO_MANY_CONTACTS.
        """
        now_ms = self._clock.now_ms()
        await relate(self._accounts, user_id, Relation.CONTACT, other_id, limit=self._limit, now_ms=now_ms)

    async def remove(self, user_id: str, other_id: str) -> None:
        """Remove a contact, durably; fine if there is none. Raises Refusal INVALID_FIELD."""
        await unrelate(self._accounts, user_id, Relation.CONTACT, other_id)

    async def list(self, user_id: str, *, after: str, limit: int) -> tuple[RelatedRow, ...]:
        """The user's contacts by folded username, after `after`, at most `limit`. Raises Refusal
        INVALID_FIELD.
        """
        return await related(self._accounts, user_id, Relation.CONTACT, after=after, limit=limit)
