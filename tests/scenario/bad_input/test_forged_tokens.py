"""Tokens that are no token: each its documented error, for calls and streams alike."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from parley.chat.v1 import chat_service_pb2 as chat
from parley_server.testing.raw_client import Person, RawClient, bearer, message, outcome_of

if TYPE_CHECKING:
    from parley_server.testing.node_process import NodeProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

INVALID_TOKEN = ("UNAUTHENTICATED", "TOKEN_INVALID")


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


async def test_forged_tokens(
    standing_node: NodeProcess, client: RawClient, talk: tuple[Person, Person, str]
) -> None:
    """Each token that nearly is one: its error for the unary call, Connect and Subscribe alike.

    Planted once: without the check of the signature, and without that of the audience, one was let in.
    """
    alice, _, channel_id = talk
    forger = Forger(standing_node, alice.access_token)
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
    assert alice.access_token.rpartition(".")[2] not in standing_node.stderr


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
