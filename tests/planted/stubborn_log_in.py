"""A fault, not a bug: LogIn takes no cancellation, and never answers.

Once one was asked, the file LOG_IN_BEGUN lies in the data folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from parley_server.api.auth import AuthServicer
from parley_server.testing.planting import plant

_begun = Path(json.loads(sys.argv[1])["data"]) / "LOG_IN_BEGUN"


async def _never_answer(*_arguments: Any) -> None:
    _begun.touch()
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


plant(AuthServicer, LogIn=_never_answer)
