"""The channels that this node owns at the moment, and the tasks that serve them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from parley_runtime.refusal import Reason, Refusal
from parley_server.chat.owner import ChannelOwner, OwnerLimits, OwnerPorts

if TYPE_CHECKING:
    from parley_server.chat.command import Command, Done

MakeOwner = Callable[[str, OwnerPorts, OwnerLimits], ChannelOwner]


class _Service:
    """One channel that is served: its task, which stays for a while after the last command."""

    __slots__ = ("owner", "quiet", "task", "wake")

    def __init__(self, owner: ChannelOwner) -> None:
        self.owner = owner
        self.task: asyncio.Task[None] | None = None
        # Where the task waits while there is nothing to do.
        self.wake: asyncio.Future[None] | None = None
        # Nothing came since somebody last looked.
        self.quiet = False

    def rouse(self) -> None:
        """Have the task look for work."""
        if self.wake is not None and not self.wake.done():
            self.wake.set_result(None)


class Owners:
    """Serves commands for any channel. Keeps at most `channels_limit` idle channels in memory, newest used.

    A channel that is being served is never dropped, so the bound may be passed while that many are busy at
    once: requests in flight are bounded by the streams. A channel counts as served until nothing came for
    `quiet_seconds`: a task and a mark in the log for each command would cost more than the command. After a
    kill a channel's next owner announces once more what was not marked yet.
    """

    def __init__(
        self,
        ports: OwnerPorts,
        limits: OwnerLimits,
        *,
        channels_limit: int = 10_000,
        quiet_seconds: float = 1.0,
        make_owner: MakeOwner = ChannelOwner,
    ) -> None:
        self._ports = ports
        self._limits = limits
        self._channels_limit = channels_limit
        self._quiet_seconds = quiet_seconds
        self._make_owner = make_owner
        self._owners: OrderedDict[str, ChannelOwner] = OrderedDict()
        self._services: dict[str, _Service] = {}
        self._sweep_timer: asyncio.TimerHandle | None = None
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
        service = self._services.get(channel_id)
        if service is not None:
            answer = service.owner.enqueue(command)
            service.quiet = False
            service.rouse()
            return answer
        owner = self._owner(channel_id)
        answer = owner.enqueue(command)
        self._serve(owner)
        return answer

    async def stop(self) -> None:
        """Take no more commands, finish those that were taken, and return when all are answered."""
        self._stopping = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None
        while self._services:
            for service in self._services.values():
                service.rouse()
            tasks = [service.task for service in self._services.values() if service.task is not None]
            await asyncio.wait(tasks)

    def _owner(self, channel_id: str) -> ChannelOwner:
        owner = self._owners.get(channel_id)
        if owner is None:
            owner = self._owners[channel_id] = self._make_owner(channel_id, self._ports, self._limits)
        self._owners.move_to_end(channel_id)
        return owner

    def _serve(self, owner: ChannelOwner) -> None:
        loop = asyncio.get_running_loop()
        service = self._services[owner.channel_id] = _Service(owner)
        service.task = loop.create_task(self._run(service))
        service.task.add_done_callback(partial(self._served, service))
        if self._sweep_timer is None and not self._stopping:
            self._sweep_timer = loop.call_later(self._quiet_seconds, self._sweep)

    async def _run(self, service: _Service) -> None:
        owner = service.owner
        loop = asyncio.get_running_loop()
        while True:
            await owner.drain()
            if service.quiet or self._stopping or not owner.exists:
                await owner.mark_fanned()
                if owner.idle:
                    return
            else:
                service.wake = loop.create_future()
                await service.wake
                service.wake = None

    def _sweep(self) -> None:
        """Let those go that were quiet since the last time."""
        self._sweep_timer = None
        for service in self._services.values():
            if service.quiet:
                service.rouse()
            service.quiet = True
        if self._services:
            self._sweep_timer = asyncio.get_running_loop().call_later(self._quiet_seconds, self._sweep)

    def _served(self, service: _Service, task: asyncio.Task[None]) -> None:
        owner = service.owner
        del self._services[owner.channel_id]
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
            self._owners.move_to_end(owner.channel_id)
            self._shrink()

    def _shrink(self) -> None:
        excess = len(self._owners) - self._channels_limit
        if excess > 0:
            idle = (channel_id for channel_id in self._owners if channel_id not in self._services)
            for channel_id in tuple(islice(idle, excess)):
                del self._owners[channel_id]
