"""Which server to call: the given ones, those that a server named, and the next one after a failure. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

UNIX = "unix:"
"""How an address begins that is a socket on this machine: "unix:/run/parley.sock"."""

_ENDPOINTS_LIMIT = 16
_OF_THE_SERVER = frozenset(("NODE_STOPPING", "SERVER_BUSY", "CONNECTION_LOST", "NO_ANSWER", "STREAM_ENDED"))


class Servers:
    """A ring of addresses ("host:port", or "unix:/path"), one of them current."""

    def __init__(self, given: Sequence[str]) -> None:
        """Raises ValueError for an empty list, and for an address given twice."""
        if not given or not all(given):
            raise ValueError("give at least one server, as host:port or unix:/path")
        if len(set(given)) != len(given):
            raise ValueError("a server is given twice")
        self._given = tuple(given)
        self.addresses: tuple[str, ...] = self._given
        self.current = self._given[0]

    def prefer(self, endpoints: Sequence[str]) -> None:
        """A server named these, best first: they come before the given ones. At most 16 are taken.

        None on a unix socket that was not given: no server decides what on this machine is spoken to.
        """
        usable = (each for each in endpoints if each in self._given or (each and not each.startswith(UNIX)))
        named = tuple(dict.fromkeys(usable))[:_ENDPOINTS_LIMIT]
        if named:
            self.addresses = named + tuple(each for each in self._given if each not in named)
            self.current = named[0]

    def failed(self, address: str) -> None:
        """`address` did not serve: the next one is current, unless that has been decided already."""
        if address == self.current:
            place = self.addresses.index(address) if address in self.addresses else -1
            self.current = self.addresses[(place + 1) % len(self.addresses)]


def speaks_of_the_server(code_name: str, reason: str) -> bool:
    """Whether a failure says something about the server, so that another may do better."""
    if reason:
        return reason in _OF_THE_SERVER
    return code_name in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
