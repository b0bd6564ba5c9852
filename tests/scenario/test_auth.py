"""Accounts on a real node: what a restart keeps, what ends a stream, what strangers can check."""

from __future__ import annotations

import asyncio
import base64
import stat
import uuid
from typing import TYPE_CHECKING

import grpc
import jwt
import pytest
import pytest_asyncio

from parley.admin.v1 import admin_service_pb2 as admin
from parley.auth.v1 import auth_service_pb2 as auth
from parley.user.v1 import user_service_pb2 as users
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_server.testing.raw_client import PASSWORD, Person, RawClient, bearer, outcome_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

STREAM_ENDS_SECONDS = 1.0
"""The promise: a revocation ends the device's streams on the node within this time."""


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeProcess]:
    """A node with default limits and no rate limits."""
    node = NodeProcess(tmp_path_factory.mktemp("auth") / "node", plants=(CHEAP_PASSWORDS,))
    await node.start()
    yield node
    await node.close()
    assert "Traceback" not in node.stderr


@pytest_asyncio.fixture(loop_scope="module")
async def client(node: NodeProcess) -> AsyncIterator[RawClient]:
    """A connection to it, a new one for each test: some restart the node."""
    async with RawClient(node.address) as client:
        yield client


def whoami(client: RawClient, person: Person) -> Awaitable[users.GetUserResponse]:
    return client.users.GetUser(users.GetUserRequest(user_id="me"), metadata=person.metadata)  # type: ignore[no-any-return]


def refresh(client: RawClient, refresh_token: str) -> Awaitable[auth.RefreshResponse]:
    return client.auth.Refresh(auth.RefreshRequest(refresh_token=refresh_token))  # type: ignore[no-any-return]


def suspend(client: RawClient, node: NodeProcess, user_id: str, *, lift: bool = False) -> Awaitable[object]:
    request = admin.SuspendUserRequest(user_id=user_id, lift=lift)
    return client.admin.SuspendUser(request, metadata=bearer(node.operator_token))  # type: ignore[no-any-return]


async def test_a_kill_forgets_no_account_and_no_revocation(node: NodeProcess) -> None:
    """Planted: `Authenticator.load` left out at start; found by the revoked device's running access token."""
    async with RawClient(node.address) as client:
        alice, bob, carol = [await client.sign_up() for _ in range(3)]
        laptop = await client.log_in(alice.username)
        await client.auth.RevokeDevice(
            auth.RevokeDeviceRequest(device_id=laptop.device_id), metadata=alice.metadata
        )
        await suspend(client, node, bob.user_id)
        renewed = await refresh(client, carol.refresh_token)
    await node.kill()
    await node.start()
    async with RawClient(node.address) as client:
        assert (await whoami(client, alice)).user.username == alice.username
        assert (await outcome_of(whoami(client, laptop))).brief == ("UNAUTHENTICATED", "DEVICE_REVOKED")
        assert (await outcome_of(whoami(client, bob))).brief == ("UNAUTHENTICATED", "ACCOUNT_SUSPENDED")
        again = await refresh(client, carol.refresh_token)
        assert again.tokens.refresh_token == renewed.tokens.refresh_token
        await suspend(client, node, bob.user_id, lift=True)
        assert (await whoami(client, bob)).user.user_id == bob.user_id
        answer = await client.auth.ListDevices(auth.ListDevicesRequest(), metadata=alice.metadata)
        assert [(device.device_id, device.current) for device in answer.devices] == [(alice.device_id, True)]


async def _log_out(client: RawClient, _node: NodeProcess, person: Person) -> None:
    await client.auth.LogOut(auth.LogOutRequest(), metadata=person.metadata)


async def _revoke_from_elsewhere(client: RawClient, _node: NodeProcess, person: Person) -> None:
    other = await client.log_in(person.username)
    request = auth.RevokeDeviceRequest(device_id=person.device_id)
    await client.auth.RevokeDevice(request, metadata=other.metadata)


async def _suspend(client: RawClient, node: NodeProcess, person: Person) -> None:
    await suspend(client, node, person.user_id)


async def _make_room(client: RawClient, _node: NodeProcess, person: Person) -> None:
    for _ in range(20):
        await client.log_in(person.username)


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (_log_out, "DEVICE_REVOKED"),
        (_revoke_from_elsewhere, "DEVICE_REVOKED"),
        (_make_room, "DEVICE_REVOKED"),
        (_suspend, "ACCOUNT_SUSPENDED"),
    ],
)
async def test_a_revocation_ends_the_devices_streams(
    client: RawClient,
    node: NodeProcess,
    end: Callable[[RawClient, NodeProcess, Person], Awaitable[None]],
    reason: str,
) -> None:
    """Planted: `authenticator.subscribe` left out in the node; found by the stream that goes on."""
    alice, bystander = await client.sign_up(), await client.sign_up()
    streams = [await client.connect(alice), await client.subscribe(alice)]
    other = await client.connect(bystander)
    await end(client, node, alice)
    for stream in streams:
        assert (await stream.end(STREAM_ENDS_SECONDS)).brief == ("UNAUTHENTICATED", reason)
    await other.barrier()
    other.cancel()
    assert (await outcome_of(whoami(client, alice))).brief == ("UNAUTHENTICATED", reason)


async def test_a_stolen_refresh_token_ends_the_device(tmp_path: Path) -> None:
    """With a grace of one second. Planted: the former token answered as unknown; found by the stream that
    goes on.
    """
    short = NodeProcess(tmp_path / "short", {"auth.refresh_grace_seconds": 1}, plants=(CHEAP_PASSWORDS,))
    await short.start()
    try:
        async with RawClient(short.address) as client:
            alice = await client.sign_up()
            stream = await client.connect(alice)
            renewed = await refresh(client, alice.refresh_token)
            deadline = asyncio.get_running_loop().time() + 30
            while (
                outcome := await outcome_of(refresh(client, alice.refresh_token))
            ).code is grpc.StatusCode.OK:
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.1)
            assert outcome.brief == ("UNAUTHENTICATED", "REFRESH_TOKEN_REUSED")
            ended = await stream.end(STREAM_ENDS_SECONDS)
            assert ended.brief == ("UNAUTHENTICATED", "DEVICE_REVOKED")
            outcome = await outcome_of(refresh(client, renewed.tokens.refresh_token))
            assert outcome.brief == ("UNAUTHENTICATED", "DEVICE_REVOKED")
            assert (await client.log_in(alice.username)).device_id != alice.device_id
    finally:
        await short.close()


async def test_strangers_can_verify_access_tokens(client: RawClient) -> None:
    alice = await client.sign_up()
    keys = jwt.PyJWKSet.from_json((await client.auth.GetJwks(auth.GetJwksRequest())).jwks_json)
    key = keys[jwt.get_unverified_header(alice.access_token)["kid"]]
    claims = jwt.decode(alice.access_token, key, algorithms=["EdDSA"], audience="parley", issuer="parley")
    assert (claims["sub"], claims["did"], claims["op"]) == (alice.user_id, alice.device_id, False)
    assert claims["exp"] - claims["iat"] == 15 * 60


async def test_devices_are_listed_in_pages_newest_first(client: RawClient) -> None:
    """Planted: the page token of the row after the page; found by a device left out."""
    alice = await client.sign_up()
    made = [alice.device_id, *[(await client.log_in(alice.username)).device_id for _ in range(4)]]
    listed: list[auth.ListDevicesResponse] = []
    token = ""
    while not listed or token:
        request = auth.ListDevicesRequest(page_size=2, page_token=token)
        listed.append(await client.auth.ListDevices(request, metadata=alice.metadata))
        token = listed[-1].next_page_token
    devices = [device for page in listed for device in page.devices]
    assert [len(page.devices) for page in listed] == [2, 2, 1]
    assert sorted(device.device_id for device in devices) == sorted(made)
    times = [device.create_time.ToMilliseconds() for device in devices]
    assert times == sorted(times, reverse=True)
    assert [device.device_id for device in devices if device.current] == [alice.device_id]


async def test_a_busy_password_pool_says_when_to_come_back(tmp_path: Path) -> None:
    """Planted: no bound on those that wait; found by everybody getting in."""
    node = NodeProcess(tmp_path / "busy", {"auth.password_workers": 1, "auth.password_queue": 1})
    await node.start()
    try:
        async with RawClient(node.address) as client:
            alice = await client.sign_up()
            requests = [
                auth.LogInRequest(username=alice.username, password=PASSWORD, request_id=str(uuid.uuid4()))
                for _ in range(12)
            ]
            outcomes = await asyncio.gather(*(outcome_of(client.auth.LogIn(request)) for request in requests))
    finally:
        await node.close()
    assert {outcome.brief for outcome in outcomes} == {("OK", ""), ("RESOURCE_EXHAUSTED", "SERVER_BUSY")}


def _mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _everything_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_secrets_are_neither_logged_nor_stored(client: RawClient, node: NodeProcess) -> None:
    """Planted: the refresh token put into the state as it is; found in the data folder."""
    alice = await client.sign_up()
    request = auth.LogInRequest(
        username=alice.username, password="wrong" + PASSWORD, request_id=str(uuid.uuid4())
    )
    assert (await outcome_of(client.auth.LogIn(request))).brief == ("UNAUTHENTICATED", "BAD_CREDENTIALS")
    renewed = (await refresh(client, alice.refresh_token)).tokens
    operator_token = node.operator_token
    await node.stop()
    stored = _everything_below(node.data).replace(operator_token.encode(), b"")
    logged = node.stderr
    modes = {name: _mode_of(node.data / name) for name in ("keys.json", "operator.token", "accounts.db")}
    await node.start()
    assert set(modes.values()) == {0o600}, modes
    assert operator_token not in logged
    # The last part is what makes a token secret: the signature of one, the secret of the other.
    for token in (alice.access_token, alice.refresh_token, renewed.access_token, renewed.refresh_token):
        secret = token.rpartition(".")[2]
        assert len(secret) > 40
        assert secret not in logged
        assert secret.encode() not in stored
        assert base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4)) not in stored
    assert PASSWORD not in logged
    assert PASSWORD.encode() not in stored
