"""What a model card's metadata says, in the hub's own words for it.

Source: https://huggingface.co/docs/hub/model-cards, fields `license`, `license_name`, `license_link`, `base_model`,
`datasets`. A card is written by anybody: a field of another type than it should have is left out and told as a problem.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from understudy.openness.proposal import Claim, Found
from understudy.openness.yamls import YamlError, load

MOST = 64
"""Entries of a list that are kept: base models, data sets."""

LONGEST = 500
"""Characters of a word that is kept."""

_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(\r?\n|\Z)", re.DOTALL)


def of_text(text: str, found: Found) -> Found:
    """`found` with what the metadata at the head of a card says. No metadata is a problem, not an error."""
    match = _FRONT_MATTER.match(text)
    if match is None:
        return _problem(found, "the card has no metadata at its head")
    try:
        metadata = load(match.group(1))
    except YamlError as error:
        return _problem(found, f"the card's metadata cannot be read: {error}")
    if not isinstance(metadata, dict):
        return _problem(found, "the card's metadata is no mapping")
    return of_metadata(metadata, found)


def of_metadata(metadata: Mapping[Any, Any], found: Found) -> Found:
    """`found` with what a card's metadata says."""
    problems: list[str] = []
    licences = _texts(metadata, "license", problems)
    return msgspec.structs.replace(
        found,
        licence=" AND ".join(licences),
        licence_name=" ".join(_texts(metadata, "license_name", problems)[:1]),
        licence_link=" ".join(_texts(metadata, "license_link", problems)[:1]),
        bases=_texts(metadata, "base_model", problems),
        datasets=_texts(metadata, "datasets", problems),
        claims=found.claims + tuple(_claims(metadata, found.source)),
        problems=found.problems + tuple(problems),
    )


def _claims(metadata: Mapping[Any, Any], where: str) -> list[Claim]:
    fields = ("license", "license_name", "license_link", "base_model", "datasets")
    return [
        Claim(field, str(metadata[field])[:LONGEST], f"{where}, `{field}`")
        for field in fields
        if metadata.get(field) not in (None, "", [])
    ]


def _texts(metadata: Mapping[Any, Any], field: str, problems: list[str]) -> tuple[str, ...]:
    """A field that may be one text or a list of texts."""
    value = metadata.get(field)
    values = value if isinstance(value, list) else [] if value is None else [value]
    texts = [one.strip() for one in values if isinstance(one, str) and one.strip() and len(one) <= LONGEST]
    if len(texts) < len(values):
        problems.append(f"the card's `{field}` has values that are no short text; they are left out")
    if len(texts) > MOST:
        problems.append(f"the card's `{field}` has {len(texts)} entries; the first {MOST} are read")
    return tuple(texts[:MOST])


def _problem(found: Found, problem: str) -> Found:
    return msgspec.structs.replace(found, problems=(*found.problems, problem))
