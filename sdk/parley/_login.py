"""Signing up and logging in: the calls that need no token and yield one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley._link import call_once
from parley._patience import Patience, persist
from parley._tokens import Tokens, tokens_of_login
from parley._transport import Tls, open_grpc_channel
from parley._uuid7 import new_id
from parley.auth.v1 import auth_service_pb2, auth_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from grpc.aio import UnaryUnaryMultiCallable

    from parley._link import Request, Response

_PATIENCE = Patience(total_seconds=30.0, attempts_limit=5)


async def sign_up(
    target: str,
    username: str,
    password: str,
    *,
    display_name: str = "",
    device_name: str = "",
    tls: Tls | None = None,
) -> Tokens:
    """Open an account at `target` ("host:port", or "unix:/path" without `tls`) and log this device in.

    Passing failures are retried for at most 30 s, with one request id, so that one account comes of it.
    Raises `UsernameTaken`, `SignUpClosed`, `InvalidField`, `RateLimited`, `Unreachable`.
    """
    request = auth_service_pb2.SignUpRequest(
        username=username,
        password=password,
        display_name=display_name,
        device_name=device_name,
        request_id=new_id(),
    )
    response = await _ask(target, tls, lambda stub: stub.SignUp, request)
    return tokens_of_login(response)


async def log_in(
    target: str, username: str, password: str, *, device_name: str = "", tls: Tls | None = None
) -> Tokens:
    """Log this device in at `target` ("host:port", or "unix:/path" without `tls`).

    Passing failures are retried for at most 30 s, with one request id, so that one device comes of it.
    Raises `BadCredentials`, `AccountSuspended`, `RateLimited`, `Unreachable`.
    """
    request = auth_service_pb2.LogInRequest(
        username=username, password=password, device_name=device_name, request_id=new_id()
    )
    response = await _ask(target, tls, lambda stub: stub.LogIn, request)
    return tokens_of_login(response)


async def _ask(
    target: str,
    tls: Tls | None,
    method_of: Callable[
        [auth_service_pb2_grpc.AuthServiceAsyncStub], UnaryUnaryMultiCallable[Request, Response]
    ],
    request: Request,
) -> Response:
    async with open_grpc_channel(target, tls) as channel:
        method = method_of(auth_service_pb2_grpc.AuthServiceStub(channel))
        return await persist(_PATIENCE, lambda seconds: call_once(method, request, seconds))
