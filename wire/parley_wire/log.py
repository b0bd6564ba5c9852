"""Where the package logs. What comes from the wire never gets there, but for addresses and methods' paths."""

from __future__ import annotations

import logging

log = logging.getLogger("parley_wire")
