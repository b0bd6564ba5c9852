"""What contacts and blocks have in common: who may be named, and what the store's answers mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_runtime.refusal import Reason, Refusal, invalid_field, user_not_found
from parley_server.accounts.ids import is_user_id
from parley_server.accounts.names import fold
from parley_server.ports.accounts import Relation, RelationAdded

if TYPE_CHECKING:
    from parley_server.ports.accounts import Accounts, RelatedRow

_PLURAL = {Relation.CONTACT: "contacts", Relation.BLOCK: "blocked users"}


async def relate(
    accounts: Accounts, user_id: str, relation: Relation, other_id: str, *, limit: int, now_ms: int
) -> None:
    """The relation is durable when this returns; it may have been there before.

    Raises Refusal: INVALID_FIELD, USER_NOT_FOUND, BLOCKED (a contact whom the user blocked),
    TOO_MANY_CONTACTS; StoreUnavailable.
    """
    check_other(user_id, other_id)
    if not is_user_id(other_id):
        raise user_not_found()
    added = await accounts.add_relation(user_id, relation, other_id, limit=limit, now_ms=now_ms)
    if added is RelationAdded.USER_NOT_FOUND:
        raise user_not_found()
    if added is RelationAdded.BLOCKED:
        raise Refusal(Reason.BLOCKED, "You blocked this user. Unblock first, then add the contact.")
    if added is RelationAdded.TOO_MANY:
        raise Refusal(
            Reason.TOO_MANY_CONTACTS,
            f"You have {limit} {_PLURAL[relation]}, as many as anybody may have. Remove one first.",
            metadata={"limit": str(limit)},
        )


async def unrelate(accounts: Accounts, user_id: str, relation: Relation, other_id: str) -> None:
    """The relation is gone, durably, when this returns; it may never have been there.

    Raises Refusal INVALID_FIELD, StoreUnavailable.
    """
    check_other(user_id, other_id)
    if is_user_id(other_id):
        await accounts.remove_relation(user_id, relation, other_id)


async def related(
    accounts: Accounts, user_id: str, relation: Relation, *, after: str, limit: int
) -> tuple[RelatedRow, ...]:
    """Whom the user has this relation to, by folded username, only those greater than `after`, at most
    `limit`. Raises Refusal INVALID_FIELD, StoreUnavailable.
    """
    if fold(after) != after or "\0" in after:
        raise invalid_field("page_token", "is not a token of this list: pass next_page_token as it came")
    return await accounts.relations(user_id, relation, after=after, limit=limit)


def check_other(user_id: str, other_id: str) -> None:
    """Raises Refusal INVALID_FIELD unless `other_id` may be another user than `user_id`."""
    if not other_id:
        raise invalid_field("user_id", "is required")
    if other_id == user_id:
        raise invalid_field("user_id", "must be another user than yourself")
