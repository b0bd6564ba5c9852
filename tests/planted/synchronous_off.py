"""Planted bug: chat.db is never synced, so a commit is only as durable as the page cache."""

from __future__ import annotations

from parley_server.backends.sqlite import database, writer
from parley_server.testing.planting import plant

plant(writer, DURABLE="OFF", LAZY="OFF")
plant(database, DURABLE="OFF")
