"""Exports that nobody reads, and those of whom may not read on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from parley.admin.v1 import admin_service_pb2 as admin
from parley.auth.v1 import auth_service_pb2 as auth
from parley.user.v1 import user_service_pb2 as users
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.raw_client import Person, RawClient, bearer, eventually, outcome_of

StartNode = Callable[..., Awaitable[NodeProcess]]
TEXT = "z" * 90_000
MESSAGES = 30


async def writer_of_much(client: RawClient) -> Person:
    """Somebody whose export is many times what a connection takes that nobody reads."""
    person = await client.sign_up()
    channel_id = await client.group(person)
    for _ in range(MESSAGES):
        await client.send(person, channel_id, TEXT)
    return person


async def begun(client: RawClient, person: Person) -> Any:
    call = client.users.ExportData(users.ExportDataRequest(), metadata=person.metadata)
    assert (await call.read()).chunk
    return call


async def rest_of(call: Any) -> int:
    """How many bytes came; raises what ended the call."""
    total_bytes = 0
    while (part := await call.read()) is not grpc.aio.EOF:
        total_bytes += len(part.chunk)
    return total_bytes


async def test_exports_that_nobody_reads_hold_up_nobody_else(start_node: StartNode) -> None:
    """Of one user one export at a time goes on, and it gives way to others while its reader takes nothing.

    Planted once: with a place held from the first piece to the last, two such readers kept everybody else
    from exporting for as long as they liked.
    """
    node = await start_node(**{"limits.exports": 1})
    async with RawClient(node.address) as client, RawClient(node.address, reads_ahead=False) as slow:
        ann, bob = await writer_of_much(client), await client.sign_up()
        unread = await begun(slow, ann)
        assert await rest_of(await begun(client, bob)) == 0
        second = client.users.ExportData(users.ExportDataRequest(), metadata=ann.metadata)
        outcome = await outcome_of(second.read())
        assert outcome.brief == ("RESOURCE_EXHAUSTED", "SERVER_BUSY")
        assert await rest_of(unread) > (MESSAGES - 2) * len(TEXT)
        (await begun(slow, ann)).cancel()

        async def free_again() -> bool:
            call = client.users.ExportData(users.ExportDataRequest(), metadata=ann.metadata)
            return (await outcome_of(rest_of(call))).brief == ("OK", "")

        await eventually(free_again)


@pytest.mark.parametrize("how", ["device revoked", "account suspended"])
async def test_an_export_ends_with_the_right_to_it(node: NodeProcess, how: str) -> None:
    """Whoever has a stolen device in hand does not read on once it was logged out.

    Planted once: asked at the beginning only, the whole document came.
    """
    async with RawClient(node.address) as client, RawClient(node.address, reads_ahead=False) as slow:
        ann = await writer_of_much(client)
        unread = await begun(slow, ann)
        if how == "device revoked":
            other = await client.log_in(ann.username)
            revoke = auth.RevokeDeviceRequest(device_id=ann.device_id)
            await client.auth.RevokeDevice(revoke, metadata=other.metadata)
        else:
            await suspend(client, node, ann)
        outcome = await outcome_of(rest_of(unread))
        assert outcome.reason == ("DEVICE_REVOKED" if how == "device revoked" else "ACCOUNT_SUSPENDED")


async def suspend(client: RawClient, node: NodeProcess, person: Person) -> None:
    request = admin.SuspendUserRequest(user_id=person.user_id)
    await client.admin.SuspendUser(request, metadata=bearer(node.operator_token))
