"""What makes two calls the same: one digest over all that an answer may depend on.

Two bodies are the same if they mean the same JSON: order of members, white space and escapes do not count, everything
else does. A number is its kind and its value as a double, as RFC 8259, section 6, says software may read it: `1` and
`1.0` differ, since some providers tell them apart.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, NoReturn

FORMAT = b"understudy cache 1"
"""Part of every digest. A change of what is digested, or of how an entry is written, is a new one: old entries are
never found again, and expire."""


class NotExactError(ValueError):
    """A body that has no one meaning, so that no two of its kind may be taken for the same."""


def canonical(body: bytes) -> bytes:
    """The one form of all bodies that mean the same JSON.

    Raises NotExactError on what is no JSON or has no one meaning. A name that stands twice in an object is such a case:
    one reader takes the first value and another the last, and what was answered to one of the two must not be given to
    who asked for the other.
    """
    try:
        value = json.loads(body.decode(), object_pairs_hook=_members, parse_constant=_no_number)
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (ValueError, RecursionError) as error:
        raise NotExactError(str(error)) from None


def digest(*parts: bytes) -> bytes:
    """SHA-256 over `parts`, each with its length before it: no two lists of parts run into each other."""
    found = hashlib.sha256(FORMAT)
    for part in parts:
        found.update(b"%d:" % len(part))
        found.update(part)
    return found.digest()


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return members


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")
