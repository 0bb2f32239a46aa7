"""What a model's own card, file or page says, set beside the register: facts to propose, and labels that do not agree.

Nothing here enters the register by itself. A proposal names for each fact where it stands, so that somebody can read
it and write the file (docs/contributing-facts.md). A card's licence is a claim: the licence of its base still holds, so
the bases are looked up, each in the register, or among what was read with it. Pure; `folder.py` and `hub.py` read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from understudy.openness import assess
from understudy.openness.recognise import ExpressionError, by_expression, by_name, by_text, changed
from understudy.openness.register import Register
from understudy.openness.spdx import canonical, is_open

Licences = tuple[tuple[str, ...], ...]
"""Alternatives, each a set of licences that hold at once."""


class Claim(msgspec.Struct, frozen=True):
    """One thing that a source says: what about, in which words, where."""

    fact: str
    says: str
    where: str


class File(msgspec.Struct, frozen=True):
    """A file of a release. `size` in bytes and `sha256` are None where the source does not say."""

    name: str
    size: int | None = None
    sha256: str | None = None


class Found(msgspec.Struct, frozen=True):
    """What was read at one source. `licence` is its own word for it, `licence_text` the text that lies beside."""

    name: str
    source: str
    licence: str = ""
    licence_name: str = ""
    licence_link: str = ""
    licence_text: str = ""
    gated: bool | None = None
    bases: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    parameters: int | None = None
    context: int | None = None
    revision: str = ""
    files: tuple[File, ...] = ()
    claims: tuple[Claim, ...] = ()
    problems: tuple[str, ...] = ()


class Proposal(msgspec.Struct, frozen=True):
    """A source beside the register.

    `licences` is what its licence comes to: alternatives, each a set that holds at once. `register` is the family that
    is known under its name, `bases` its bases and the families that they are, if any. `conflicts` are labels that do
    not agree, `problems` what could not be read or is missing.
    """

    found: Found
    register: str
    licences: Licences
    bases: dict[str, str]
    conflicts: tuple[str, ...]
    problems: tuple[str, ...]


def propose(found: Found, register: Register, others: Sequence[Found] = ()) -> Proposal:
    """The proposal for what was found. `others` are bases that were read with it."""
    problems = list(found.problems)
    licences = _licences(found, register, problems)
    family = register.find(found.name)
    bases = {base: (known.id if (known := register.find(base)) else "") for base in found.bases}
    read = {one.name.lower() for one in others}
    problems += [
        f"the base {base} is not in the register: its terms hold too, and nobody has read them"
        for base, known in bases.items()
        if not known and base.lower() not in read
    ]
    conflicts = [*_with_text(found, licences, register), *_with_bases(found, licences, bases, register)]
    for one in others:
        conflicts += _with_other(found, licences, one, register)
    if family is not None:
        conflicts += _with_register(family.id, licences, register)
    return Proposal(found, family.id if family else "", licences, bases, tuple(conflicts), tuple(problems))


def _licences(found: Found, register: Register, problems: list[str]) -> Licences:
    """What the source's licence is. `other` without a name is none."""
    if found.licence.lower() in {"", "other", "unknown"}:
        for name in (found.licence_name, found.licence_link):
            if name and (known := by_name(name, register)) is not None:
                return ((known.id,),)
        if found.licence_text and (known := by_text(found.licence_text, register)) is not None:
            return ((known.id,),)
        if found.licence_name or found.licence_link:
            problems.append(
                f"nobody has read the licence {found.licence_name or found.licence_link!r} for the register"
            )
        elif found.licence:
            problems.append(f"the licence is called {found.licence!r}, without a name or a link")
        else:
            problems.append("no licence is stated")
        return ()
    try:
        return by_expression(found.licence, register)
    except ExpressionError as error:
        problems.append(str(error))
        return ()


def _with_text(found: Found, licences: Licences, register: Register) -> list[str]:
    """The text that lies beside a card against the card's word for it."""
    if not found.licence_text:
        return []
    known = by_text(found.licence_text, register)
    named = {one for option in licences for one in option}
    if known is not None:
        agree = not named or known.id in named
        return [] if agree else [f"the card says {found.licence}, the text beside it is the {known.title}"]
    stated = [register.licences[one] for one in sorted(named) if one in register.licences]
    return [
        f"the text beside the card is not the {licence.title} that the register read: it was changed, or is another"
        for licence in stated
        if changed(licence, found.licence_text)
    ]


def _with_bases(found: Found, licences: Licences, bases: Mapping[str, str], register: Register) -> list[str]:
    conflicts = []
    for base, known in bases.items():
        licence = assess.weights_licence(register.families[known]) if known else ""
        if known and _open(licences) and not is_open(canonical(licence)):
            title = register.licences[licence].title if licence in register.licences else "a licence that is not known"
            conflicts.append(f"it says {found.licence}, but its base {base} is under the {title}, which still holds")
    return conflicts


def _with_other(found: Found, licences: Licences, base: Found, register: Register) -> list[str]:
    """A base that is not registered: its own label, and in turn what its bases say."""
    conflicts = []
    if _open(licences) and not _open(_licences(base, register, [])):
        named = base.licence_name or base.licence or "no licence"
        conflicts.append(f"it says {found.licence}, but its base {base.name} says {named}, which still holds")
    bases = {one: known.id for one in base.bases if (known := register.find(one)) is not None}
    return [*conflicts, *_with_bases(found, licences, bases, register)]


def _open(licences: Licences) -> bool:
    return bool(licences) and all(is_open(canonical(one)) for option in licences for one in option)


def _with_register(family: str, licences: Licences, register: Register) -> list[str]:
    known = assess.weights_licence(register.families[family])
    named = {one.lower() for option in licences for one in option}
    if not known or not named or known in named:
        return []
    return [f"it says {' or '.join(sorted(named))}, the register says {known} ({family}): one of them has changed"]
