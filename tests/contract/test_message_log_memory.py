from __future__ import annotations

from typing import TYPE_CHECKING

from parley_server.backends.memory.message_log import MemoryMessageLog
from parley_server.testing.message_log_contract import MessageLogContract

if TYPE_CHECKING:
    from parley_server.ports.message_log import MessageLog


class TestMemoryMessageLog(MessageLogContract):
    async def make(self) -> MessageLog:
        return MemoryMessageLog()
