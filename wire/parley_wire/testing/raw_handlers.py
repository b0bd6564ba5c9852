"""Handlers of raw calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    import parley_wire


class Mirror:
    """A raw handler that sends back what comes."""

    def __init__(self, call: parley_wire.RawCall) -> None:
        self._call = call

    def received(self, message: bytes) -> None:
        self._call.send(message)

    def writable(self) -> None:
        """It does not mind."""

    def half_closed(self) -> None:
        self._call.close(grpc.StatusCode.OK)

    def closed(self) -> None:
        """Nothing to release."""


class Quiet:
    """A raw handler that does nothing."""

    def __init__(self, call: parley_wire.RawCall) -> None:
        """The call is of no interest."""

    def received(self, message: bytes) -> None:
        """Nor is what comes."""

    def writable(self) -> None:
        """Nothing was sent."""

    def half_closed(self) -> None:
        """It waits for nothing."""

    def closed(self) -> None:
        """It holds nothing."""


class Clumsy:
    """A raw handler that breaks its word: it raises."""

    def __init__(self, call: parley_wire.RawCall) -> None:
        self.was_closed = asyncio.Event()

    def received(self, message: bytes) -> None:
        raise LookupError("a defect")

    def writable(self) -> None:
        """Nothing was sent."""

    def half_closed(self) -> None:
        """It never comes to that."""

    def closed(self) -> None:
        self.was_closed.set()
