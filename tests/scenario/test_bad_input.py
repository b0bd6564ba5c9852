"""Bytes that are no request, and tokens that are no token: each its documented error, and nothing stored."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from parley.admin.v1 import admin_service_pb2 as admin
from parley.auth.v1 import auth_service_pb2 as auth
from parley.channel.v1 import channel_service_pb2 as channels
from parley.chat.v1 import chat_service_pb2 as chat
from parley.chat.v1 import stream_pb2
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.raw_client import (
    PASSWORD,
    Person,
    RawClient,
    RawStream,
    StreamEnded,
    bearer,
    message,
    outcome_of,
    uuid7,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHEAP_PASSWORDS = Path(__file__).parent.parent / "planted" / "cheap_passwords.py"
SEND = "/parley.chat.v1.ChatService/SendMessage"
MALFORMED = ("INVALID_ARGUMENT", "MALFORMED_FRAME")
INVALID_TOKEN = ("UNAUTHENTICATED", "TOKEN_INVALID")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeProcess]:
    """A node that all tests here try to upset."""
    node = NodeProcess(tmp_path_factory.mktemp("bad") / "node", plants=(CHEAP_PASSWORDS,))
    await node.start()
    yield node
    await node.close()
    assert "Traceback" not in node.stderr


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(node: NodeProcess) -> AsyncIterator[RawClient]:
    """A connection to it."""
    async with RawClient(node.address) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def talk(client: RawClient) -> AsyncIterator[tuple[Person, Person, str]]:
    """Two people and their channel. Whatever the test did: only what was sent by right is in it, and the
    other's stream never noticed.
    """
    alice, bob = await client.sign_up(), await client.sign_up()
    channel_id = await client.direct(alice, bob)
    bystander = await client.connect(bob)
    yield alice, bob, channel_id
    sent = await client.send(bob, channel_id, "the only message")
    assert sent.seq == 4
    await bystander.until(lambda: bystander.events)
    await bystander.barrier()
    assert bystander.event_seqs(channel_id) == [4]
    bystander.cancel()


def _field(number: int, encoded: bytes) -> bytes:
    assert len(encoded) < 128
    return bytes([number << 3 | 2, len(encoded)]) + encoded


def _send_bytes(channel_id: str, text: bytes) -> bytes:
    return _field(1, channel_id.encode()) + _field(2, uuid7().encode()) + _field(3, text)


NOT_UTF8 = {
    "lone-byte": b"\xff",
    "cut-sequence": "한".encode()[:2],
    "overlong": b"\xc0\xaf",
    "surrogate": b"\xed\xa0\x80",
    "surrogate-pair": b"\xed\xa0\xbd\xed\xb8\x80",
    "beyond-unicode": b"\xf4\x90\x80\x80",
    "euc-kr": "한글".encode("euc-kr"),
}


@pytest.mark.parametrize("kind", NOT_UTF8)
async def test_text_that_is_not_utf8(client: RawClient, talk: tuple[Person, Person, str], kind: str) -> None:
    """MALFORMED_FRAME by unary call; on a stream it ends that stream alone.

    Planted once: with the decoder's error not caught the unary answer was INTERNAL.
    """
    alice, _, channel_id = talk
    encoded = _send_bytes(channel_id, b"before " + NOT_UTF8[kind])
    assert (await outcome_of(client.raw(SEND, encoded, alice))).brief == MALFORMED
    stream = await client.connect(alice)
    await stream.send_bytes(b"\x08\x01" + _field(3, encoded))
    assert (await stream.end()).brief == MALFORMED
    assert (await client.open_subscribe(alice, _field(1, _field(2, NOT_UTF8[kind]))).end()).brief == MALFORMED


@pytest.mark.parametrize(
    "encoded",
    [b"\xff", b"\x0a", b"\x0a\x05abc", b"\x0b", b"\x00", b"\x07", bytes(range(256)), b"\x80" * 20, b"{}"],
)
async def test_garbage_bytes(client: RawClient, talk: tuple[Person, Person, str], encoded: bytes) -> None:
    """What is no message at all: MALFORMED_FRAME for every unary call that it is sent to."""
    for method in (
        SEND,
        "/parley.auth.v1.AuthService/SignUp",
        "/parley.user.v1.UserService/GetUser",
        "/parley.channel.v1.ChannelService/CreateChannel",
    ):
        assert (await outcome_of(client.raw(method, encoded, talk[0]))).brief == MALFORMED, method


async def test_fields_of_a_future_client_are_passed_over(
    client: RawClient, talk: tuple[Person, Person, str]
) -> None:
    """Unknown fields are no error: a newer client talks to this node."""
    alice = talk[0]
    known = channels.CreateChannelRequest(title="future", client_channel_id=uuid7()).SerializeToString()
    method = "/parley.channel.v1.ChannelService/CreateChannel"
    outcome = await outcome_of(client.raw(method, known + b"\xf8\x07\x01" + b"\xfa\x07\x02hi", alice))
    assert outcome.brief == ("OK", "")
    for value in (3, -1, 2**31 - 1):
        unknown = channels.CreateChannelRequest(
            title="future",
            history_visibility=value,  # type: ignore[arg-type]
            client_channel_id=uuid7(),
        )
        outcome = await outcome_of(client.channels.CreateChannel(unknown, metadata=alice.metadata))
        assert outcome.violated_fields == ["history_visibility"]


# Tokens


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _json(value: object) -> str:
    return _base64url(json.dumps(value).encode())


def _part(token: str, number: int) -> dict[str, Any]:
    part: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[number] + "=="))
    return part


class Forger:
    """Makes tokens that are nearly right, knowing all that a thief of the data folder's copy would."""

    def __init__(self, node: NodeProcess, genuine: str) -> None:
        stored = json.loads((node.data / "keys.json").read_text())["keys"][0]
        self.own = Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode(stored["d"] + "=="))
        self.header, self.claims = _part(genuine, 0), _part(genuine, 1)

    def signed(self, key: Ed25519PrivateKey | None = None, **changed: Any) -> str:
        """A token of the same claims but for what is changed (None: left out), signed by `key`."""
        claims = {name: value for name, value in (self.claims | changed).items() if value is not None}
        body = f"{_json(self.header)}.{_json(claims)}"
        return f"{body}.{_base64url((key or self.own).sign(body.encode()))}"

    def unsigned(self, algorithm: str) -> str:
        """`alg: none`, spelt as given."""
        return f"{_json({'alg': algorithm, 'typ': 'JWT'})}.{_json(self.claims)}."

    def mac_with_public_key(self, form: str) -> str:
        """HS256 with the public key, in one of its written forms, as the secret."""
        public = self.own.public_key()
        secret = {
            "raw": public.public_bytes_raw(),
            "x": _base64url(public.public_bytes_raw()).encode(),
            "pem": public.public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
            "der": public.public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
        }[form]
        body = f"{_json(self.header | {'alg': 'HS256'})}.{_json(self.claims)}"
        return f"{body}.{_base64url(hmac.digest(secret, body.encode(), hashlib.sha256))}"


def _forged_tokens(forger: Forger, genuine: str) -> dict[str, tuple[str, tuple[str, str]]]:
    now = int(time.time())
    head, body, signature = genuine.split(".")
    expired = ("UNAUTHENTICATED", "TOKEN_EXPIRED")
    bad = {
        "garbage": "garbage",
        "three-dots": "a.b.c",
        "empty-parts": "..",
        "other-key": forger.signed(Ed25519PrivateKey.generate()),
        "none": forger.unsigned("none"),
        "None": forger.unsigned("None"),
        "nOnE-with-signature": forger.unsigned("nOnE") + signature,
        **{f"hs256-{form}": forger.mac_with_public_key(form) for form in ("raw", "x", "pem", "der")},
        "other-audience": forger.signed(aud="other"),
        "audience-list": forger.signed(aud=["parley", "other"]),
        "no-audience": forger.signed(aud=None),
        "other-issuer": forger.signed(iss="other"),
        "no-expiry": forger.signed(exp=None),
        "expiry-text": forger.signed(exp="9999999999"),
        "expiry-float": forger.signed(exp=now + 900.5),
        "no-device": forger.signed(did=None),
        "device-number": forger.signed(did=7),
        "operator-text": forger.signed(op="true"),
        "no-subject": forger.signed(sub=None),
        "signature-cut": genuine[:-4],
        "signature-changed": f"{head}.{body}.{'A' * len(signature)}",
        "claims-changed": f"{head}.{_json(forger.claims | {'op': True})}.{signature}",
        "long": genuine + "A" * 5000,
        "twice": f"{genuine} {genuine}",
    }
    tokens = {name: (token, INVALID_TOKEN) for name, token in bad.items()}
    tokens["expired"] = (forger.signed(exp=now - 60, iat=now - 960), expired)
    tokens["expired-long-ago"] = (forger.signed(exp=1), expired)
    return tokens


async def test_forged_tokens(node: NodeProcess, client: RawClient, talk: tuple[Person, Person, str]) -> None:
    """Each token that nearly is one: its error for the unary call, Connect and Subscribe alike.

    Planted once: without the check of the signature, and without that of the audience, one was let in.
    """
    alice, _, channel_id = talk
    forger = Forger(node, alice.access_token)
    genuine = await outcome_of(client.chat.GetInbox(chat.GetInboxRequest(), metadata=bearer(forger.signed())))
    assert genuine.brief == ("OK", ""), "the forger forges badly"
    for name, (token, expected) in _forged_tokens(forger, alice.access_token).items():
        send = client.chat.SendMessage(message(channel_id), metadata=bearer(token))
        outcome = await outcome_of(send)
        assert outcome.brief == expected, name
        assert token not in outcome.message
        stream = client.open(bearer(token))
        assert (await stream.end()).brief == expected, name
        thief = Person("", "", "", token)
        assert (await client.open_subscribe(thief).end()).brief == expected, name
    assert alice.access_token.rpartition(".")[2] not in node.stderr


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param(None, id="none"),
        pytest.param((("authorization", ""),), id="empty"),
        pytest.param((("authorization", "Bearer"),), id="no-token"),
        pytest.param((("authorization", "Bearer  "),), id="spaces"),
        pytest.param((("authorization", "Basic dXNlcjpwYXNz"),), id="basic"),
        pytest.param((("x-authorization", "Bearer x"),), id="other-key"),
    ],
)
async def test_a_missing_token(
    client: RawClient, talk: tuple[Person, Person, str], metadata: tuple[tuple[str, str], ...] | None
) -> None:
    """TOKEN_MISSING says how a token is sent."""
    outcome = await outcome_of(client.chat.SendMessage(message(talk[2]), metadata=metadata))
    assert outcome.brief == ("UNAUTHENTICATED", "TOKEN_MISSING")
    assert "authorization: Bearer" in outcome.message
    assert (await client.open(metadata).end()).brief == ("UNAUTHENTICATED", "TOKEN_MISSING")


async def test_the_scheme_is_read_in_any_case(client: RawClient, talk: tuple[Person, Person, str]) -> None:
    """RFC 9110: schemes are case-insensitive."""
    metadata = (("authorization", f"bearer {talk[0].access_token}"),)
    assert (
        await outcome_of(client.chat.GetInbox(chat.GetInboxRequest(), metadata=metadata))
    ).code.name == "OK"


async def _ends_within(stream: RawStream, seconds: float) -> Any:
    started = time.monotonic()
    outcome = await stream.end()
    assert time.monotonic() - started < seconds
    return outcome


@pytest.mark.parametrize("how", ["revoke", "log-out"])
async def test_a_revoked_device_is_out_at_once_and_stays_out(
    tmp_path_factory: pytest.TempPathFactory, how: str
) -> None:
    """Its streams end within a second, its calls are refused at once, also by a node that was started anew;
    the user's other device goes on.

    Planted once: without `Authenticator.load` the token worked again after the restart; without the
    subscription of the sessions the streams stayed.
    """
    node = NodeProcess(tmp_path_factory.mktemp("revoked") / "node", plants=(CHEAP_PASSWORDS,))
    await node.start()
    revoked = ("UNAUTHENTICATED", "DEVICE_REVOKED")
    async with RawClient(node.address) as client:
        alice = await client.sign_up()
        phone = await client.log_in(alice.username)
        channel_id = await client.group(alice)
        connected, subscribed = await client.connect(phone), await client.subscribe(phone)
        silent = client.open(phone.metadata)
        await asyncio.sleep(0)
        other = await client.connect(alice)
        if how == "revoke":
            request = auth.RevokeDeviceRequest(device_id=phone.device_id)
            await client.auth.RevokeDevice(request, metadata=alice.metadata)
        else:
            await client.auth.LogOut(auth.LogOutRequest(), metadata=phone.metadata)
        assert (await outcome_of(client.send(phone, channel_id))).brief == revoked
        for stream in (connected, subscribed):
            assert (await _ends_within(stream, 1.0)).brief == revoked
            assert stream.control("go_away").reason == stream_pb2.GO_AWAY_REASON_DEVICE_REVOKED
            assert not stream.control("go_away").resumable
        assert (await _ends_within(silent, 1.0)).brief == revoked
        assert (await client.open(phone.metadata).end()).brief == revoked
        refresh = auth.RefreshRequest(refresh_token=phone.refresh_token)
        assert (await outcome_of(client.auth.Refresh(refresh))).brief == revoked
        await other.barrier()
        reply = await other.ask(reauthenticate={"access_token": phone.access_token})
        assert reply.error.code == grpc.StatusCode.UNAUTHENTICATED.value[0]
        other.cancel()
    await node.kill()
    await node.start()
    async with RawClient(node.address) as client:
        assert (await outcome_of(client.send(phone, channel_id))).brief == revoked
        assert (await client.open(phone.metadata).end()).brief == revoked
        assert (await client.send(alice, channel_id)).seq == 3
    await node.stop()
    await node.close()


async def test_a_suspended_account_is_out_until_it_is_let_in_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Open streams end and everything is refused with ACCOUNT_SUSPENDED, after a restart too; lifting brings
    all of it back, tokens included, and nothing written is gone.

    Found by this: streams said DEVICE_REVOKED, upon which a client throws its log-in away.
    """
    node = NodeProcess(tmp_path_factory.mktemp("suspended") / "node", plants=(CHEAP_PASSWORDS,))
    await node.start()
    suspended = ("UNAUTHENTICATED", "ACCOUNT_SUSPENDED")
    operator = bearer(node.operator_token)

    async def refused(client: RawClient) -> None:
        log_in = auth.LogInRequest(username=alice.username, password=PASSWORD, request_id=str(uuid.uuid4()))
        assert (await outcome_of(client.auth.LogIn(log_in))).brief == suspended
        refresh = auth.RefreshRequest(refresh_token=alice.refresh_token)
        assert (await outcome_of(client.auth.Refresh(refresh))).brief == suspended
        assert (await outcome_of(client.send(alice, channel_id))).brief == suspended
        assert (await client.open(alice.metadata).end()).brief == suspended

    async with RawClient(node.address) as client:
        alice, bob = await client.sign_up(), await client.sign_up()
        channel_id = await client.direct(alice, bob)
        await client.send(alice, channel_id, "before")
        streams = [await client.connect(alice), await client.subscribe(alice)]
        bystander = await client.connect(bob)
        suspend = admin.SuspendUserRequest(user_id=alice.user_id)
        await client.admin.SuspendUser(suspend, metadata=operator)
        for stream in streams:
            assert (await _ends_within(stream, 1.0)).brief == suspended
            assert stream.control("go_away").reason == stream_pb2.GO_AWAY_REASON_ACCOUNT_SUSPENDED
        await refused(client)
        await bystander.barrier()
        bystander.cancel()
        wrong = auth.LogInRequest(username=alice.username, password="wrong one", request_id=str(uuid.uuid4()))
        assert (await outcome_of(client.auth.LogIn(wrong))).reason == "BAD_CREDENTIALS"
    await node.kill()
    await node.start()
    async with RawClient(node.address) as client:
        await refused(client)
        lift = admin.SuspendUserRequest(user_id=alice.user_id, lift=True)
        await client.admin.SuspendUser(lift, metadata=operator)
        assert (await client.send(alice, channel_id, "after")).seq == 5
        back = await client.connect(alice)
        back.cancel()
        await client.log_in(alice.username)
        listed = await client.chat.ListMessages(
            chat.ListMessagesRequest(channel_id=channel_id), metadata=bob.metadata
        )
        assert [event.message.text for event in listed.events] == ["after", "before"]
    await node.stop()
    await node.close()


async def test_a_stream_ends_with_its_token_unless_it_is_renewed(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Tokens of 3 seconds: a stream is warned, and ends with TOKEN_EXPIRED; one that hands in a fresh token
    goes on; unary calls with the old one are refused once the 5 seconds for clocks that differ are over.
    """
    node = NodeProcess(
        tmp_path_factory.mktemp("expiry") / "node",
        {"auth.access_token_seconds": 3, "sessions.token_warning_seconds": 2},
        (CHEAP_PASSWORDS,),
    )
    await node.start()
    async with RawClient(node.address) as client:
        alice = await client.sign_up()
        renewed, forgotten = await client.connect(alice), await client.subscribe(alice)
        for token in ("garbage", node.operator_token, ""):
            reply = await renewed.ask(reauthenticate={"access_token": token})
            assert reply.error.code == grpc.StatusCode.UNAUTHENTICATED.value[0]
        await renewed.until(lambda: any(c.HasField("auth_expiring") for c in renewed.controls))
        fresh = await client.auth.Refresh(auth.RefreshRequest(refresh_token=alice.refresh_token))
        reply = await renewed.ask(reauthenticate={"access_token": fresh.tokens.access_token})
        assert reply.HasField("reauthenticate")
        outcome = await forgotten.end(seconds=10)
        assert outcome.brief == ("UNAUTHENTICATED", "TOKEN_EXPIRED")
        assert forgotten.control("auth_expiring").expire_time.seconds > 0
        assert forgotten.control("go_away").reason == stream_pb2.GO_AWAY_REASON_TOKEN_EXPIRED
        try:
            await renewed.barrier()
        except StreamEnded as ended:
            # Only if this machine took longer than the fresh token lives.
            assert ended.outcome.reason == "TOKEN_EXPIRED"
        renewed.cancel()
        async with asyncio.timeout(20):
            while True:
                outcome = await outcome_of(
                    client.chat.GetInbox(chat.GetInboxRequest(), metadata=alice.metadata)
                )
                if outcome.code.name != "OK":
                    break
                await asyncio.sleep(0.05)
        assert outcome.brief == ("UNAUTHENTICATED", "TOKEN_EXPIRED")
    await node.stop()
    await node.close()
