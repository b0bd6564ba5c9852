"""Planted bug: an append does not wait for its sync. The next idle moment syncs it, milliseconds later."""

from __future__ import annotations

from parley_server.backends.sqlite import commits
from parley_server.testing.planting import plant

plant(commits._CommitWrite, durable=False)
