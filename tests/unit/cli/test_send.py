"""What is said of a message that may have been written all the same."""

from __future__ import annotations

import grpc
import pytest

import parley
from parley_cli.exit_codes import ExitCode
from parley_cli.failure import failure_of
from parley_cli.send import not_sent

_STORE_ERROR = parley.StoreUnavailable(
    "The outcome is not known. Repeat the call with the same client-made id.",
    code=grpc.StatusCode.UNAVAILABLE,
    reason="STORE_UNAVAILABLE",
    retry_after_seconds=1.0,
)


@pytest.mark.parametrize(
    "error",
    [
        _STORE_ERROR,
        parley.TimedOut.after(10),
        parley.Unreachable("Connection refused", code=grpc.StatusCode.UNAVAILABLE),
    ],
)
def test_how_to_send_again_is_said(error: parley.ParleyError) -> None:
    """So that it is written once. Planted: the failure as every other command tells it."""
    failure = not_sent(error, "chat.example:1", "0199-an-id")
    assert failure.exit_code == ExitCode.UNREACHABLE
    assert "Send the same again with --client-message-id 0199-an-id: it is written once" in failure.line()


def test_a_refused_message_was_not_written() -> None:
    """Its id helps nobody. Planted: the advice after every error."""
    error = parley.ChannelNotFound("No.", code=grpc.StatusCode.NOT_FOUND, reason="CHANNEL_NOT_FOUND")
    assert not_sent(error, "chat.example:1", "id").line() == failure_of(error, "chat.example:1").line()


def test_nobody_is_told_to_repeat_what_only_programs_can() -> None:
    """Planted: the server's own words, and the advice to try again at once."""
    line = failure_of(_STORE_ERROR, "chat.example:1").line()
    assert "client-made id" not in line and line.endswith("is not known. Look before you try again.")


def test_a_full_disk_is_said() -> None:
    """It will not mend itself within a second. Planted: one text for every store that fails."""
    error = parley.StoreUnavailable(
        "The store cannot take it: the disk is full. The outcome is not known.",
        code=grpc.StatusCode.UNAVAILABLE,
        reason="STORE_UNAVAILABLE",
    )
    assert "disk is full" in failure_of(error, "chat.example:1").line()
