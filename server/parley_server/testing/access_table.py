"""Who may call what: the people, the scene and the questions behind the access tables of the tests.

Each service has a table of its own: one `Row` per RPC, one `Answer` per `Role`.
"""

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

from parley.auth.v1 import auth_service_pb2 as auth
from parley.channel.v1 import channel_pb2
from parley.channel.v1 import channel_service_pb2 as channels
from parley.user.v1 import user_service_pb2 as users
from parley_server.testing.raw_client import (
    Outcome,
    Person,
    RawClient,
    RawStream,
    StreamEnded,
    outcome_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from google.protobuf.descriptor import MethodDescriptor
    from google.protobuf.message import Message


class Role(enum.Enum):
    """Who calls. Member, admin and owner are in the scene's group. The banned user may not enter it; the
    blocked one was blocked by the scene's other member.
    """

    ANONYMOUS = enum.auto()
    STRANGER = enum.auto()
    BANNED = enum.auto()
    BLOCKED = enum.auto()
    MEMBER = enum.auto()
    ADMIN = enum.auto()
    OWNER = enum.auto()
    OPERATOR = enum.auto()
    REVOKED = enum.auto()


OUTSIDE = (Role.STRANGER, Role.BANNED, Role.BLOCKED, Role.OPERATOR)
"""Users who are not in the scene's group."""


@dataclass
class Scene:
    """A group with a message of the owner's at MESSAGE_SEQ, and everybody who may try something with it."""

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
NOT_AUTHOR: Answer = ("PERMISSION_DENIED", "NOT_AUTHOR")
NO_INVITE: Answer = ("NOT_FOUND", "INVITE_NOT_FOUND")
NEEDS_OPERATOR: Answer = ("PERMISSION_DENIED", "OPERATOR_REQUIRED")
NO_SESSION: Answer = ("NOT_FOUND", "SESSION_NOT_FOUND")
NOT_HIS_CURSOR: Answer = ("INVALID_ARGUMENT", "INVALID_FIELD")
NO_DEVICE: Answer = ("NOT_FOUND", "DEVICE_NOT_FOUND")
BLOCKED: Answer = ("FAILED_PRECONDITION", "BLOCKED")

MESSAGE_SEQ = 6
"""Where the owner's message stands in the scene's group."""

ANYBODY = dict.fromkeys(Role, OK)
USERS = ANYBODY | {Role.ANONYMOUS: NO_TOKEN, Role.REVOKED: REVOKED}
MEMBERS = USERS | dict.fromkeys(OUTSIDE, NO_CHANNEL)
ADMINS = MEMBERS | {Role.MEMBER: NEEDS_ROLE}
OWNERS = ADMINS | {Role.ADMIN: NEEDS_ROLE}
OPERATORS = dict.fromkeys(Role, NEEDS_OPERATOR) | {
    Role.ANONYMOUS: NO_TOKEN,
    Role.REVOKED: REVOKED,
    Role.OPERATOR: OK,
}


def only_the_member(answer: Answer) -> dict[Role, Answer]:
    """OK for the scene's member, `answer` for every other user."""
    others = set(Role) - {Role.ANONYMOUS, Role.REVOKED, Role.MEMBER}
    return USERS | dict.fromkeys(others, answer)


@dataclass(frozen=True)
class Row:
    """What one RPC answers to whom. `changes`: whether its success may change a store."""

    answers: Mapping[Role, Answer]
    request: Callable[[Scene, Role], Message]
    changes: bool = False


def request_id() -> str:
    """A request id that nobody used."""
    return str(uuid.uuid4())


def fresh_name() -> str:
    """A username that nobody has."""
    return f"n{uuid.uuid4().hex[:12]}"


def _contract_methods() -> dict[str, MethodDescriptor]:
    """Every RPC of every service in the generated packages, by full name."""
    methods = {}
    stubs = Path(auth.__file__).parents[2]
    for found in pkgutil.walk_packages([str(stubs)], "parley."):
        if found.name.endswith("_pb2"):
            descriptor = importlib.import_module(found.name).DESCRIPTOR
            for service in descriptor.services_by_name.values():
                methods.update({method.full_name: method for method in service.methods})
    return methods


METHODS = _contract_methods()
"""Every RPC of the contract."""


def methods_of(service: str) -> set[str]:
    """The full names of a service's RPCs."""
    return {name for name in METHODS if name.rpartition(".")[0] == service}


def of_a_channel(table: Mapping[str, Row]) -> list[str]:
    """The RPCs that name a channel: each can be asked about one that is not there or not yours."""
    return [name for name in table if "channel_id" in METHODS[name].input_type.fields_by_name]


def cells(table: Mapping[str, Row]) -> Iterator[tuple[str, Role]]:
    """Every RPC with every role."""
    for name in sorted(table):
        for role in Role:
            yield name, role


def cell_id(part: object) -> str:
    """A short name for a test's parameter."""
    return part.name.lower() if isinstance(part, Role) else str(part).rpartition(".")[2]


def path_of(full_name: str) -> str:
    """The path that names the RPC on the wire."""
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
    """The stores once nothing is left to be done in the background: deleted accounts and texts are erased.
    Without the marks that trail each log (what was announced), which follow in their own time.
    """
    async with asyncio.timeout(10):
        while True:
            stores = await asyncio.to_thread(stores_of, data)
            stores["chat.db/log_head"] = [row[:2] for row in stores["chat.db/log_head"]]
            # What is only kept to be compacted goes in its own time.
            deleted = all(finished for _, _, finished in stores.pop("accounts.db/deletions"))
            if deleted and not stores["chat.db/erasure_due"]:
                return stores
            await asyncio.sleep(0.005)


async def make_scene(client: RawClient, operator_name: str) -> tuple[Scene, RawStream]:
    """A fresh group and fresh people; the stream is the member's and stays open as long as it is kept."""
    owner, admin, member, stranger, banned, blocked, other = [await client.sign_up() for _ in range(7)]
    operator = await client.log_in(operator_name)
    revoked = await client.log_in(member.username)
    second = await client.log_in(member.username)
    channel_id = await client.group(owner, [admin, member, other])
    assert (await client.send(owner, channel_id, "one")).seq == MESSAGE_SEQ
    await client.channels.SetMemberRole(
        channels.SetMemberRoleRequest(
            channel_id=channel_id, user_id=admin.user_id, role=channel_pb2.ROLE_ADMIN
        ),
        metadata=owner.metadata,
    )
    await client.channels.BanMember(
        channels.BanMemberRequest(channel_id=channel_id, user_id=banned.user_id), metadata=owner.metadata
    )
    await client.users.BlockUser(users.BlockUserRequest(user_id=blocked.user_id), metadata=other.metadata)
    stream = await client.connect(member)
    await client.auth.RevokeDevice(
        auth.RevokeDeviceRequest(device_id=revoked.device_id), metadata=member.metadata
    )
    people = {
        Role.STRANGER: stranger,
        Role.BANNED: banned,
        Role.BLOCKED: blocked,
        Role.MEMBER: member,
        Role.ADMIN: admin,
        Role.OWNER: owner,
        Role.OPERATOR: operator,
        Role.REVOKED: revoked,
    }
    return Scene(channel_id, people, other, second, stream.welcome.session_id, stream.cursor), stream


async def ask(
    client: RawClient, method: MethodDescriptor, request: Message, person: Person | None
) -> Outcome:
    """Make the call, whatever its kind. A stream counts as OK once it has caught up."""
    path, encoded = path_of(method.full_name), request.SerializeToString()
    if not method.server_streaming:
        return await outcome_of(client.raw(path, encoded, person))
    metadata = person.metadata if person else None
    if method.client_streaming:
        stream = client.open(metadata)
        await stream.send_bytes(encoded)
    else:
        call = client.channel.unary_stream(path, request_serializer=None, response_deserializer=None)
        if method.containing_service.name != "ChatService":
            return await outcome_of(_to_the_end(call(encoded, metadata=metadata)))
        stream = RawStream(call(encoded, metadata=metadata))
    try:
        await stream.caught_up()
    except StreamEnded as ended:
        return ended.outcome
    finally:
        stream.cancel()
    return await outcome_of(asyncio.sleep(0))


async def _to_the_end(call: Any) -> None:
    async for _ in call:
        pass
