"""Members who are added, removed and added again while others write."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc.aio

from parley.channel.v1 import channel_service_pb2
from parley_server.testing.robustness.line import verdict_of_error

if TYPE_CHECKING:
    from random import Random

    from parley_server.testing.robustness.device_cast import Roamer
    from parley_server.testing.robustness.line import Line


class Mover:
    """Moves roamers in and out, one after the other, by chance: as often one who is in as one who is out.
    `moves` counts those that were answered.
    """

    def __init__(
        self,
        line: Line,
        roamers: tuple[Roamer, ...],
        random: Random,
        *,
        pause_seconds: tuple[float, float] = (0.01, 0.1),
        call_seconds: float = 5.0,
    ) -> None:
        self._line = line
        self._roamers = roamers
        self._random = random
        self._pause_seconds = pause_seconds
        self._call_seconds = call_seconds
        self._inside: set[Roamer] = set()
        self.moves = 0

    async def run(self) -> None:
        """Move until cancelled."""
        try:
            while True:
                roamer = self._choose()
                while not await self._move(roamer):
                    await self._line.broke()
                self._inside ^= {roamer}
                self.moves += 1
                await asyncio.sleep(self._random.uniform(*self._pause_seconds))
        finally:
            await self._line.close()

    def _choose(self) -> Roamer:
        removing = self._random.random() < 0.5
        willing = [roamer for roamer in self._roamers if (roamer in self._inside) is removing]
        return self._random.choice(willing or self._roamers)

    async def _move(self, roamer: Roamer) -> bool:
        """Whether the server has answered. A refusal is an answer too: the attempt before had happened."""
        channels = (await self._line.client()).channels
        metadata, timeout = roamer.owner.metadata, self._call_seconds
        try:
            if roamer in self._inside:
                remove = channel_service_pb2.RemoveMemberRequest(
                    channel_id=roamer.channel_id, user_id=roamer.user_id
                )
                await channels.RemoveMember(remove, metadata=metadata, timeout=timeout)
            else:
                add = channel_service_pb2.AddMembersRequest(
                    channel_id=roamer.channel_id, user_ids=[roamer.user_id]
                )
                await channels.AddMembers(add, metadata=metadata, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            verdict = verdict_of_error(error)
            return verdict.outcome.value == "refused" and not verdict.again
        return True
