from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parley_server.backends.memory.feed import MemoryFeed
from parley_server.testing.feed_contract import FeedContract

if TYPE_CHECKING:
    from parley_server.ports.feed import Feed


class TestMemoryFeed(FeedContract):
    @pytest.fixture(autouse=True)
    def _epochs(self) -> None:
        self.made = 0

    async def make(self) -> Feed:
        self.made += 1
        return MemoryFeed(f"epoch {self.made}")
