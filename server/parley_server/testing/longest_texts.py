"""Texts of exactly the length that a message may have, one for each way in which scripts are hard."""

from __future__ import annotations

import itertools

CODE_POINTS = 100_000
"""How long a message's text may be."""


def _repeated(sample: str) -> str:
    return "".join(itertools.islice(itertools.cycle(sample), CODE_POINTS))


LONGEST_TEXTS = {
    "korean": _repeated("안녕하세요 반갑습니다. "),
    "korean-decomposed": _repeated("\u1112\u1161\u11ab\u1100\u1173\u11af"),
    "emoji": _repeated("👩\u200d👩\u200d👧\u200d👦🏳\ufe0f\u200d🌈👍🏽🇰🇷"),
    "combining": _repeated("e\u0301n\u0303a\u0308\u0323o\u0308\u0301"),
    "controls-and-far-planes": _repeated("a\0\r\n\t\ufeff\ufffe\uffff\U0010ffff\u202e\u061c"),
}
"""By name. A character takes 1 to 4 bytes, so that the largest are some 370 KB."""
