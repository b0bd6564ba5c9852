"""Users and devices for tests of accounts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from parley_server.ports.accounts import Accounts, DeviceAdded, DeviceRow, UserAdded, UserRow

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
    password_hash: str | None = None,
) -> DeviceAdded:
    """`Accounts.add_device` with defaults."""
    return await accounts.add_device(
        device,
        device_limit=device_limit,
        now_ms=now_ms,
        forget_before_ms=forget_before_ms,
        password_hash=password_hash,
    )


async def live_ids(accounts: Accounts, user_id: str, *, now_ms: int = NOW_MS) -> list[str]:
    """The ids of the user's live devices, as listed."""
    rows = await accounts.devices(user_id, now_ms=now_ms, before=None, limit=1000)
    return [row.device_id for row in rows]
