"""Planted bug: an append does not wait for its sync. The next idle moment syncs it, milliseconds later."""

from __future__ import annotations

from typing import Any

from parley_server.backends.sqlite import message_log

_planted: Any = message_log
_planted._AppendWrite.durable = False
