"""Password hashing: slow on purpose, therefore in threads of its own and in a bounded number at a time."""

from __future__ import annotations

import asyncio
import base64
import threading
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import argon2

from parley_runtime.refusal import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from parley_runtime.tokens import RandomBytes
    from parley_server.accounts.settings import AccountSettings

_T = TypeVar("_T")
_BUSY_RETRY_SECONDS = 1.0


class PasswordPool:
    """Hashes and checks passwords with Argon2id. Passwords are compared after NFC, as keyboards differ in
    that.
    """

    def __init__(self, settings: AccountSettings, random_bytes: RandomBytes) -> None:
        self._hasher = argon2.PasswordHasher(
            time_cost=settings.password_passes,
            memory_cost=settings.password_memory_kib,
            parallelism=settings.password_lanes,
        )
        # Nobody knows a password for this one; checking it costs what checking any costs.
        self._nobody = (
            f"$argon2id$v=19$m={settings.password_memory_kib},t={settings.password_passes}"
            f",p={settings.password_lanes}${_base64(random_bytes(16))}${_base64(random_bytes(32))}"
        )
        self._executor = ThreadPoolExecutor(settings.password_workers, "parley-password")
        self._room = settings.password_workers + settings.password_waiting
        self._lock = threading.Lock()
        self._taken = 0

    async def hash(self, password: str) -> str:
        """The hash to keep. Raises Refusal SERVER_BUSY when too many wait."""
        return await self._run(lambda: self._hasher.hash(_normal(password)))

    async def verify(self, password: str, password_hash: str) -> bool:
        """Whether the password belongs to the hash. Takes as long for an empty hash, which no password
        belongs to.

        Raises Refusal SERVER_BUSY when too many wait.
        """
        return await self._run(lambda: self._verify(password, password_hash or self._nobody))

    async def close(self) -> None:
        """Wait for the running threads; what still waits is cancelled."""
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)

    def _verify(self, password: str, password_hash: str) -> bool:
        try:
            return self._hasher.verify(password_hash, _normal(password))
        except argon2.exceptions.VerifyMismatchError:
            return False

    async def _run(self, work: Callable[[], _T]) -> _T:
        with self._lock:
            if self._taken >= self._room:
                raise Refusal(
                    Reason.SERVER_BUSY,
                    "Too many log-ins at once. Try again in a moment.",
                    retry_after_seconds=_BUSY_RETRY_SECONDS,
                )
            self._taken += 1
        future = self._executor.submit(work)
        # A caller that goes away cancels what has not begun; either way its place is free again then.
        future.add_done_callback(self._leave)
        return await asyncio.wrap_future(future)

    def _leave(self, _future: Future[_T]) -> None:
        with self._lock:
            self._taken -= 1


def _normal(password: str) -> bytes:
    return unicodedata.normalize("NFC", password).encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")
