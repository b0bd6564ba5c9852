"""What a message may contain. Pure."""

from __future__ import annotations

import hashlib
import unicodedata
from typing import TYPE_CHECKING

from parley_runtime.refusal import Reason, Refusal, Violation

if TYPE_CHECKING:
    from collections.abc import Mapping

ATTRIBUTES_LIMIT = 32
ATTRIBUTE_KEY_LIMIT_BYTES = 64
ATTRIBUTES_LIMIT_BYTES = 4096

# Letters, symbols and marks by category that print nothing: Hangul fillers, the blank Braille pattern, the
# combining grapheme joiner, variation selectors. White space and format characters are found by category.
_BLANKS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5") | {
    chr(point) for point in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), *range(0x180B, 0x1810))
}
_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})


def is_visible(character: str) -> bool:
    """Whether the character prints anything by itself."""
    return character not in _BLANKS and unicodedata.category(character) not in _INVISIBLE_CATEGORIES


def check_content(text: str, attributes: Mapping[str, str], *, text_limit_code_points: int) -> Refusal | None:
    """None if the content may be sent, else a refusal that names every field that breaks its rule."""
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


def digest_of(*fields: str) -> bytes:
    """32 bytes that identify a content: SHA-256 over the fields, each preceded by its length so that none can
    run into the next.
    """
    digest = hashlib.sha256()
    for field in fields:
        encoded = field.encode()
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.digest()
