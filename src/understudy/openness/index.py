"""The dimensions of the European Open Source AI Index, from a family's facts.

Source: https://osai-index.eu and the files behind it (Language-Technology-Assessment/main-database on GitHub,
_parameters.yml, read 2026-11-25). Only the shape is taken: twelve dimensions, each open, partial or closed, with what
shows it. The classes here come from this register's facts, not from the index. Pure.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from understudy.openness.definition import terms_of
from understudy.openness.facts import Evidence, Family
from understudy.openness.spdx import UNKNOWN, UNLICENSED, is_osi_approved

RULES = "European Open Source AI Index, dimensions of 2025"

Class = Literal["open", "partial", "closed", "unknown"]

DIMENSIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "datasources_basemodel": ("Base model data", ("datasets",)),
    "datasources_endmodel": ("End user model data", ()),
    "weights_basemodel": ("Base model weights", ("parameters",)),
    "weights_endmodel": ("End user model weights", ("parameters",)),
    "trainingcode": ("Training code", ("training_code",)),
    "code": ("Code documentation", ()),
    "hardware_architecture": ("Hardware architecture", ()),
    "preprint": ("Preprint", ("research_paper", "technical_report")),
    "paper": ("Paper, peer-reviewed", ()),
    "modelcard": ("Model card", ("model_card",)),
    "datasheet": ("Datasheet", ("data_card",)),
    "licenses": ("Licences", ()),
}
"""Key and title in the index, and the components that answer it. Where there are none, the file's `[dimensions]` do."""

_CLASS: dict[str, Class] = {"open": "open", "restricted": "partial", "closed": "closed", "unknown": "unknown"}


class Dimension(msgspec.Struct, frozen=True):
    """One dimension in the index's own shape: class, link, notes."""

    key: str
    title: str
    class_: Class = msgspec.field(name="class")
    link: str
    notes: str


def dimensions(family: Family) -> tuple[Dimension, ...]:
    """All twelve, in the index's order."""
    return tuple(_dimension(key, title, names, family) for key, (title, names) in DIMENSIONS.items())


def _dimension(key: str, title: str, names: tuple[str, ...], family: Family) -> Dimension:
    if (fact := family.dimensions.get(key)) is not None:
        return _shown(key, title, fact.value, family.evidence(fact))
    for name in names:
        if (component := family.components.get(name)) is not None and component.state != "unknown":
            return _shown(key, title, _CLASS[component.state], family.evidence(component))
    if key == "licenses":
        return _licences(key, title, family)
    return Dimension(key, title, "unknown", "", "not verified")


def _licences(key: str, title: str, family: Family) -> Dimension:
    licence = terms_of(family, "parameters", "data")
    fact = family.licence("data")
    if licence in {UNKNOWN, UNLICENSED} or fact is None:
        return Dimension(key, title, "unknown", "", "not verified")
    return _shown(key, title, "open" if is_osi_approved(licence) else "partial", family.evidence(fact))


def _shown(key: str, title: str, class_: Class, evidence: Evidence) -> Dimension:
    return Dimension(
        key, title, class_, evidence.link, f"{evidence.quote or 'the page shows it'} (read {evidence.read})"
    )
