"""What an operator may set about accounts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """Limits and lifetimes. The defaults are those that the contract names."""

    sign_up_open: bool = True
    """Whether people may open accounts themselves. If not, operators open them."""
    access_lifetime_seconds: int = 15 * 60
    """How long an access token is good for."""
    refresh_lifetime_seconds: int = 30 * 24 * 3600
    """How long a device stays logged in without renewing its tokens."""
    refresh_grace_seconds: int = 30
    """How long a used refresh token still works, for a reply that was lost."""
    clock_leeway_seconds: int = 5
    """How long after its expiry an access token still passes, for clocks that differ."""
    device_limit: int = 20
    """Devices that a user may have logged in at once."""
    contact_limit: int = 10_000
    """Contacts that a user may have."""
    block_limit: int = 10_000
    """Users whom a user may block."""
    block_cache_size: int = 200_000
    """User ids that are remembered to know who blocked whom: some 100 bytes each."""
    deletion_retry_seconds: int = 30
    """How long after a failure the erasure of a deleted user is tried again."""
    compact_seconds: int = 3600
    """How often at most what deleted users left in the store's files is removed from them."""
    operator_token_lifetime_seconds: int = 365 * 24 * 3600
    """How long the operator's token in the data folder is good for. Renewed at a start with less than half
    left.
    """
    token_issuer: str = "parley"
    """The `iss` of access tokens."""
    token_audience: str = "parley"
    """The `aud` of access tokens."""
    token_cache_size: int = 10_000
    """Verified access tokens that are remembered, so that a signature is checked once and not on every
    call.
    """
    password_workers: int = 2
    """Threads that hash passwords. Each takes `password_memory_kib` while it works."""
    password_waiting: int = 64
    """Log-ins that may wait for a thread; one more is answered SERVER_BUSY."""
    password_passes: int = 3
    """Argon2id: passes over the memory."""
    password_memory_kib: int = 64 * 1024
    """Argon2id: memory in KiB."""
    password_lanes: int = 4
    """Argon2id: lanes."""

    def __post_init__(self) -> None:
        """Raises ValueError for a number that cannot work, naming the setting."""
        for name in self.__slots__:
            number = getattr(self, name)
            least = 0 if name in ("refresh_grace_seconds", "clock_leeway_seconds", "password_waiting") else 1
            if isinstance(number, int) and not isinstance(number, bool) and number < least:
                raise ValueError(f"{name} must be at least {least}, not {number}")
