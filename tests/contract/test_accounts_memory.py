"""The memory backend keeps the laws of the accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parley_server.backends.memory.accounts import MemoryAccounts
from parley_server.testing.accounts_contract import AccountsContract

if TYPE_CHECKING:
    from parley_server.ports.accounts import Accounts
    from parley_server.testing.accounts_rows import Reopen


class TestMemoryAccounts(AccountsContract):
    @pytest.fixture
    def accounts(self) -> Accounts:
        return MemoryAccounts()

    @pytest.fixture
    def reopen(self, accounts: Accounts) -> Reopen:
        async def same() -> Accounts:
            return accounts

        return same
