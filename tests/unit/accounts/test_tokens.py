"""Access tokens: ours pass, everything else is refused for the documented reason."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from parley_runtime.refusal import Reason, Refusal
from parley_runtime.secret_file import SecretFileError
from parley_runtime.tokens import AccessClaims, KeyRing, SigningKey, TokenIssuer, TokenVerifier

if TYPE_CHECKING:
    from pathlib import Path

NOW_MS = 1_800_000_000_000
CLAIMS = AccessClaims("u1", "d1", operator=False, expire_time_ms=NOW_MS + 900_000)
SEED = bytes(range(32))
KEY = SigningKey.of_seed(SEED, NOW_MS)
RING = KeyRing((KEY,))
ISSUER = TokenIssuer(RING, issuer="parley", audience="parley", random_bytes=secrets.token_bytes)
VERIFIER = TokenVerifier(RING.public_keys(), issuer="parley", audience="parley", leeway_seconds=5)
PAYLOAD = {
    "iss": "parley",
    "aud": "parley",
    "sub": "u1",
    "did": "d1",
    "op": False,
    "iat": NOW_MS // 1000,
    "exp": NOW_MS // 1000 + 900,
    "jti": "x",
}


def encoded(part: object) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def signed(payload: dict[str, Any], *, key: Ed25519PrivateKey = KEY.private, **header: object) -> str:
    """A token with any payload and header, signed as Ed25519 wants it."""
    text = f"{encoded({'alg': 'EdDSA', 'typ': 'JWT', 'kid': KEY.kid} | header)}.{encoded(payload)}"
    return f"{text}.{encoded(key.sign(text.encode()))}"


def reason_of(token: str, *, now_ms: int = NOW_MS) -> Reason | None:
    try:
        VERIFIER.verify(token, now_ms)
    except Refusal as refusal:
        assert len(token) < 20 or token[:20] not in refusal.message
        return refusal.reason
    return None


def test_what_is_issued_verifies() -> None:
    """The test's own signing is right too, or the refusals below would prove nothing."""
    assert VERIFIER.verify(ISSUER.issue(CLAIMS, NOW_MS), NOW_MS) == CLAIMS
    assert VERIFIER.verify(signed(PAYLOAD), NOW_MS) == CLAIMS
    operator = AccessClaims("u1", "d1", operator=True, expire_time_ms=NOW_MS + 1000)
    assert VERIFIER.verify(ISSUER.issue(operator, NOW_MS), NOW_MS) == operator


def test_the_claims_are_those_of_the_contract() -> None:
    token = ISSUER.issue(CLAIMS, NOW_MS)
    header, payload = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    assert header == {"alg": "EdDSA", "typ": "JWT", "kid": KEY.kid}
    jti = payload.pop("jti")
    assert len(jti) == 32
    assert payload == {name: value for name, value in PAYLOAD.items() if name != "jti"}


def test_a_stranger_verifies_with_the_published_keys() -> None:
    """Planted: the private part published; found by the members. Planted: another kid; found by PyJWT."""
    published = json.loads(RING.jwks_json())
    assert [sorted(key) for key in published["keys"]] == [["alg", "crv", "kid", "kty", "use", "x"]]
    assert base64.urlsafe_b64encode(SEED).decode().rstrip("=") not in RING.jwks_json()
    token = ISSUER.issue(CLAIMS, NOW_MS)
    key = jwt.PyJWKSet.from_dict(published)[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(
        token,
        key,
        algorithms=["EdDSA"],
        audience="parley",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims["sub"] == "u1"


def test_the_key_id_is_the_thumbprint() -> None:
    """RFC 8037, appendix A.3."""
    seed = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    assert SigningKey.of_seed(seed, 0).kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_expiry_has_a_small_leeway() -> None:
    """Planted: the leeway on the wrong side; found at the border."""
    token = ISSUER.issue(CLAIMS, NOW_MS)
    border = CLAIMS.expire_time_ms + 5000
    assert reason_of(token, now_ms=border - 1) is None
    assert reason_of(token, now_ms=border) is Reason.TOKEN_EXPIRED


def test_no_algorithm_but_ours() -> None:
    """`alg: none`, and HS256 keyed with the public key. Planted: HS256 allowed beside EdDSA; found by
    HS256.
    """
    public = KEY.private.public_key()
    assert (
        reason_of(f"{encoded({'alg': 'none', 'kid': KEY.kid})}.{encoded(PAYLOAD)}.") is Reason.TOKEN_INVALID
    )
    for header in ({"alg": "none"}, {"alg": "NONE"}, {"alg": ""}, {"alg": "ES256"}, {"alg": 1}):
        assert reason_of(signed(PAYLOAD, **header)) is Reason.TOKEN_INVALID, header
    for secret in (
        public.public_bytes_raw(),
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        RING.jwks_json().encode(),
    ):
        text = f"{encoded({'alg': 'HS256', 'typ': 'JWT', 'kid': KEY.kid})}.{encoded(PAYLOAD)}"
        forged = f"{text}.{encoded(hmac.digest(secret, text.encode(), hashlib.sha256))}"
        assert reason_of(forged) is Reason.TOKEN_INVALID


def test_no_key_but_ours() -> None:
    """Planted: the key taken from the header; found by `jwk`. Planted: any kid; found by an unknown one."""
    other = Ed25519PrivateKey.generate()
    assert reason_of(signed(PAYLOAD, key=other)) is Reason.TOKEN_INVALID
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": encoded(other.public_key().public_bytes_raw())}
    assert reason_of(signed(PAYLOAD, key=other, jwk=jwk)) is Reason.TOKEN_INVALID
    kids: list[object] = ["unknown", "", None, 7, ["x"], {}]
    for kid in kids:
        assert reason_of(signed(PAYLOAD, kid=kid)) is Reason.TOKEN_INVALID
    assert reason_of(signed(PAYLOAD, crit=["b64"], b64=False)) is Reason.TOKEN_INVALID


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "did", "iat", "exp", "jti"])
def test_every_claim_is_required(claim: str) -> None:
    """Planted: `require` shortened by each; found here, but for iss and aud: PyJWT asks for these itself."""
    payload = {name: value for name, value in PAYLOAD.items() if name != claim}
    assert reason_of(signed(payload)) is Reason.TOKEN_INVALID


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "other"},
        {"aud": "other"},
        {"aud": ["parley", "other"]},
        {"sub": 7},
        {"did": None},
        {"did": ["d1"]},
        {"op": "yes"},
        {"op": 1},
        {"exp": "soon"},
        {"exp": True},
        {"exp": 1.5},
        {"exp": None},
    ],
)
def test_claims_have_their_types(wrong: dict[str, object]) -> None:
    """Planted: `op` tested for truth; found by "yes"."""
    assert reason_of(signed(PAYLOAD | wrong)) is Reason.TOKEN_INVALID


def test_a_changed_token_is_refused() -> None:
    header, payload, signature = ISSUER.issue(CLAIMS, NOW_MS).split(".")
    other = encoded(PAYLOAD | {"op": True})
    for forged in (
        f"{header}.{other}.{signature}",
        f"{header}.{payload}",
        f"{header}.{payload}.",
        "x" * 5000,
    ):
        assert reason_of(forged) is Reason.TOKEN_INVALID


@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(st.binary(max_size=60), max_size=4).map(lambda parts: ".".join(map(encoded, parts))),
    )
)
def test_no_text_is_a_token_by_chance(token: str) -> None:
    assert reason_of(token) is Reason.TOKEN_INVALID


@pytest.mark.parametrize(
    "token", ["\udce9.e30.x", f"{encoded(b'[' * 3000)}.e30.x", f"{encoded(b'9' * 3000)}.e30.x"]
)
def test_text_that_python_itself_chokes_on_is_no_token(token: str) -> None:
    """Planted: PyJWT's errors alone caught; found by the lone surrogate."""
    assert reason_of(token) is Reason.TOKEN_INVALID


def test_the_newest_key_signs_and_all_verify() -> None:
    """Planted: the first of the list signs; found by the order. Planted: only the newest verifies; found by
    the old token.
    """
    newer = SigningKey.of_seed(bytes(32), NOW_MS + 1)
    for keys in ((KEY, newer), (newer, KEY)):
        ring = KeyRing(keys)
        assert ring.newest is newer
        verifier = TokenVerifier(ring.public_keys(), issuer="parley", audience="parley", leeway_seconds=0)
        issuer = TokenIssuer(ring, issuer="parley", audience="parley", random_bytes=secrets.token_bytes)
        assert verifier.verify(issuer.issue(CLAIMS, NOW_MS), NOW_MS) == CLAIMS
        assert verifier.verify(ISSUER.issue(CLAIMS, NOW_MS), NOW_MS) == CLAIMS
        assert reason_of(issuer.issue(CLAIMS, NOW_MS)) is Reason.TOKEN_INVALID
        assert [key["kid"] for key in json.loads(ring.jwks_json())["keys"]] == [newer.kid, KEY.kid]


def test_keys_are_kept_in_a_file_of_their_owner(tmp_path: Path) -> None:
    """Planted: a new key at every start; found by the kid. Planted: the default mode; found by the mode."""
    path = tmp_path / "keys.json"
    made = KeyRing.load_or_create(path, NOW_MS, secrets.token_bytes)
    assert path.stat().st_mode & 0o777 == 0o600
    again = KeyRing.load_or_create(path, NOW_MS + 5, secrets.token_bytes)
    assert again.newest.kid == made.newest.kid
    assert again.newest.create_time_ms == NOW_MS
    verifier = TokenVerifier(again.public_keys(), issuer="parley", audience="parley", leeway_seconds=0)
    issuer = TokenIssuer(made, issuer="parley", audience="parley", random_bytes=secrets.token_bytes)
    assert verifier.verify(issuer.issue(CLAIMS, NOW_MS), NOW_MS) == CLAIMS
    KeyRing((KEY, *(SigningKey.of_seed(bytes(32), NOW_MS + 1),))).save(path)
    two = KeyRing.load(path)
    assert two is not None and len(two.public_keys()) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["keys.json"]


def test_a_key_file_open_to_others_is_refused(tmp_path: Path) -> None:
    """Planted: the check left out; found here. The message says what to run."""
    path = tmp_path / "keys.json"
    RING.save(path)
    path.chmod(0o640)
    with pytest.raises(SecretFileError, match=r"chmod 600 .*keys\.json"):
        KeyRing.load_or_create(path, NOW_MS, secrets.token_bytes)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        '{"keys": []}',
        '{"keys": [{"d": "c2VjcmV0", "create_time_ms": 1}]}',
        '{"keys": [{"d": "!", "create_time_ms": 1}]}',
        json.dumps({"keys": [{"d": encoded(SEED), "create_time_ms": 1, "crv": "X25519"}]}),
        json.dumps({"keys": [{"d": encoded(SEED)}]}),
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    ],
)
def test_a_key_file_that_holds_no_keys_is_never_replaced(tmp_path: Path, content: str) -> None:
    """Planted: a new key made instead; found by the content afterwards. Secrets stay out of the message."""
    path = tmp_path / "keys.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(SecretFileError, match=r"keys\.json") as caught:
        KeyRing.load_or_create(path, NOW_MS, secrets.token_bytes)
    assert path.read_text() == content
    assert encoded(SEED) not in str(caught.value)
    assert caught.value.__cause__ is None


def test_keys_do_not_show_in_text() -> None:
    assert "private" not in repr(KEY)
    assert encoded(SEED) not in repr(RING) + repr(KEY) + repr(ISSUER)
