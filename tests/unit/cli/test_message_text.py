"""The text of a message goes through unchanged, or not at all."""

from __future__ import annotations

import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from parley_cli.exit_codes import ExitCode
from parley_cli.failure import CommandFailure
from parley_cli.message_text import LIMIT_BYTES, read_text, text_of_argument


@given(st.text())
@example("a\r\nb\rc\n\n")
def test_standard_input_is_taken_as_it_is(text: str) -> None:
    """Planted: reading it as a text file, which changes line ends, was caught here."""
    assert read_text(io.BytesIO(text.encode())) == text


@given(st.binary())
def test_what_is_not_utf8_is_said_with_its_place(content: bytes) -> None:
    try:
        assert read_text(io.BytesIO(content)).encode() == content
    except CommandFailure as failure:
        assert failure.exit_code == ExitCode.USAGE
        position = int(failure.what.split("at byte ")[1].split(",")[0])
        content[:position].decode()


def test_an_endless_input_is_not_read_to_its_end() -> None:
    stream = io.BytesIO(b"a" * (LIMIT_BYTES + 1000))
    with pytest.raises(CommandFailure) as caught:
        read_text(stream)
    assert caught.value.exit_code == ExitCode.USAGE
    assert stream.tell() == LIMIT_BYTES + 1


def test_an_argument_that_is_not_utf8_is_refused() -> None:
    assert text_of_argument("안녕\n") == "안녕\n"
    with pytest.raises(CommandFailure):
        text_of_argument(b"a\xffb".decode(errors="surrogateescape"))
