"""Structured logs on standard error: one JSON object per line, or text for people.

On the standard library's logging, whose records of other libraries are written in the same form.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

# Values under these keys never reach a log, whoever logs them and however deep they lie.
_SECRET_KEYS = frozenset(
    {"password", "token", "access_token", "refresh_token", "authorization", "secret", "private_key", "text"}
)
_OWN_PACKAGES = ("parley_cli", "parley_runtime", "parley_server", "parley_wire")

ExcInfo = BaseException | bool | None


class EventLogger:
    """Writes events: a constant text that says what happened, and fields that say to what.

    `exc_info` adds the traceback of an exception: this one, or with True the one that is being handled.
    """

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, *, exc_info: ExcInfo = None, **fields: Any) -> None:
        self._write(logging.DEBUG, event, exc_info, fields)

    def info(self, event: str, *, exc_info: ExcInfo = None, **fields: Any) -> None:
        self._write(logging.INFO, event, exc_info, fields)

    def warning(self, event: str, *, exc_info: ExcInfo = None, **fields: Any) -> None:
        self._write(logging.WARNING, event, exc_info, fields)

    def error(self, event: str, *, exc_info: ExcInfo = None, **fields: Any) -> None:
        self._write(logging.ERROR, event, exc_info, fields)

    def exception(self, event: str, **fields: Any) -> None:
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
            **_fields(record),
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "timestamp": _time(record).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=repr)


class _TextLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        start = f"{_time(record):%Y-%m-%d %H:%M:%S} [{record.levelname.lower():<8}] {record.getMessage()}"
        line = " ".join([start, *(f"{name}={_shown(value)}" for name, value in _fields(record).items())])
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    hidden: dict[str, Any] = _hide(getattr(record, "fields", {}))
    return hidden


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value.isprintable() and " " not in value else repr(value)


def _hide(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: "[hidden]" if str(key).lower() in _SECRET_KEYS else _hide(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple) and any(isinstance(inner, dict) for inner in value):
        return [_hide(inner) for inner in value]
    return value
