"""Changes of messages, groups and accounts against a stand-in node: one id, however often a call is made."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import grpc
import pytest

import parley
from parley.channel.v1 import channel_pb2, channel_service_pb2
from parley.chat.v1 import message_requests_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.unit.sdk.conftest import Context, FakeNode

    from parley.user.v1 import user_service_pb2

    Call = Callable[[parley.Channel], Awaitable[parley.Change]]

CALLS: dict[str, Call] = {
    "EditMessage": lambda channel: channel.edit(7, "new", attributes={"k": "v"}, mentions=["user-9", "@bob"]),
    "DeleteMessage": lambda channel: channel.delete(7),
    "AddReaction": lambda channel: channel.react(7, "👍"),
    "RemoveReaction": lambda channel: channel.unreact(7, "👍"),
    "PinMessage": lambda channel: channel.pin(7),
    "UnpinMessage": lambda channel: channel.unpin(7),
}


@pytest.mark.parametrize("method", CALLS)
async def test_a_change_is_asked_for_with_one_id_until_it_is_answered(node: FakeNode, method: str) -> None:
    """A lost answer must not become a second change. Planted: a new id for each attempt."""
    answers = 0

    async def answer(request: Any, context: Context) -> Any:
        nonlocal answers
        answers += 1
        if answers < 3:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
        change = message_requests_pb2.Change(seq=9, create_time_ms=5, duplicate=True)
        return getattr(message_requests_pb2, f"{method}Response")(change=change)

    node.unary[method] = answer
    async with parley.connect(node.target, token="t") as client:
        change = await CALLS[method](client.channel("c"))
    requests = node.called(method)
    assert len(requests) == 3 and all(request == requests[0] for request in requests)
    assert (requests[0].channel_id, requests[0].seq) == ("c", 7)
    assert change == parley.Change(9, 5, requests[0].client_message_id, duplicate=True)
    if method == "EditMessage":
        # Ids go as they are, names are looked up.
        assert list(requests[0].mentions) == ["user-9", "user-2"]
        assert [request.username for request in node.called("GetUser")] == ["bob"]


async def test_an_id_given_is_the_id_sent(node: FakeNode) -> None:
    """For going on after a restart. Planted: the given id dropped."""

    async def answer(request: Any, context: Context) -> message_requests_pb2.AddReactionResponse:
        return message_requests_pb2.AddReactionResponse()

    node.unary["AddReaction"] = answer
    message_id = parley.new_id()
    async with parley.connect(node.target, token="t") as client:
        change = await client.channel("c").react(7, "👍", client_message_id=message_id)
    assert change.client_message_id == node.called("AddReaction")[0].client_message_id == message_id


async def test_a_message_is_given_by_seq_or_by_what_holds_it(node: FakeNode) -> None:
    async with parley.connect(node.target, token="t") as client:
        channel = client.channel("c")
        sent = await channel.send("one")
        await channel.send("two", reply_to=sent, thread=sent.seq, mentions=["user-9"], mention_all=True)
    request = node.called("SendMessage")[1]
    assert (request.reply_to_seq, request.thread_root_seq) == (sent.seq, sent.seq)
    assert (list(request.mentions), request.mention_all) == (["user-9"], True)


async def test_only_what_is_given_is_updated(node: FakeNode) -> None:
    """Planted: None taken for False, which closed the history."""

    async def answer(request: Any, context: Context) -> channel_service_pb2.UpdateChannelResponse:
        channel = channel_pb2.Channel(channel_id="c", pinned_seqs=[4, 2], slow_mode_seconds=3)
        return channel_service_pb2.UpdateChannelResponse(channel=channel)

    node.unary["UpdateChannel"] = answer
    async with parley.connect(node.target, token="t") as client:
        info = await client.channel("c").update(description="", slow_mode_seconds=0)
        await client.channel("c").update(history_from_start=False)
    assert (info.pinned_seqs, info.slow_mode_seconds) == ((4, 2), 3)
    first, second = node.called("UpdateChannel")
    assert list(first.update_mask.paths) == ["description", "slow_mode_seconds"]
    assert list(second.update_mask.paths) == ["history_visibility"]
    assert second.settings.history_visibility == channel_pb2.HISTORY_VISIBILITY_FROM_JOINING


async def test_an_invite_without_a_lifetime_gets_the_server_s(node: FakeNode) -> None:
    """Planted: a lifetime of 0 seconds sent, which is refused. And the code is in no repr."""

    async def answer(request: Any, context: Context) -> channel_service_pb2.CreateInviteResponse:
        invite = channel_service_pb2.Invite(invite_id="i", use_limit=request.use_limit)
        return channel_service_pb2.CreateInviteResponse(invite=invite, code="the code")

    node.unary["CreateInvite"] = answer
    async with parley.connect(node.target, token="t") as client:
        invite = await client.channel("c").create_invite()
        await client.channel("c").create_invite(lifetime_seconds=60, uses=3)
    first, second = node.called("CreateInvite")
    assert not first.HasField("lifetime") and second.lifetime.seconds == 60
    assert invite.code == "the code" and "the code" not in repr(invite)


@pytest.mark.parametrize("lost", [False, True])
async def test_an_account_that_is_gone_is_deleted_if_we_asked_before(node: FakeNode, lost: bool) -> None:
    """The first answer may be lost; then nobody is there to be known. Planted: raised in both, in none."""

    async def answer(request: Any, context: Context) -> user_service_pb2.DeleteAccountResponse:
        if lost and len(node.called("DeleteAccount")) == 1:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
        await node.refuse(context, grpc.StatusCode.UNAUTHENTICATED, "DEVICE_REVOKED")

    node.unary["DeleteAccount"] = answer
    async with parley.connect(node.target, token="t") as client:
        if lost:
            await client.delete_account("a password")
        else:
            with pytest.raises(parley.DeviceRevoked):
                await client.delete_account("a password")


async def test_an_export_is_a_file_only_when_it_is_whole(node: FakeNode, tmp_path: Path) -> None:
    """Planted: the file written in place, so that half of it stood there."""
    path = tmp_path / "data.json"
    tokens = node.tokens()
    node.access_tokens = {tokens.access_token}
    async with parley.connect(node.target, token=tokens) as client:
        node.access_tokens = {"another"}  # It has to be renewed first.
        assert await client.export_to(path) == 8
        assert path.read_bytes() == b'{"a": 1}'
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

        async def broken(context: Context) -> AsyncIterator[bytes]:
            yield b'{"b": '
            await node.refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVER_BUSY")

        node.export = broken
        with pytest.raises(parley.ParleyError):
            await client.export_to(path)
    assert path.read_bytes() == b'{"a": 1}'
    assert os.listdir(tmp_path) == [path.name]
