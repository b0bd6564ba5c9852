"""Coroutines that run at once, for as long as they need not wait. Python 3.12 knows this as eager tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Ended(Generic[Result]):
    """A coroutine that has run to its end."""

    result: Result


class Rest(Generic[Result]):
    """What a coroutine still has to do. To be awaited once, in a task; dropped, it ends where it waits."""

    __slots__ = ("_waits_for", "_work")

    def __init__(self, work: Coroutine[Any, Any, Result], waits_for: Any) -> None:
        self._work = work
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, Result]:
        # As `yield from` does (PEP 380), from the second step on. A future that failed is thrown in here.
        waits_for = self._waits_for
        while True:
            try:
                sent = yield waits_for
            except BaseException as error:
                step = _step(self._work.throw, error)
            else:
                step = _step(self._work.send, sent)
            if isinstance(step, Ended):
                result: Result = step.result
                return result
            waits_for = step


def begin(work: Coroutine[Any, Any, Result]) -> Ended[Result] | Rest[Result]:
    """Run the coroutine up to where it first waits. Raises what it raises.

    Until then there is no current task: the work must not ask for it before it first waits, as
    `asyncio.timeout` does.
    """
    step = _step(work.send, None)
    return step if isinstance(step, Ended) else Rest(work, step)


def _step(go: Any, argument: object) -> Any:
    try:
        return go(argument)
    except StopIteration as ended:
        return Ended(ended.value)
