"""What a licence asks of one owner: allowed, allowed with duties, forbidden, or a matter for a person.

A condition meets an owner if all its tests hold. A test whose answer the owner has not given is neither true nor false:
a ban that hangs on it becomes a question ("say `monthly_users`"), a duty is told with its "if". Nothing that is unknown
is ever read as permission, and a licence nobody has read is a matter for a person. This is no legal advice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from understudy.openness.facts import Condition, Effect, Evidence, Licence, Subject, When

RULES = "understudy conditions 1"

Outcome = Literal["allowed", "duties", "person", "forbidden"]
"""From free to not at all. A chain of licences is as free as the least free of them."""

OUTCOMES: tuple[Outcome, ...] = ("allowed", "duties", "person", "forbidden")

EU = frozenset({
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV",
    "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
})  # fmt: skip
"""The 27 members of the European Union, by ISO 3166."""


class Owner(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who runs the gateway, as licences ask: the `[owner]` table of the configuration. None: not said.

    `monthly_users` and revenues (in US dollars) are those of all products, with affiliates. `users_at` are the users of
    the calendar month before a day, for licences that count then and never again. `domicile` and `users_in` are ISO
    3166 codes of countries, or "EU". `trains_on_outputs`: answers train models of another family. `competes_with` names
    companies whose products one competes with.
    """

    commercial: bool | None = None
    monthly_users: int | None = None
    users_at: dict[str, int] = {}
    annual_revenue: int | None = None
    monthly_revenue: int | None = None
    domicile: str | None = None
    users_in: tuple[str, ...] | None = None
    hosts: bool | None = None
    distributes: bool | None = None
    trains_on_outputs: bool | None = None
    competes_with: tuple[str, ...] | None = None


class Finding(msgspec.Struct, frozen=True):
    """One condition that meets the owner, or may: what follows, what to do, where it stands.

    `unanswered` are the fields of the owner that would decide. `evidence` is None only where there is no text.
    """

    licence: str
    subject: Subject | Literal["unknown"]
    effect: Effect
    says: str
    clause: str
    evidence: Evidence | None
    show: str = ""
    where: str = ""
    unanswered: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """What a licence, or a chain of them, means for an owner."""

    rules: str
    outcome: Outcome
    findings: tuple[Finding, ...]


def evaluate(licence: Licence, owner: Owner, *, modality: str | None = None) -> Answer:
    """What `licence` asks of `owner` for a model of `modality` ("text", "multimodal", None: unknown)."""
    findings = [
        finding
        for condition in licence.conditions
        if (finding := _finding(licence, condition, owner, modality)) is not None
    ]
    grants = licence.grants
    if grants.value.use is False:
        findings.insert(
            0, Finding(licence.id, "commercial", "forbidden", "the text grants no use", "", licence.evidence(grants))
        )
    elif grants.value.use is None:
        says = "what the text grants is not known"
        findings.insert(0, Finding(licence.id, "unknown", "person", says, "", licence.evidence(grants)))
    return Answer(RULES, _outcome(findings), tuple(findings))


def unknown(name: str) -> Answer:
    """The answer for a licence that the register does not know: somebody has to read it."""
    says = f"nobody has read the licence {name!r} for the register" if name else "no licence is known"
    return Answer(RULES, "person", (Finding(name, "unknown", "person", says, "", None),))


def combined(answers: Iterable[Answer]) -> Answer:
    """All of them at once: the least free outcome, every finding."""
    all_of_them = list(answers)
    outcomes: list[Outcome] = ["allowed", *(answer.outcome for answer in all_of_them)]
    outcome = max(outcomes, key=OUTCOMES.index)
    return Answer(RULES, outcome, tuple(finding for answer in all_of_them for finding in answer.findings))


def _outcome(findings: Iterable[Finding]) -> Outcome:
    effects = {finding.effect for finding in findings}
    if "forbidden" in effects:
        return "forbidden"
    if "person" in effects:
        return "person"
    return "duties" if "duty" in effects else "allowed"


def _finding(licence: Licence, condition: Condition, owner: Owner, modality: str | None) -> Finding | None:
    tests = applies(condition, owner, modality)
    if False in tests.values():
        return None
    unanswered = tuple(field for field, holds in tests.items() if holds is None)
    effect: Effect = "person" if unanswered and condition.effect == "forbidden" else condition.effect
    return Finding(
        licence=licence.id,
        subject=condition.subject,
        effect=effect,
        says=_says(condition, unanswered),
        clause=condition.clause,
        evidence=licence.evidence(condition),
        show=condition.show,
        where=condition.where,
        unanswered=unanswered,
    )


def applies(condition: Condition, owner: Owner, modality: str | None) -> dict[str, bool | None]:
    """Each test of a condition by the owner's field that decides it: True, False, or None for not said."""
    when = condition.when
    found: dict[str, bool | None] = {}
    for field in ("commercial", "hosts", "distributes", "trains_on_outputs"):
        wanted, given = getattr(when, field), getattr(owner, field)
        if wanted is not None:
            found[field] = None if given is None else given == wanted
    if when.monthly_users_above is not None:
        found["monthly_users"] = _users(when.monthly_users_above, condition, owner)
    if when.annual_revenue_above is not None:
        found["annual_revenue"] = (
            None if owner.annual_revenue is None else owner.annual_revenue > when.annual_revenue_above
        )
    if when.annual_revenue_from is not None:
        found["annual_revenue"] = (
            None if owner.annual_revenue is None else owner.annual_revenue >= when.annual_revenue_from
        )
    if when.monthly_revenue_above is not None:
        found["monthly_revenue"] = (
            None if owner.monthly_revenue is None else owner.monthly_revenue > when.monthly_revenue_above
        )
    if when.domicile_in:
        found["domicile"] = None if owner.domicile is None else within(owner.domicile, when.domicile_in)
    if when.users_in:
        found["users_in"] = (
            None if owner.users_in is None else any(within(one, when.users_in) for one in owner.users_in)
        )
    if when.competes_with is not None:
        rivals = None if owner.competes_with is None else {name.lower() for name in owner.competes_with}
        found["competes_with"] = None if rivals is None else when.competes_with.lower() in rivals
    if when.modality is not None:
        found["modality"] = None if modality is None else modality == when.modality
    return found


def _users(threshold: int, condition: Condition, owner: Owner) -> bool | None:
    """Whether the owner has more users than that on the day that counts.

    A licence may count once, on a day in the past. Today's number says nothing sure about that day, unless it was given
    for it; who has few users today is taken at that, so that small owners need no archive.
    """
    if condition.measured is not None and (then := owner.users_at.get(condition.measured.isoformat())) is not None:
        return then > threshold
    if owner.monthly_users is None:
        return None
    above = owner.monthly_users > threshold
    return None if above and condition.measured is not None else above


def within(place: str, regions: Iterable[str]) -> bool:
    """Whether a place, a country's code or "EU", touches one of the regions."""
    code = place.upper()
    return any(
        code == region or (region == "EU" and code in EU) or (code == "EU" and region in EU) for region in regions
    )


def tests(when: When) -> Mapping[str, object]:
    """The tests that are set, for showing."""
    found: dict[str, object] = msgspec.to_builtins(when)
    return found


def _says(condition: Condition, unanswered: tuple[str, ...]) -> str:
    """What follows, in a sentence of ours; the licence's own words are the evidence."""
    limits = ", ".join(_limit(name, value) for name, value in tests(condition.when).items())
    met = f" (for: {limits})" if limits else ""
    day = f", counted for the month before {condition.measured}" if condition.measured else ""
    if condition.show:
        deed = f"show “{condition.show}” {condition.where}"
    else:
        deed = condition.todo or {"forbidden": "not allowed", "person": "needs a person's judgement"}.get(
            condition.effect, ""
        )
    question = f"; say {' and '.join(f'`{field}`' for field in unanswered)} to decide" if unanswered else ""
    return f"{condition.subject}: {deed or 'see the clause'}{met}{day}{question}"


def _limit(name: str, value: object) -> str:
    words = name.replace("_", " ")
    if isinstance(value, bool):
        return words if value else f"not {words}"
    if isinstance(value, int):
        return f"{words} {value:,}"
    if isinstance(value, list | tuple):
        return f"{words} {', '.join(value)}"
    return f"{words} {value}"
