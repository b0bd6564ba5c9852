"""Deleting accounts: the mark at once, then the erasure of what the user wrote, whatever restarts between."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from parley_runtime.logs import get_logger
from parley_runtime.refusal import Reason, Refusal, user_not_found
from parley_server.accounts.credentials import wrong_password
from parley_server.accounts.operator import OPERATOR_USER_ID
from parley_server.ports.accounts import Deletion

if TYPE_CHECKING:
    from parley_runtime.clock import Clock
    from parley_server.accounts.authenticator import Authenticator
    from parley_server.accounts.blocks import Blocks
    from parley_server.accounts.completion import Completion
    from parley_server.accounts.credentials import Credentials
    from parley_server.accounts.settings import AccountSettings
    from parley_server.ports.accounts import Accounts

EraseUser = Callable[[str], Awaitable[None]]
"""Erases what a deleted user (by id) left outside of the accounts. Called again after a failure or a crash,
so it must be fine to repeat; it returns when all is durably gone.
"""
_PAGE = 100

log = get_logger(__name__)


class Deletions:
    """The users who delete their accounts. Raises StoreUnavailable where the store cannot answer."""

    def __init__(
        self,
        accounts: Accounts,
        clock: Clock,
        credentials: Credentials,
        authenticator: Authenticator,
        blocks: Blocks,
        completion: Completion,
        settings: AccountSettings,
    ) -> None:
        self._accounts = accounts
        self._clock = clock
        self._credentials = credentials
        self._authenticator = authenticator
        self._blocks = blocks
        self._completion = completion
        self._retry_seconds = settings.deletion_retry_seconds
        self._compact_seconds = settings.compact_seconds
        self._compact_after = -math.inf
        self._erasers: list[EraseUser] = []
        self._marked = asyncio.Event()

    async def delete(self, user_id: str, password: str) -> None:
        """The account is gone, durably, when this returns: profile, password, contacts and blocks are
        forgotten, all devices logged out. Erasing what the user wrote follows.

        Raises Refusal: INVALID_FIELD, WRONG_PASSWORD, LAST_OPERATOR, USER_NOT_FOUND, SERVER_BUSY.
        """
        if user_id == OPERATOR_USER_ID:
            raise Refusal(
                Reason.LAST_OPERATOR,
                "This is the operator's account of the server's data folder: it stays as long as the server.",
            )
        password_hash = await self._credentials.proven_hash(user_id, password)
        outcome = await self._completion.run(self._delete(user_id, password_hash))
        if outcome is Deletion.LAST_OPERATOR:
            raise Refusal(
                Reason.LAST_OPERATOR,
                "You are the last operator in good standing. Make another operator first.",
            )
        if outcome is Deletion.PASSWORD_CHANGED:
            raise wrong_password()
        if outcome is Deletion.USER_NOT_FOUND:
            raise user_not_found()

    def on_deletion(self, erase_user: EraseUser) -> None:
        """Have `erase_user` called for every deleted user, by `run`. To be called before `run` begins."""
        self._erasers.append(erase_user)

    async def run(self) -> None:
        """Erase deleted users one after the other, those of former runs first, for as long as the task lives
        that the caller makes of this.

        A user's deletion is finished once all erasers returned. One that failed is logged and tried again.
        The store is compacted after it, but at most every `compact_seconds`.
        Without erasers nothing is finished.
        """
        while True:
            self._marked.clear()
            finished, compacted = await self._finish_all(), await self._compact()
            complete = finished and compacted
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._compact_seconds if complete else self._retry_seconds):
                    await self._marked.wait()

    async def _delete(self, user_id: str, password_hash: str) -> Deletion:
        try:
            deleted = await self._accounts.delete_user(
                user_id, password_hash=password_hash, now_ms=self._clock.now_ms()
            )
        finally:
            # Also when the outcome is unknown: then the list of unfinished deletions tells `run`.
            self._blocks.user_deleted(user_id)
            self._marked.set()
        for device in deleted.revoked:
            self._authenticator.device_revoked(device)
        return deleted.outcome

    async def _finish_all(self) -> bool:
        """Go through the list once. False when a user or the rest of the list must be tried again."""
        complete, after = True, ""
        try:
            while page := await self._accounts.deleting_users(after=after, limit=_PAGE):
                for user_id in page:
                    complete = await self._finish(user_id) and complete
                after = page[-1]
        except Exception:
            log.exception("deleted users cannot be listed")
            return False
        return complete

    async def _compact(self) -> bool:
        """Remove from the store's files what finished deletions left there, unless that was done lately."""
        now = self._clock.monotonic()
        if now < self._compact_after:
            return True
        try:
            if await self._accounts.compact():
                self._compact_after = now + self._compact_seconds
        except Exception:
            log.exception("accounts not compacted yet")
            return False
        return True

    async def _finish(self, user_id: str) -> bool:
        try:
            self._authenticator.user_deleted(user_id)
            for erase_user in self._erasers:
                await erase_user(user_id)
            if self._erasers:
                await self._accounts.deletion_finished(user_id)
        except Exception:
            # The others' turn must come whatever stands in this one's way.
            log.exception("deleted user not erased yet", user_id=user_id)
            return False
        return True
