"""The laws of Routes as tests. See message_log_contract for how a backend uses them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parley_server.ports.routes import Route, Routes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def route(device_id: str, *, session_id: str = "s1", incarnation: str = "i1") -> Route:
    """A route on node n1."""
    return Route("n1", incarnation, device_id, session_id)


class RoutesContract(ABC):
    """Every test of every Routes. `make` opens an empty one; `pass_time` lets leases run."""

    @abstractmethod
    async def make(self) -> Routes:
        """Empty routes."""

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Let this much time pass for all routes made: a manual clock's advance, or a real wait."""

    async def discard(self, routes: Routes) -> None:
        """Close what `make` opened."""
        return

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Routes]:
        """Routes for the length of a block."""
        routes = await self.make()
        try:
            yield routes
        finally:
            await self.discard(routes)

    async def test_a_route_is_seen_from_its_adding_to_its_removal(self) -> None:
        async with self.opened() as routes:
            assert await routes.of("ann") == ()
            await routes.remove("ann", route("phone"))
            await routes.add("ann", route("phone"), lease_seconds=30)
            await routes.add("ann", route("tablet"), lease_seconds=30)
            await routes.add("bob", route("phone", session_id="s2"), lease_seconds=30)
            assert await routes.of("ann") == (route("phone"), route("tablet"))
            await routes.remove("ann", route("phone"))
            assert await routes.of("ann") == (route("tablet"),)
            await routes.remove("ann", route("tablet"))
            assert await routes.of("ann") == ()
            assert await routes.of("bob") == (route("phone", session_id="s2"),)

    async def test_a_lease_runs_out_unless_it_is_renewed(self) -> None:
        """Caught when expired routes were only swept, not left out: events were sent to a node long dead."""
        async with self.opened() as routes:
            await routes.add("ann", route("phone"), lease_seconds=10)
            await routes.add("ann", route("tablet"), lease_seconds=10)
            await self.pass_time(6)
            await routes.add("ann", route("phone"), lease_seconds=10)
            await self.pass_time(6)
            assert await routes.of("ann") == (route("phone"),)
            await self.pass_time(6)
            assert await routes.of("ann") == ()

    async def test_renewing_keeps_the_place_and_coming_back_does_not(self) -> None:
        async with self.opened() as routes:
            await routes.add("ann", route("phone"), lease_seconds=10)
            await self.pass_time(1)
            await routes.add("ann", route("tablet"), lease_seconds=100)
            await routes.add("ann", route("phone"), lease_seconds=10)
            assert await routes.of("ann") == (route("phone"), route("tablet"))
            await self.pass_time(11)
            await routes.add("ann", route("phone"), lease_seconds=10)
            assert await routes.of("ann") == (route("tablet"), route("phone"))

    async def test_a_shorter_lease_replaces_a_longer_one(self) -> None:
        async with self.opened() as routes:
            await routes.add("ann", route("phone"), lease_seconds=100)
            await routes.add("ann", route("phone"), lease_seconds=5)
            await self.pass_time(6)
            assert await routes.of("ann") == ()

    async def test_lives_and_sessions_are_told_apart(self) -> None:
        """Caught when a route was found by device alone: the old session's end removed the new one."""
        async with self.opened() as routes:
            first = route("phone", session_id="s1")
            second = route("phone", session_id="s2")
            reborn = route("phone", session_id="s1", incarnation="i2")
            for each in (first, second, reborn):
                await routes.add("ann", each, lease_seconds=30)
            await routes.remove("ann", first)
            assert await routes.of("ann") == (second, reborn)

    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.differing_executors, HealthCheck.function_scoped_fixture],
    )
    @given(
        steps=st.lists(
            st.one_of(
                st.tuples(
                    st.just("add"),
                    st.sampled_from(["ann", "bob", "cyd"]),
                    st.sampled_from(["phone", "tablet"]),
                    st.sampled_from([2, 5, 9]),
                ),
                st.tuples(
                    st.just("remove"),
                    st.sampled_from(["ann", "bob", "cyd"]),
                    st.sampled_from(["phone", "tablet"]),
                    st.just(0),
                ),
                st.tuples(st.just("wait"), st.just(""), st.just(""), st.sampled_from([1, 3, 7])),
            ),
            max_size=30,
        )
    )
    async def test_it_behaves_like_a_dictionary_with_ends(
        self, steps: list[tuple[str, str, str, int]]
    ) -> None:
        """Any additions, removals and waits, against a dictionary. Times never fall on a lease's very end."""
        async with self.opened() as routes:
            now = 0.0
            model: dict[str, dict[Route, float]] = {"ann": {}, "bob": {}, "cyd": {}}
            for what, user, device, seconds in steps:
                if what == "add":
                    await routes.add(user, route(device), lease_seconds=seconds + 0.5)
                    model[user][route(device)] = now + seconds + 0.5
                elif what == "remove":
                    await routes.remove(user, route(device))
                    model[user].pop(route(device), None)
                else:
                    await self.pass_time(seconds)
                    now += seconds
                    for known in model.values():
                        for each in [each for each, end in known.items() if end <= now]:
                            del known[each]
                for name, known in model.items():
                    assert await routes.of(name) == tuple(known)
