"""Judges a release by the Open Source AI Definition 1.0 of the Open Source Initiative (28 October 2024).

It asks for the preferred form to make modifications: data information, all code, and parameters, under terms that grant
use, study, modification and sharing for any purpose. Components are those of the Model Openness Framework, which the
definition's own checklist names. Source: https://opensource.org/ai/open-source-ai-definition, as summed up in
docs/guides/openness.md. Pure, three-valued: what is unknown makes the verdict unknown, not negative.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from understudy.openness.facts import Family, Licence
from understudy.openness.spdx import UNKNOWN, UNLICENSED, canonical, is_open, is_osi_approved

RULES = "Open Source AI Definition 1.0"

Meets = Literal["yes", "person", "unknown", "no"]
"""person: the facts are there, but somebody has to judge them."""

ORDER: tuple[Meets, ...] = ("yes", "person", "unknown", "no")

CODE = ("preprocessing_code", "training_code", "evaluation_code", "inference_code", "architecture")
"""Code for preprocessing, training, validation, testing, inference, and the architecture. Supporting libraries are
asked for where there are any, so they never decide alone."""

DATA_INFORMATION = ("datasets", "data_card", "technical_report", "research_paper")
"""Any of these may tell enough to rebuild the data. Whether a paper does is for a person to judge."""


class Part(msgspec.Struct, frozen=True):
    """One requirement: whether it is met, by which facts."""

    requirement: str
    meets: Meets
    why: str


class Verdict(msgspec.Struct, frozen=True):
    rules: str
    meets: Meets
    parts: tuple[Part, ...]
    missing: tuple[str, ...]


def judge(family: Family, licences: dict[str, Licence]) -> Verdict:
    """The verdict on a family's facts."""
    parts = (
        _data(family),
        *(_code(family, name) for name in CODE),
        _parameters(family, licences),
    )
    return Verdict(
        RULES, worst([part.meets for part in parts]), parts, tuple(p.requirement for p in parts if p.meets != "yes")
    )


def worst(all_of_them: list[Meets]) -> Meets:
    """What all of them come to: one no is a no, an unknown leaves it open."""
    return max(all_of_them, key=ORDER.index)


def terms_of(family: Family, name: str, kind: Literal["code", "data", "document"]) -> str:
    """The licence that holds for a component, as an SPDX id where there is one."""
    component = family.components.get(name)
    general = family.licence(kind)
    return canonical((component and component.licence) or (general.value if general else UNLICENSED))


def _data(family: Family) -> Part:
    found = {name: family.components.get(name) for name in DATA_INFORMATION}
    told = [name for name, component in found.items() if component and component.state in {"open", "restricted"}]
    whole = found["datasets"]
    if whole is not None and whole.state == "open":
        return Part("data information", "yes", "the datasets themselves are published")
    card = found["data_card"]
    if card is not None and card.state == "open":
        return Part("data information", "yes", "a data card is published")
    if told:
        return Part(
            "data information", "person", f"somebody has to judge whether {', '.join(told)} tell enough to rebuild it"
        )
    if all(component is not None and component.state == "closed" for component in found.values()):
        return Part("data information", "no", "nothing about the data is published")
    return Part("data information", "unknown", "nothing about the data is known to be published")


def _code(family: Family, name: str) -> Part:
    component = family.components.get(name)
    words = name.replace("_", " ")
    if component is None or component.state == "unknown":
        return Part(words, "unknown", "not known to be published")
    if component.state == "closed" or component.partly:
        return Part(words, "no", "not published" if component.state == "closed" else "published in part")
    licence = terms_of(family, name, "code")
    if licence == UNKNOWN:
        return Part(words, "unknown", "published, but nobody has read its licence for the register")
    if is_osi_approved(licence):
        return Part(words, "yes", f"published under {licence}, approved by the OSI")
    return Part(words, "no", f"published under {licence}, which the OSI has not approved")


def _parameters(family: Family, licences: dict[str, Licence]) -> Part:
    component = family.components.get("parameters")
    if component is None or component.state == "unknown":
        return Part("parameters", "unknown", "not known to be published")
    if component.state == "closed":
        return Part("parameters", "no", "not published")
    licence = terms_of(family, "parameters", "data")
    if licence == UNKNOWN:
        return Part("parameters", "unknown", "published, but nobody has read their licence for the register")
    if is_open(licence):
        return Part("parameters", "yes", f"published under {licence}")
    named = licences[licence].title if licence in licences else licence
    return Part("parameters", "no", f"published under {named}, which is not free for any purpose")
