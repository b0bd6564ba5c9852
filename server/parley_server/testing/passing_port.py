"""A port in front of another one, for tests in which one call of it goes wrong."""

from __future__ import annotations

from typing import Any


class PassingPort:
    """Passes every call on to `port`, but for those that a subclass has itself."""

    def __init__(self, port: Any) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)
