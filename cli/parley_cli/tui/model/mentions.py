"""Names after an @: completing them while one writes, and reading them from a finished text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

# What the server allows in user names, loosely: a name ends at white space or at another @.
_WORD = re.compile(r"(?<![\w@.])@([^\s@]*)")
_TRAILING = ".,:;!?)]}\"'\u3002\u3001"
EVERYBODY = "all"
SHOWN_LIMIT = 6


def folded(name: str) -> str:
    """The form in which names are compared."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def begun_at(text: str, cursor: int) -> tuple[int, str] | None:
    """Where the mention that ends at `cursor` begins, and what is written of its name; None outside one."""
    begin = max(text.rfind("@", max(0, cursor - 65), cursor), 0)
    match = _WORD.match(text, begin)
    if match is None or match.end() != cursor or any(letter.isspace() for letter in text[begin:cursor]):
        return None
    return begin, text[begin + 1 : cursor]


def candidates(prefix: str, names: Iterable[str], *, everybody: bool) -> list[str]:
    """Names that begin with `prefix`, then those that hold it; `all` among them if the user may say so."""
    wanted = folded(prefix)
    known = sorted({*names, *([EVERYBODY] if everybody else [])}, key=folded)
    first = [name for name in known if folded(name).startswith(wanted)]
    later = [name for name in known if wanted in folded(name) and name not in first]
    return (first + later)[:SHOWN_LIMIT]


def completed(text: str, cursor: int, begin: int, name: str) -> tuple[str, int]:
    """The text with the mention at `begin` completed to `name`, and where the cursor is then."""
    filled = f"{text[:begin]}@{name} "
    rest = text[cursor:]
    return filled + rest.removeprefix(" "), len(filled)


def mentioned(text: str, ids: Mapping[str, str]) -> tuple[tuple[str, ...], bool]:
    """The ids of those whom the text calls, out of `ids` by name, and whether it calls everybody."""
    by_name = {folded(name): user_id for name, user_id in ids.items()}
    found: dict[str, None] = {}
    everybody = False
    for match in _WORD.finditer(text):
        word = match[1]
        while word and folded(word) not in by_name and (word[-1] in _TRAILING or _particle(word[-1])):
            word = word[:-1]
        if folded(word) in by_name:
            found[by_name[folded(word)]] = None
        elif word == EVERYBODY:
            everybody = True
    return tuple(found)[:50], everybody


def _particle(letter: str) -> bool:
    # Korean and Japanese write particles right behind a name: `@bob에게`.
    return "\uac00" <= letter <= "\ud7a3" or "\u3040" <= letter <= "\u30ff"
