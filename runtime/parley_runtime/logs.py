"""Structured logs on standard error: one JSON object per line, or text for people.

On the standard library's logging, whose records of other libraries are written in the same form.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

# Values under these keys never reach a log, whoever logs them and however deep they lie in mappings, lists,
# tuples and sets. What another object says of itself (`repr`) is its own responsibility.
_SECRET_KEYS = frozenset(
    {"password", "token", "access_token", "refresh_token", "authorization", "secret", "private_key", "text"}
)
_OWN_PACKAGES = ("parley_cli", "parley_runtime", "parley_server", "parley_wire")

# What every line says itself. A field of such a name is written as `field_<name>`.
_OWN_KEYS = frozenset({"event", "level", "timestamp", "exception"})

# Something that holds itself would have no end.
_DEEPEST_LEVEL = 10

# Python refuses to write out an integer of more than 4300 digits.
_LARGEST_INTEGER_BITS = 4096

ExcInfo = BaseException | bool | None


class EventLogger:
    """Writes events: a constant text that says what happened, and fields that say to what.

    `exc_info` adds the traceback of an exception: this one, or with True the one that is being handled.
    A field that is named as something that every line says (`event`, `level`, `timestamp`, `exception`) is
    written as `field_<name>`.
    """

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, /, *, exc_info: ExcInfo = None, **fields: Any) -> None:
        self._write(logging.DEBUG, event, exc_info, fields)

    def info(self, event: str, /, *, exc_info: ExcInfo = None, **fields: Any) -> None:
        self._write(logging.INFO, event, exc_info, fields)

    def warning(self, event: str, /, *, exc_info: ExcInfo = None, **fields: Any) -> None:
        self._write(logging.WARNING, event, exc_info, fields)

    def error(self, event: str, /, *, exc_info: ExcInfo = None, **fields: Any) -> None:
        self._write(logging.ERROR, event, exc_info, fields)

    def exception(self, event: str, /, **fields: Any) -> None:
        """An error, with the exception that is being handled."""
        self._write(logging.ERROR, event, True, fields)

    def _write(self, level: int, event: str, exc_info: ExcInfo, fields: dict[str, Any]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, exc_info=exc_info, extra={"fields": fields})


def get_logger(name: str) -> EventLogger:
    """The logger of a module: pass `__name__`."""
    return EventLogger(name)


def configure_logs(
    level: Literal["debug", "info", "warning", "error"], form: Literal["json", "text"]
) -> None:
    """Send all logs to standard error in one form: ours from `level` on, of other libraries warnings."""
    number = logging.getLevelNamesMapping()[level.upper()]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if form == "json" else _TextLines())
    logging.basicConfig(handlers=[handler], level=max(logging.WARNING, number), force=True)
    for package in _OWN_PACKAGES:
        logging.getLogger(package).setLevel(number)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            **_fields(record, _json_leaf),
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "timestamp": _time(record).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class _TextLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        # Only a traceback has lines of its own: whatever else held one could look like another record.
        event = _on_one_line(record.getMessage())
        start = f"{_time(record):%Y-%m-%d %H:%M:%S} [{record.levelname.lower():<8}] {event}"
        fields = _fields(record, _text_leaf).items()
        line = " ".join([start, *(f"{_on_one_line(name)}={_shown(value)}" for name, value in fields)])
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _Said(str):
    """What an object says of itself: shown without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _fields(record: logging.LogRecord, leaf: Callable[[Any], Any]) -> dict[str, Any]:
    fields = getattr(record, "fields", {})
    if not isinstance(fields, Mapping):
        fields = {"fields": fields}
    return _named(fields.items(), leaf, _OWN_KEYS, 1)


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _hide(value: Any, leaf: Callable[[Any], Any], level: int) -> Any:
    if not isinstance(value, Mapping | list | tuple | set | frozenset):
        return leaf(value)
    if level > _DEEPEST_LEVEL:
        return "[too deep]"
    if isinstance(value, Mapping):
        return _named(value.items(), leaf, frozenset(), level + 1)
    return [_hide(inner, leaf, level + 1) for inner in value]


def _named(
    items: Iterable[tuple[Any, Any]], leaf: Callable[[Any], Any], taken: frozenset[str], level: int
) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for key, value in items:
        name = own = _name(key)
        while name in taken or name in named:
            name = f"field_{name}"
        named[name] = "[hidden]" if own.lower() in _SECRET_KEYS else _hide(value, leaf, level)
    return named


def _name(key: Any) -> str:
    if isinstance(key, bytes):
        return key.decode(errors="backslashreplace")
    return str.__str__(key) if isinstance(key, str) else _said(key)


def _json_leaf(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, int):
        return value if value.bit_length() <= _LARGEST_INTEGER_BITS else _said(value)
    return value if value is None or isinstance(value, str) else _said(value)


def _text_leaf(value: Any) -> Any:
    return str.__str__(value) if isinstance(value, str) else _said(value)


def _said(value: Any) -> _Said:
    try:
        return _Said(repr(value))
    except Exception:
        # Better a line that lacks something than none.
        return _Said(f"<{type(value).__name__}>")


def _shown(value: Any) -> str:
    if isinstance(value, str) and value.isprintable() and " " not in value:
        return value
    return _on_one_line(repr(value))


def _on_one_line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
