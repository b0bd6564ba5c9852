"""What the accounts hold about a user, for that user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parley_runtime.refusal import user_not_found
from parley_server.accounts.ids import is_user_id
from parley_server.ports.accounts import Relation

if TYPE_CHECKING:
    from parley_server.ports.accounts import Accounts

_PAGE = 1000


async def account_data(accounts: Accounts, user_id: str, now_ms: int) -> dict[str, Any]:
    """Profile, live devices, contacts and blocks as JSON knows them; no password, no token, no secret.

    `{"profile": {...}, "devices": [...], "contacts": [...], "blocks": [...]}`; times are milliseconds since
    1970. Raises Refusal USER_NOT_FOUND, StoreUnavailable.
    """
    user = await accounts.user(user_id) if is_user_id(user_id) else None
    if user is None:
        raise user_not_found()
    return {
        "profile": {
            "user_id": user.user_id,
            "username": user.username,
            "display_name": user.display_name,
            "about": user.about,
            "avatar_url": user.avatar_url,
            "operator": user.operator,
            "create_time_ms": user.create_time_ms,
        },
        "devices": await _devices(accounts, user_id, now_ms),
        "contacts": await _related(accounts, user_id, Relation.CONTACT),
        "blocks": await _related(accounts, user_id, Relation.BLOCK),
    }


async def _devices(accounts: Accounts, user_id: str, now_ms: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    before: tuple[int, str] | None = None
    while page := await accounts.devices(user_id, now_ms=now_ms, before=before, limit=_PAGE):
        found += [
            {
                "device_id": row.device_id,
                "device_name": row.device_name,
                "create_time_ms": row.create_time_ms,
                "refresh_time_ms": row.refresh_time_ms,
            }
            for row in page
        ]
        before = page[-1].create_time_ms, page[-1].device_id
    return found


async def _related(accounts: Accounts, user_id: str, relation: Relation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = ""
    while page := await accounts.relations(user_id, relation, after=after, limit=_PAGE):
        found += [
            {
                "user_id": row.user.user_id,
                "username": row.user.username,
                "create_time_ms": row.create_time_ms,
            }
            for row in page
        ]
        after = page[-1].user.folded_username
    return found
