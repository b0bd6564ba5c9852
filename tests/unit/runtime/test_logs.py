"""Logs: one line each, and no secret in any."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Literal

import pytest
import structlog

from parley_runtime.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "sesame-1234"


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Logging is of the whole process: other tests must not inherit this."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def logger() -> Any:
    return structlog.get_logger()


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    "fields",
    [
        {"password": SECRET},
        {"token": SECRET, "user_id": "ann"},
        {"refresh_token": SECRET},
        {"Authorization": f"Bearer {SECRET}"},
        {"request": {"headers": {"authorization": SECRET}}},
        {"requests": [{"password": SECRET}]},
        {"text": SECRET},
    ],
)
def test_secrets_are_hidden(
    capsys: pytest.CaptureFixture[str], form: Literal["json", "text"], fields: dict[str, Any]
) -> None:
    """Whoever logs them, however deep. Hiding the outermost names only fails two lines."""
    configure_logs("info", form)
    logger().info("tried", **fields)
    written = capsys.readouterr().err
    assert "tried" in written
    assert SECRET not in written
    assert "[hidden]" in written


def test_what_was_passed_in_is_not_changed(capsys: pytest.CaptureFixture[str]) -> None:
    """Hiding in a log must not hide in the program."""
    configure_logs("info", "json")
    headers = {"authorization": SECRET}
    logger().info("tried", headers=headers)
    assert headers == {"authorization": SECRET}


def fails() -> None:
    password = SECRET
    raise RuntimeError(f"failed with {len(password)} characters")


@pytest.mark.parametrize("form", ["json", "text"])
def test_tracebacks_show_no_values(capsys: pytest.CaptureFixture[str], form: Literal["json", "text"]) -> None:
    """Where it failed, not with what. The pretty formatter prints local variables."""
    configure_logs("info", form)
    try:
        fails()
    except RuntimeError as error:
        logger().error("broken", exc_info=error)
    written = capsys.readouterr().err
    assert "failed with 11 characters" in written
    assert "test_logs.py" in written
    assert SECRET not in written


def test_json_is_one_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With time and level, whatever the text holds; the standard library's records too, with tracebacks."""
    configure_logs("info", "json")
    logger().info("two\nlines", channel_id="c")
    try:
        fails()
    except RuntimeError:
        logging.getLogger("other").exception("from elsewhere")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["event"], first["level"], first["channel_id"]) == ("two\nlines", "info", "c")
    assert first["timestamp"].endswith("Z")
    assert (second["event"], second["level"]) == ("from elsewhere", "error")
    assert "fails()" in second["exception"]


def test_levels(capsys: pytest.CaptureFixture[str]) -> None:
    """What is below is not written; other libraries are heard from warnings on."""
    configure_logs("warning", "json")
    logger().info("quiet")
    logger().warning("loud")
    configure_logs("debug", "json")
    structlog.get_logger().debug("all")
    logging.getLogger("other").info("quiet")
    logging.getLogger("other").warning("loud too")
    events = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert events == ["loud", "all", "loud too"]
