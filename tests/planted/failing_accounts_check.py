"""A fault, not a bug: the accounts do not answer while the file ACCOUNTS_DOWN lies in the data folder.

Health is asked more often than usual, so that a test need not wait.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from parley_server.api import health
from parley_server.backends.sql.accounts import SqlAccounts
from parley_server.ports.message_log import StoreUnavailable
from parley_server.testing.planting import plant

_down = Path(json.loads(sys.argv[1])["data"]) / "ACCOUNTS_DOWN"
_ping = SqlAccounts.ping


async def _ping_unless_down(self: SqlAccounts) -> None:
    if _down.exists():
        raise StoreUnavailable("the accounts are down: a test says so")
    await _ping(self)


plant(SqlAccounts, ping=_ping_unless_down)
health.CHECK_SECONDS = 0.1
