"""A log whose append may land after its writer was told that nobody knows."""

from __future__ import annotations

from typing import Any

from parley_server.backends.memory.message_log import MemoryMessageLog
from parley_server.ports.message_log import Unknown


class LateLog(MemoryMessageLog):
    """With `hold` set, keeps the next append back: its outcome is unknown, and it lands right after somebody
    asked which batch is at a place and was told.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hold = False
        self._held: tuple[Any, ...] | None = None

    async def append(self, *asked: Any) -> Any:
        if self.hold:
            self.hold, self._held = False, asked
            return Unknown("no answer")
        return await super().append(*asked)

    async def batch_at(self, channel_id: str, seq: int) -> bytes | None:
        found = await super().batch_at(channel_id, seq)
        held, self._held = self._held, None
        if held is not None:
            await super().append(*held)
        return found
