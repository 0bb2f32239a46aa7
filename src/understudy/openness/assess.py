"""Everything that can be said of one family: grades, licence, lineage, conflicts. Pure, over a loaded register.

A derived model is at most as free as its base: verdicts and conditions are those of the least free of its lineage,
leaving out what its maker may license anew. Where a model's own label claims more than its base allows, that is a
conflict, and is shown.
"""

from __future__ import annotations

import msgspec

from understudy.openness import conditions, definition, exemption, framework, index
from understudy.openness.components import COMPONENTS
from understudy.openness.conditions import Answer, Owner
from understudy.openness.facts import Family, Kind
from understudy.openness.register import Register
from understudy.openness.spdx import UNKNOWN, UNLICENSED, canonical, is_open


class Conflict(msgspec.Struct, frozen=True):
    """Two labels of one lineage that do not go together."""

    family: str
    says: str
    base: str
    base_says: str
    why: str


class Openness(msgspec.Struct, frozen=True):
    """How open a family is. `lineage` begins with itself. `grade` is capped by the bases, `own_grade` is not.

    `best_grade` is what it would be if all that is unknown were open: between the two lies what nobody has verified.
    """

    family: str
    lineage: tuple[str, ...]
    licence: str
    grade: int
    own_grade: int
    best_grade: int
    framework: framework.Verdict
    definition: definition.Verdict
    exemption: exemption.Verdict
    index: tuple[index.Dimension, ...]
    conflicts: tuple[Conflict, ...]


def assess(family: Family, register: Register) -> Openness:
    """The openness of `family`, with all its lineage."""
    chain = binding(family, register)
    verdicts = [framework.grade(release(one)) for one in chain]
    grade = min((verdict.grade for verdict in verdicts), key=_freedom)
    definitions = [definition.judge(one, register.licences) for one in chain]
    exemptions = [exemption.judge(one, register.licences) for one in chain]
    return Openness(
        family=family.id,
        lineage=tuple(one.id for one in lineage(family, register)),
        licence=weights_licence(family),
        grade=grade,
        own_grade=verdicts[0].grade,
        best_grade=min((framework.grade(at_best(one)).grade for one in chain), key=_freedom),
        framework=verdicts[0],
        definition=max(definitions, key=lambda verdict: definition.ORDER.index(verdict.meets)),
        exemption=max(exemptions, key=lambda verdict: definition.ORDER.index(verdict.meets)),
        index=index.dimensions(family),
        conflicts=conflicts(lineage(family, register), register),
    )


def _freedom(grade: int) -> int:
    """Classes by freedom: none, III, II, I."""
    return 0 if grade == 0 else 4 - grade


def lineage(family: Family, register: Register) -> list[Family]:
    """The family and all it was made from, each once, nearest first."""
    found: dict[str, Family] = {}
    waiting = [family]
    while waiting:
        one = waiting.pop(0)
        if one.id not in found:
            found[one.id] = one
            waiting += [register.families[base] for base in (one.facts.base.value if one.facts.base else ())]
    return list(found.values())


def binding(family: Family, register: Register) -> list[Family]:
    """The part of the lineage whose terms hold for the family: all but a maker's own bases.

    Who made the base may give its own derivative under other terms. What others made keeps theirs, however deep.
    """
    found = {family.id: family}
    waiting = [family]
    while waiting:
        one = waiting.pop(0)
        for base_id in one.facts.base.value if one.facts.base else ():
            base = register.families[base_id]
            if base.facts.maker.value != one.facts.maker.value:
                found.setdefault(base.id, base)
            waiting.append(base)
    return list(found.values())


def answer(family: Family, register: Register, owner: Owner) -> Answer:
    """What the licences that hold for a family ask of `owner`: its own, and those of bases that others made."""
    modality = family.facts.modality.value if family.facts.modality else None
    answers = []
    for licence in dict.fromkeys(weights_licence(one) for one in binding(family, register)):
        known = register.licences.get(licence)
        answers.append(
            conditions.unknown(licence) if known is None else conditions.evaluate(known, owner, modality=modality)
        )
    return conditions.combined(answers)


def weights_licence(family: Family) -> str:
    """The id of the licence that holds for the weights: what users are bound by. Empty: none is known."""
    licence = definition.terms_of(family, "parameters", "data")
    return "" if licence in {UNKNOWN, UNLICENSED} else licence.lower()


def release(family: Family) -> framework.Release:
    """The family's facts as the framework takes them: what is published whole, and under which licences.

    What is published in part is no component of a release: half a dataset does not let anybody rebuild the model.
    """
    published = {
        name: None if component.licence is None else canonical(component.licence)
        for name, component in family.components.items()
        if component.state in {"open", "restricted"} and not component.partly and name in COMPONENTS
    }
    general = {
        kind: canonical(fact.value)
        for kind in ("code", "data", "document", "distribution")
        if (fact := getattr(family.licences, kind)) is not None
    }
    licences: dict[Kind | framework.Whole, str] = general  # type: ignore[assignment]  # the keys are the literal's
    return framework.Release(published, licences)


def at_best(family: Family) -> framework.Release:
    """The release as it would be if every component that is not known, and every unread licence, were open."""
    known = release(family)
    openly = {
        name: "OpenMDW-1.0"
        for name in COMPONENTS
        if name not in family.components or family.components[name].state == "unknown"
    }
    unread = {
        name: "OpenMDW-1.0"
        for name in known.components
        if framework.licence_of(name, known) in {UNKNOWN, UNLICENSED} and not _said_to_have_none(family, name)
    }
    return framework.Release({**known.components, **openly, **unread}, known.licences)


def _said_to_have_none(family: Family, name: str) -> bool:
    return family.components[name].licence == UNLICENSED


def conflicts(chain: list[Family], register: Register) -> tuple[Conflict, ...]:
    """Labels along a lineage that claim more than a base allows."""
    found = []
    for one in chain:
        own = weights_licence(one)
        for base_id in one.facts.base.value if one.facts.base else ():
            base = register.families[base_id]
            base_licence = weights_licence(base)
            if base.facts.maker.value == one.facts.maker.value:
                continue
            if is_open(canonical(own)) and not is_open(canonical(base_licence)):
                known = register.licences.get(base_licence)
                named = known.title if known else base_licence or "no known licence"
                why = (
                    f"{one.title} is labelled {canonical(own)}, but was made from {base.title}, which is under {named}"
                )
                found.append(Conflict(one.id, own, base.id, base_licence, f"{why}: what the base asks still holds"))
    return tuple(found)
