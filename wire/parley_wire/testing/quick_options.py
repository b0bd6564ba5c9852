"""Options for tests about time."""

from __future__ import annotations

from typing import Any

from parley_wire.options import ServerOptions


def quick_options(**settings: Any) -> ServerOptions:
    """Times are looked after at once."""
    return ServerOptions(sweep_seconds=0.02, **settings)
