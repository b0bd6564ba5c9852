"""The laws of the accounts port as tests: subclass `AccountsContract` and give it the fixtures `accounts`
and `reopen`.
"""

from __future__ import annotations

from parley_server.testing.accounts_deletion_contract import DeletionContract
from parley_server.testing.accounts_devices_contract import DevicesContract
from parley_server.testing.accounts_relations_contract import RelationsContract
from parley_server.testing.accounts_users_contract import UsersContract


class AccountsContract(UsersContract, DevicesContract, RelationsContract, DeletionContract):
    """Every backend of `Accounts` passes these."""
