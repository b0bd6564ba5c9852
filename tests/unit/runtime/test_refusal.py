"""The catalogue of reasons, and the status that each becomes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from parley.error.v1 import error_reason_pb2
from parley_runtime.refusal import Code, Reason, Refusal, channel_not_found, invalid_field
from parley_runtime.status import (
    DETAILS_KEY,
    ERROR_DOMAIN,
    MESSAGE_LIMIT_CHARACTERS,
    abort_arguments,
    status_of,
)

if TYPE_CHECKING:
    from google.protobuf.message import Message

PREFIX = "ERROR_REASON_"
CONTRACT = Path(__file__).parents[3] / "proto/parley/error/v1/error_reason.proto"


def details(status: status_pb2.Status, kind: type[Message]) -> list[Message]:
    found = []
    for packed in status.details:
        message = kind()
        if packed.Unpack(message):
            found.append(message)
    return found


def test_the_catalogue_is_the_contract_s() -> None:
    """Both ways: no reason that clients do not know, none that the server cannot give."""
    contract = {name.removeprefix(PREFIX) for name in error_reason_pb2.ErrorReason.keys()}
    assert {reason.text for reason in Reason} == contract - {"UNSPECIFIED"}
    assert all(reason.text == reason.name for reason in Reason)


def test_the_code_of_each_reason_is_the_documented_one() -> None:
    """The contract's comment begins with the code. A reason moved to another code fails."""
    documented = re.findall(
        rf"// ([A-Z_]+): [^\n]*\n(?:\s*//[^\n]*\n)*\s*{PREFIX}([A-Z_]+) = ",
        CONTRACT.read_text(encoding="utf-8"),
    )
    assert {name: code for code, name in documented} == {reason.text: reason.code.name for reason in Reason}


def test_codes_are_grpc_s() -> None:
    """The numbers travel."""
    known = {status.name: status.value[0] for status in grpc.StatusCode}
    assert {code.name: code.value for code in Code} == {code.name: known[code.name] for code in Code}


@pytest.mark.parametrize("reason", Reason)
def test_every_status_carries_exactly_one_reason(reason: Reason) -> None:
    """Clients decide by it. Two would leave them to chance; a second domain, too."""
    status = status_of(Refusal(reason, "Do something.", metadata={"seq": "7"}))
    (info,) = details(status, error_details_pb2.ErrorInfo)
    assert info == error_details_pb2.ErrorInfo(reason=reason.text, domain=ERROR_DOMAIN, metadata={"seq": "7"})
    assert (status.code, status.message) == (reason.code.value, "Do something.")


@pytest.mark.parametrize("reason", Reason)
def test_where_waiting_helps_the_status_says_how_long(reason: Reason) -> None:
    """RESOURCE_EXHAUSTED and UNAVAILABLE, but for the two that waiting does not change."""
    (asked,) = details(status_of(Refusal(reason, "", retry_after_seconds=2.5)), error_details_pb2.RetryInfo)
    assert asked.retry_delay.ToMilliseconds() == 2500  # type: ignore[attr-defined]
    by_default = details(status_of(Refusal(reason, "")), error_details_pb2.RetryInfo)
    helps = reason.code in (Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE)
    helps = helps and reason not in (Reason.CHANNEL_FULL, Reason.REQUEST_TOO_LARGE)
    assert bool(by_default) == helps


def test_a_broken_field_is_named() -> None:
    """In BadRequest, where clients look, and in the message, where people look."""
    status = status_of(invalid_field("text", "must not be empty"))
    (bad_request,) = details(status, error_details_pb2.BadRequest)
    assert [(each.field, each.description) for each in bad_request.field_violations] == [  # type: ignore[attr-defined]
        ("text", "must not be empty")
    ]
    assert status.message == "text: must not be empty"
    assert details(status_of(channel_not_found()), error_details_pb2.BadRequest) == []


def test_a_used_up_quota_is_named() -> None:
    """The four limits that a caller can reach."""
    with_quota = {
        reason
        for reason in Reason
        if details(status_of(Refusal(reason, "x")), error_details_pb2.QuotaFailure)
    }
    assert with_quota == {
        Reason.RATE_LIMITED,
        Reason.TOO_MANY_IN_FLIGHT,
        Reason.CHANNEL_FULL,
        Reason.REQUEST_TOO_LARGE,
    }


def test_a_long_message_is_cut() -> None:
    """It is a header: a longer one would break the call that it explains."""
    status = status_of(Refusal(Reason.INVALID_FIELD, "한" * 5000))
    assert len(status.message) == MESSAGE_LIMIT_CHARACTERS


@pytest.mark.parametrize("reason", Reason)
def test_what_a_call_is_aborted_with(reason: Reason) -> None:
    """Code and message twice, as gRPC wants it, and they agree."""
    code, message, trailers = abort_arguments(Refusal(reason, "Do something."))
    ((key, encoded),) = trailers
    status = status_pb2.Status.FromString(encoded)
    assert (key, code.value[0], message) == (DETAILS_KEY, status.code, status.message)


def test_strangers_get_equal_answers() -> None:
    """To the byte."""
    one, other = status_of(channel_not_found()), status_of(channel_not_found())
    assert one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


def test_a_refusal_reads_as_its_reason() -> None:
    """In logs and tracebacks; and it can be caught, compared, and put in a set."""
    refusal = Refusal(Reason.CHANNEL_FULL, "Remove some.")
    assert str(refusal) == "CHANNEL_FULL: Remove some."
    assert refusal == Refusal(Reason.CHANNEL_FULL, "Remove some.")
    assert len({refusal}) == 1
