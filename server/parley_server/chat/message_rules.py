"""What a message may contain. Pure."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence

import msgspec

from parley_runtime.refusal import Reason, Refusal, Violation, invalid_field

ATTRIBUTES_LIMIT = 32
ATTRIBUTE_KEY_LIMIT_BYTES = 64
ATTRIBUTES_LIMIT_BYTES = 4096
MENTIONS_LIMIT = 50
USER_ID_LIMIT_BYTES = 64
EMOJI_LIMIT_BYTES = 64
EMOJI_LIMIT_CODE_POINTS = 16

# Letters, symbols and marks by category that print nothing: Hangul fillers, the blank Braille pattern, the
# combining grapheme joiner, variation selectors. White space and format characters are found by category.
_BLANKS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5") | {
    chr(point) for point in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), *range(0x180B, 0x1810))
}
_NOT_IN_EMOJI = frozenset({"Cc", "Cn", "Zs", "Zl", "Zp"})
_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})


def is_visible(character: str) -> bool:
    """Whether the character prints anything by itself."""
    return character not in _BLANKS and unicodedata.category(character) not in _INVISIBLE_CATEGORIES


class Content(msgspec.Struct, frozen=True):
    """What an author writes into a message, as the client sent it."""

    text: str
    attributes: Mapping[str, str] = msgspec.field(default_factory=dict)
    mentions: Sequence[str] = ()
    mention_all: bool = False

    def sorted_attributes(self) -> tuple[tuple[str, str], ...]:
        """The attributes in the order in which they are stored."""
        return tuple(sorted(self.attributes.items())) if self.attributes else ()

    def unique_mentions(self) -> tuple[str, ...]:
        """The mentioned users, each once, in the order given."""
        return tuple(dict.fromkeys(self.mentions)) if self.mentions else ()

    def fields(self) -> tuple[str, ...]:
        """What a digest is made of. Empty things add nothing, so ids from before they existed stay valid."""
        fields = [self.text, *(part for pair in self.sorted_attributes() for part in pair)]
        if self.mentions or self.mention_all:
            fields += ["\0mentions", *self.unique_mentions(), str(self.mention_all)]
        return tuple(fields)


def check_content(content: Content, *, text_limit_code_points: int) -> Refusal | None:
    """None if the content may be sent, else a refusal that names every field that breaks its rule."""
    text, attributes = content.text, content.attributes
    violations = []
    if len(text) > text_limit_code_points:
        violations.append(
            Violation(
                "text",
                f"must have at most {text_limit_code_points} Unicode code points; it has {len(text)}: "
                "send it as several messages",
            )
        )
    elif not any(map(is_visible, text)):
        violations.append(Violation("text", "must hold at least one visible character"))
    if len(content.mentions) > MENTIONS_LIMIT:
        violations.append(
            Violation("mentions", f"must name at most {MENTIONS_LIMIT} users; use mention_all for everybody")
        )
    elif content.mentions and not all(
        0 < len(user_id.encode()) <= USER_ID_LIMIT_BYTES for user_id in content.mentions
    ):
        violations.append(Violation("mentions", f"must be user ids of 1 to {USER_ID_LIMIT_BYTES} bytes"))
    if len(attributes) > ATTRIBUTES_LIMIT:
        violations.append(Violation("attributes", f"must have at most {ATTRIBUTES_LIMIT} entries"))
    total_bytes = 0
    for key, value in attributes.items():
        key_bytes = len(key.encode())
        total_bytes += key_bytes + len(value.encode())
        if not 0 < key_bytes <= ATTRIBUTE_KEY_LIMIT_BYTES:
            violations.append(
                Violation("attributes", f"keys must have 1 to {ATTRIBUTE_KEY_LIMIT_BYTES} bytes")
            )
            break
    if total_bytes > ATTRIBUTES_LIMIT_BYTES:
        violations.append(
            Violation(
                "attributes",
                f"must have at most {ATTRIBUTES_LIMIT_BYTES} bytes in all; they have {total_bytes}",
            )
        )
    if not violations:
        return None
    return Refusal(
        Reason.INVALID_FIELD,
        "; ".join(f"{found.field}: {found.description}" for found in violations),
        violations=tuple(violations),
    )


def check_emoji(emoji: str) -> Refusal | None:
    """None if it may stand as a reaction, else why not."""
    if (
        not 0 < len(emoji.encode()) <= EMOJI_LIMIT_BYTES
        or len(emoji) > EMOJI_LIMIT_CODE_POINTS
        or any(unicodedata.category(character) in _NOT_IN_EMOJI for character in emoji)
        or not any(map(is_visible, emoji))
    ):
        return invalid_field(
            "emoji",
            f"must be 1 to {EMOJI_LIMIT_CODE_POINTS} visible code points without white space, "
            f"at most {EMOJI_LIMIT_BYTES} bytes",
        )
    return None


def change_digest(kind: str, *fields: str) -> bytes:
    """32 bytes that identify a change of a message. No message that is sent has the digest of a change: it
    begins with a length that no field can have.
    """
    return hashlib.sha256(b"\xff" * 8 + digest_of(kind, *fields)).digest()


def digest_of(*fields: str) -> bytes:
    """32 bytes that identify a content: SHA-256 over the fields, each preceded by its length so that none can
    run into the next.
    """
    digest = hashlib.sha256()
    for part in fields:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.digest()
