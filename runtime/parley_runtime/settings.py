"""Settings: one file (TOML), then the environment, then the command line. Every limit is here with its
default.

An environment variable is named after its path: `PARLEY_LISTEN`, `PARLEY_LIMITS__TEXT_CODE_POINTS`.
"""

from __future__ import annotations

import math
import re
import tomllib
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ENVIRONMENT_PREFIX = "PARLEY_"


class SettingsError(Exception):
    """A setting cannot be used. The message is one line that names it and says what is allowed."""


class AddressUnusable(SettingsError):
    """An address cannot be listened on: its port is taken, or it is not this machine's."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a caller may ask for. Passing one is refused, never cut."""

    text_code_points: int = 100_000
    """Longest message text, in Unicode code points."""
    request_bytes: int = 1024 * 1024
    """Largest request, unary or a frame of a stream."""
    page_bytes: int = 1024 * 1024
    """Where a page of history ends, though one event always fits."""
    requests_in_flight: int = 32
    """Unanswered requests on one stream."""
    refusals_per_stream: int = 1000
    """Requests of one stream refused as too many or too large, beyond those served, before it is ended."""
    group_members: int = 100
    """Members of a group made by an ordinary user."""
    channel_members: int = 100_000
    """Members of a group made by an operator."""
    devices_per_user: int = 20
    """Log-ins of one user; one more logs the longest unused out."""
    contacts_per_user: int = 10_000
    """Contacts that one user may have."""
    blocks_per_user: int = 10_000
    """Users whom one user may block."""
    streams: int = 20_000
    """Open streams on this node."""
    streams_per_user: int = 100
    """Open streams of one user on this node."""
    calls_beside_streams: int = 20_000
    """Open calls on this node beside its streams, half-sent ones included; one more is refused."""
    streams_per_connection: int = 1000
    """Open streams and calls on one connection; further ones wait at the client. A proxy needs more."""
    health_watches: int = 1000
    """Open watches of this node's health, which anybody may open."""
    reflection_streams: int = 100
    """Open streams of reflection, which anybody may open."""
    channels_in_memory: int = 10_000
    """Idle channels kept in memory."""
    waiting_per_channel: int = 4096
    """Writes that wait for one channel."""
    outbox_events: int = 256
    """Events that wait to be written to one stream; one more and the stream lags."""
    outbox_bytes: int = 256 * 1024
    """Bytes that wait to be written to one stream; more and the stream lags."""
    outboxes_bytes: int = 512 * 1024 * 1024
    """Bytes that wait to be written to all streams; more and the fullest lags."""
    exports: int = 2
    """Exports of users' data that are worked on at a time; further ones take turns."""
    edit_window_seconds: int = 0
    """How long after it was written a message may be edited. 0: for ever."""
    emojis_per_message: int = 50
    """Different reactions on one message."""
    emojis_per_user_and_message: int = 10
    """Reactions of one user on one message."""
    pins_per_channel: int = 50
    """Messages pinned to one channel."""
    invites_per_channel: int = 50
    """Invites of one channel that can be used at a time."""
    bans_per_channel: int = 1000
    """Users banned from one channel."""
    replay_events: int = 1000
    """Missed events that are sent to a returning device; if there are more it is told the heads."""
    fanout_on_write_members: int = 500
    """Members up to which every message is announced in each member's feed."""
    frame_bytes: int = 64 * 1024
    """Where a stream frame ends, though one event always fits."""


class RateSetting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`per_minute` in the long run, `burst` at once."""

    per_minute: float
    burst: int


class Rates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often each may call: per user once logged in, per address before."""

    send: RateSetting = RateSetting(per_minute=600, burst=30)
    sign_up: RateSetting = RateSetting(per_minute=5, burst=5)
    log_in: RateSetting = RateSetting(per_minute=10, burst=10)
    call: RateSetting = RateSetting(per_minute=3000, burst=100)
    stream: RateSetting = RateSetting(per_minute=120, burst=60)
    frame: RateSetting = RateSetting(per_minute=6000, burst=1000)
    """Frames of a stream that are no calls: acknowledgements, heartbeats, pongs, new tokens."""


class Sessions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Timing of streams, in seconds."""

    hello_seconds: float = 5.0
    """How long a new stream may wait with its Hello."""
    heartbeat_seconds: float = 25.0
    """How often a client in the foreground should be heard."""
    lease_seconds: float = 45.0
    """A client in the foreground not heard for this long is taken for gone."""
    background_lease_seconds: float = 240.0
    """The same in the background."""
    missing_position_seconds: float = 0.05
    """How long a hole in a feed's positions may last before the feed is read."""
    acknowledge_seconds: float = 30.0
    """How long an acknowledged cursor may wait to be stored."""
    slow_reader_seconds: float = 300.0
    """A client that takes nothing at all for this long is disconnected."""
    close_seconds: float = 10.0
    """How long a client may take to read what was sent before its stream was ended."""
    token_warning_seconds: float = 60.0
    """How long before its access token runs out a stream is warned."""
    reconnect_spread_seconds: float = 30.0
    """Clients told to reconnect at once are spread over at most this long."""


class Auth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Accounts and tokens."""

    sign_up: Literal["open", "closed"] = "open"
    access_token_seconds: int = 15 * 60
    refresh_token_seconds: int = 30 * 24 * 3600
    refresh_grace_seconds: int = 30
    password_workers: int = 2
    password_queue: int = 64


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """TLS for native clients. Both files or neither."""

    certificate_file: str = ""
    key_file: str = ""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a node can be told."""

    listen: str = "127.0.0.1:50051"
    """Address and port for gRPC, or unix:/PATH for a socket on this machine."""
    transport: Literal["wire", "grpcio"] = "wire"
    """What speaks HTTP/2: Parley's own transport, or the grpcio library."""
    metrics_listen: str = ""
    """Address and port for Prometheus (`/metrics`). Empty: no metrics port."""
    data: str = "./parley-data"
    """The folder that holds everything."""
    node_id: str = ""
    """Names this node to clients. Empty: the host's name."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """From which level on this node's events are logged. Of libraries' only warnings and errors are."""
    log_format: Literal["json", "text"] = "json"
    """One JSON object per line, or text for people."""
    stop_grace_seconds: float = 1.5
    """How long calls in flight may take to finish after SIGTERM or Ctrl-C."""
    limits: Limits = Limits()
    rates: Rates = Rates()
    sessions: Sessions = Sessions()
    auth: Auth = Auth()
    tls: Tls = Tls()


def load_settings(
    config_path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]
) -> Settings:
    """The settings of a process. `overrides` (by dotted path) win over `environ`, which wins over the file.

    Raises SettingsError for a file that cannot be read, an unknown name, or a value of the wrong kind.
    """
    tree: dict[str, Any] = {}
    variables: dict[tuple[str, ...], str] = {}
    if config_path is not None:
        try:
            tree = tomllib.loads(config_path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"cannot read {config_path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{config_path} is not valid TOML: {error}") from error
    for name, value in environ.items():
        if name.startswith(ENVIRONMENT_PREFIX):
            path = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            if path[0] in Settings.__struct_fields__:
                _put(tree, path, value, name)
                variables[tuple(path)] = name
    for dotted, override in overrides.items():
        path = dotted.split(".")
        _put(tree, path, override, dotted)
        variables = {each: name for each, name in variables.items() if each != tuple(path)}
    try:
        settings = msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$")
        path = place.rstrip("`").strip(".").split(".") if place else []
        raise SettingsError(_named(what, path, variables)) from error
    try:
        _check(settings)
    except _Wrong as wrong:
        raise SettingsError(_named(wrong.what, wrong.path, variables)) from wrong
    return settings


class _Wrong(Exception):
    def __init__(self, path: list[str], what: str) -> None:
        super().__init__(what)
        self.path = path
        self.what = what


def _named(what: str, path: list[str], variables: Mapping[tuple[str, ...], str]) -> str:
    """What is wrong, after the setting's dotted name and the variable that set it, or a part of it."""
    field = _FIELD.search(what)
    wanted = [*path, field.group(1)] if field else path
    setters = [name for each, name in variables.items() if _same_branch(each, tuple(wanted))]
    dotted = ".".join(path)
    said = f"{dotted}: {what}" if dotted else what
    hint = ""
    if what.startswith("Expected `object`"):
        hint = f". It is a table, set part by part: {_example(path)}"
    elif "missing required" in what:
        hint = f". Set all its parts: {_example(path)}"
    return (f"{', '.join(setters)}: " if setters else "") + said + hint


_FIELD = re.compile("unknown field `([^`]*)`")


def _same_branch(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared]


def _example(path: list[str]) -> str:
    """The variables of at most two parts of a table, with their defaults."""
    table: Any = Settings()
    for name in path:
        table = getattr(table, name)
    while isinstance(getattr(table, table.__struct_fields__[0]), msgspec.Struct):
        path = [*path, table.__struct_fields__[0]]
        table = getattr(table, path[-1])
    prefix = ENVIRONMENT_PREFIX + "__".join(path).upper()
    parts = [
        f"{prefix}__{name.upper()}={_plain(getattr(table, name))}" for name in table.__struct_fields__[:2]
    ]
    return " ".join(parts)


def _plain(value: object) -> object:
    return f"{value:g}" if isinstance(value, float) else value or "..."


def _put(tree: dict[str, Any], path: list[str], value: object, name: str) -> None:
    *sections, last = path
    for section in sections:
        below = tree.setdefault(section, {})
        if not isinstance(below, dict):
            raise SettingsError(f"{name}: {section} is not a table")
        tree = below
    tree[last] = value


_MAY_BE_ZERO = frozenset({"limits.edit_window_seconds"})


_PORT_LIMIT = 65_535


def _is_host_and_port(address: str) -> bool:
    _, colon, port = address.rpartition(":")
    return bool(colon) and port.isascii() and port.isdigit() and int(port) <= _PORT_LIMIT


def _check(settings: Settings) -> None:
    socket_path = settings.listen.removeprefix("unix:") if settings.listen.startswith("unix:") else ""
    if not socket_path and not _is_host_and_port(settings.listen):
        raise _Wrong(
            ["listen"],
            f"{settings.listen!r} is no address: write HOST:PORT, as in 127.0.0.1:50051, or unix:/PATH",
        )
    if settings.metrics_listen and not _is_host_and_port(settings.metrics_listen):
        raise _Wrong(
            ["metrics_listen"],
            f"{settings.metrics_listen!r} is no address: write HOST:PORT, as in 127.0.0.1:9100",
        )
    if bool(settings.tls.certificate_file) != bool(settings.tls.key_file):
        raise _Wrong(["tls"], "set both certificate_file and key_file, or neither")
    for section_name in ("limits", "sessions", "auth"):
        section = getattr(settings, section_name)
        for name in section.__struct_fields__:
            value = getattr(section, name)
            if f"{section_name}.{name}" in _MAY_BE_ZERO and value == 0:
                continue
            if isinstance(value, int | float) and not 0 < value < math.inf:
                raise _Wrong([section_name, name], "must be greater than 0")
    if not 0 <= settings.stop_grace_seconds < math.inf:
        raise _Wrong(["stop_grace_seconds"], "must be 0 or greater")
    for name in settings.rates.__struct_fields__:
        rate: RateSetting = getattr(settings.rates, name)
        if not 0 < rate.per_minute < math.inf or rate.burst < 1:
            raise _Wrong(["rates", name], "per_minute must be greater than 0 and burst at least 1")
