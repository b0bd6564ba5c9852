"""Roles, invites, bans, settings, the end of a channel and of an account, over the wire."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from parley.channel.v1 import channel_pb2
from parley.channel.v1 import channel_service_pb2 as channels
from parley.chat.v1 import chat_service_pb2 as chat
from parley.chat.v1 import message_requests_pb2 as requests
from parley.user.v1 import user_service_pb2 as users
from parley_server.testing.raw_client import PASSWORD, Person, RawClient, eventually, outcome_of, uuid7

OK = ("OK", "")
NO_INVITE = ("NOT_FOUND", "INVITE_NOT_FOUND")
NO_CHANNEL = ("NOT_FOUND", "CHANNEL_NOT_FOUND")
BLOCKED = ("FAILED_PRECONDITION", "BLOCKED")


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def people(client: RawClient, count: int) -> list[Person]:
    return [await client.sign_up() for _ in range(count)]


async def invite(client: RawClient, who: Person, channel_id: str, uses: int = 0) -> tuple[str, str]:
    """(code, invite id)"""
    request = channels.CreateInviteRequest(channel_id=channel_id, client_invite_id=uuid7(), use_limit=uses)
    answer = await client.channels.CreateInvite(request, metadata=who.metadata)
    return answer.code, answer.invite.invite_id


async def join(client: RawClient, who: Person, code: str) -> tuple[str, str]:
    call = client.channels.JoinChannel(channels.JoinChannelRequest(code=code), metadata=who.metadata)
    return (await outcome_of(call)).brief


async def roles(client: RawClient, who: Person, channel_id: str) -> dict[str, int]:
    request = channels.ListMembersRequest(channel_id=channel_id, page_size=200)
    answer = await client.channels.ListMembers(request, metadata=who.metadata)
    return {member.user_id: member.role for member in answer.members}


async def test_a_hundred_come_with_an_invite_for_ten(client: RawClient) -> None:
    """All at once: exactly ten are in, ninety hear that it is used up; the count shows ten."""
    owner, *others = await people(client, 101)
    channel_id = await client.group(owner)
    code, _ = await invite(client, owner, channel_id, 10)
    briefs = await asyncio.gather(*[join(client, other, code) for other in others])
    assert (briefs.count(OK), briefs.count(NO_INVITE)) == (10, 90)
    assert len(await roles(client, owner, channel_id)) == 11
    listed = await client.channels.ListInvites(
        channels.ListInvitesRequest(channel_id=channel_id), metadata=owner.metadata
    )
    assert list(listed.invites) == []


async def test_an_invite_is_repeatable_secret_and_ends(client: RawClient) -> None:
    """The same client id gives the same code; the log, which members read, does not hold it; revoked it is
    like one that nobody made, byte for byte.
    """
    owner, member, guest = await people(client, 3)
    channel_id = await client.group(owner, [member])
    request = channels.CreateInviteRequest(channel_id=channel_id, client_invite_id=uuid7(), use_limit=5)
    first = await client.channels.CreateInvite(request, metadata=owner.metadata)
    again = await client.channels.CreateInvite(request, metadata=owner.metadata)
    assert (first.code, first.invite) == (again.code, again.invite)
    events = await client.chat.ListEvents(
        chat.ListEventsRequest(channel_id=channel_id), metadata=member.metadata
    )
    assert first.code.partition(".")[2].encode() not in events.SerializeToString()
    await client.channels.RevokeInvite(
        channels.RevokeInviteRequest(channel_id=channel_id, invite_id=first.invite.invite_id),
        metadata=owner.metadata,
    )
    outcomes = []
    for code in (
        first.code,
        first.code[:-1] + "A",
        "g" + "0" * 40 + ".AAAAAAAAAAAAAAAAAAAAAA",
        "x",
        "x" * 500,
    ):
        call = client.channels.JoinChannel(channels.JoinChannelRequest(code=code), metadata=guest.metadata)
        outcomes.append(await outcome_of(call))
    assert {outcome.brief for outcome in outcomes} == {NO_INVITE}
    assert len({outcome.trailing for outcome in outcomes}) == 1


async def test_a_banned_user_finds_no_way_in(client: RawClient) -> None:
    """Open stream, old token, invite, being added: nothing. The open stream tells the ban and no more."""
    owner, foe = await people(client, 2)
    channel_id = await client.group(owner, [foe])
    code, _ = await invite(client, owner, channel_id)
    stream = await client.connect(foe)
    await client.channels.BanMember(
        channels.BanMemberRequest(channel_id=channel_id, user_id=foe.user_id), metadata=owner.metadata
    )
    await client.send(owner, channel_id, "without you")
    assert await join(client, foe, code) == NO_INVITE
    add = channels.AddMembersRequest(channel_id=channel_id, user_ids=[foe.user_id])
    added = await outcome_of(client.channels.AddMembers(add, metadata=owner.metadata))
    assert added.brief == ("FAILED_PRECONDITION", "USER_BANNED")
    sent = await outcome_of(client.send(foe, channel_id, "but"))
    assert sent.brief == NO_CHANNEL
    await stream.until(lambda: any(event.HasField("member_changed") for event in stream.events))
    await stream.barrier()
    assert [event.WhichOneof("kind") for event in stream.events] == ["ban_changed", "member_changed"]
    listed = await client.channels.ListBans(
        channels.ListBansRequest(channel_id=channel_id), metadata=owner.metadata
    )
    assert [ban.user_id for ban in listed.bans] == [foe.user_id]
    await client.channels.UnbanMember(
        channels.UnbanMemberRequest(channel_id=channel_id, user_id=foe.user_id), metadata=owner.metadata
    )
    assert await join(client, foe, code) == OK


async def test_nobody_lifts_himself(client: RawClient) -> None:
    """Members and admins give no roles, themselves none either; the last owner stays."""
    owner, admin, member = await people(client, 3)
    channel_id = await client.group(owner, [admin, member])

    async def give(who: Person, to: Person, role: Any) -> tuple[str, str]:
        request = channels.SetMemberRoleRequest(channel_id=channel_id, user_id=to.user_id, role=role)
        return (await outcome_of(client.channels.SetMemberRole(request, metadata=who.metadata))).brief

    needs = ("PERMISSION_DENIED", "ROLE_REQUIRED")
    assert await give(owner, admin, channel_pb2.ROLE_ADMIN) == OK
    assert await give(admin, admin, channel_pb2.ROLE_OWNER) == needs
    assert await give(member, member, channel_pb2.ROLE_ADMIN) == needs
    assert await give(admin, owner, channel_pb2.ROLE_MEMBER) == needs
    assert await give(owner, member, 0) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert await give(owner, member, 77) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    last = ("FAILED_PRECONDITION", "LAST_OWNER")
    assert await give(owner, owner, channel_pb2.ROLE_MEMBER) == last
    leave = channels.LeaveChannelRequest(channel_id=channel_id)
    assert (await outcome_of(client.channels.LeaveChannel(leave, metadata=owner.metadata))).brief == last
    assert await give(owner, admin, channel_pb2.ROLE_OWNER) == OK
    assert (await outcome_of(client.channels.LeaveChannel(leave, metadata=owner.metadata))).brief == OK
    assert await roles(client, admin, channel_id) == {
        admin.user_id: channel_pb2.ROLE_OWNER,
        member.user_id: channel_pb2.ROLE_MEMBER,
    }


async def test_settings_and_slow_mode(client: RawClient) -> None:
    """What the mask names changes; slow mode holds members back with a time to wait, admins not."""
    owner, member = await people(client, 2)
    channel_id = await client.group(owner, [member])

    def change(*paths: str, **settings: Any) -> Any:
        request = channels.UpdateChannelRequest(
            channel_id=channel_id,
            settings=channels.ChannelSettings(**settings),
            update_mask=FieldMask(paths=paths),
        )
        return client.channels.UpdateChannel(request, metadata=owner.metadata)

    updated = (
        await change("title", "slow_mode_seconds", title="New", slow_mode_seconds=60, description="no")
    ).channel
    assert (updated.title, updated.description, updated.slow_mode_seconds) == ("New", "", 60)
    for wrong in (
        change(),
        change("nonsense"),
        change("title", title=" "),
        change("slow_mode_seconds", slow_mode_seconds=-1),
    ):
        assert (await outcome_of(wrong)).brief == ("INVALID_ARGUMENT", "INVALID_FIELD")
    await client.send(member, channel_id, "one")
    slow = await outcome_of(client.send(member, channel_id, "two"))
    assert slow.brief == ("RESOURCE_EXHAUSTED", "SLOW_MODE")
    await client.send(owner, channel_id, "three")
    await client.send(owner, channel_id, "four")


async def test_a_deleted_channel_is_gone_for_everybody(client: RawClient) -> None:
    """Open streams are told; nothing of it can be read, the inbox does not show it, and its texts go from the
    store.
    """
    owner, member = await people(client, 2)
    channel_id = await client.group(owner, [member])
    stream = await client.connect(member)
    await client.send(owner, channel_id, "canary-in-a-deleted-channel")
    await client.channels.DeleteChannel(
        channels.DeleteChannelRequest(channel_id=channel_id), metadata=owner.metadata
    )
    await stream.until(lambda: any(event.HasField("channel_deleted") for event in stream.events))
    for who in (owner, member):
        inbox = await client.chat.GetInbox(chat.GetInboxRequest(), metadata=who.metadata)
        assert list(inbox.entries) == []
        listed = await client.chat.ListEvents(
            chat.ListEventsRequest(channel_id=channel_id), metadata=who.metadata
        )
        assert [event.WhichOneof("kind") for event in listed.events] == ["channel_deleted"]
        get = channels.GetChannelRequest(channel_id=channel_id)
        assert (await outcome_of(client.channels.GetChannel(get, metadata=who.metadata))).brief == NO_CHANNEL
    assert (await outcome_of(client.send(owner, channel_id))).brief == NO_CHANNEL
    again = channels.DeleteChannelRequest(channel_id=channel_id)
    assert (await outcome_of(client.channels.DeleteChannel(again, metadata=owner.metadata))).brief == OK


async def test_blocks_hold_in_both_directions(client: RawClient) -> None:
    """Sends by call and stream, reactions, edits, opening the channel, adding to groups; not taking back."""
    one, other = await people(client, 2)
    channel_id = await client.direct(one, other)
    seq = (await client.send(one, channel_id, "before")).seq
    stream = await client.connect(one)
    await client.users.BlockUser(users.BlockUserRequest(user_id=one.user_id), metadata=other.metadata)
    for who, peer in ((one, other), (other, one)):
        assert (await outcome_of(client.send(who, channel_id))).brief == BLOCKED
        direct = channels.CreateDirectChannelRequest(user_id=peer.user_id)
        assert (
            await outcome_of(client.channels.CreateDirectChannel(direct, metadata=who.metadata))
        ).brief == BLOCKED
        make = channels.CreateChannelRequest(title="x", member_ids=[peer.user_id], client_channel_id=uuid7())
        assert (await outcome_of(client.channels.CreateChannel(make, metadata=who.metadata))).brief == BLOCKED
        group_id = await client.group(who)
        add = channels.AddMembersRequest(channel_id=group_id, user_ids=[peer.user_id])
        assert (await outcome_of(client.channels.AddMembers(add, metadata=who.metadata))).brief == BLOCKED
    at = {"channel_id": channel_id, "seq": seq}
    reply = await stream.ask(
        send_message={"channel_id": channel_id, "client_message_id": uuid7(), "text": "by stream"}
    )
    assert reply.error.code == 9
    for name, more in (
        ("edit_message", {"text": "x"}),
        ("add_reaction", {"emoji": "👍"}),
        ("pin_message", {}),
    ):
        assert (await stream.ask(**{name: {**at, "client_message_id": uuid7(), **more}})).error.code == 9
    taken_back = await stream.ask(delete_message={**at, "client_message_id": uuid7()})
    assert taken_back.delete_message.change.seq == seq + 1
    await client.users.UnblockUser(users.UnblockUserRequest(user_id=one.user_id), metadata=other.metadata)
    await client.send(one, channel_id, "after")


async def test_a_deleted_account_leaves_its_channels_and_no_text(client: RawClient) -> None:
    """Ownership goes on, every message is a tombstone, the name is free again once all is done."""
    owner, member, friend = await people(client, 3)
    group_id = await client.group(owner, [member, friend])
    seq = (await client.send(owner, group_id, "mine")).seq
    direct_id = await client.direct(owner, friend)
    await client.send(owner, direct_id, "between us")
    await client.users.DeleteAccount(users.DeleteAccountRequest(password=PASSWORD), metadata=owner.metadata)

    async def left() -> bool:
        return owner.user_id not in await roles(client, member, group_id)

    await eventually(left)
    assert await roles(client, member, group_id) == {
        member.user_id: channel_pb2.ROLE_OWNER,
        friend.user_id: channel_pb2.ROLE_MEMBER,
    }

    async def erased() -> bool:
        get = chat.GetMessageRequest(channel_id=group_id, seq=seq)
        found = (await client.chat.GetMessage(get, metadata=member.metadata)).event.message
        return bool(found.text == "" and found.state.delete_seq > seq)

    await eventually(erased)

    async def nobody_there() -> bool:
        outcome = await outcome_of(client.send(friend, direct_id, "are you there?"))
        return outcome.brief == ("FAILED_PRECONDITION", "USER_DELETED")

    await eventually(nobody_there)

    async def name_is_free() -> bool:
        return (await outcome_of(client.sign_up(owner.username))).brief == OK

    await eventually(name_is_free)


async def test_the_export_holds_ones_own_and_no_others_words(client: RawClient) -> None:
    """One JSON document: profile, channels, own messages as they read now; nothing of others."""
    one, other = await people(client, 2)
    channel_id = await client.group(one, [other])
    await client.send(one, channel_id, "kept 한글")
    gone = (await client.send(one, channel_id, "taken back")).seq
    await client.send(other, channel_id, "somebody else's")
    await client.chat.DeleteMessage(
        requests.DeleteMessageRequest(channel_id=channel_id, seq=gone, client_message_id=uuid7()),
        metadata=one.metadata,
    )
    document = b""
    async for part in client.users.ExportData(users.ExportDataRequest(), metadata=one.metadata):
        document += part.chunk
    found = json.loads(document)
    assert found["profile"]["user_id"] == one.user_id
    assert [device["device_id"] for device in found["devices"]] == [one.device_id]
    (channel,) = found["channels"]
    assert [message["text"] for message in channel["messages"]] == ["kept 한글"]
    assert b"somebody" not in document
    assert PASSWORD.encode() not in document
    assert one.access_token.encode() not in document


async def test_an_invite_code_cannot_be_made_by_guessing_ids(client: RawClient) -> None:
    """Two invites of one channel share nothing but the channel's id."""
    owner, guest = await people(client, 2)
    channel_id = await client.group(owner)
    one, one_id = await invite(client, owner, channel_id)
    two, _ = await invite(client, owner, channel_id)
    assert one != two
    for guess in (f"{channel_id}.{one_id}", one_id, f"{channel_id}.", f"{channel_id}.{uuid.uuid4().hex}"):
        assert await join(client, guest, guess) == NO_INVITE


async def test_a_mute_is_on_all_ones_devices_and_nobody_elses(client: RawClient) -> None:
    """The connected device is told at once, the inbox says it later; a time that is over means none."""
    one, other = await people(client, 2)
    channel_id = await client.group(one, [other])
    phone = await client.connect(await client.log_in(one.username))

    async def mute(seconds: int) -> None:
        request = channels.SetMuteRequest(channel_id=channel_id, mute_until=Timestamp(seconds=seconds))
        await client.channels.SetMute(request, metadata=one.metadata)

    async def muted(who: Person) -> int:
        inbox = await client.chat.GetInbox(chat.GetInboxRequest(), metadata=who.metadata)
        return int(inbox.entries[0].mute_until.seconds)

    await mute(253_402_300_799)
    await phone.until(lambda: any(control.HasField("mute_changed") for control in phone.controls))
    assert phone.control("mute_changed").channel_id == channel_id
    assert await muted(one) == 253_402_300_799
    assert await muted(other) == 0
    await mute(1)
    assert await muted(one) == 0


async def test_a_direct_channel_has_no_bans_and_invites_to_list(client: RawClient) -> None:
    """Its users are told what kind of channel it is; once they were sent to an owner."""
    one, other = await people(client, 2)
    channel_id = await client.direct(one, other)
    bans = channels.ListBansRequest(channel_id=channel_id)
    invites = channels.ListInvitesRequest(channel_id=channel_id)
    for call in (
        client.channels.ListBans(bans, metadata=one.metadata),
        client.channels.ListInvites(invites, metadata=one.metadata),
    ):
        assert (await outcome_of(call)).brief == ("FAILED_PRECONDITION", "DIRECT_CHANNEL")
