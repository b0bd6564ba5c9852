"""The streams that are open on one server, and how an event is published to them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_TURNS = 3
"""Turns of the loop after which every kind has written: with fewer, one that collects what a tick sends would
join two events in one write."""


class Crowd:
    """Members, each with a function that sends it a message.

    The function answers False if the member takes no more for now; `took` then says when it does again.
    """

    def __init__(self) -> None:
        self._sends: dict[Any, Callable[[bytes], bool | None]] = {}
        self._waiting: set[Any] = set()
        self._rested = asyncio.Event()
        self._order: list[tuple[Any, Callable[[bytes], bool | None]]] = []
        self._next = 0

    def __len__(self) -> int:
        return len(self._sends)

    def join(self, member: Any, send: Callable[[bytes], bool | None]) -> None:
        """A stream is open."""
        self._sends[member] = send

    def leave(self, member: Any) -> None:
        """It is gone."""
        self._sends.pop(member, None)
        self.took(member)

    def hold(self, member: Any) -> None:
        """A member takes no more for now."""
        self._waiting.add(member)

    def took(self, member: Any) -> None:
        """It has taken everything."""
        self._waiting.discard(member)
        if not self._waiting:
            self._rested.set()

    def line_up(self) -> None:
        """Who is here now is who `publish` goes to."""
        self._order = list(self._sends.items())
        self._next = 0

    def publish(self, message: bytes, group: int) -> None:
        """Send to the next `group` members in line, which must divide it; then comes the next group."""
        order = self._order
        first = self._next
        self._next = (first + group) % len(order)
        self.send(order[first : first + group] if group < len(order) else order, message)

    def send(self, members: Iterable[tuple[Any, Callable[[bytes], bool | None]]], message: bytes) -> None:
        """One message to each of these."""
        for member, send in members:
            if send(message) is False:
                self._waiting.add(member)

    async def rest(self) -> None:
        """Return when what was published has been written and everybody takes messages again."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        while self._waiting:
            self._rested.clear()
            await self._rested.wait()
