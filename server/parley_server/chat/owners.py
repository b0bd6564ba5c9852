"""The channels that this node owns at the moment, and the tasks that serve them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from parley_runtime.refusal import Reason, Refusal
from parley_server.chat.owner import ChannelOwner, OwnerLimits, OwnerPorts

if TYPE_CHECKING:
    from parley_server.chat.command import Command, Done

MakeOwner = Callable[[str, OwnerPorts, OwnerLimits], ChannelOwner]


class Owners:
    """Serves commands for any channel. Keeps at most `channels_limit` idle channels in memory, newest used.

    A channel that is being served is never dropped, so the bound may be passed while that many are busy at
    once: requests in flight are bounded by the streams.
    """

    def __init__(
        self,
        ports: OwnerPorts,
        limits: OwnerLimits,
        *,
        channels_limit: int = 10_000,
        make_owner: MakeOwner = ChannelOwner,
    ) -> None:
        self._ports = ports
        self._limits = limits
        self._channels_limit = channels_limit
        self._make_owner = make_owner
        self._owners: OrderedDict[str, ChannelOwner] = OrderedDict()
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

    def __len__(self) -> int:
        return len(self._owners)

    def submit(self, channel_id: str, command: Command) -> asyncio.Future[Done]:
        """Queue a command; commands of one channel are decided in the order of this call.

        The future answers as ChannelOwner.enqueue says. Raises Refusal (NODE_STOPPING, CHANNEL_BUSY).
        """
        if self._stopping:
            raise Refusal(
                Reason.NODE_STOPPING,
                "This node is leaving. Connect again and retry.",
                retry_after_seconds=1.0,
            )
        owner = self._owner(channel_id)
        answer = owner.enqueue(command)
        self._serve(owner)
        return answer

    async def stop(self) -> None:
        """Take no more commands, finish those that were taken, and return when all are answered."""
        self._stopping = True
        while self._serving:
            await asyncio.wait(tuple(self._serving.values()))

    def _owner(self, channel_id: str) -> ChannelOwner:
        owner = self._owners.get(channel_id)
        if owner is None:
            owner = self._owners[channel_id] = self._make_owner(channel_id, self._ports, self._limits)
        self._owners.move_to_end(channel_id)
        return owner

    def _serve(self, owner: ChannelOwner) -> None:
        if owner.channel_id not in self._serving:
            task = asyncio.get_running_loop().create_task(owner.drain(), name=f"owner {owner.channel_id}")
            self._serving[owner.channel_id] = task
            task.add_done_callback(lambda done: self._served(owner, done))

    def _served(self, owner: ChannelOwner, task: asyncio.Task[None]) -> None:
        del self._serving[owner.channel_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"owner of {owner.channel_id} failed", "exception": error, "task": task}
            )
        if not owner.idle:
            self._serve(owner)
        elif not owner.exists:
            # An id that names no channel must not take a place: anybody can invent ids.
            self._owners.pop(owner.channel_id, None)
        else:
            self._shrink()

    def _shrink(self) -> None:
        if len(self._owners) <= self._channels_limit:
            return
        for channel_id in tuple(self._owners):
            if channel_id not in self._serving:
                del self._owners[channel_id]
                return
