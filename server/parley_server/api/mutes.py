"""What a user does not want to be told of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_server.api import frames
from parley_server.ports.positions import FOR_EVER_MS

if TYPE_CHECKING:
    from parley_runtime.clock import Clock
    from parley_server.chat.hub import Hub
    from parley_server.ports.positions import Positions


class Mutes:
    """Sets mutes and tells the user's connected devices."""

    def __init__(self, positions: Positions, hub: Hub, clock: Clock) -> None:
        self._positions = positions
        self._hub = hub
        self._clock = clock

    async def set(self, user_id: str, channel_id: str, mute_until_ms: int) -> None:
        """Have the user's mute end at `mute_until_ms`; what is over already means none. Durable on return."""
        until_ms = min(mute_until_ms, FOR_EVER_MS) if mute_until_ms > self._clock.now_ms() else 0
        await self._positions.set_mute(user_id, channel_id, until_ms)
        self._hub.tell(user_id, frames.mute_changed(channel_id, until_ms))
