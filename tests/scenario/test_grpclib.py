"""A second, independent gRPC implementation with its own generated client talks to the node.

The committed `*_grpc.py` stubs are grpclib's: pure Python, no grpcio below.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import pytest
from google.rpc import error_details_pb2
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError

import parley
from parley.auth.v1 import auth_service_grpc, auth_service_pb2
from parley.channel.v1 import channel_service_grpc, channel_service_pb2
from parley.chat.v1 import chat_service_grpc, chat_service_pb2, message_requests_pb2, stream_pb2
from parley.user.v1 import user_service_grpc, user_service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from parley_server.testing.node_process import NodeProcess

TEXT = "안녕, grpclib 🐍"


@pytest.fixture
async def channel(node: NodeProcess) -> AsyncIterator[Channel]:
    """A grpclib channel to the node."""
    host, _, port = node.address.rpartition(":")
    channel = Channel(host, int(port))
    yield channel
    channel.close()


async def _sign_up(channel: Channel, username: str) -> tuple[str, dict[str, str]]:
    """A new account: its user id, and the metadata to call with."""
    response = await auth_service_grpc.AuthServiceStub(channel).SignUp(
        auth_service_pb2.SignUpRequest(
            username=username, password="correct horse battery", request_id=str(uuid.uuid4())
        ),
        timeout=10,
    )
    return response.user.user_id, {"authorization": f"Bearer {response.tokens.access_token}"}


async def test_signs_up_sends_reads_and_streams(channel: Channel) -> None:
    """All four kinds of call that the contract has. Planted: a stub file of another contract's version."""
    _, alice = await _sign_up(channel, "alice")
    bob_id, bob = await _sign_up(channel, "bob")
    users = user_service_grpc.UserServiceStub(channel)
    found = await users.GetUser(user_service_pb2.GetUserRequest(username="BOB"), metadata=alice, timeout=10)
    assert found.user.user_id == bob_id
    channels = channel_service_grpc.ChannelServiceStub(channel)
    direct = await channels.CreateDirectChannel(
        channel_service_pb2.CreateDirectChannelRequest(user_id=bob_id), metadata=alice, timeout=10
    )
    channel_id = direct.channel.channel_id
    chat = chat_service_grpc.ChatServiceStub(channel)

    async with asyncio.timeout(30):
        async with chat.Connect.open(metadata=bob) as stream:
            hello = stream_pb2.Hello(client="grpclib-test/1")
            await stream.send_message(stream_pb2.ConnectRequest(hello=hello))
            first = await stream.recv_message()
            assert first is not None
            assert first.controls[0].WhichOneof("control") == "welcome"

            request = message_requests_pb2.SendMessageRequest(
                channel_id=channel_id, client_message_id=parley.new_id(), text=TEXT
            )
            sent = await chat.SendMessage(request, metadata=alice, timeout=10)
            again = await chat.SendMessage(request, metadata=alice, timeout=10)
            assert (again.seq, again.duplicate, sent.duplicate) == (sent.seq, True, False)

            answer = message_requests_pb2.SendMessageRequest(
                channel_id=channel_id, client_message_id=parley.new_id(), text="on the stream"
            )
            await stream.send_message(stream_pb2.ConnectRequest(request_id=7, send_message=answer))
            texts: list[str] = []
            reply = None
            while reply is None or len(texts) < 2:
                frame = await stream.recv_message()
                assert frame is not None
                texts += [event.message.text for event in frame.events if event.HasField("message")]
                for each in frame.replies:
                    assert each.request_id == 7
                    reply = each.send_message
            assert texts == [TEXT, "on the stream"]
            assert reply.seq == sent.seq + 1
            goodbye = stream_pb2.ConnectRequest(goodbye=stream_pb2.Goodbye())
            await stream.send_message(goodbye, end=True)
            while await stream.recv_message() is not None:
                pass

        history = await chat.ListMessages(
            chat_service_pb2.ListMessagesRequest(channel_id=channel_id), metadata=bob, timeout=10
        )
    assert [event.message.text for event in history.events] == ["on the stream", TEXT]


async def test_an_error_arrives_with_its_reason(channel: Channel) -> None:
    """grpc-status-details-bin is read by others too. Planted: details sent under another key."""
    _, alice = await _sign_up(channel, "alice")
    chat = chat_service_grpc.ChatServiceStub(channel)
    request = chat_service_pb2.ListMessagesRequest(channel_id="none")
    with pytest.raises(GRPCError) as caught:
        await chat.ListMessages(request, metadata=alice, timeout=10)
    assert caught.value.status is Status.NOT_FOUND
    (info,) = [each for each in caught.value.details or () if isinstance(each, error_details_pb2.ErrorInfo)]
    assert (info.reason, info.domain) == ("CHANNEL_NOT_FOUND", "parley")
