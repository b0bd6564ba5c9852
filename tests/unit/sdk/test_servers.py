"""Which server is called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley._servers import Servers, speaks_of_the_server

addresses = st.sampled_from(["a:1", "b:2", "c:3", "d:4", "e:5"])


@given(
    st.lists(addresses, min_size=1, unique=True),
    st.lists(st.one_of(addresses, st.lists(addresses, max_size=4)), max_size=30),
)
def test_every_server_is_tried_and_the_given_ones_stay(
    given_ones: list[str], steps: list[str | list[str]]
) -> None:
    """Planted once: endpoints that replace the given servers; moving on after a failure of another one."""
    servers = Servers(given_ones)
    for step in steps:
        before = servers.current
        if isinstance(step, str):
            servers.failed(step)
            if step != before:
                assert servers.current == before
        else:
            servers.prefer(step)
            assert servers.current == (step[0] if step else before)
        assert servers.current in servers.addresses
        assert set(given_ones) <= set(servers.addresses)
    seen = set()
    for _ in servers.addresses:
        seen.add(servers.current)
        servers.failed(servers.current)
    assert seen == set(servers.addresses)


def test_at_most_sixteen_endpoints_are_taken() -> None:
    """Planted once: no bound."""
    servers = Servers(["a:1"])
    servers.prefer([f"x:{port}" for port in range(100)])
    assert len(servers.addresses) == 17


def test_no_server_decides_which_socket_of_this_machine_is_spoken_to() -> None:
    """Planted once: any endpoint taken as it came; the client showed its token to a local service."""
    servers = Servers(["a:1", "unix:/run/own.sock"])
    servers.prefer(["unix:/run/docker.sock", "unix:/run/own.sock", "b:2"])
    assert servers.addresses == ("unix:/run/own.sock", "b:2", "a:1")
    servers.prefer(["unix:/run/docker.sock"])
    assert servers.addresses == ("unix:/run/own.sock", "b:2", "a:1")


@pytest.mark.parametrize("wrong", [[], [""], ["a:1", "a:1"]])
def test_what_is_no_list_of_servers(wrong: list[str]) -> None:
    """Planted once: no check for emptiness; none for repetitions."""
    with pytest.raises(ValueError, match="server"):
        Servers(wrong)


def test_a_refusal_says_nothing_about_the_server() -> None:
    """Planted once: every UNAVAILABLE moved on; a store's hiccup would scatter all clients."""
    assert speaks_of_the_server("UNAVAILABLE", "")
    assert speaks_of_the_server("DEADLINE_EXCEEDED", "")
    assert speaks_of_the_server("UNAVAILABLE", "NODE_STOPPING")
    assert not speaks_of_the_server("UNAVAILABLE", "STORE_UNAVAILABLE")
    assert not speaks_of_the_server("NOT_FOUND", "")
