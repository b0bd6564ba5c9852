"""Who may call what. The table is held to the descriptors: an RPC without a row fails."""

from __future__ import annotations

import asyncio
import enum
import importlib
import pkgutil
import sqlite3
import uuid
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from google.protobuf import descriptor_pb2
from google.protobuf.field_mask_pb2 import FieldMask
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

import parley
from parley.admin.v1 import admin_service_pb2 as admin
from parley.auth.v1 import auth_service_pb2 as auth
from parley.channel.v1 import channel_service_pb2 as channels
from parley.chat.v1 import chat_service_pb2 as chat
from parley.chat.v1 import message_requests_pb2, stream_pb2
from parley.user.v1 import user_pb2
from parley.user.v1 import user_service_pb2 as users
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.raw_client import (
    PASSWORD,
    Outcome,
    Person,
    RawClient,
    RawStream,
    StreamEnded,
    message,
    outcome_of,
    uuid7,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from google.protobuf.descriptor import MethodDescriptor
    from google.protobuf.message import Message

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHEAP_PASSWORDS = Path(__file__).parent.parent / "planted" / "cheap_passwords.py"


class Role(enum.Enum):
    """Who calls. The member and the owner are in the scene's group; the operator and the stranger are not."""

    ANONYMOUS = enum.auto()
    STRANGER = enum.auto()
    MEMBER = enum.auto()
    OWNER = enum.auto()
    OPERATOR = enum.auto()
    REVOKED = enum.auto()


@dataclass
class Scene:
    """A group of three with a few messages, and everybody who may try something with it."""

    channel_id: str
    people: dict[Role, Person]
    other: Person
    member_second_device: Person
    session_id: str
    member_cursor: str

    def of(self, role: Role) -> Person | None:
        return self.people.get(role)


Answer = tuple[str, str]
OK: Answer = ("OK", "")
NO_TOKEN: Answer = ("UNAUTHENTICATED", "TOKEN_MISSING")
REVOKED: Answer = ("UNAUTHENTICATED", "DEVICE_REVOKED")
NO_CHANNEL: Answer = ("NOT_FOUND", "CHANNEL_NOT_FOUND")
NEEDS_ROLE: Answer = ("PERMISSION_DENIED", "ROLE_REQUIRED")
NEEDS_OPERATOR: Answer = ("PERMISSION_DENIED", "OPERATOR_REQUIRED")
NO_SESSION: Answer = ("NOT_FOUND", "SESSION_NOT_FOUND")
NOT_HIS_CURSOR: Answer = ("INVALID_ARGUMENT", "INVALID_FIELD")
NO_DEVICE: Answer = ("NOT_FOUND", "DEVICE_NOT_FOUND")

ANYBODY = dict.fromkeys(Role, OK)
USERS = ANYBODY | {Role.ANONYMOUS: NO_TOKEN, Role.REVOKED: REVOKED}
MEMBERS = USERS | {Role.STRANGER: NO_CHANNEL, Role.OPERATOR: NO_CHANNEL}
OWNERS = MEMBERS | {Role.MEMBER: NEEDS_ROLE}
OPERATORS = USERS | dict.fromkeys((Role.STRANGER, Role.MEMBER, Role.OWNER), NEEDS_OPERATOR)


@dataclass(frozen=True)
class Row:
    """What one RPC answers to whom. `changes`: whether its success may change a store."""

    answers: Mapping[Role, Answer]
    request: Callable[[Scene, Role], Message]
    changes: bool = False


def _request_id() -> str:
    return str(uuid.uuid4())


def _fresh_name() -> str:
    return f"n{uuid.uuid4().hex[:12]}"


def _refresh(scene: Scene, role: Role) -> auth.RefreshRequest:
    person = scene.of(role)
    return auth.RefreshRequest(refresh_token=person.refresh_token if person else "")


TABLE: dict[str, Row] = {
    "parley.auth.v1.AuthService.SignUp": Row(
        ANYBODY,
        lambda scene, role: auth.SignUpRequest(
            username=_fresh_name(), password=PASSWORD, request_id=_request_id()
        ),
        changes=True,
    ),
    "parley.auth.v1.AuthService.LogIn": Row(
        ANYBODY,
        lambda scene, role: auth.LogInRequest(
            username=scene.other.username, password=PASSWORD, request_id=_request_id()
        ),
        changes=True,
    ),
    "parley.auth.v1.AuthService.Refresh": Row(
        ANYBODY | {Role.ANONYMOUS: ("UNAUTHENTICATED", "REFRESH_TOKEN_INVALID"), Role.REVOKED: REVOKED},
        _refresh,
        changes=True,
    ),
    "parley.auth.v1.AuthService.LogOut": Row(USERS, lambda scene, role: auth.LogOutRequest(), changes=True),
    "parley.auth.v1.AuthService.ListDevices": Row(USERS, lambda scene, role: auth.ListDevicesRequest()),
    "parley.auth.v1.AuthService.RevokeDevice": Row(
        USERS | dict.fromkeys((Role.STRANGER, Role.OWNER, Role.OPERATOR), NO_DEVICE),
        lambda scene, role: auth.RevokeDeviceRequest(device_id=scene.member_second_device.device_id),
        changes=True,
    ),
    "parley.auth.v1.AuthService.GetJwks": Row(ANYBODY, lambda scene, role: auth.GetJwksRequest()),
    "parley.user.v1.UserService.GetUser": Row(
        USERS, lambda scene, role: users.GetUserRequest(username=scene.other.username)
    ),
    "parley.user.v1.UserService.BatchGetUsers": Row(
        USERS, lambda scene, role: users.BatchGetUsersRequest(user_ids=[scene.other.user_id])
    ),
    "parley.user.v1.UserService.UpdateProfile": Row(
        USERS,
        lambda scene, role: users.UpdateProfileRequest(
            user=user_pb2.User(user_id=scene.other.user_id, about="changed"),
            update_mask=FieldMask(paths=["about"]),
        ),
        changes=True,
    ),
    "parley.user.v1.UserService.SearchUsers": Row(
        USERS, lambda scene, role: users.SearchUsersRequest(query="u")
    ),
    "parley.channel.v1.ChannelService.CreateDirectChannel": Row(
        USERS,
        lambda scene, role: channels.CreateDirectChannelRequest(user_id=scene.other.user_id),
        changes=True,
    ),
    "parley.channel.v1.ChannelService.CreateChannel": Row(
        USERS,
        lambda scene, role: channels.CreateChannelRequest(
            title="new", member_ids=[scene.other.user_id], client_channel_id=uuid7()
        ),
        changes=True,
    ),
    "parley.channel.v1.ChannelService.GetChannel": Row(
        MEMBERS, lambda scene, role: channels.GetChannelRequest(channel_id=scene.channel_id)
    ),
    "parley.channel.v1.ChannelService.ListChannels": Row(
        USERS, lambda scene, role: channels.ListChannelsRequest()
    ),
    "parley.channel.v1.ChannelService.AddMembers": Row(
        OWNERS,
        lambda scene, role: channels.AddMembersRequest(
            channel_id=scene.channel_id, user_ids=[scene.people[Role.STRANGER].user_id]
        ),
        changes=True,
    ),
    "parley.channel.v1.ChannelService.RemoveMember": Row(
        OWNERS,
        lambda scene, role: channels.RemoveMemberRequest(
            channel_id=scene.channel_id, user_id=scene.other.user_id
        ),
        changes=True,
    ),
    "parley.channel.v1.ChannelService.LeaveChannel": Row(
        MEMBERS | {Role.OWNER: ("FAILED_PRECONDITION", "LAST_OWNER")},
        lambda scene, role: channels.LeaveChannelRequest(channel_id=scene.channel_id),
        changes=True,
    ),
    "parley.channel.v1.ChannelService.ListMembers": Row(
        MEMBERS, lambda scene, role: channels.ListMembersRequest(channel_id=scene.channel_id)
    ),
    "parley.chat.v1.ChatService.Connect": Row(
        USERS, lambda scene, role: stream_pb2.ConnectRequest(hello=stream_pb2.Hello())
    ),
    "parley.chat.v1.ChatService.Subscribe": Row(
        USERS, lambda scene, role: stream_pb2.SubscribeRequest(hello=stream_pb2.Hello())
    ),
    "parley.chat.v1.ChatService.Heartbeat": Row(
        USERS | dict.fromkeys((Role.STRANGER, Role.OWNER, Role.OPERATOR), NO_SESSION),
        lambda scene, role: stream_pb2.HeartbeatRequest(session_id=scene.session_id, foreground=True),
    ),
    # With a cursor of his own a user is taken at his word; another's is refused, whoever hands it in.
    "parley.chat.v1.ChatService.AckEvents": Row(
        # A cursor belongs to a user: any of his devices may name it, nobody else.
        USERS | dict.fromkeys((Role.STRANGER, Role.OWNER, Role.OPERATOR), NOT_HIS_CURSOR),
        lambda scene, role: message_requests_pb2.AckEventsRequest(cursor=scene.member_cursor),
        changes=True,
    ),
    "parley.chat.v1.ChatService.SendMessage": Row(
        MEMBERS, lambda scene, role: message(scene.channel_id), changes=True
    ),
    "parley.chat.v1.ChatService.GetMessage": Row(
        MEMBERS, lambda scene, role: chat.GetMessageRequest(channel_id=scene.channel_id, seq=5)
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
        lambda scene, role: message_requests_pb2.MarkReadRequest(channel_id=scene.channel_id, seq=5),
        changes=True,
    ),
    "parley.admin.v1.AdminService.CreateUser": Row(
        OPERATORS,
        lambda scene, role: admin.CreateUserRequest(
            username=_fresh_name(), password=PASSWORD, request_id=_request_id()
        ),
        changes=True,
    ),
    "parley.admin.v1.AdminService.SuspendUser": Row(
        OPERATORS, lambda scene, role: admin.SuspendUserRequest(user_id=scene.other.user_id), changes=True
    ),
}


def _contract_methods() -> dict[str, MethodDescriptor]:
    """Every RPC of every service in the generated packages, by full name."""
    methods = {}
    for found in pkgutil.walk_packages(parley.__path__, "parley."):
        if found.name.endswith("_pb2"):
            descriptor = importlib.import_module(found.name).DESCRIPTOR
            for service in descriptor.services_by_name.values():
                methods.update({method.full_name: method for method in service.methods})
    return methods


METHODS = _contract_methods()
# Every request that names a channel can be asked about one that is not there and one that is not yours.
OF_A_CHANNEL = [
    name
    for name, method in METHODS.items()
    if "channel_id" in method.input_type.fields_by_name and name in TABLE
]


def _path(full_name: str) -> str:
    service, _, method = full_name.rpartition(".")
    return f"/{service}/{method}"


def stores_of(data: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table of both databases, read from outside the node."""
    rows = {}
    for name in ("chat.db", "accounts.db"):
        with closing(sqlite3.connect(f"file:{data / name}?mode=ro", uri=True)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                found = connection.execute(f'SELECT * FROM "{table}"').fetchall()
                rows[f"{name}/{table}"] = sorted(found, key=repr)
    return rows


async def settled_stores_of(data: Path) -> dict[str, list[tuple[object, ...]]]:
    """The stores once the mark that trails each log (what was announced) has reached its head."""
    async with asyncio.timeout(10):
        while True:
            stores = await asyncio.to_thread(stores_of, data)
            if all(fanned == head for _, head, fanned in stores["chat.db/log_head"]):
                return stores
            await asyncio.sleep(0.005)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeProcess]:
    """One node for the whole table: every cell makes a scene of its own on it."""
    data = tmp_path_factory.mktemp("access") / "node"
    node = NodeProcess(data, {"limits.devices_per_user": 1000}, (CHEAP_PASSWORDS,))
    await node.start()
    yield node
    await node.close()
    assert "Traceback" not in node.stderr


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(node: NodeProcess) -> AsyncIterator[RawClient]:
    """A connection to it."""
    async with RawClient(node.address) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def operator_name(node: NodeProcess, client: RawClient) -> str:
    """An operator with a password, so that a cell can log a fresh device in."""
    request = admin.CreateUserRequest(
        username="boss", password=PASSWORD, operator=True, request_id=_request_id()
    )
    token = (("authorization", f"Bearer {node.operator_token}"),)
    await client.admin.CreateUser(request, metadata=token)
    return "boss"


async def make_scene(client: RawClient, operator_name: str) -> tuple[Scene, RawStream]:
    """A fresh group and fresh people; the stream is the member's and stays open as long as it is kept."""
    owner, member, stranger, other = [await client.sign_up() for _ in range(4)]
    operator = await client.log_in(operator_name)
    revoked = await client.log_in(member.username)
    second = await client.log_in(member.username)
    channel_id = await client.group(owner, [member, other])
    await client.send(owner, channel_id, "one")
    stream = await client.connect(member)
    await client.auth.RevokeDevice(
        auth.RevokeDeviceRequest(device_id=revoked.device_id), metadata=member.metadata
    )
    people = {
        Role.STRANGER: stranger,
        Role.MEMBER: member,
        Role.OWNER: owner,
        Role.OPERATOR: operator,
        Role.REVOKED: revoked,
    }
    return Scene(channel_id, people, other, second, stream.welcome.session_id, stream.cursor), stream


@pytest_asyncio.fixture(loop_scope="module")
async def scene(client: RawClient, operator_name: str) -> AsyncIterator[Scene]:
    """A scene for one test alone."""
    scene, stream = await make_scene(client, operator_name)
    yield scene
    stream.cancel()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing_scene(client: RawClient, operator_name: str) -> AsyncIterator[Scene]:
    """A scene for all that must change nothing."""
    scene, stream = await make_scene(client, operator_name)
    yield scene
    stream.cancel()


async def _ask(
    client: RawClient, method: MethodDescriptor, request: Message, person: Person | None
) -> Outcome:
    """Make the call, whatever its kind. A stream counts as OK once it has caught up."""
    path, encoded = _path(method.full_name), request.SerializeToString()
    if not method.server_streaming:
        return await outcome_of(client.raw(path, encoded, person))
    metadata = person.metadata if person else None
    if method.client_streaming:
        stream = client.open(metadata)
        await stream.send_bytes(encoded)
    else:
        call = client.channel.unary_stream(path, request_serializer=None, response_deserializer=None)
        stream = RawStream(call(encoded, metadata=metadata))
    try:
        await stream.caught_up()
    except StreamEnded as ended:
        return ended.outcome
    finally:
        stream.cancel()
    return await outcome_of(asyncio.sleep(0))


def _cells() -> Iterator[Any]:
    for name in sorted(METHODS):
        for role in Role:
            yield pytest.param(name, role, id=f"{name.removeprefix('parley.')}-{role.name.lower()}")


async def test_every_rpc_has_a_row_and_every_row_an_rpc() -> None:
    """Planted once: without the row of GetInbox this failed, and so did the cells of GetInbox."""
    assert set(TABLE) == set(METHODS)
    for name, row in TABLE.items():
        assert set(row.answers) == set(Role), name


@pytest.mark.parametrize(("name", "role"), list(_cells()))
async def test_cell(
    name: str,
    role: Role,
    node: NodeProcess,
    client: RawClient,
    operator_name: str,
    standing_scene: Scene,
) -> None:
    """One RPC, one caller: code, reason, and whether the stores may be touched.

    Planted once: GetChannel without its membership check answered OK to the stranger, and a MarkRead that
    wrote before it asked for the membership changed `read_mark`; both were caught here.
    """
    assert name in TABLE, f"{name} has no row in the access table: say who may call it"
    row = TABLE[name]
    changes = row.changes and row.answers[role] == OK
    scene, stream = (standing_scene, None) if not changes else await make_scene(client, operator_name)
    before = await settled_stores_of(node.data)
    outcome = await _ask(client, METHODS[name], row.request(scene, role), scene.of(role))
    assert outcome.brief == row.answers[role], outcome.message
    after = await settled_stores_of(node.data)
    assert (after != before) is changes
    if stream is not None:
        stream.cancel()


@pytest.mark.parametrize("name", [pytest.param(name, id=name.rpartition(".")[2]) for name in OF_A_CHANNEL])
@pytest.mark.parametrize("role", [Role.STRANGER, Role.OPERATOR], ids=lambda role: role.name.lower())
async def test_unknown_and_foreign_channels_answer_with_equal_bytes(
    name: str, role: Role, client: RawClient, scene: Scene
) -> None:
    """Nobody can find out which channels exist: the whole status and all trailing metadata are compared.

    Planted once: a refusal that named the channel id in its message differed here.
    """
    request: Any = TABLE[name].request(scene, role)
    foreign = await _ask(client, METHODS[name], request, scene.of(role))
    direct_id = await client.direct(scene.people[Role.OWNER], scene.people[Role.MEMBER])
    outcomes = []
    for channel_id in (direct_id, "g" + "0" * 40, "d" + "f" * 40, "nonsense", "0", "\0", "채널", "x" * 4096):
        request.channel_id = channel_id
        outcomes.append(await _ask(client, METHODS[name], request, scene.of(role)))
    assert foreign.brief == NO_CHANNEL
    assert foreign.trailing
    assert outcomes == [foreign] * len(outcomes)


@pytest.mark.parametrize("name", [pytest.param(name, id=name.rpartition(".")[2]) for name in OF_A_CHANNEL])
async def test_an_empty_channel_id_is_a_violation_of_that_field(
    name: str, client: RawClient, scene: Scene
) -> None:
    """`Required` means the same for every call; ListMessages and others once said CHANNEL_NOT_FOUND."""
    request: Any = TABLE[name].request(scene, Role.OWNER)
    request.channel_id = ""
    outcome = await _ask(client, METHODS[name], request, scene.of(Role.OWNER))
    assert outcome.brief == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert outcome.violated_fields == ["channel_id"]


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
        for seq in (5, 1, 6, 7, 2**32 + 5, 2**53, 2**63 - 1)
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


async def test_every_served_method_is_implemented(client: RawClient, operator_name: str) -> None:
    """What reflection shows is served, and what the contract holds is shown: a walk over the descriptors.

    Planted once: with UserService registered from the bare generated class this found UNIMPLEMENTED.
    """
    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    request: Any = reflection_pb2.ServerReflectionRequest
    names = [request(list_services="")]
    listed = [answer async for answer in reflection.ServerReflectionInfo(iter(names))]
    services = [service.name for service in listed[0].list_services_response.service]
    served: dict[str, bool] = {}
    for service_name in services:
        asked = [request(file_containing_symbol=service_name)]
        async for answer in reflection.ServerReflectionInfo(iter(asked)):
            for encoded in answer.file_descriptor_response.file_descriptor_proto:
                file = descriptor_pb2.FileDescriptorProto.FromString(encoded)
                for service in file.service:
                    full_name = f"{file.package}.{service.name}"
                    if full_name in services:
                        for method in service.method:
                            streams = method.client_streaming or method.server_streaming
                            served[f"{full_name}.{method.name}"] = streams
    assert {name for name in served if name.startswith("parley.")} == set(METHODS)
    assert {name.rpartition(".")[0] for name in served} == set(services)
    for name, streams in served.items():
        if not streams:
            # A fresh device each time: one of the calls is LogOut.
            operator = await client.log_in(operator_name)
            outcome = await outcome_of(client.raw(_path(name), b"", operator))
            assert outcome.code.name != "UNIMPLEMENTED", name
            assert outcome.code.name != "INTERNAL", name
    for name in ("no.such.Service.Method", "parley.chat.v1.ChatService.NoSuchMethod"):
        outcome = await outcome_of(client.raw(_path(name), b"", operator))
        assert outcome.code.name == "UNIMPLEMENTED"
