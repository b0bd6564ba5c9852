"""Settings: file, then environment, then command line; what is wrong is said in one line that names it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parley_runtime.settings import Limits, Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def test_nothing_said_means_the_defaults() -> None:
    """As documented."""
    settings = load_settings(None, {}, {})
    assert settings == Settings()
    assert (settings.listen, settings.limits.text_code_points) == ("127.0.0.1:50051", 100_000)


def test_later_sources_win(tmp_path: Path) -> None:
    """Each for its own names; what they do not name stays as it was. Reading them in another order fails."""
    file = tmp_path / "parley.toml"
    file.write_text(
        'listen = "a:1"\nnode_id = "file"\nlog_level = "debug"\n[limits]\nstreams = 1\nframe_bytes = 7\n'
    )
    environ = {"PARLEY_NODE_ID": "environment", "PARLEY_LISTEN": "b:2", "PARLEY_LIMITS__STREAMS": "2"}
    settings = load_settings(file, environ, {"listen": "c:3"})
    assert (settings.listen, settings.node_id, settings.log_level) == ("c:3", "environment", "debug")
    assert settings.limits == Limits(streams=2, frame_bytes=7)


def test_text_from_the_environment_becomes_numbers() -> None:
    """Whole, broken, and in tables within tables."""
    settings = load_settings(
        None,
        {
            "PARLEY_SESSIONS__LEASE_SECONDS": "1.5",
            "PARLEY_RATES__SEND__PER_MINUTE": "30",
            "PARLEY_RATES__SEND__BURST": "4",
        },
        {},
    )
    assert settings.sessions.lease_seconds == 1.5
    assert (settings.rates.send.per_minute, settings.rates.send.burst) == (30, 4)


def test_other_programs_variables_are_left_alone() -> None:
    """The prefix alone does not make a setting: the command line has variables of its own."""
    assert load_settings(None, {"PARLEY_TOKEN": "x", "PATH": "/bin", "parley_listen": "x"}, {}) == Settings()


@pytest.mark.parametrize(
    ("environ", "overrides", "named"),
    [
        ({"PARLEY_LIMITS__STREMS": "1"}, {}, "strems"),
        ({"PARLEY_LIMITS__STREAMS": "many"}, {}, "limits.streams"),
        ({"PARLEY_LIMITS__STREAMS": "0"}, {}, "limits.streams"),
        ({"PARLEY_LIMITS__STREAMS": "-1"}, {}, "limits.streams"),
        ({"PARLEY_LIMITS": "5"}, {}, "limits"),
        ({"PARLEY_LISTEN__PORT": "5"}, {"listen": "x:1", "listen.port": "y"}, "listen"),
        ({"PARLEY_LOG_LEVEL": "loud"}, {}, "log_level"),
        ({"PARLEY_AUTH__SIGN_UP": "maybe"}, {}, "auth.sign_up"),
        ({"PARLEY_SESSIONS__LEASE_SECONDS": "nan"}, {}, "sessions.lease_seconds"),
        ({"PARLEY_SESSIONS__LEASE_SECONDS": "inf"}, {}, "sessions.lease_seconds"),
        ({"PARLEY_STOP_GRACE_SECONDS": "-1"}, {}, "stop_grace_seconds"),
        ({"PARLEY_RATES__SEND__PER_MINUTE": "0", "PARLEY_RATES__SEND__BURST": "1"}, {}, "rates.send"),
        ({"PARLEY_RATES__SEND__PER_MINUTE": "nan", "PARLEY_RATES__SEND__BURST": "1"}, {}, "rates.send"),
        ({"PARLEY_TLS__KEY_FILE": "key.pem"}, {}, "tls"),
        ({}, {"nonsense": "1"}, "nonsense"),
        ({}, {"limits.nonsense": 1}, "nonsense"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(
    environ: Mapping[str, str], overrides: Mapping[str, object], named: str
) -> None:
    """A newcomer repairs it without reading code. A value that passes unseen fails later, and elsewhere."""
    with pytest.raises(SettingsError) as error:
        load_settings(None, environ, overrides)
    assert named in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        (
            {"PARLEY_LIMITS__STREAMS": "many", "PARLEY_LIMITS__PAGE_BYTES": "9"},
            "PARLEY_LIMITS__STREAMS: limits.streams: Expected `int`, got `str`",
        ),
        (
            {"PARLEY_LIMITS__STREMS": "1"},
            "PARLEY_LIMITS__STREMS: limits: Object contains unknown field `strems`",
        ),
        ({"PARLEY_LIMITS__STREAMS": "0"}, "PARLEY_LIMITS__STREAMS: limits.streams: must be greater than 0"),
        (
            {"PARLEY_STOP_GRACE_SECONDS": "-1"},
            "PARLEY_STOP_GRACE_SECONDS: stop_grace_seconds: must be 0 or greater",
        ),
        (
            {"PARLEY_RATES__SEND": "30"},
            "PARLEY_RATES__SEND: rates.send: Expected `object`, got `str`. It is a table, set part by part: "
            "PARLEY_RATES__SEND__PER_MINUTE=600 PARLEY_RATES__SEND__BURST=30",
        ),
        (
            {"PARLEY_RATES__SEND__BURST": "9"},
            "PARLEY_RATES__SEND__BURST: rates.send: Object missing required field `per_minute`. Set all its "
            "parts: PARLEY_RATES__SEND__PER_MINUTE=600 PARLEY_RATES__SEND__BURST=30",
        ),
        (
            {"PARLEY_RATES": "30"},
            "PARLEY_RATES: rates: Expected `object`, got `str`. It is a table, set part by part: "
            "PARLEY_RATES__SEND__PER_MINUTE=600 PARLEY_RATES__SEND__BURST=30",
        ),
        (
            {"PARLEY_TLS": "yes"},
            "PARLEY_TLS: tls: Expected `object`, got `str`. It is a table, set part by part: "
            "PARLEY_TLS__CERTIFICATE_FILE=... PARLEY_TLS__KEY_FILE=...",
        ),
    ],
)
def test_the_variable_is_named(environ: Mapping[str, str], said: str) -> None:
    """As it was typed, and how to set a table. Planted: the path alone; every variable that is set."""
    with pytest.raises(SettingsError) as error:
        load_settings(None, environ, {})
    assert str(error.value) == said


@pytest.mark.parametrize("listen", ["foo", "", "127.0.0.1", "h:", "h:x", "h:65536", "h:-1", "h:٣", "unix:"])
def test_an_address_of_the_wrong_form_is_not_in_use(listen: str) -> None:
    """It is told with the right one. Planted: any text taken, which then failed as a port in use."""
    with pytest.raises(SettingsError, match=r"listen: .* is no address: write HOST:PORT"):
        load_settings(None, {}, {"listen": listen})
    if listen:
        with pytest.raises(SettingsError, match=r"metrics_listen: .* is no address: write HOST:PORT"):
            load_settings(None, {}, {"metrics_listen": listen})


@pytest.mark.parametrize(
    "listen", ["127.0.0.1:0", ":65535", "[::1]:50051", "chat.example:1", "unix:x", "unix:/x"]
)
def test_addresses_are_taken(listen: str) -> None:
    """As the transports take them. Planted: a host, or a path from the root, asked for."""
    assert load_settings(None, {}, {"listen": listen}).listen == listen


def test_a_variable_that_the_command_line_overrides_is_not_to_blame() -> None:
    """Planted: the variable named though its value counts for nothing."""
    with pytest.raises(SettingsError) as error:
        load_settings(None, {"PARLEY_LISTEN": "127.0.0.1:1"}, {"listen": 5})
    assert "PARLEY_LISTEN" not in str(error.value) and "listen" in str(error.value)


@pytest.mark.parametrize(
    "content", [b"listen = ", b"\xff\xfe", b"[limits]\nstreams = 'x'", b"limits = 5", b"colour = 1"]
)
def test_a_file_that_cannot_be_used(tmp_path: Path, content: bytes) -> None:
    """Broken, not text, or of the wrong kinds."""
    file = tmp_path / "parley.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError) as error:
        load_settings(file, {}, {})
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Asked for and missing is an error, never the defaults."""
    with pytest.raises(SettingsError, match=r"cannot read .*missing\.toml"):
        load_settings(tmp_path / "missing.toml", {}, {})
