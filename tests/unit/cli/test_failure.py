"""What a person is told when a call fails, and the exit code that a script sees."""

from __future__ import annotations

import grpc
import pytest

import parley
from parley_cli.exit_codes import ExitCode
from parley_cli.failure import CommandFailure, failure_of

_SERVER = "chat.example:50051"


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND", ExitCode.REFUSED),
        (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ExitCode.REFUSED),
        (grpc.StatusCode.UNAUTHENTICATED, "BAD_CREDENTIALS", ExitCode.REFUSED),
        (grpc.StatusCode.UNAUTHENTICATED, "ACCOUNT_SUSPENDED", ExitCode.REFUSED),
        (grpc.StatusCode.UNAUTHENTICATED, "DEVICE_REVOKED", ExitCode.NOT_LOGGED_IN),
        (grpc.StatusCode.UNAUTHENTICATED, "REFRESH_TOKEN_INVALID", ExitCode.NOT_LOGGED_IN),
        (grpc.StatusCode.UNAUTHENTICATED, "SOMETHING_NEWER", ExitCode.NOT_LOGGED_IN),
        (grpc.StatusCode.UNAVAILABLE, "", ExitCode.UNREACHABLE),
        (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", ExitCode.UNREACHABLE),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", ExitCode.UNREACHABLE),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED", ExitCode.REFUSED),
        (grpc.StatusCode.INTERNAL, "INTERNAL", ExitCode.REFUSED),
    ],
)
def test_every_error_has_its_exit_code(code: grpc.StatusCode, reason: str, expected: ExitCode) -> None:
    error = parley.ParleyError("The words of the server.", code=code, reason=reason)
    failure = failure_of(error, _SERVER)
    assert failure.exit_code == expected
    assert failure.line().startswith("parley: ")


def test_a_limit_says_when_to_try_again() -> None:
    error = parley.ParleyError(
        "Too many calls.",
        code=grpc.StatusCode.RESOURCE_EXHAUSTED,
        reason="RATE_LIMITED",
        retry_after_seconds=6.2,
    )
    assert failure_of(error, _SERVER).line() == "parley: Too many calls. Try again in 6 seconds."


def test_a_server_that_is_not_there_is_named() -> None:
    error = parley.ParleyError(
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Connection refused",
        code=grpc.StatusCode.UNAVAILABLE,
    )
    line = failure_of(error, _SERVER).line()
    assert line.startswith(f"parley: cannot reach {_SERVER} (ipv4:127.0.0.1:1: Connection refused). ")
    assert "parley up" in line


_TLS_FAILED = (
    "Tls handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:10:SSL routines:OPENSSL_internal:"
)


@pytest.mark.parametrize(
    ("cause", "said", "advised"),
    [
        (
            f"UNKNOWN: ipv4:127.0.0.1:1: {_TLS_FAILED}CERTIFICATE_VERIFY_FAILED: self signed certificate: OK",
            "is not trusted here (self signed certificate)",
            "--tls-ca FILE",
        ),
        (
            f"UNKNOWN: ipv4:127.0.0.1:1: {_TLS_FAILED}WRONG_VERSION_NUMBER: Invalid context: OK",
            "does not speak TLS",
            "Leave --tls",
        ),
        (
            "UNKNOWN: ipv4:127.0.0.1:1: Custom verification check failed with error: UNAUTHENTICATED: "
            "Hostname Verification Check failed",
            "is for another name",
            "--server NAME:PORT",
        ),
        (
            "UNAVAILABLE: ipv4:127.0.0.1:1: Handshake read failed (Socket closed)",
            "cannot agree on TLS",
            "leave --tls",
        ),
        ("UNAVAILABLE: ipv4:127.0.0.1:1: Socket closed", "cannot talk to", "add --tls, or --tls-ca FILE"),
    ],
)
def test_a_server_that_is_there_is_not_told_to_be_started(cause: str, said: str, advised: str) -> None:
    """The causes are grpc's own words. Planted: each of the five taken for a server that is not there."""
    error = parley.ParleyError(
        f"failed to connect to all addresses; last error: {cause}", code=grpc.StatusCode.UNAVAILABLE
    )
    failure = failure_of(error, _SERVER)
    assert failure.exit_code == ExitCode.UNREACHABLE
    assert said in failure.what and _SERVER in failure.what
    assert advised in failure.advice and "parley up" not in failure.advice


def test_nobody_is_told_to_use_tls_on_a_unix_socket() -> None:
    """It is refused there. Planted: the advice for every connection that was cut off."""
    error = parley.ParleyError("UNAVAILABLE: unix:/x: Socket closed", code=grpc.StatusCode.UNAVAILABLE)
    assert "--tls" not in failure_of(error, "unix:/x").line()


def test_sentences_end_once() -> None:
    assert CommandFailure(ExitCode.REFUSED, "no", "do\n that.").line() == "parley: no. do that."
    assert CommandFailure(ExitCode.REFUSED, "no!").line() == "parley: no!"
