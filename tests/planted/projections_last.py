"""Not a bug, but the worst moment: what is projected is never synced by itself, only with the next append.

With `power_cut` a kill takes the projection of every channel's newest events, and nothing of the logs.
"""

from __future__ import annotations

from typing import Any

from parley_server.backends.sqlite import writer

_patient: Any = writer
_patient.IDLE_SYNC_SECONDS = 24 * 3600.0
