"""Pages of every list: their size, their bytes, and tokens that nobody gave out."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from parley.auth.v1 import auth_service_pb2 as auth
from parley.channel.v1 import channel_service_pb2 as channels
from parley.chat.v1 import chat_service_pb2 as chat
from parley.user.v1 import user_service_pb2 as users
from parley_server.testing.longest_texts import LONGEST_TEXTS
from parley_server.testing.raw_client import outcome_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from parley_server.testing.raw_client import Person, RawClient

pytestmark = pytest.mark.asyncio(loop_scope="module")

VIOLATION = ("INVALID_ARGUMENT", "INVALID_FIELD")
LISTS: dict[str, Callable[..., Any]] = {
    "auth.ListDevices": auth.ListDevicesRequest,
    "users.SearchUsers": lambda **page: users.SearchUsersRequest(query="u", **page),
    "channels.ListChannels": channels.ListChannelsRequest,
    "channels.ListMembers": channels.ListMembersRequest,
    "chat.ListMessages": chat.ListMessagesRequest,
    "chat.ListEvents": chat.ListEventsRequest,
    "chat.GetInbox": chat.GetInboxRequest,
}
WITH_CHANNEL = ("channels.ListMembers", "chat.ListMessages", "chat.ListEvents")


def _token(place: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


FORGED_TOKENS = [
    "x",
    "====",
    "한글",
    "\0",
    "AAAA",
    "!" * 100,
    "A" * 500_000,
    base64.urlsafe_b64encode(b"[" * 300_000).decode(),
    base64.urlsafe_b64encode(b'{"a":' * 100_000).decode(),
    base64.urlsafe_b64encode(b'["\\ud800"]').decode(),
    base64.urlsafe_b64encode(b"[1e999]").decode(),
    base64.urlsafe_b64encode(b"[" + b"9" * 5000 + b"]").decode(),
    *map(
        _token,
        (
            [],
            {},
            None,
            [None],
            [True],
            [1.5],
            [[1]],
            ["\0"],
            ["x" * 100_000],
            [-1],
            [0],
            [2**53],
            [2**63 - 1],
            [2**63],
            [-(2**63)],
            [2**64],
            [10**30],
            [1, "x"],
            [-(10**30), "x"],
            [2**63, "d" + "0" * 32],
            [-(2**63) - 1, "d" + "0" * 32],
            [2**62, "d" + "0" * 32],
            [10**30, ""],
            ["x", 1],
            [1, 2, 3],
        ),
    ),
]


async def _list(client: RawClient, name: str, pair: tuple[Person, Person, str], **page: Any) -> Any:
    stub, _, method = name.partition(".")
    if name in WITH_CHANNEL:
        page["channel_id"] = pair[2]
    call = getattr(getattr(client, stub), method)
    return await call(LISTS[name](**page), metadata=pair[0].metadata)


@pytest.mark.parametrize("name", LISTS)
async def test_forged_and_foreign_page_tokens(
    client: RawClient, pair: tuple[Person, Person, str], name: str
) -> None:
    """A token that is not the list's own is refused as a field, or names a harmless place: never a defect.

    Planted once, by the code as it was: nesting 300,000 deep and integers beyond 64 bits were INTERNAL.
    """
    alice = pair[0]
    for _ in range(2):
        await client.group(alice)
        await client.log_in(alice.username)
        await client.send(alice, pair[2])
    foreign = []
    for other in LISTS:
        page = await _list(client, other, pair, page_size=1)
        assert page.next_page_token, other
        foreign.append(page.next_page_token)
    for token in (*FORGED_TOKENS, *foreign):
        outcome = await outcome_of(_list(client, name, pair, page_token=token))
        if outcome.code.name != "OK":
            assert outcome.brief == VIOLATION, token[:60]
            assert outcome.violated_fields in (["page_token"], ["before_seq"], ["from_seq"]), token[:60]


@pytest.mark.parametrize("name", LISTS)
async def test_page_sizes(client: RawClient, pair: tuple[Person, Person, str], name: str) -> None:
    """Negative ones are refused, however negative; large ones mean 200; walking by one finds what one page
    holds.
    """
    for size in (-1, -(2**31)):
        outcome = await outcome_of(_list(client, name, pair, page_size=size))
        assert outcome.brief == VIOLATION
        assert outcome.violated_fields == ["page_size"]
    whole = await _list(client, name, pair, page_size=2**31 - 1)
    field = whole.DESCRIPTOR.fields[0].name
    at_once = list(getattr(whole, field))
    if whole.next_page_token:
        assert len(at_once) == 200
    one_by_one: list[Any] = []
    token = ""
    while len(one_by_one) < min(len(at_once), 20):
        page = await _list(client, name, pair, page_size=1, page_token=token)
        assert len(getattr(page, field)) == 1
        one_by_one.extend(getattr(page, field))
        token = page.next_page_token
    assert one_by_one == at_once[: len(one_by_one)]


async def test_pages_end_at_a_mebibyte_and_miss_nothing(client: RawClient) -> None:
    """Ten messages of 300 KB do not fit one page: walking the pages both ways finds each once, in order, and
    no page would meet a client's limit of 4 MiB.
    """
    alice, bob = await client.sign_up(), await client.sign_up()
    channel_id = await client.direct(alice, bob)
    text = LONGEST_TEXTS["korean"]
    for _ in range(10):
        await client.send(alice, channel_id, text)
    read: dict[str, Any] = {"channel_id": channel_id, "page_size": 200}
    for kind, call in (
        (chat.ListMessagesRequest, client.chat.ListMessages),
        (chat.ListEventsRequest, client.chat.ListEvents),
    ):
        request: Any = kind(**read)
        seqs: list[int] = []
        pages = 0
        while pages == 0 or request.page_token:
            page = await call(request, metadata=bob.metadata)
            assert page.ByteSize() < (1 << 20) + 1000
            assert page.events
            seqs.extend(event.seq for event in page.events if event.HasField("message"))
            request.page_token = page.next_page_token
            pages += 1
        assert pages >= 3
        newest_first = kind is chat.ListMessagesRequest
        assert seqs == sorted(range(4, 14), reverse=newest_first)
