"""Not a bug, but another node: a GoAway names the servers that stand in the file ENDPOINTS of the data
folder, one in a line, as a node of a cluster names those that take over.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from parley_server.api import frames
from parley_server.testing.planting import plant

_file = Path(json.loads(sys.argv[1])["data"]) / "ENDPOINTS"
_go_away = frames.go_away


def _go_there(farewell: Any, reconnect_after_seconds: float, _endpoints: Any, *, resumable: bool) -> bytes:
    endpoints = _file.read_text(encoding="utf-8").split() if _file.exists() else ()
    return _go_away(farewell, reconnect_after_seconds, endpoints, resumable=resumable)


plant(frames, go_away=_go_there)
