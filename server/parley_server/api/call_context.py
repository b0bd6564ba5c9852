"""The caller of the RPC that is being served, for servicers. Set by the interceptor, per task."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parley_server.accounts.caller import Caller

_caller: ContextVar[Caller] = ContextVar("parley_caller")


def set_caller(caller: Caller) -> None:
    """Make `caller` the caller of the current task's RPC."""
    _caller.set(caller)


def current_caller() -> Caller:
    """The caller of this RPC. Raises LookupError in an RPC that is open to everybody: a defect of ours."""
    return _caller.get()
