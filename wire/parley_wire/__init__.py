"""HTTP/2 and gRPC for asyncio: a pure protocol core with thin shells. Imports no Parley package."""

from __future__ import annotations
