"""What a client does with the user's own account."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

from grpc import StatusCode

from parley._errors import ParleyError
from parley.auth.v1 import auth_service_pb2
from parley.user.v1 import user_service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import BinaryIO

    from parley._link import Link


class AccountCalls:
    """Password, the copy of all data, and the end of an account."""

    _link: Link

    async def change_password(
        self, old_password: str, new_password: str, *, keep_other_devices: bool = False
    ) -> None:
        """Change the user's password, 8 to 256 code points. This device stays logged in.

        The others are logged out unless they are to be kept. Raises `WrongPassword`, `InvalidField`,
        `RateLimited`.
        """
        request = auth_service_pb2.ChangePasswordRequest(
            old_password=old_password, new_password=new_password, keep_other_devices=keep_other_devices
        )
        await self._link.call(self._link.auth.ChangePassword, request)

    async def export(self) -> AsyncGenerator[bytes, None]:
        """Everything that the server keeps of the user, as the pieces of one JSON document in UTF-8.

        It is whole only when the iterator ends without an error. Raises `ServerBusy`.
        """
        request = user_service_pb2.ExportDataRequest()
        async with aclosing(self._link.stream(self._link.users.ExportData, request)) as responses:
            async for response in responses:
                yield response.chunk

    async def export_to(self, path: str | Path) -> int:
        """Write what `export` gives into a file, readable by its owner only, and return its size in bytes.

        A file of this name is replaced, once the new one is whole. Raises OSError as well.
        """
        target = Path(path)
        part = target.with_name(f"{target.name}.part")
        size_bytes = 0
        file = await asyncio.to_thread(_make, part)
        try:
            with file:
                async with aclosing(self.export()) as pieces:
                    async for piece in pieces:
                        size_bytes += await asyncio.to_thread(file.write, piece)
                await asyncio.to_thread(_store, file)
            await asyncio.to_thread(part.replace, target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return size_bytes

    async def delete_account(self, password: str) -> None:
        """Delete the user's account for good. What the user wrote becomes tombstones, in a while.

        Every device is logged out, this one too: close the client after it. Raises `WrongPassword`,
        `LastOperator`, `RateLimited`.
        """
        request = user_service_pb2.DeleteAccountRequest(password=password)
        attempts = 0

        async def attempt(seconds: float) -> None:
            nonlocal attempts
            attempts += 1
            try:
                await self._link.attempt(self._link.users.DeleteAccount, request, seconds)
            except ParleyError as error:
                # The answer to an attempt before was lost: nobody is there to be known any more.
                if attempts == 1 or error.code is not StatusCode.UNAUTHENTICATED:
                    raise

        await self._link.persist(attempt)


def _make(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _store(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
