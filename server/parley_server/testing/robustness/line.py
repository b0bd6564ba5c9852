"""A client's way to the node, made anew when it broke; and what an error says about the outcome."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.rpc import status_pb2

from parley_runtime.status import DETAILS_KEY
from parley_server.testing.raw_client import RawClient, reason_of
from parley_server.testing.robustness.history import Entry, Outcome, content_of

if TYPE_CHECKING:
    from random import Random

    import grpc.aio

    from parley.chat.v1 import event_pb2

RETRY_SECONDS = (0.02, 0.08)

_MAY_BE_WRITTEN = frozenset({"", "STORE_UNAVAILABLE", "INTERNAL"})
_TRY_AGAIN = frozenset({"NODE_STOPPING", "CHANNEL_BUSY", "RATE_LIMITED", "SERVER_BUSY", "TOO_MANY_IN_FLIGHT"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an error says: whether the write may have happened, and whether to try again."""

    outcome: Outcome
    again: bool
    reason: str


def verdict_of_status(status: status_pb2.Status) -> Verdict:
    """What an error in a stream's reply says."""
    return _verdict(reason_of(status), str(status.code))


def verdict_of_error(error: grpc.aio.AioRpcError) -> Verdict:
    """What the error of a call says. Without the server's own details nothing is known of the outcome."""
    encoded = dict(error.trailing_metadata() or ()).get(DETAILS_KEY)
    if isinstance(encoded, bytes):
        return _verdict(reason_of(status_pb2.Status.FromString(encoded)), error.code().name)
    return _verdict("", f"{error.code().name} {error.details()}")


def _verdict(reason: str, otherwise: str) -> Verdict:
    if reason in _MAY_BE_WRITTEN:
        return Verdict(Outcome.UNKNOWN, True, reason or otherwise)
    return Verdict(Outcome.REFUSED, reason in _TRY_AGAIN, reason)


def entry_of(event: event_pb2.Event) -> Entry:
    """The event as the history keeps it."""
    kind = event.WhichOneof("kind") or "nothing"
    if kind == "message":
        content = content_of(event.message.text, event.message.attributes)
    else:
        content = f"{kind} {getattr(event, kind).SerializeToString(deterministic=True).hex()}"
    return Entry(
        event.seq,
        event.message_no,
        event.create_time_ms,
        event.actor_id,
        event.client_message_id,
        kind == "message",
        content,
    )


class Line:
    """One connection of one client. Close it with `close`."""

    def __init__(self, address: str, random: Random) -> None:
        self._address = address
        self._random = random
        self._client: RawClient | None = None

    async def client(self) -> RawClient:
        """A client on a connection that is not known to be broken; waits until the node takes connections."""
        if self._client is None:
            # gRPC's own reconnecting waits for a second and more: too long for so many restarts.
            await self._listening()
            self._client = RawClient(self._address)
        return self._client

    async def broke(self) -> None:
        """Drop the connection and wait a little."""
        await self.close()
        await self.pause()

    async def pause(self) -> None:
        """Wait a little before trying again."""
        await asyncio.sleep(self._random.uniform(*RETRY_SECONDS))

    async def close(self) -> None:
        """Drop the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.channel.close()

    async def _listening(self) -> None:
        host, _, port = self._address.rpartition(":")
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                await self.pause()
            else:
                writer.transport.abort()
                return
