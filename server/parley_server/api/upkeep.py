"""What time asks of a stream: its lease, its token, pings, and storing what its client has acknowledged."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from parley_server.api import frames
from parley_server.chat.farewell import Farewell
from parley_server.chat.session import Phase
from parley_server.ports.message_log import StoreUnavailable

if TYPE_CHECKING:
    from parley_server.accounts.caller import Caller
    from parley_server.api.downstream import Downstream
    from parley_server.api.stream_services import StreamServices
    from parley_server.ports.routes import Route


class Upkeep:
    """Keeps one stream's times. `tick` is called about once a second."""

    __slots__ = (
        "_downstream",
        "_foreground",
        "_heard_at",
        "_pinged_at",
        "_services",
        "_stored_at",
        "_stored_cursor",
        "_warned_of_ms",
    )

    def __init__(self, services: StreamServices, downstream: Downstream) -> None:
        self._services = services
        self._downstream = downstream
        self._heard_at = self._pinged_at = self._stored_at = services.clock.monotonic()
        self._foreground = True
        self._warned_of_ms = 0
        self._stored_cursor = ""

    def heard(self, *, foreground: bool | None) -> None:
        """The client was heard; None keeps the foreground state."""
        self._heard_at = self._services.clock.monotonic()
        if foreground is not None:
            self._foreground = foreground

    @property
    def lease_seconds(self) -> float:
        """How long the client may stay silent."""
        settings = self._services.session_settings
        return settings.lease_seconds if self._foreground else settings.background_lease_seconds

    def tick(self, caller: Caller, route: Route, acknowledged: str, now_ms: int) -> Farewell | None:
        """Do what is due. Returns why the stream must end, if it must."""
        settings = self._services.session_settings
        monotonic = self._services.clock.monotonic()
        blocked_since = self._downstream.blocked_since
        if now_ms >= caller.expire_time_ms:
            return Farewell.TOKEN_EXPIRED
        if monotonic - self._heard_at > self.lease_seconds:
            return Farewell.LEASE_EXPIRED
        if blocked_since is not None and monotonic - blocked_since > settings.slow_reader_seconds:
            return Farewell.SLOW_READER
        if self._downstream.session.phase is Phase.JOINING:
            return None
        left_seconds = (caller.expire_time_ms - now_ms) / 1000
        if left_seconds < settings.token_warning_seconds and self._warned_of_ms != caller.expire_time_ms:
            self._warned_of_ms = caller.expire_time_ms
            self._downstream.put(frames.auth_expiring(caller.expire_time_ms))
        if monotonic - self._pinged_at >= settings.heartbeat_seconds:
            self._pinged_at = monotonic
            self._downstream.start("ping", partial(self._ping, caller, route))
        if monotonic - self._stored_at >= settings.acknowledge_seconds:
            self._stored_at = monotonic
            self.store_acknowledged(caller, acknowledged)
        return None

    def store_acknowledged(self, caller: Caller, cursor: str) -> None:
        """Store the device's position, unless it is the one that was stored last."""
        if cursor and cursor != self._stored_cursor:
            self._stored_cursor = cursor
            self._services.sessions.store(self._services.calls.acknowledge(caller, cursor))

    async def _ping(self, caller: Caller, route: Route) -> None:
        services, downstream = self._services, self._downstream
        try:
            cursor = await services.joins.cursor(caller.user_id)
            await services.routes.add(caller.user_id, route, lease_seconds=self.lease_seconds)
        except StoreUnavailable:
            # Feeds and routes may be gone for a while; the client's own frames keep the lease here.
            return
        downstream.ping(cursor)
