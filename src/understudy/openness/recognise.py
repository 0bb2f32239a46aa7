"""Says which licence of the register a text, a name or an SPDX expression is.

A text is recognised by its digest, made of the words alone, so that line breaks, quotes, Markdown and the holder's name
do not matter. That also tells when a text has changed at its source. A name is recognised exactly, never by a part of
it: "llama 3" is not "llama 3.1", and they differ on training other models. Expressions ("Apache-2.0 OR MIT") go through
`license-expression`, which knows the ids of SPDX and of the ScanCode list.
"""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING

from understudy.openness.facts import Licence
from understudy.openness.register import Register
from understudy.openness.spdx import canonical, is_open

if TYPE_CHECKING:
    from license_expression import Licensing

LONGEST_TEXT = 1_000_000
LONGEST_EXPRESSION = 500
_MOST_ALTERNATIVES = 32

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_HOLDER = re.compile(r"^\s*copyright\s*(\(c\)|©|\d{4}|\[yyyy\]).*$", re.IGNORECASE | re.MULTILINE)
_WORD = re.compile(r"[^\W_]+")


class ExpressionError(ValueError):
    """No licence expression. The message says what was wrong with it."""


def digest(text: str) -> str:
    """SHA-256 over the words of a licence's text, without the line that names the holder."""
    words = _WORD.findall(_HOLDER.sub("", _FRONT_MATTER.sub("", unicodedata.normalize("NFKC", text))).casefold())
    return hashlib.sha256(" ".join(words).encode()).hexdigest()


def by_text(text: str, register: Register) -> Licence | None:
    """The licence whose text this is, word for word; None if it is none of the register's, or was changed."""
    if len(text) > LONGEST_TEXT:
        return None
    found = digest(text)
    return next((licence for licence in register.licences.values() if found in licence.digests), None)


def by_name(name: str, register: Register) -> Licence | None:
    """The licence that goes by this name: its id, its SPDX id, the hub's name for it."""
    wanted = name.strip().lower()
    if (licence := register.licences.get(wanted)) is not None:
        return licence
    for licence in register.licences.values():
        if wanted and (wanted == licence.spdx.lower() or wanted in licence.aliases):
            return licence
    return None


def by_expression(text: str, register: Register) -> tuple[tuple[str, ...], ...]:
    """The alternatives of a licence expression, each a tuple of licences that hold together.

    Ids are the register's where it has the licence, else SPDX ids.

    Errors:
        ExpressionError: it is too long, is no expression, or names a licence that nobody knows.
    """
    if (licence := by_name(text, register)) is not None:
        return ((licence.id,),)
    if len(text) > LONGEST_EXPRESSION:
        raise ExpressionError(f"an expression of {len(text)} characters is too long; at most {LONGEST_EXPRESSION}")
    from boolean import ParseError  # noqa: PLC0415  # takes a moment to load
    from license_expression import ExpressionError as NotAnExpressionError  # noqa: PLC0415

    try:
        parsed = _licensing().parse(text, validate=True)
        simple = None if parsed is None else _licensing().dnf(parsed)
    except (ParseError, NotAnExpressionError) as error:
        raise ExpressionError(f"{text!r} is no licence expression: {error}") from error
    if simple is None:
        raise ExpressionError("the licence expression is empty")
    options = simple.args if isinstance(simple, _licensing().OR) else (simple,)
    if len(options) > _MOST_ALTERNATIVES:
        raise ExpressionError(f"{text!r} has more than {_MOST_ALTERNATIVES} alternatives")
    return tuple(_together(option, register) for option in options)


def _together(option: object, register: Register) -> tuple[str, ...]:
    parts = getattr(option, "args", ()) if isinstance(option, _licensing().AND) else (option,)
    return tuple(_known(part, register) for part in parts)


def _known(part: object, register: Register) -> str:
    names = [str(getattr(part, "key", part)), *getattr(part, "aliases", ())]
    for name in names:
        if (licence := by_name(str(name), register)) is not None:
            return licence.id
    return next((canonical(str(name)) for name in names if is_open(canonical(str(name)))), names[0])


@functools.cache
def _licensing() -> Licensing:
    from license_expression import get_spdx_licensing  # noqa: PLC0415  # takes a moment to load

    return get_spdx_licensing()


def changed(licence: Licence, text: str) -> bool | None:
    """Whether a licence's text at its source is no longer one that was read. None: no digest of it is known."""
    return digest(text) not in licence.digests if licence.digests else None
