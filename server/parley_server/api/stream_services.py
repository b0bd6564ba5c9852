"""What chat streams work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from parley_runtime.clock import Clock
    from parley_runtime.metrics import Metrics
    from parley_runtime.settings import Limits
    from parley_runtime.settings import Sessions as SessionSettings
    from parley_server.accounts.authenticator import Authenticator
    from parley_server.api.chat import ChatCalls
    from parley_server.api.rates import RateCheck
    from parley_server.api.sessions import Sessions
    from parley_server.chat.catch_up import CatchUp
    from parley_server.chat.hub import Hub
    from parley_server.chat.joining import Joins
    from parley_server.ports.routes import Routes


@dataclass(frozen=True, slots=True)
class StreamServices:
    """One set per node. `new_session_id` and `new_error_id` make fresh opaque ids; `incarnation` names this
    life of the node.
    """

    node_id: str
    incarnation: str
    authenticator: Authenticator
    rates: RateCheck
    calls: ChatCalls
    joins: Joins
    catch_up: CatchUp
    routes: Routes
    hub: Hub
    sessions: Sessions
    clock: Clock
    metrics: Metrics
    limits: Limits
    session_settings: SessionSettings
    new_session_id: Callable[[], str]
    new_error_id: Callable[[], str]
