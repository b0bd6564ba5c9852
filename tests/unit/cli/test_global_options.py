"""Options that may stand anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_cli.exit_codes import ExitCode
from parley_cli.failure import CommandFailure
from parley_cli.global_options import check_tls, hoist, parse_server

if TYPE_CHECKING:
    from pathlib import Path


def test_global_options_come_to_the_front_and_the_rest_keeps_its_order() -> None:
    assert hoist(["send", "@bob", "--server", "h:1", "hi", "--as=alice", "--json"]) == [
        "--server",
        "h:1",
        "--as=alice",
        "send",
        "@bob",
        "hi",
        "--json",
    ]


def test_what_follows_two_dashes_is_text() -> None:
    """Planted: hoisting behind `--` was caught here: a message could have changed who sends it."""
    assert hoist(["send", "@bob", "--", "--as", "x"]) == ["send", "@bob", "--", "--as", "x"]


def test_a_missing_value_is_said_and_does_not_swallow_the_command() -> None:
    with pytest.raises(CommandFailure) as caught:
        hoist(["send", "@bob", "--as"])
    assert caught.value.exit_code == ExitCode.USAGE


@given(st.lists(st.sampled_from(["--as", "--server", "--tls", "--", "a", "-x", "--as=q"])))
def test_nothing_is_lost_or_made_up(arguments: list[str]) -> None:
    try:
        assert sorted(hoist(arguments)) == sorted(arguments)
    except CommandFailure:
        assert arguments[-1] in ("--as", "--server")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:50051", "127.0.0.1:50051"),
        ("chat.example", "chat.example:50051"),
        ("chat.example:0443", "chat.example:443"),
        ("[::1]:7", "[::1]:7"),
        ("[::1]", "[::1]:50051"),
        (" localhost:1 ", "localhost:1"),
        ("unix:/run/parley.sock", "unix:/run/parley.sock"),
        ("unix:///run/a b:1.sock", "unix:/run/a b:1.sock"),
        ("unix:////run/x", "unix:/run/x"),
        (f"unix:/{'x' * 106}", f"unix:/{'x' * 106}"),
    ],
)
def test_a_server_is_host_and_port_or_a_socket(text: str, expected: str) -> None:
    """Planted: a unix socket taken for a host and its port; found refused."""
    assert parse_server(text) == expected


def test_the_path_of_a_socket_means_the_same_in_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Log-ins are stored by it. Planted: the path left as it was typed; found here."""
    monkeypatch.chdir(tmp_path)
    assert parse_server("unix:node.sock") == f"unix:{tmp_path / 'node.sock'}"


def test_a_socket_on_this_machine_is_spoken_to_without_tls() -> None:
    """Planted: no check; found here, where a command would have failed with words about certificates."""
    with pytest.raises(CommandFailure) as caught:
        check_tls("unix:/run/parley.sock", tls=True)
    assert caught.value.exit_code == ExitCode.USAGE
    check_tls("unix:/run/parley.sock", tls=False)
    check_tls("unix.example:50051", tls=True)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ":1",
            "h:",
            "h:0",
            "h:65536",
            "h:x",
            "::1",
            "http://h:1",
            "h h:1",
            "h:-1",
            "h:١",
            "[]:1",
            "h:1:2",
        ),
        *("unix:", "unix:/", "unix://host/path", "unix:/run/", f"unix:/{'x' * 107}"),
    ],
)
def test_what_is_no_address_is_a_usage_error(text: str) -> None:
    with pytest.raises(CommandFailure) as caught:
        parse_server(text)
    assert caught.value.exit_code == ExitCode.USAGE
