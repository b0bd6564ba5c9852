"""Running a coroutine that need not wait, without a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

Result = TypeVar("Result")


def run_at_once(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of a coroutine that never waits. Raises what it raises.

    RuntimeError if it does wait; it was ended there. There is no current task meanwhile, so code that might
    wait must not be tried: `asyncio.timeout` fails without one, before it waits for anything.
    """
    try:
        work.send(None)
    except StopIteration as ended:
        result: Result = ended.value
        return result
    work.close()
    raise RuntimeError("what was to be done at once waits for something")
