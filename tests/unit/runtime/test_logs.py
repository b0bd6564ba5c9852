"""Logs: one line each, and no secret in any."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

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
        {"requests": [[{"password": SECRET}]]},
        {"requests": ({"x": 1}, [({"token": SECRET},)])},
        {"headers": {b"authorization": SECRET}},
        {"text": SECRET},
    ],
)
def test_secrets_are_hidden(
    capsys: pytest.CaptureFixture[str], form: Literal["json", "text"], fields: dict[str, Any]
) -> None:
    """Whoever logs them, however deep. Hiding the outermost names only fails five lines."""
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


class Speechless:
    """Cannot even say what it is."""

    def __repr__(self) -> str:
        raise RuntimeError("planted")


class Forger:
    """Looks like a record of its own."""

    def __repr__(self) -> str:
        return "x\n2026-11-23 03:09:15 [info    ] all is well"


def itself() -> list[object]:
    endless: list[object] = [{"name": "ann"}]
    endless.append(endless)
    return endless


def refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


_leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.builds(object),
    st.builds(Forger),
    st.builds(itself),
    st.frozensets(st.integers() | st.tuples(st.text())),
)
_secret_names = st.sampled_from(["password", "Token", "ACCESS_TOKEN", "authorization", "secret", "text"])
_keys = st.one_of(st.text(), st.integers(), st.tuples(st.integers(), st.text()), st.none())


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(_keys, inner, max_size=4),
        st.dictionaries(_secret_names | _secret_names.map(str.encode), st.just(SECRET) | inner, max_size=2),
    )


_values = st.recursive(_leaves, _nested, max_leaves=12)
_names = st.text(min_size=1) | st.sampled_from(
    ["level", "timestamp", "event", "exception", "field_level", "field_event", "name", "msg", "self", "\n"]
)
_fields = st.dictionaries(_names.filter(lambda name: name != "exc_info"), _values, max_size=4)
_secrets = st.dictionaries(_secret_names, st.just(SECRET) | st.just([{"x": SECRET}]), max_size=2)


def written(form: Literal["json", "text"], event: str, fields: dict[str, Any]) -> str:
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        configure_logs("info", form)
        logger().info(event, **fields)
    return stderr.getvalue()


@given(_fields, _secrets, st.text())
@example({"list": [[{"secret": SECRET}]]}, {}, "")
@example({"tuple": ({"x": 1}, [({"secret": SECRET},)])}, {}, "")
@example({"bytes": {b"secret": SECRET}}, {}, "")
@example({"map": MappingProxyType({"secret": SECRET})}, {}, "")
@example({"key": {(1, 2): 3}, "set": {1}}, {}, "")
@example({"none": float("nan"), "endless": float("inf")}, {}, "")
@example({"level": 1, "field_level": 2, "event": 3}, {}, "")
@example({"itself": itself()}, {}, "")
def test_whatever_is_logged_is_one_record_without_secrets(
    fields: dict[str, Any], secrets: dict[str, Any], event: str
) -> None:
    """Fields of any name and any kind: one line that parses, which says what happened, when, how bad it is,
    and loses no field.

    Planted: only lists that hold mappings themselves looked into; keys left as they are; keys written by
    `repr` only; what JSON does not know left to the writer; numbers that are none written as they are; fields
    written over what every line says; without an end to what holds itself.
    """
    text = written("json", event, fields | secrets)
    assert text.endswith("\n")
    (line,) = text[:-1].split("\n")
    said = json.loads(line, parse_constant=refuse)
    assert (said["event"], said["level"]) == (event, "info")
    assert said["timestamp"].endswith("Z")
    assert len(said) == 3 + len(fields | secrets)
    assert SECRET not in text


@given(_fields, _secrets, st.text())
@example({"forger": Forger(), "list": [Forger()]}, {}, "")
@example({"a\nb": 1}, {}, "")
@example({}, {}, "a\nb\x1b[2J\u2028c")
@example({"itself": itself(), "list": [[{"secret": SECRET}]]}, {}, "")
def test_whatever_is_logged_is_one_line_for_people(
    fields: dict[str, Any], secrets: dict[str, Any], event: str
) -> None:
    """By anybody's idea of a line, and nothing that steers a terminal.

    Planted: the event written as it is; the names; what an object says of itself.
    """
    text = written("text", event, fields | secrets)
    assert text.endswith("\n")
    assert text[:-1].isprintable()
    assert " [info    ] " in text
    assert SECRET not in text


@pytest.mark.parametrize("form", ["json", "text"])
def test_what_cannot_be_written_costs_no_line(form: Literal["json", "text"]) -> None:
    """An object that fails when it is asked what it is, as a value or as a key, and an integer of too
    many digits for Python. Planted: such errors let through; large integers left to the writer.
    """
    for value in (Speechless(), [{Speechless(): 1}], -(10**5000)):
        text = written(form, "tried", {"value": value, "name": "ann"})
        assert "tried" in text
        assert "ann" in text
        assert ("<int>" if isinstance(value, int) else "<Speechless>") in text
        assert "Traceback" not in text


def test_another_librarys_record_is_one_line_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Its text may hold what a client sent. Only a traceback has lines of its own.

    Planted: the text written as it is.
    """
    configure_logs("info", "text")
    logging.getLogger("other").warning("bad\n2026-11-23 03:09:15 [info    ] all is %s\x1b[2J", "well\u2028")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(r"[warning ] bad\n2026-11-23 03:09:15 [info    ] all is well\u2028\x1b[2J")


def test_a_field_does_not_replace_what_every_line_says(capsys: pytest.CaptureFixture[str]) -> None:
    """It is kept under another name. Planted: written over it; dropped."""
    configure_logs("info", "json")
    fields: dict[str, Any] = {"level": "7", "timestamp": 0, "event": "theirs", "field_level": 8}
    logger().info("ours", **fields)
    said = json.loads(capsys.readouterr().err)
    assert (said["event"], said["level"]) == ("ours", "info")
    assert (said["field_event"], said["field_timestamp"]) == ("theirs", 0)
    assert (said["field_level"], said["field_field_level"]) == ("7", 8)


def test_a_foreign_record_may_have_fields_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Other libraries may call something so, too. Planted: taken for ours; the line was lost."""
    configure_logs("info", "json")
    logging.getLogger("other").warning("loud", extra={"fields": ["a", "b"]})
    assert json.loads(capsys.readouterr().err)["fields"] == ["a", "b"]
