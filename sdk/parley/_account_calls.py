"""What a client does with the user's own account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpc import StatusCode

from parley._errors import ParleyError
from parley.auth.v1 import auth_service_pb2
from parley.user.v1 import user_service_pb2

if TYPE_CHECKING:
    from parley._link import Link


class AccountCalls:
    """Password and the end of an account."""

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
