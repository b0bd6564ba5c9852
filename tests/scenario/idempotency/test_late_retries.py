"""A retry that comes when the same request would be refused still gets the first answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parley.channel.v1 import channel_service_pb2 as channels
from parley.chat.v1 import message_requests_pb2
from parley.user.v1 import user_service_pb2 as users
from parley_server.testing.raw_client import message, outcome_of, uuid7

if TYPE_CHECKING:
    from parley_server.testing.raw_client import RawClient

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_retry_after_the_sender_was_removed_still_gets_the_first_seq(client: RawClient) -> None:
    """Whoever was removed learns what became of a send, and can send nothing new.

    Planted once: with the membership asked before the id, the retry answered CHANNEL_NOT_FOUND.
    """
    owner, member = await client.sign_up(), await client.sign_up()
    channel_id = await client.group(owner, [member])
    sent = message(channel_id, "my last words")
    first = await client.chat.SendMessage(sent, metadata=member.metadata)
    remove = channels.RemoveMemberRequest(channel_id=channel_id, user_id=member.user_id)
    await client.channels.RemoveMember(remove, metadata=owner.metadata)
    again = await client.chat.SendMessage(sent, metadata=member.metadata)
    assert (again.seq, again.duplicate) == (first.seq, True)
    outcome = await outcome_of(client.send(member, channel_id, "and another thing"))
    assert outcome.brief == ("NOT_FOUND", "CHANNEL_NOT_FOUND")


async def test_a_retry_after_a_block_still_gets_the_first_seq(client: RawClient) -> None:
    """The answer was lost, and then came the block: what was written is not reported as refused.

    Planted once: with blocks asked before the id, all three retries answered BLOCKED.
    """
    ann, bob = await client.sign_up(), await client.sign_up()
    channel_id = await client.direct(ann, bob)
    sent = message(channel_id, "before the block")
    first = await client.chat.SendMessage(sent, metadata=ann.metadata)
    edit = message_requests_pb2.EditMessageRequest(
        channel_id=channel_id, seq=first.seq, client_message_id=uuid7(), text="edited before the block"
    )
    edited = await client.chat.EditMessage(edit, metadata=ann.metadata)
    react = message_requests_pb2.AddReactionRequest(
        channel_id=channel_id, seq=first.seq, client_message_id=uuid7(), emoji="👍"
    )
    reacted = await client.chat.AddReaction(react, metadata=ann.metadata)
    await client.users.BlockUser(users.BlockUserRequest(user_id=ann.user_id), metadata=bob.metadata)

    again = await client.chat.SendMessage(sent, metadata=ann.metadata)
    assert (again.seq, again.duplicate) == (first.seq, True)
    edited_again = (await client.chat.EditMessage(edit, metadata=ann.metadata)).change
    assert (edited_again.seq, edited_again.duplicate) == (edited.change.seq, True)
    reacted_again = (await client.chat.AddReaction(react, metadata=ann.metadata)).change
    assert (reacted_again.seq, reacted_again.duplicate) == (reacted.change.seq, True)
    assert (await outcome_of(client.send(ann, channel_id, "and more"))).reason == "BLOCKED"
    sent.text = "something else under the same id"
    outcome = await outcome_of(client.chat.SendMessage(sent, metadata=ann.metadata))
    assert outcome.reason == "CLIENT_ID_REUSED"


async def test_a_retry_after_the_channel_was_deleted_still_gets_the_first_seq(client: RawClient) -> None:
    """Also of what names another message, which nobody may see any more.

    Planted once: with that asked before the id, the answer and the reaction got MESSAGE_NOT_FOUND.
    """
    ann, bob = await client.sign_up(), await client.sign_up()
    channel_id = await client.group(ann, [bob])
    first = await client.send(ann, channel_id, "a question")
    reply = message(channel_id, "an answer")
    reply.reply_to_seq = first.seq
    answered = await client.chat.SendMessage(reply, metadata=bob.metadata)
    react = message_requests_pb2.AddReactionRequest(
        channel_id=channel_id, seq=first.seq, client_message_id=uuid7(), emoji="👍"
    )
    reacted = await client.chat.AddReaction(react, metadata=bob.metadata)
    await client.channels.DeleteChannel(
        channels.DeleteChannelRequest(channel_id=channel_id), metadata=ann.metadata
    )

    again = await client.chat.SendMessage(reply, metadata=bob.metadata)
    assert (again.seq, again.duplicate) == (answered.seq, True)
    reacted_again = (await client.chat.AddReaction(react, metadata=bob.metadata)).change
    assert (reacted_again.seq, reacted_again.duplicate) == (reacted.change.seq, True)
    reply.client_message_id = uuid7()
    outcome = await outcome_of(client.chat.SendMessage(reply, metadata=bob.metadata))
    assert outcome.reason == "MESSAGE_NOT_FOUND"
