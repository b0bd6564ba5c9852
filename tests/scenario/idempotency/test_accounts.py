"""Accounts and devices that are asked for again."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from parley.admin.v1 import admin_service_pb2 as admin
from parley.auth.v1 import auth_service_pb2 as auth
from parley_server.testing.raw_client import PASSWORD, bearer, outcome_of

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from parley_server.testing.node_process import NodeProcess
    from parley_server.testing.raw_client import RawClient

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_sign_up_and_log_in_repeated_are_one_account_and_one_device(client: RawClient) -> None:
    """A repeated SignUp or LogIn yields the same user and device, at once and later, with tokens that work.

    Planted once: with a random device id per log-in there were ten devices.
    """
    request = auth.SignUpRequest(
        username=f"twice{uuid.uuid4().hex[:8]}", password=PASSWORD, request_id=str(uuid.uuid4())
    )
    made = await asyncio.gather(*(_answer(client.auth.SignUp(request)) for _ in range(5)))
    made.append(await client.auth.SignUp(request))
    assert len({(answer.user.user_id, answer.device_id) for answer in made}) == 1
    for answer in made:
        metadata = bearer(answer.tokens.access_token)
        listed = await client.auth.ListDevices(auth.ListDevicesRequest(), metadata=metadata)
        assert len(listed.devices) == 1

    log_in = auth.LogInRequest(username=request.username, password=PASSWORD, request_id=str(uuid.uuid4()))
    logged = await asyncio.gather(*(_answer(client.auth.LogIn(log_in)) for _ in range(5)))
    assert len({answer.device_id for answer in logged}) == 1
    for answer in logged:
        access = bearer(answer.tokens.access_token)
        await client.auth.ListDevices(auth.ListDevicesRequest(), metadata=access)
    # The reply that the client took up renews; a renewal repeated for a lost reply answers the same.
    logged.append(await client.auth.LogIn(log_in))
    renewal = auth.RefreshRequest(refresh_token=logged[-1].tokens.refresh_token)
    renewed = [await client.auth.Refresh(renewal) for _ in range(2)]
    assert renewed[0].tokens.refresh_token == renewed[1].tokens.refresh_token
    listed = await client.auth.ListDevices(auth.ListDevicesRequest(), metadata=metadata)
    assert len(listed.devices) == 2

    revoke = auth.RevokeDeviceRequest(device_id=logged[0].device_id)
    await client.auth.RevokeDevice(revoke, metadata=metadata)
    outcome = await outcome_of(client.auth.LogIn(log_in))
    assert outcome.brief == ("UNAUTHENTICATED", "DEVICE_REVOKED")


async def test_a_request_id_opens_one_account_only(client: RawClient, standing_node: NodeProcess) -> None:
    """Another name under a used request id, a used name under another one, a wrong password: each refused."""
    name = f"owner{uuid.uuid4().hex[:8]}"
    request = auth.SignUpRequest(username=name, password=PASSWORD, request_id=str(uuid.uuid4()))
    await client.auth.SignUp(request)
    for changed, brief in (
        ({"username": name + "x"}, ("ALREADY_EXISTS", "CLIENT_ID_REUSED")),
        ({"password": "not the same one"}, ("ALREADY_EXISTS", "USERNAME_TAKEN")),
        ({"request_id": str(uuid.uuid4())}, ("ALREADY_EXISTS", "USERNAME_TAKEN")),
        ({"request_id": "", "username": name + "y"}, ("INVALID_ARGUMENT", "INVALID_FIELD")),
        ({"request_id": str(uuid.uuid4()).upper()}, ("INVALID_ARGUMENT", "INVALID_FIELD")),
    ):
        other = auth.SignUpRequest(username=name, password=PASSWORD, request_id=request.request_id)
        other.MergeFrom(auth.SignUpRequest(**changed))
        if changed.get("request_id") == "":
            other.ClearField("request_id")
        assert (await outcome_of(client.auth.SignUp(other))).brief == brief, changed

    token = bearer(standing_node.operator_token)
    create = admin.CreateUserRequest(username=name + "z", password=PASSWORD, request_id=str(uuid.uuid4()))
    made = await asyncio.gather(*(_answer(client.admin.CreateUser(create, metadata=token)) for _ in range(5)))
    assert len({answer.user.user_id for answer in made}) == 1
    create.operator = True
    outcome = await outcome_of(client.admin.CreateUser(create, metadata=token))
    assert outcome.brief == ("ALREADY_EXISTS", "CLIENT_ID_REUSED")


async def _answer(call: Awaitable[Any]) -> Any:
    return await call
