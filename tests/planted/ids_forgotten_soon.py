"""No bug: a node that keeps client ids for an hour, and forgets older ones from its start on."""

from __future__ import annotations

from parley_server import node
from parley_server.chat import forgetting
from parley_server.testing.planting import plant

plant(forgetting, KEPT_MS=3600 * 1000, EVEN_SECONDS=0.0)
plant(node, FORGET_EVERY_SECONDS=0.05)
