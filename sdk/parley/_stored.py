"""What `event.ack()` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator


class _Keeper(Protocol):
    async def stored(self, target: int) -> None: ...


class Stored:
    """Awaiting it returns once what was acknowledged before has been written to the state store.

    It need not be awaited. Raises `StateError` when the store failed.
    """

    __slots__ = ("_keeper", "_target")

    def __init__(self, keeper: _Keeper | None = None, target: int = 0) -> None:
        self._keeper = keeper
        self._target = target

    def __await__(self) -> Generator[object, None, None]:
        if self._keeper is not None:
            yield from self._keeper.stored(self._target).__await__()
