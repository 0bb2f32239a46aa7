"""Judges a release by the open-source exemption of the EU AI Act: Article 53(2), recitals 102 to 104.

Sources: Regulation (EU) 2024/1689, https://eur-lex.europa.eu/eli/reg/2024/1689/oj; the Commission's guidelines on
general-purpose AI models of July 2025 (C(2025) 5045), paragraphs 76 to 92. The exemption lifts documentation duties of
the model's provider only. It lifts neither the copyright policy nor the summary of the training content, and holds for
no model with systemic risk. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from understudy.openness.definition import Meets, Part, terms_of, worst
from understudy.openness.facts import Condition, Family, Licence
from understudy.openness.spdx import UNKNOWN, UNLICENSED, is_open

RULES = "EU AI Act Art. 53(2), guidelines of July 2025"

LIFTS = "documentation duties only: copyright policy and summary of the training content stay (recital 104)"

_READS: Mapping[tuple[str, str], tuple[Meets, str]] = {
    ("commercial", "forbidden"): ("no", "non-commercial or research use only"),
    ("threshold", "forbidden"): ("no", "a threshold above which the licence ends or another one is needed"),
    ("threshold", "person"): ("no", "a threshold above which the licence ends or another one is needed"),
    ("threshold", "duty"): ("person", "a threshold, above which there is a duty"),
    ("competition", "forbidden"): ("no", "competitors are excluded"),
    ("region", "forbidden"): ("no", "regions are excluded"),
    ("outputs", "forbidden"): ("person", "answers may not train other models"),
    ("field-of-use", "forbidden"): ("person", "uses are forbidden: allowed only as proportionate limits for safety"),
    ("field-of-use", "duty"): ("person", "uses are limited: allowed only as proportionate limits for safety"),
    ("registration", "duty"): ("person", "use has to be registered"),
    ("remote", "note"): ("person", "the licensor may restrict use remotely"),
    ("terms-change", "note"): ("person", "the terms may change"),
}
"""How a condition is read, by subject and effect. Credit, notices and passing terms on are allowed (recital 102)."""


class Verdict(msgspec.Struct, frozen=True):
    """Whether the exemption holds. `caveats` are what the facts cannot say."""

    rules: str
    meets: Meets
    parts: tuple[Part, ...]
    missing: tuple[str, ...]
    lifts: str
    caveats: tuple[str, ...]


def judge(family: Family, licences: Mapping[str, Licence]) -> Verdict:
    """The verdict on a family's facts."""
    parts = (
        _weights(family),
        _licence(family, licences),
        _published(
            family,
            "information on the architecture",
            ("architecture", "technical_report", "research_paper", "model_card"),
        ),
        _published(family, "information on usage", ("model_card", "inference_code")),
        _free_of_charge(family),
        _systemic(family),
    )
    caveats: tuple[str, ...] = ()
    if family.facts.systemic_risk is None:
        caveats = ("whether it is a model with systemic risk is not known; for those the exemption does not hold",)
    missing = tuple(part.requirement for part in parts if part.meets != "yes")
    return Verdict(RULES, worst([part.meets for part in parts]), parts, missing, LIFTS, caveats)


def _weights(family: Family) -> Part:
    component = family.components.get("parameters")
    if component is None or component.state == "unknown":
        return Part("weights public", "unknown", "not known to be published")
    if component.state == "closed":
        return Part("weights public", "no", "not published")
    if family.facts.gated is not None and family.facts.gated.value:
        return Part("weights public", "person", "handed out only after consent")
    return Part("weights public", "yes", "published")


def _licence(family: Family, licences: Mapping[str, Licence]) -> Part:
    requirement = "licence grants access, use, modification and distribution"
    named = terms_of(family, "parameters", "data")
    licence = licences.get(named.lower())
    if licence is None:
        if is_open(named):
            return Part(requirement, "yes", f"{named} is an open licence")
        why = "no licence is known" if named in {UNKNOWN, UNLICENSED} else f"nobody has read {named} for the register"
        return Part(requirement, "unknown", why)
    found = [*_grants(licence), *_conditions(licence.conditions)]
    meets = worst([one for one, _ in found] or ["yes"])
    reasons = "; ".join(dict.fromkeys(why for one, why in found if one != "yes"))
    return Part(requirement, meets, f"{licence.title}: {reasons}" if reasons else f"{licence.title} grants them")


def _grants(licence: Licence) -> Iterator[tuple[Meets, str]]:
    grants = licence.grants.value
    for name in ("use", "modify", "redistribute"):
        granted: bool | None = getattr(grants, name)
        if granted is False:
            yield "no", f"it does not grant to {name}"
        elif granted is None:
            yield "unknown", f"whether it grants to {name} is not known"


def _conditions(conditions: tuple[Condition, ...]) -> Iterator[tuple[Meets, str]]:
    for condition in conditions:
        if (read := _READS.get((condition.subject, condition.effect))) is not None:
            yield read


def _published(family: Family, requirement: str, names: tuple[str, ...]) -> Part:
    states = {name: family.components[name].state for name in names if name in family.components}
    for name, state in states.items():
        if state in {"open", "restricted"}:
            return Part(requirement, "yes", f"{name.replace('_', ' ')} is published")
    if len(states) == len(names) and set(states.values()) == {"closed"}:
        return Part(requirement, "no", "not published")
    return Part(requirement, "unknown", "not known to be published")


def _free_of_charge(family: Family) -> Part:
    fact = family.facts.monetised
    if fact is None:
        return Part("no monetisation", "yes", "no payment for the model itself is known (recital 103)")
    return Part(
        "no monetisation", "no" if fact.value else "yes", "offered against payment" if fact.value else "free of charge"
    )


def _systemic(family: Family) -> Part:
    fact = family.facts.systemic_risk
    if fact is not None and fact.value:
        return Part("no systemic risk", "no", "a general-purpose model with systemic risk")
    return Part("no systemic risk", "yes", "not known to be one" if fact is None else "no model with systemic risk")
