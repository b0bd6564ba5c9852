"""Planted bug: chat.db is never synced, so a commit is only as durable as the page cache."""

from __future__ import annotations

from typing import Any

from parley_server.backends.sqlite import database, writer

_planted: Any = writer
_planted.DURABLE = _planted.LAZY = "OFF"
_planted = database
_planted.DURABLE = "OFF"
