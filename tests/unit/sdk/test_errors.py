"""Typed errors: the catalogue, the advice, and reading them off the wire."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

import parley
from parley._advice import advise
from parley._reasons import CLASSES, class_name
from parley._status import error_of_status
from parley.error.v1 import error_reason_pb2

if TYPE_CHECKING:
    from tests.unit.sdk.conftest import Context, FakeNode

REASONS = [
    name.removeprefix("ERROR_REASON_")
    for name, number in error_reason_pb2.ErrorReason.items()
    if number != error_reason_pb2.ERROR_REASON_UNSPECIFIED
]
_CATALOGUE = Path(__file__).resolve().parents[3] / "proto/parley/error/v1/error_reason.proto"
CODE_OF = {
    reason: grpc.StatusCode[code]
    for code, reason in re.findall(r"// ([A-Z_]+): [^\n]*\n  ERROR_REASON_(\w+) =", _CATALOGUE.read_text())
}


def test_every_reason_has_its_class_and_every_class_its_reason() -> None:
    """A reason cannot be forgotten. Planted: RateLimited renamed; a class for no reason added."""
    assert {class_name(reason) for reason in REASONS} == set(CLASSES)
    for reason in REASONS:
        kind = getattr(parley, class_name(reason))
        assert kind is CLASSES[class_name(reason)]
        assert issubclass(kind, parley.ParleyError)
        assert (kind.__doc__ or "").startswith(CODE_OF[reason].name + ":")


@pytest.mark.parametrize("reason", REASONS)
def test_a_status_becomes_the_error_named_after_its_reason(reason: str) -> None:
    """Code, reason, message and class agree. Planted: the class looked up by code."""
    status = status_pb2.Status(code=CODE_OF[reason].value[0], message="why")
    _pack(status, reason, "parley")
    error = error_of_status(status)
    assert type(error).__name__ == class_name(reason)
    assert (error.code, error.reason, error.message) == (CODE_OF[reason], reason, "why")
    assert error.metadata == {"k": "v"}
    assert str(error) == f"{reason}: why"


def _pack(status: status_pb2.Status, reason: str, domain: str) -> None:
    packed = any_pb2.Any()
    packed.Pack(error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata={"k": "v"}))
    status.details.append(packed)


def test_a_reason_of_another_domain_or_of_the_future_is_no_class_of_ours() -> None:
    """Planted: the domain ignored; KeyError for a reason that is not known."""
    foreign = status_pb2.Status(code=14, message="m")
    _pack(foreign, "RATE_LIMITED", "example.com")
    assert type(error_of_status(foreign)) is parley.Unreachable
    future = status_pb2.Status(code=9, message="m")
    _pack(future, "CHANNEL_FROZEN", "parley")
    error = error_of_status(future)
    assert type(error) is parley.ParleyError
    assert error.reason == "CHANNEL_FROZEN"
    assert error.advice is parley.Advice.GIVE_UP


@given(
    st.integers(-5, 40),
    st.lists(
        st.tuples(st.sampled_from(["ErrorInfo", "RetryInfo", "BadRequest", "Help"]), st.binary(max_size=40))
    ),
)
def test_details_that_cannot_be_read_never_hide_the_failure(
    code: int, details: list[tuple[str, bytes]]
) -> None:
    """Whatever stands in the details, an error comes of it. Planted: DecodeError let through."""
    status = status_pb2.Status(code=code, message="m")
    for name, value in details:
        status.details.append(any_pb2.Any(type_url=f"x/google.rpc.{name}", value=value))
    error = error_of_status(status)
    assert error.message == "m"
    assert error.advice in parley.Advice


ADVICE = {
    parley.Advice.RETRY: {"STORE_UNAVAILABLE", "NODE_STOPPING"},
    parley.Advice.LATER: {"RATE_LIMITED", "TOO_MANY_IN_FLIGHT", "CHANNEL_BUSY", "SERVER_BUSY", "SLOW_MODE"},
    parley.Advice.REAUTHENTICATE: {
        "TOKEN_MISSING",
        "TOKEN_INVALID",
        "TOKEN_EXPIRED",
        "DEVICE_REVOKED",
        "REFRESH_TOKEN_INVALID",
        "REFRESH_TOKEN_REUSED",
    },
    parley.Advice.RESYNC: {"SESSION_NOT_FOUND", "SLOW_READER", "LEASE_EXPIRED"},
}


@pytest.mark.parametrize("reason", REASONS)
def test_the_advice_for_every_reason(reason: str) -> None:
    """Written twice on purpose. Planted: BAD_CREDENTIALS judged by its code, which would loop."""
    expected = next((each for each, reasons in ADVICE.items() if reason in reasons), parley.Advice.GIVE_UP)
    assert advise(CODE_OF[reason], reason) is expected


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_the_advice_without_a_reason(code: grpc.StatusCode) -> None:
    """Proxies and gRPC itself give codes only. Planted: a message that is too large retried for ever."""
    again = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "CANCELLED", "INTERNAL", "UNKNOWN"}
    expected = parley.Advice.RETRY if code.name in again else parley.Advice.GIVE_UP
    if code is grpc.StatusCode.UNAUTHENTICATED:
        expected = parley.Advice.REAUTHENTICATE
    assert advise(code, "") is expected


async def test_all_of_a_refusal_comes_over_the_wire(node: FakeNode) -> None:
    """Violations and the wait arrive with the class. Planted: trailing metadata read under a text key."""

    status = node.status(
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_FIELD",
        "text: must not be empty",
        retry_after_seconds=1.5,
        violations=(("text", "must not be empty"),),
    )

    async def refuse_it(request: object, context: Context) -> None:
        trailers = (("grpc-status-details-bin", status.SerializeToString()),)
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "text", trailing_metadata=trailers)

    node.unary["GetChannel"] = refuse_it
    async with parley.connect(node.target, token="t") as client:
        with pytest.raises(parley.InvalidField) as caught:
            await client.channel("c").info()
    assert caught.value.violations == (parley.Violation("text", "must not be empty"),)
    assert caught.value.retry_after_seconds == 1.5
    assert caught.value.message == "text: must not be empty"
