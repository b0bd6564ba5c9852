"""structlog without rich.

structlog imports rich, where it is installed, for tracebacks that show local variables. Nobody prints those
here, since they hold secrets, and a node would carry 50 modules more. Import this module before structlog.
"""

from __future__ import annotations

import sys
from typing import Any

_modules: dict[str, Any] = sys.modules
_hidden = "rich" not in _modules
if _hidden:
    # What stands as None in there cannot be imported.
    _modules["rich"] = None
try:
    import structlog as structlog
finally:
    if _hidden:
        del _modules["rich"]
