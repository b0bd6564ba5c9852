"""New passwords and the end of an account, on a real node: what ends, what stays, what a kill keeps."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from parley.admin.v1 import admin_service_pb2 as admin
from parley.auth.v1 import auth_service_pb2 as auth
from parley.user.v1 import user_service_pb2 as users
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_server.testing.raw_client import (
    PASSWORD,
    Outcome,
    Person,
    RawClient,
    bearer,
    eventually,
    outcome_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.asyncio(loop_scope="module")

STREAM_ENDS_SECONDS = 1.0
NEW_PASSWORD = "battery staple horse"
REVOKED = ("UNAUTHENTICATED", "DEVICE_REVOKED")
BAD_CREDENTIALS = ("UNAUTHENTICATED", "BAD_CREDENTIALS")
WRONG_PASSWORD = ("FAILED_PRECONDITION", "WRONG_PASSWORD")
OK = ("OK", "")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeProcess]:
    """A node with default limits and no rate limits."""
    node = NodeProcess(tmp_path_factory.mktemp("changes") / "node", plants=(CHEAP_PASSWORDS,))
    await node.start()
    yield node
    await node.close()
    assert "Traceback" not in node.stderr


@pytest_asyncio.fixture(loop_scope="module")
async def client(node: NodeProcess) -> AsyncIterator[RawClient]:
    """A connection to it, a new one for each test: some restart the node."""
    async with RawClient(node.address) as client:
        yield client


async def whoami(client: RawClient, person: Person) -> Outcome:
    request = users.GetUserRequest(user_id="me")
    return await outcome_of(client.users.GetUser(request, metadata=person.metadata))


async def log_in(client: RawClient, username: str, password: str) -> Outcome:
    request = auth.LogInRequest(username=username, password=password, request_id=str(uuid.uuid4()))
    return await outcome_of(client.auth.LogIn(request))


async def change(
    client: RawClient, person: Person, old: str = PASSWORD, *, keep_other_devices: bool = False
) -> Outcome:
    request = auth.ChangePasswordRequest(
        old_password=old, new_password=NEW_PASSWORD, keep_other_devices=keep_other_devices
    )
    return await outcome_of(client.auth.ChangePassword(request, metadata=person.metadata))


async def delete(client: RawClient, person: Person, password: str = PASSWORD) -> Outcome:
    request = users.DeleteAccountRequest(password=password)
    return await outcome_of(client.users.DeleteAccount(request, metadata=person.metadata))


@pytest.mark.parametrize("keep", [False, True])
async def test_a_new_password_outlives_a_kill_and_ends_the_other_streams(
    node: NodeProcess, client: RawClient, keep: bool
) -> None:
    """Planted: the other devices revoked in the store only; found by the stream that goes on."""
    phone = await client.sign_up()
    laptop = await client.log_in(phone.username)
    mine, other = await client.connect(phone), await client.connect(laptop)
    assert (await change(client, phone, "wrong horse")).brief == WRONG_PASSWORD
    await other.barrier()
    assert (await change(client, phone, keep_other_devices=keep)).brief == OK
    assert (await change(client, phone, keep_other_devices=keep)).brief == OK
    if keep:
        await other.barrier()
        other.cancel()
    else:
        assert (await other.end(STREAM_ENDS_SECONDS)).brief == REVOKED
    await mine.barrier()
    mine.cancel()
    await node.kill()
    await node.start()
    async with RawClient(node.address) as again:
        assert (await whoami(again, phone)).brief == OK
        assert (await whoami(again, laptop)).brief == (OK if keep else REVOKED)
        assert (await log_in(again, phone.username, PASSWORD)).brief == BAD_CREDENTIALS
        assert (await log_in(again, phone.username, NEW_PASSWORD)).brief == OK


async def test_a_kill_in_the_middle_leaves_the_old_password_or_the_new_one(tmp_path: Path) -> None:
    """Never none, and never a new password with the old devices. The kill falls anywhere. Planted: the hash
    and the devices in two transactions with a pause between; found by the laptop.
    """
    node = NodeProcess(tmp_path / "node", plants=(CHEAP_PASSWORDS,))
    await node.start()
    try:
        for delay_seconds in (0.0, 0.001, 0.003, 0.006, 0.01, 0.02):
            async with RawClient(node.address) as client:
                phone = await client.sign_up()
                laptop = await client.log_in(phone.username)
                changing = asyncio.create_task(change(client, phone))
                # The moment of the kill is what varies here, nothing waits for it.
                await asyncio.sleep(delay_seconds)
                await node.kill()
                outcome = await changing
            await node.start()
            async with RawClient(node.address) as client:
                old = (await log_in(client, phone.username, PASSWORD)).brief == OK
                new = (await log_in(client, phone.username, NEW_PASSWORD)).brief == OK
                assert old is not new
                assert outcome.brief != OK or new
                assert (await whoami(client, phone)).brief == OK
                assert (await whoami(client, laptop)).brief == (REVOKED if new else OK)
    finally:
        await node.close()


async def test_an_operator_resets_a_password(node: NodeProcess, client: RawClient) -> None:
    """Planted: open to everybody; the access table finds that."""
    alice = await client.sign_up()
    stream = await client.connect(alice)
    request = admin.ResetPasswordRequest(user_id=alice.user_id, new_password=NEW_PASSWORD)
    await client.admin.ResetPassword(request, metadata=bearer(node.operator_token))
    assert (await stream.end(STREAM_ENDS_SECONDS)).brief == REVOKED
    assert (await log_in(client, alice.username, PASSWORD)).brief == BAD_CREDENTIALS
    assert (await log_in(client, alice.username, NEW_PASSWORD)).brief == OK
    for user_id, password, brief in (
        ("u" + "0" * 32, NEW_PASSWORD, ("NOT_FOUND", "USER_NOT_FOUND")),
        (alice.user_id, "short", ("INVALID_ARGUMENT", "INVALID_FIELD")),
    ):
        request = admin.ResetPasswordRequest(user_id=user_id, new_password=password)
        reset = client.admin.ResetPassword(request, metadata=bearer(node.operator_token))
        assert (await outcome_of(reset)).brief == brief


async def test_a_deleted_account_is_gone_for_everybody_and_after_a_kill(
    node: NodeProcess, client: RawClient
) -> None:
    """Old tokens, open streams, log-in, profiles, search, direct channels, contacts. Planted: the node
    told neither of the devices nor of the user; a read by id without the mark.
    """
    bob, carol = await client.sign_up(), await client.sign_up()
    tablet = await client.log_in(bob.username)
    await client.users.AddContact(users.AddContactRequest(user_id=bob.user_id), metadata=carol.metadata)
    streams = [await client.connect(bob), await client.subscribe(tablet)]
    assert (await delete(client, bob, "wrong horse")).brief == WRONG_PASSWORD
    await streams[0].barrier()
    assert (await delete(client, bob)).brief == OK
    for stream in streams:
        assert (await stream.end(STREAM_ENDS_SECONDS)).brief == REVOKED
    assert (await delete(client, bob)).brief == REVOKED

    async def gone(client: RawClient) -> None:
        assert (await whoami(client, bob)).brief == REVOKED
        assert (await whoami(client, tablet)).brief == REVOKED
        assert (await log_in(client, bob.username, PASSWORD)).brief == BAD_CREDENTIALS
        refresh = client.auth.Refresh(auth.RefreshRequest(refresh_token=bob.refresh_token))
        assert (await outcome_of(refresh)).code.name == "UNAUTHENTICATED"
        for request in (
            users.GetUserRequest(user_id=bob.user_id),
            users.GetUserRequest(username=bob.username),
        ):
            outcome = await outcome_of(client.users.GetUser(request, metadata=carol.metadata))
            assert outcome.brief == ("NOT_FOUND", "USER_NOT_FOUND")
        batch = users.BatchGetUsersRequest(user_ids=[bob.user_id, carol.user_id])
        found = await client.users.BatchGetUsers(batch, metadata=carol.metadata)
        assert [user.user_id for user in found.users] == [carol.user_id]
        search = users.SearchUsersRequest(query=bob.username)
        assert not (await client.users.SearchUsers(search, metadata=carol.metadata)).users
        listing = users.ListContactsRequest()
        assert not (await client.users.ListContacts(listing, metadata=carol.metadata)).contacts
        for call in (
            client.users.AddContact(users.AddContactRequest(user_id=bob.user_id), metadata=carol.metadata),
            client.users.BlockUser(users.BlockUserRequest(user_id=bob.user_id), metadata=carol.metadata),
        ):
            assert (await outcome_of(call)).brief == ("NOT_FOUND", "USER_NOT_FOUND")

    await gone(client)
    await node.kill()
    await node.start()
    async with RawClient(node.address) as again:
        await gone(again)

        async def name_is_free() -> bool:
            request = auth.SignUpRequest(
                username=bob.username, password=NEW_PASSWORD, request_id=str(uuid.uuid4())
            )
            return (await outcome_of(again.auth.SignUp(request))).brief == OK

        await eventually(name_is_free)
        # The new owner of the name is somebody else.
        request = users.GetUserRequest(username=bob.username)
        named = await again.users.GetUser(request, metadata=carol.metadata)
        assert named.user.user_id != bob.user_id


async def test_the_operator_of_the_data_folder_stays(node: NodeProcess, client: RawClient) -> None:
    """Planted: this account taken for any other operator's; found by the reason."""
    request = admin.CreateUserRequest(
        username=f"op{uuid.uuid4().hex[:8]}", password=PASSWORD, operator=True, request_id=str(uuid.uuid4())
    )
    made = await client.admin.CreateUser(request, metadata=bearer(node.operator_token))
    call = client.users.DeleteAccount(
        users.DeleteAccountRequest(password=PASSWORD), metadata=bearer(node.operator_token)
    )
    assert (await outcome_of(call)).brief == ("FAILED_PRECONDITION", "LAST_OPERATOR")
    second = await client.log_in(made.user.username)
    assert (await delete(client, second)).brief == OK


async def test_guessing_passwords_is_as_slow_as_logging_in(tmp_path: Path) -> None:
    """By ChangePassword and DeleteAccount together. Planted: the methods left to the common rate."""
    settings = {"rates.log_in": {"per_minute": 1, "burst": 3}}
    node = NodeProcess(tmp_path / "node", settings, (CHEAP_PASSWORDS,))
    await node.start()
    try:
        async with RawClient(node.address) as client:
            alice, bob = await client.sign_up(), await client.sign_up()
            assert (await change(client, alice, "wrong horse")).brief == WRONG_PASSWORD
            assert (await delete(client, alice, "wrong horse")).brief == WRONG_PASSWORD
            assert (await change(client, alice, "wrong again")).brief == WRONG_PASSWORD
            limited = ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
            assert (await change(client, alice)).brief == limited
            assert (await delete(client, alice)).brief == limited
            assert (await change(client, bob)).brief == OK
    finally:
        await node.close()
