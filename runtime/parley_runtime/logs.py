"""Structured logs on standard error: one JSON object per line, or text for people."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

from parley_runtime.plain_structlog import structlog

# Values under these keys never reach a log, whoever logs them and however deep they lie.
_SECRET_KEYS = frozenset(
    {"password", "token", "access_token", "refresh_token", "authorization", "secret", "private_key", "text"}
)


def _without_secrets(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    hidden: structlog.typing.EventDict = _hide(event)
    return hidden


def _hide(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: "[hidden]" if str(key).lower() in _SECRET_KEYS else _hide(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple) and any(isinstance(inner, dict) for inner in value):
        return [_hide(inner) for inner in value]
    return value


def configure_logs(
    level: Literal["debug", "info", "warning", "error"], form: Literal["json", "text"]
) -> None:
    """Send structlog and the standard library's logging to standard error in one form."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_secrets,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(
            # The pretty formatter prints local variables, and with them whatever secret they hold.
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    last: list[structlog.typing.Processor] = [renderer]
    if form == "json":
        last.insert(0, structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(
        handlers=[handler],
        level=max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]),
        force=True,
    )
