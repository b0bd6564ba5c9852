"""The end of an account in the middle of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import grpc.aio

from parley.user.v1 import user_service_pb2
from parley_server.testing.raw_client import PASSWORD

if TYPE_CHECKING:
    from parley_server.testing.raw_client import Person
    from parley_server.testing.robustness.changes_history import ChangesHistory
    from parley_server.testing.robustness.changing import Changer
    from parley_server.testing.robustness.line import Line


class Farewell:
    """Has one user's changes end, and then the user's account."""

    def __init__(
        self, person: Person, line: Line, changer: Changer, history: ChangesHistory, *, call_seconds: float
    ) -> None:
        self._person = person
        self._line = line
        self._changer = changer
        self._history = history
        self._call_seconds = call_seconds

    async def take(self) -> None:
        """Return when the account is deleted. Raises grpc.aio.AioRpcError when it cannot be."""
        self._changer.stop()
        await self._changer.ended.wait()
        request = user_service_pb2.DeleteAccountRequest(password=PASSWORD)
        while True:
            client = await self._line.client()
            try:
                await client.users.DeleteAccount(
                    request, metadata=self._person.metadata, timeout=self._call_seconds
                )
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                    # The attempt before was taken, and what is left of it is done by the node.
                    break
                await self._line.broke()
            else:
                break
        self._history.governed["account deleted"] = 1

    async def close(self) -> None:
        """Drop the connection."""
        await self._line.close()
