"""Planted bug: an append does not wait for its sync. The next idle moment syncs it, milliseconds later."""

from __future__ import annotations

from typing import Any

from parley_server.backends.sqlite import commits

_planted: Any = commits
_planted._CommitWrite.durable = False
