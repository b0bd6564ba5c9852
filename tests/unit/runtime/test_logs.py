"""Logs: one line each, and no secret in any."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Literal

import pytest

from parley_runtime.logs import EventLogger, configure_logs, get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "sesame-1234"


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Logging is of the whole process: other tests must not inherit this."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    loggers = [root, *(logging.getLogger(f"parley_{part}") for part in ("cli", "runtime", "server", "wire"))]
    levels = [each.level for each in loggers]
    yield
    root.handlers[:] = handlers
    for each, level in zip(loggers, levels, strict=True):
        each.setLevel(level)


def logger() -> EventLogger:
    return get_logger("parley_server.test")


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
    logger().debug("all")
    logging.getLogger("other").info("quiet")
    logging.getLogger("other").warning("loud too")
    events = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert events == ["loud", "all", "loud too"]


@pytest.mark.parametrize("form", ["json", "text"])
def test_fields_cannot_break_a_line(
    capsys: pytest.CaptureFixture[str], form: Literal["json", "text"]
) -> None:
    """Whatever they hold: they may come from a client. Planted: texts written as they are; values that JSON
    does not know; a text with a per cent sign taken for a format.
    """
    configure_logs("info", form)
    logger().info("100 % of %s", name="a\nb\x1b[31m", count=3, value=object(), said="two words")
    (line,) = capsys.readouterr().err.splitlines()
    assert "100 % of %s" in line
    assert "\x1b" not in line
    if form == "text":
        assert line[19:].startswith(" [info    ] 100 % of %s name='a\\nb\\x1b[31m' count=3 value=<object")
        assert line.endswith("said='two words'")


def test_an_exception_brings_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """Behind the line that says what it was about. Planted: the traceback left out."""
    configure_logs("warning", "text")
    logger().info("quiet")
    try:
        fails()
    except RuntimeError:
        logger().exception("loud", user_id="ann")
    written = capsys.readouterr().err
    assert "quiet" not in written
    assert written.splitlines()[0].endswith("[error   ] loud user_id=ann")
    assert "failed with 11 characters" in written
