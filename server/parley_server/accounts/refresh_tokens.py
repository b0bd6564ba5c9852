"""Refresh tokens: what they look like, how they rotate, and how a stolen one shows. Pure.

A token is `prt_<device id>.<family>.<secret>`. The family stays the same from one log-in on; the secret
changes with every renewal. Only SHA-256 digests are kept. So a former token is known by its family, and
nobody can pretend to hold one who never held a genuine token.

The successor's secret is an HMAC of the used token's secret with a random salt that is kept while the used
token still works. So whoever repeats a renewal gets the very same successor, and without the used token the
salt is worth nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field

import msgspec

from parley_server.accounts.ids import is_device_id

FAMILY_BYTES = 16
SECRET_BYTES = 32
SALT_BYTES = 32
# A log-in that is repeated (its reply was lost) starts a further chain; the first that renews ends the
# others.
MOST_CHAINS = 4
# Renewals within the grace period; one more answers the token it was asked with instead of rotating.
MOST_FORMER = 8
_PREFIX = "prt_"


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token in parts."""

    device_id: str
    family: bytes = field(repr=False)
    secret: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The token as the client keeps it."""
        return f"{_PREFIX}{self.device_id}.{_base64url(self.family)}.{_base64url(self.secret)}"

    @property
    def digest(self) -> bytes:
        """What the store keeps of it."""
        return hashlib.sha256(self.text.encode()).digest()

    @property
    def family_digest(self) -> bytes:
        """What the store keeps of its family."""
        return hashlib.sha256(b"parley family\0" + self.family).digest()

    def successor(self, salt: bytes) -> RefreshToken:
        """The token that follows this one, given the salt of the renewal."""
        return RefreshToken(self.device_id, self.family, hmac.digest(self.secret, salt, "sha256"))


def parse(text: str) -> RefreshToken | None:
    """The token in parts, or None when the text is none of ours."""
    device_id, _, rest = text.removeprefix(_PREFIX).partition(".")
    if len(text) > 256 or not text.isascii() or not text.startswith(_PREFIX) or not is_device_id(device_id):
        return None
    family_text, _, secret_text = rest.partition(".")
    try:
        token = RefreshToken(device_id, _from_base64url(family_text), _from_base64url(secret_text))
    except (ValueError, binascii.Error):
        return None
    # Base64 has several spellings of one value; only ours counts.
    return token if token.text == text and len(token.secret) == SECRET_BYTES else None


class Former(msgspec.Struct, frozen=True, array_like=True):
    """A used token that still works until `until_ms`."""

    digest: bytes
    salt: bytes
    until_ms: int


class Chain(msgspec.Struct, frozen=True, array_like=True):
    """The tokens of one log-in reply: the newest one, and the used ones that still work, oldest first."""

    family_digest: bytes
    newest_digest: bytes
    former: tuple[Former, ...] = ()


class RefreshState(msgspec.Struct, frozen=True):
    """What is kept of a device's refresh tokens: one chain, or several after a repeated log-in until one
    renews.
    """

    chains: tuple[Chain, ...] = ()


def encode_state(state: RefreshState) -> bytes:
    """The state as the store keeps it."""
    return msgspec.msgpack.encode(state)


def decode_state(encoded: bytes) -> RefreshState:
    """The state that `encode_state` encoded; no chains for empty bytes. Raises ValueError for anything
    else.
    """
    return msgspec.msgpack.decode(encoded, type=RefreshState) if encoded else RefreshState()


def start_chain(state: RefreshState, token: RefreshToken) -> RefreshState:
    """The state in which `token`, new, works as well. The oldest chain gives way where there are
    MOST_CHAINS.
    """
    chain = Chain(token.family_digest, token.digest)
    return RefreshState((*state.chains, chain)[-MOST_CHAINS:])


@dataclass(frozen=True, slots=True)
class Rotated:
    """The token is used up: keep `state`, answer `token`."""

    state: RefreshState = field(repr=False)
    token: RefreshToken


@dataclass(frozen=True, slots=True)
class Repeated:
    """The token was used before and still works, or rotates too fast: nothing to keep, answer `token`."""

    token: RefreshToken


@dataclass(frozen=True, slots=True)
class Reused:
    """The token was genuine and is used up: somebody else may have it."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The token was never ours, or belongs to a log-in reply that was not taken up."""


Presented = Rotated | Repeated | Reused | Unknown


def present(
    state: RefreshState, token: RefreshToken, *, now_ms: int, grace_ms: int, salt: bytes
) -> Presented:
    """Decide about a token that came back. `salt` (32 random bytes) is used when it rotates."""
    chain = next((chain for chain in state.chains if chain.family_digest == token.family_digest), None)
    if chain is None:
        return Unknown()
    digest = token.digest
    working = tuple(former for former in chain.former if former.until_ms > now_ms)
    if digest == chain.newest_digest:
        if len(working) >= MOST_FORMER:
            return Repeated(token)
        successor = token.successor(salt)
        former = (*working, Former(digest, salt, now_ms + grace_ms))
        return Rotated(RefreshState((Chain(chain.family_digest, successor.digest, former),)), successor)
    digests = [former.digest for former in working]
    if digest not in digests:
        return Reused()
    for used in working[digests.index(digest) :]:
        token = token.successor(used.salt)
    return Repeated(token)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _from_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
