"""How long to wait before the next attempt to connect (gRPC's connection back-off)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_FACTOR = 1.6
_JITTER = 0.2


class Backoff:
    """Doubles, nearly, with every failure, spread by a fifth either way, up to a bound."""

    __slots__ = ("_first_seconds", "_longest_seconds", "_next_seconds", "_uniform")

    def __init__(
        self, first_seconds: float, longest_seconds: float, uniform: Callable[[float, float], float]
    ) -> None:
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._next_seconds = first_seconds
        self._uniform = uniform

    def failed(self) -> float:
        """One more attempt failed: the seconds to wait."""
        wait = self._next_seconds
        self._next_seconds = min(self._longest_seconds, wait * _FACTOR)
        return wait * self._uniform(1.0 - _JITTER, 1.0 + _JITTER)

    def succeeded(self) -> None:
        """Begin anew."""
        self._next_seconds = self._first_seconds
