"""Who may call ChatService: the table is held to the descriptors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from parley.channel.v1 import channel_service_pb2 as channels
from parley.chat.v1 import chat_service_pb2 as chat
from parley.chat.v1 import message_requests_pb2, stream_pb2
from parley_server.testing.access_suite import ChannelAccessSuite
from parley_server.testing.access_table import (
    ADMINS,
    MEMBERS,
    MESSAGE_SEQ,
    NO_CHANNEL,
    NO_SESSION,
    NOT_AUTHOR,
    NOT_HIS_CURSOR,
    USERS,
    Role,
    Row,
    Scene,
    only_the_member,
)
from parley_server.testing.raw_client import message, outcome_of, uuid7

if TYPE_CHECKING:
    from parley_server.testing.raw_client import RawClient

pytestmark = pytest.mark.asyncio(loop_scope="module")

TABLE: dict[str, Row] = {
    "parley.chat.v1.ChatService.Connect": Row(
        USERS, lambda scene, role: stream_pb2.ConnectRequest(hello=stream_pb2.Hello())
    ),
    "parley.chat.v1.ChatService.Subscribe": Row(
        USERS, lambda scene, role: stream_pb2.SubscribeRequest(hello=stream_pb2.Hello())
    ),
    "parley.chat.v1.ChatService.Heartbeat": Row(
        only_the_member(NO_SESSION),
        lambda scene, role: stream_pb2.HeartbeatRequest(session_id=scene.session_id, foreground=True),
    ),
    "parley.chat.v1.ChatService.AckEvents": Row(
        # A cursor belongs to a user: any of his devices may name it, nobody else.
        only_the_member(NOT_HIS_CURSOR),
        lambda scene, role: message_requests_pb2.AckEventsRequest(cursor=scene.member_cursor),
        changes=True,
    ),
    "parley.chat.v1.ChatService.SendMessage": Row(
        MEMBERS, lambda scene, role: message(scene.channel_id), changes=True
    ),
    "parley.chat.v1.ChatService.EditMessage": Row(
        MEMBERS | dict.fromkeys((Role.MEMBER, Role.ADMIN), NOT_AUTHOR),
        lambda scene, role: message_requests_pb2.EditMessageRequest(**_the_message(scene), text="other"),
        changes=True,
    ),
    "parley.chat.v1.ChatService.DeleteMessage": Row(
        ADMINS,
        lambda scene, role: message_requests_pb2.DeleteMessageRequest(**_the_message(scene)),
        changes=True,
    ),
    "parley.chat.v1.ChatService.AddReaction": Row(
        MEMBERS,
        lambda scene, role: message_requests_pb2.AddReactionRequest(**_the_message(scene), emoji="👍"),
        changes=True,
    ),
    "parley.chat.v1.ChatService.RemoveReaction": Row(
        MEMBERS,
        lambda scene, role: message_requests_pb2.RemoveReactionRequest(**_the_message(scene), emoji="👍"),
    ),
    "parley.chat.v1.ChatService.PinMessage": Row(
        ADMINS,
        lambda scene, role: message_requests_pb2.PinMessageRequest(**_the_message(scene)),
        changes=True,
    ),
    "parley.chat.v1.ChatService.UnpinMessage": Row(
        ADMINS, lambda scene, role: message_requests_pb2.UnpinMessageRequest(**_the_message(scene))
    ),
    "parley.chat.v1.ChatService.ListThread": Row(
        MEMBERS,
        lambda scene, role: chat.ListThreadRequest(channel_id=scene.channel_id, thread_root_seq=MESSAGE_SEQ),
    ),
    "parley.chat.v1.ChatService.GetMessage": Row(
        MEMBERS, lambda scene, role: chat.GetMessageRequest(channel_id=scene.channel_id, seq=MESSAGE_SEQ)
    ),
    "parley.chat.v1.ChatService.ListMessages": Row(
        MEMBERS, lambda scene, role: chat.ListMessagesRequest(channel_id=scene.channel_id)
    ),
    "parley.chat.v1.ChatService.ListEvents": Row(
        MEMBERS, lambda scene, role: chat.ListEventsRequest(channel_id=scene.channel_id)
    ),
    "parley.chat.v1.ChatService.GetInbox": Row(USERS, lambda scene, role: chat.GetInboxRequest()),
    "parley.chat.v1.ChatService.MarkRead": Row(
        MEMBERS,
        lambda scene, role: message_requests_pb2.MarkReadRequest(
            channel_id=scene.channel_id, seq=MESSAGE_SEQ
        ),
        changes=True,
    ),
}


def _the_message(scene: Scene) -> dict[str, Any]:
    return {"channel_id": scene.channel_id, "seq": MESSAGE_SEQ, "client_message_id": uuid7()}


class TestChatAccess(ChannelAccessSuite):
    """Planted: the row of GetInbox left out. Planted: a MarkRead that wrote before it asked for the
    membership; found by the stores.
    """

    service = "parley.chat.v1.ChatService"
    table = TABLE


async def test_on_a_stream_too_unknown_and_foreign_answer_with_equal_bytes(
    client: RawClient, scene: Scene
) -> None:
    """The status inside a Reply is the unary call's, byte for byte, for unknown and foreign alike."""
    stranger = scene.people[Role.STRANGER]
    stream = await client.connect(stranger)
    unary = await outcome_of(client.send(stranger, scene.channel_id))
    for channel_id in (scene.channel_id, "g" + "0" * 40, "nonsense"):
        send = await stream.ask(send_message=message(channel_id))
        mark = await stream.ask(mark_read={"channel_id": channel_id, "seq": 1})
        assert send.error == unary.status
        assert mark.error == unary.status
    stream.cancel()


async def test_messages_that_are_not_there_and_not_for_you_answer_with_equal_bytes(
    client: RawClient, scene: Scene
) -> None:
    """One who joined later cannot tell a message before his time from an event that is no message, or from
    nothing.
    """
    owner, late = scene.people[Role.OWNER], scene.people[Role.STRANGER]
    await client.channels.AddMembers(
        channels.AddMembersRequest(channel_id=scene.channel_id, user_ids=[late.user_id]),
        metadata=owner.metadata,
    )
    answers = [
        await outcome_of(
            client.chat.GetMessage(
                chat.GetMessageRequest(channel_id=scene.channel_id, seq=seq), metadata=late.metadata
            )
        )
        # A message before, an event before, one's own joining, beyond the head, beyond what seqs can be.
        for seq in (MESSAGE_SEQ, 1, 9, 10, 2**32 + MESSAGE_SEQ, 2**53, 2**63 - 1)
    ]
    assert answers[0].brief == ("NOT_FOUND", "MESSAGE_NOT_FOUND")
    assert answers == answers[:1] * len(answers)


async def test_a_retry_of_somebody_elses_message_is_a_strangers_answer(
    client: RawClient, scene: Scene
) -> None:
    """Knowing another's client_message_id opens nothing: ids belong to their sender."""
    owner, stranger = scene.people[Role.OWNER], scene.people[Role.STRANGER]
    sent = message(scene.channel_id, "secret")
    await client.chat.SendMessage(sent, metadata=owner.metadata)
    outcome = await outcome_of(client.chat.SendMessage(sent, metadata=stranger.metadata))
    assert outcome.brief == NO_CHANNEL
