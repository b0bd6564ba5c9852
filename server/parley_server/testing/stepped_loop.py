"""An event loop that runs when it is told to, and ports whose calls wait to be let pass."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_PASSES = 12
_CALLS_TO_REST = 3000
# Sums of times are not exact.
_AT_ONCE_SECONDS = 1e-6


class SteppedLoop(asyncio.SelectorEventLoop):
    """A loop whose time moves only by `advance`, and which runs only by `spin`."""

    def __init__(self) -> None:
        self._now = 1000.0
        super().__init__()

    def time(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass, and run what it was waited for."""
        self._now += seconds
        self.spin()

    def spin(self, act: Callable[[], object] | None = None) -> None:
        """Run `act` on the loop and all that follows from it at once."""
        if act is not None:
            self.call_soon(act)
        passes = 0

        def end_pass() -> None:
            nonlocal passes
            passes += 1
            if passes == _PASSES or self._rests():
                self.stop()
            else:
                self.call_soon(end_pass)

        self.call_soon(end_pass)
        self.run_forever()

    def _rests(self) -> bool:
        """Whether a further pass would run nothing."""
        # No public call tells: running the passes that find nothing took most of a model test's time.
        ready, timers = self._ready, self._scheduled  # type: ignore[attr-defined]
        return not ready and not (timers and timers[0].when() <= self._now + _AT_ONCE_SECONDS)


class Gates:
    """Where port calls wait until they are let pass."""

    def __init__(self, loop: SteppedLoop) -> None:
        self._loop = loop
        self.waiting: list[asyncio.Future[None]] = []
        self.open = False

    async def wait(self) -> None:
        """Wait to be let pass; at once while the gates are open."""
        if not self.open:
            gate = self._loop.create_future()
            self.waiting.append(gate)
            await gate

    def let_pass(self, number: int) -> None:
        """Let one of those that wait pass."""
        if self.waiting:
            gate = self.waiting.pop(number % len(self.waiting))
            if not gate.done():
                gate.set_result(None)
            self._loop.spin()

    def let_all_pass(self) -> None:
        """Let all that wait pass, and those that come to wait thereby."""
        for _ in range(_CALLS_TO_REST):
            if not self.waiting:
                return
            self.let_pass(0)
        raise AssertionError("the streams read for ever")

    def open_all(self) -> None:
        """From now on nobody waits."""
        self.open = True
        self.let_all_pass()
        self._loop.spin()


class Gated:
    """A port whose calls wait at the gates before and after they take effect. `port` may be exchanged."""

    def __init__(self, port: object, gates: Gates) -> None:
        self.port = port
        self._gates = gates

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def call(*args: Any, **named: Any) -> Any:
            await self._gates.wait()
            result = await getattr(self.port, name)(*args, **named)
            await self._gates.wait()
            return result

        return call
