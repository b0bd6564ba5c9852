"""The tokens of one device, as log-in yields them and as a program stores them."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from parley.auth.v1 import auth_service_pb2, token_pair_pb2


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a device needs to call the server and to stay logged in.

    Times are in milliseconds since 1970-01-01 UTC. The two tokens are secrets: `repr` leaves them out,
    `to_json` does not.
    """

    user_id: str
    device_id: str
    username: str
    access_token: str = field(repr=False)
    access_expire_ms: int
    refresh_token: str = field(repr=False)
    refresh_expire_ms: int

    def to_json(self) -> str:
        """All fields as one line of JSON, for a file that only its owner may read."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The tokens that `to_json` wrote. Raises ValueError, without the text, when it is anything else."""
        try:
            values = json.loads(text)
        except ValueError:
            raise ValueError("these are not stored tokens: not JSON") from None
        if not isinstance(values, dict):
            raise ValueError("these are not stored tokens: not a JSON object")
        kinds = {each.name: int if each.name.endswith("_ms") else str for each in fields(cls)}
        wrong = [name for name, kind in kinds.items() if type(values.get(name)) is not kind]
        if wrong:
            raise ValueError(f"these are not stored tokens: missing or of the wrong type: {', '.join(wrong)}")
        # Other keys are left out, so that a newer version's file can still be read.
        return cls(**{name: values[name] for name in kinds})

    def renewed(self, pair: token_pair_pb2.TokenPair) -> Tokens:
        """The same device with a new pair."""
        return Tokens(
            user_id=self.user_id,
            device_id=self.device_id,
            username=self.username,
            access_token=pair.access_token,
            access_expire_ms=pair.access_expire_time.ToMilliseconds(),
            refresh_token=pair.refresh_token,
            refresh_expire_ms=pair.refresh_expire_time.ToMilliseconds(),
        )


def tokens_of_login(response: auth_service_pb2.SignUpResponse | auth_service_pb2.LogInResponse) -> Tokens:
    """The tokens in the answer to a sign-up or log-in."""
    pair = response.tokens
    return Tokens(
        user_id=response.user.user_id,
        device_id=response.device_id,
        username=response.user.username,
        access_token=pair.access_token,
        access_expire_ms=pair.access_expire_time.ToMilliseconds(),
        refresh_token=pair.refresh_token,
        refresh_expire_ms=pair.refresh_expire_time.ToMilliseconds(),
    )


@dataclass(frozen=True, slots=True)
class Claims:
    """What an access token says of itself: whose it is ("": unknown), how long it lives (0: unknown)."""

    user_id: str
    lifetime_ms: int


def claims_of(access_token: str) -> Claims:
    """Read a JWT's claims without checking its signature, which only the server needs to do.

    Anything that cannot be read is unknown; nothing is raised.
    """
    parts = access_token.split(".")
    try:
        payload = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, IndexError, RecursionError):
        return Claims("", 0)
    if not isinstance(payload, dict):
        return Claims("", 0)
    subject, made, end = payload.get("sub"), payload.get("iat"), payload.get("exp")
    lifetime_ms = 0
    if isinstance(made, int) and isinstance(end, int):
        lifetime_ms = max(0, (end - made) * 1000)
    return Claims(subject if isinstance(subject, str) else "", lifetime_ms)
