"""Names of users, devices and groups: which pass, which are refused, which are the same."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from parley.auth.v1 import auth_service_pb2 as auth
from parley.channel.v1 import channel_service_pb2 as channels
from parley_server.testing.raw_client import PASSWORD, outcome_of, uuid7

if TYPE_CHECKING:
    from parley_server.testing.raw_client import Person, RawClient

pytestmark = pytest.mark.asyncio(loop_scope="module")

VIOLATION = ("INVALID_ARGUMENT", "INVALID_FIELD")


@pytest.mark.parametrize(
    ("title", "passes"),
    [
        ("", False),
        (" \u3164\u200b", False),
        ("가" * 128, True),
        ("가" * 129, False),
        ("👩\u200d👧" * 42 + "xy", True),
    ],
)
async def test_titles(client: RawClient, pair: tuple[Person, Person, str], title: str, passes: bool) -> None:
    """1 to 128 code points, one of them visible, kept as they are."""
    request = channels.CreateChannelRequest(title=title, client_channel_id=uuid7())
    if passes:
        made = await client.channels.CreateChannel(request, metadata=pair[0].metadata)
        assert made.channel.title == title
    else:
        outcome = await outcome_of(client.channels.CreateChannel(request, metadata=pair[0].metadata))
        assert outcome.brief == VIOLATION
        assert outcome.violated_fields == ["title"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", ""),
        ("username", "a" * 65),
        ("username", "ﷺ" * 8),
        ("username", "a b"),
        ("username", "-a"),
        ("username", "a\0"),
        ("username", "\u3164"),
        ("username", "a@b"),
        ("username", "x" * 500_000),
        ("password", ""),
        ("password", "seven77"),
        ("password", "x" * 257),
        ("display_name", "가" * 65),
        ("display_name", "a\x1b[31m"),
        ("device_name", "가" * 65),
        ("device_name", "a\nb"),
    ],
)
async def test_sign_up_fields(client: RawClient, field: str, value: str) -> None:
    """Each field of SignUp is refused by its own name, and nobody is signed up."""
    request = auth.SignUpRequest(
        username=f"n{uuid.uuid4().hex[:12]}", password=PASSWORD, request_id=str(uuid.uuid4())
    )
    setattr(request, field, value)
    outcome = await outcome_of(client.auth.SignUp(request))
    assert outcome.brief == VIOLATION
    assert outcome.violated_fields == [field]
    if value:
        assert value not in outcome.message


async def test_names_that_look_the_same_are_the_same(client: RawClient) -> None:
    """NFKC and case folding: one of these names is one account, and log-in finds it by any of them."""
    stem = uuid.uuid4().hex[:8]
    made = await client.sign_up(f"Straße{stem}")
    for taken in (f"STRASSE{stem}", f"strasse{stem}", f"ＳＴＲＡＳＳＥ{stem}"):
        assert (await outcome_of(client.sign_up(taken))).brief == ("ALREADY_EXISTS", "USERNAME_TAKEN")
        assert (await client.log_in(taken)).user_id == made.user_id
    korean = await client.sign_up(f"한글{stem}")
    assert (await client.log_in(f"\u1112\u1161\u11ab\u1100\u1173\u11af{stem}")).user_id == korean.user_id
