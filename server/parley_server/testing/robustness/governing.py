"""Those who rule the groups of a run: roles, removals, additions, bans, invites, joinings, settings."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc.aio
from google.protobuf import field_mask_pb2

from parley.channel.v1 import channel_pb2, channel_service_pb2
from parley_server.testing.raw_client import uuid7
from parley_server.testing.robustness.changes_cast import ADMIN, OWNER, STAYERS
from parley_server.testing.robustness.history import Outcome
from parley_server.testing.robustness.line import verdict_of_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from parley_server.testing.raw_client import Person, RawClient
    from parley_server.testing.robustness.changes_cast import ChangesCast
    from parley_server.testing.robustness.changes_history import ChangesHistory
    from parley_server.testing.robustness.line import Line

_WEIGHTS = {"role": 5, "remove": 4, "add": 5, "ban": 2, "unban": 3, "invite": 4, "leave": 1, "title": 2}


class Governor:
    """Rules by chance, one thing after the other; each is repeated until it is answered, refusals included.
    What was answered with success is counted in the history's `governed`.
    """

    def __init__(
        self,
        cast: ChangesCast,
        line: Line,
        history: ChangesHistory,
        random: Random,
        *,
        pause_seconds: tuple[float, float] = (0.0, 0.05),
        call_seconds: float = 5.0,
    ) -> None:
        self._cast = cast
        self._line = line
        self._history = history
        self._random = random
        self._pause_seconds = pause_seconds
        self._call_seconds = call_seconds
        self._titles = 0

    async def run(self) -> None:
        """Rule until cancelled."""
        while True:
            kind = self._random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
            await self._rule(kind, self._random.choice(self._cast.groups))
            await asyncio.sleep(self._random.uniform(*self._pause_seconds))

    async def settle(self) -> None:
        """Lift all bans and have everybody be a member."""
        owner = self._cast.users[OWNER]
        for channel_id in self._cast.groups:
            for roamer in self._cast.roamers:
                unban = channel_service_pb2.UnbanMemberRequest(channel_id=channel_id, user_id=roamer.user_id)
                await self._ask("unban", owner, lambda client: client.channels.UnbanMember, unban)
            add = channel_service_pb2.AddMembersRequest(
                channel_id=channel_id, user_ids=[roamer.user_id for roamer in self._cast.roamers]
            )
            await self._ask("add", owner, lambda client: client.channels.AddMembers, add)

    async def end_channel(self) -> None:
        """Delete the group that is to end."""
        request = channel_service_pb2.DeleteChannelRequest(channel_id=self._cast.doomed)
        owner = self._cast.users[OWNER]
        await self._ask("channel deleted", owner, lambda client: client.channels.DeleteChannel, request)

    async def close(self) -> None:
        """Drop the connection."""
        await self._line.close()

    async def _rule(self, kind: str, channel_id: str) -> None:
        random, cast = self._random, self._cast
        owner, admin, roamer = cast.users[OWNER], cast.users[ADMIN], random.choice(cast.roamers)
        ruler = random.choice((owner, admin))
        about = {"channel_id": channel_id, "user_id": roamer.user_id}
        pb = channel_service_pb2
        match kind:
            case "role":
                whom = random.choice((*cast.users[ADMIN + 1 : STAYERS], roamer))
                role = random.choice((channel_pb2.ROLE_MEMBER, channel_pb2.ROLE_ADMIN))
                request: Any = pb.SetMemberRoleRequest(channel_id=channel_id, user_id=whom.user_id, role=role)
                await self._ask(kind, owner, lambda client: client.channels.SetMemberRole, request)
            case "remove":
                request = pb.RemoveMemberRequest(**about)
                await self._ask(kind, ruler, lambda client: client.channels.RemoveMember, request)
            case "add":
                request = pb.AddMembersRequest(channel_id=channel_id, user_ids=[roamer.user_id])
                await self._ask(kind, ruler, lambda client: client.channels.AddMembers, request)
            case "ban":
                request = pb.BanMemberRequest(**about)
                await self._ask(kind, ruler, lambda client: client.channels.BanMember, request)
            case "unban":
                request = pb.UnbanMemberRequest(**about)
                await self._ask(kind, ruler, lambda client: client.channels.UnbanMember, request)
            case "leave":
                request = pb.LeaveChannelRequest(channel_id=channel_id)
                await self._ask(kind, roamer, lambda client: client.channels.LeaveChannel, request)
            case "title":
                self._titles += 1
                request = pb.UpdateChannelRequest(
                    channel_id=channel_id,
                    settings=pb.ChannelSettings(title=f"title {self._titles}"),
                    update_mask=field_mask_pb2.FieldMask(paths=["title"]),
                )
                await self._ask(kind, ruler, lambda client: client.channels.UpdateChannel, request)
            case _:
                await self._invite(channel_id, ruler)

    async def _invite(self, channel_id: str, ruler: Person) -> None:
        """Make an invite for one, and have all roamers try to join by it at once."""
        request = channel_service_pb2.CreateInviteRequest(
            channel_id=channel_id, client_invite_id=uuid7(), use_limit=1
        )
        answer = await self._ask("invite", ruler, lambda client: client.channels.CreateInvite, request)
        if answer is not None:
            join = channel_service_pb2.JoinChannelRequest(code=answer.code)
            await asyncio.gather(
                *(
                    self._ask("join", roamer, lambda client: client.channels.JoinChannel, join)
                    for roamer in self._cast.roamers
                )
            )

    async def _ask(
        self, kind: str, person: Person, call: Callable[[RawClient], Any], request: Any
    ) -> Any | None:
        """The answer, None when it was refused."""
        while True:
            client = await self._line.client()
            try:
                answer = await call(client)(request, metadata=person.metadata, timeout=self._call_seconds)
            except grpc.aio.AioRpcError as error:
                verdict = verdict_of_error(error)
                if verdict.outcome is Outcome.REFUSED and not verdict.again:
                    return None
                await self._line.broke()
            else:
                self._history.governed[kind] = self._history.governed.get(kind, 0) + 1
                return answer
