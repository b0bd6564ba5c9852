"""Access tokens: JSON Web Tokens signed with Ed25519 (RFC 7519, RFC 8037), and the keys behind them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from parley_runtime.refusal import Reason, Refusal
from parley_runtime.secret_file import SecretFileError, read_secret, write_secret

if TYPE_CHECKING:
    from pathlib import Path

ALGORITHM = "EdDSA"
LARGEST_TOKEN_BYTES = 4096
_REQUIRED_CLAIMS = ["iss", "aud", "sub", "did", "iat", "exp", "jti"]

RandomBytes = Callable[[int], bytes]
"""Gives that many unpredictable bytes; `secrets.token_bytes` in production."""


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What an access token says: a user's device, whether the user is an operator, and until when."""

    user_id: str
    device_id: str
    operator: bool
    expire_time_ms: int


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One Ed25519 key pair. `kid` is its RFC 7638 thumbprint."""

    kid: str
    create_time_ms: int
    private: Ed25519PrivateKey = field(repr=False, compare=False)

    @staticmethod
    def of_seed(seed: bytes, create_time_ms: int) -> SigningKey:
        """The key pair of a 32-byte seed. Raises ValueError for another length."""
        private = Ed25519PrivateKey.from_private_bytes(seed)
        return SigningKey(_thumbprint(private.public_key()), create_time_ms, private)


class _StoredKey(msgspec.Struct, frozen=True):
    """A key in keys.json: a private JSON Web Key (RFC 8037) with the time it was made."""

    d: str
    create_time_ms: int
    kty: str = "OKP"
    crv: str = "Ed25519"


class _StoredKeys(msgspec.Struct, frozen=True):
    keys: list[_StoredKey]


class KeyRing:
    """One or more signing keys: the newest signs, all verify."""

    def __init__(self, keys: tuple[SigningKey, ...]) -> None:
        """Raises ValueError without any key."""
        if not keys:
            raise ValueError("a key ring needs at least one key")
        self._keys = tuple(sorted(keys, key=lambda key: (-key.create_time_ms, key.kid)))

    @property
    def newest(self) -> SigningKey:
        """The key that signs."""
        return self._keys[0]

    def public_keys(self) -> dict[str, Ed25519PublicKey]:
        """The keys that verify, by kid."""
        return {key.kid: key.private.public_key() for key in self._keys}

    def jwks_json(self) -> str:
        """The public keys as a JSON Web Key Set (RFC 7517), newest first."""
        keys = [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": _base64url(key.private.public_key().public_bytes_raw()),
                "kid": key.kid,
                "use": "sig",
                "alg": ALGORITHM,
            }
            for key in self._keys
        ]
        return msgspec.json.encode({"keys": keys}).decode()

    def save(self, path: Path) -> None:
        """Write the private keys to `path`, mode 0600, durably. Blocking. Raises OSError."""
        stored = [
            _StoredKey(d=_base64url(key.private.private_bytes_raw()), create_time_ms=key.create_time_ms)
            for key in self._keys
        ]
        write_secret(path, msgspec.json.format(msgspec.json.encode(_StoredKeys(stored)).decode()) + "\n")

    @staticmethod
    def load(path: Path) -> KeyRing | None:
        """The keys in `path`, or None when there is no such file. Blocking.

        Raises SecretFileError when others may read the file or when it does not hold keys.
        """
        text = read_secret(path)
        if text is None:
            return None
        try:
            stored = msgspec.json.decode(text, type=_StoredKeys)
            if any((key.kty, key.crv) != ("OKP", "Ed25519") for key in stored.keys):
                raise ValueError("a key is not an Ed25519 key")
            return KeyRing(
                tuple(SigningKey.of_seed(_from_base64url(key.d), key.create_time_ms) for key in stored.keys)
            )
        except (ValueError, msgspec.MsgspecError):
            # The cause is left out on purpose: its text may quote the file.
            raise SecretFileError(
                f"{path} does not hold signing keys. Restore it from a backup, or remove it: "
                "new keys are then made and everybody has to renew their access token."
            ) from None

    @staticmethod
    def load_or_create(path: Path, now_ms: int, random_bytes: RandomBytes) -> KeyRing:
        """The keys in `path`; at the first start a new key, saved there before it is returned. Blocking.

        Raises SecretFileError (see `load`), OSError when the folder cannot be written.
        """
        ring = KeyRing.load(path)
        if ring is None:
            ring = KeyRing((SigningKey.of_seed(random_bytes(32), now_ms),))
            ring.save(path)
        return ring


class TokenIssuer:
    """Makes access tokens with the ring's newest key."""

    def __init__(self, ring: KeyRing, *, issuer: str, audience: str, random_bytes: RandomBytes) -> None:
        self._ring = ring
        self._issuer = issuer
        self._audience = audience
        self._random_bytes = random_bytes

    def issue(self, claims: AccessClaims, now_ms: int) -> str:
        """A signed token. Its expiry is `claims.expire_time_ms` cut to whole seconds."""
        key = self._ring.newest
        return jwt.encode(
            {
                "iss": self._issuer,
                "aud": self._audience,
                "sub": claims.user_id,
                "did": claims.device_id,
                "op": claims.operator,
                "iat": now_ms // 1000,
                "exp": claims.expire_time_ms // 1000,
                "jti": self._random_bytes(16).hex(),
            },
            key.private,
            algorithm=ALGORITHM,
            headers={"kid": key.kid},
        )

    def jwks_json(self) -> str:
        """The public keys that verify these tokens, as a JSON Web Key Set (RFC 7517)."""
        return self._ring.jwks_json()


class TokenVerifier:
    """Tells our tokens from all others. EdDSA is the only algorithm it knows."""

    def __init__(
        self,
        public_keys: Mapping[str, Ed25519PublicKey],
        *,
        issuer: str,
        audience: str,
        leeway_seconds: float,
    ) -> None:
        """`leeway_seconds`: how long after its expiry a token still passes, for clocks that differ."""
        self._public_keys = dict(public_keys)
        self._issuer = issuer
        self._audience = audience
        self._leeway_ms = round(leeway_seconds * 1000)

    def verify(self, token: str, now_ms: int) -> AccessClaims:
        """The token's claims. Raises Refusal: TOKEN_INVALID, or TOKEN_EXPIRED for a genuine one that ran
        out.
        """
        claims = self._genuine_claims(token)
        self.check_expiry(claims.expire_time_ms, now_ms)
        return claims

    def check_expiry(self, expire_time_ms: int, now_ms: int) -> None:
        """Raises Refusal TOKEN_EXPIRED when a token of this expiry ran out, leeway included."""
        if now_ms >= expire_time_ms + self._leeway_ms:
            raise Refusal(Reason.TOKEN_EXPIRED, "The access token has expired. Call Refresh for a new one.")

    def _genuine_claims(self, token: str) -> AccessClaims:
        # PyJWT would compare with the machine's clock; time is an argument here, so expiry is checked by us.
        options: Any = {
            "require": _REQUIRED_CLAIMS,
            "strict_aud": True,
            "verify_exp": False,
            "verify_iat": False,
            "verify_nbf": False,
        }
        if len(token) > LARGEST_TOKEN_BYTES:
            raise _token_invalid()
        try:
            key = self._public_keys.get(jwt.get_unverified_header(token).get("kid", ""))
            if key is None:
                raise _token_invalid()
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self._audience,
                issuer=self._issuer,
                options=options,
            )
        except (jwt.PyJWTError, ValueError, TypeError):
            # The cause is left out: it may quote the token.
            raise _token_invalid() from None
        device_id, operator, expire_time = claims["did"], claims.get("op", False), claims["exp"]
        if type(device_id) is not str or type(operator) is not bool or type(expire_time) is not int:
            raise _token_invalid()
        return AccessClaims(claims["sub"], device_id, operator, expire_time * 1000)


def _token_invalid() -> Refusal:
    return Refusal(
        Reason.TOKEN_INVALID, "The access token is not one of this server's. Log in to get a valid one."
    )


def _thumbprint(public: Ed25519PublicKey) -> str:
    # RFC 7638: the required members only, sorted, no white space.
    canonical = f'{{"crv":"Ed25519","kty":"OKP","x":"{_base64url(public.public_bytes_raw())}"}}'
    return _base64url(hashlib.sha256(canonical.encode()).digest())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _from_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
