"""Policies: what a target must be to be used at all, decided once when a configuration is loaded.

A policy is a list of demands on facts, grades, licence conditions, jurisdiction and maker. `breaches` says which of
them a model does not meet, with the clause where a licence is the reason. What is unknown does not meet a demand,
unless the policy says `unknown = "allow"`. `impact` says beforehand which routes would lose which targets. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import msgspec

from understudy.openness import assess
from understudy.openness.assess import Openness
from understudy.openness.conditions import Answer, Finding, Owner, within
from understudy.openness.facts import Condition, Evidence, Family, Licence, Subject
from understudy.openness.register import Register


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A named policy of the configuration. Demands that are not set are not made.

    `licence_fits`: the licence lets this owner use it, with duties or without. `commercial`: it may be used
    commercially. `no_user_cap_below`, `no_revenue_cap_below`: no threshold under that many users a month, US dollars a
    year. `usable_in`: no region of these is excluded. `weights`: they are public. `outputs_may_train`: answers may
    train other models. `framework`: at least this class of the Model Openness Framework (3, 2 or 1). `open_source`,
    `exempt`: the OSI's definition, the EU AI Act's exemption. `jurisdictions`, `makers`, `licences`: only these;
    `not_…`: none of these. `without`: no condition of these subjects, such as "remote" or "terms-change".
    """

    licence_fits: bool = True
    commercial: bool = False
    no_user_cap_below: int | None = None
    no_revenue_cap_below: int | None = None
    usable_in: tuple[str, ...] = ()
    weights: Literal["public"] | None = None
    outputs_may_train: bool = False
    framework: Literal[1, 2, 3] | None = None
    open_source: bool = False
    exempt: bool = False
    jurisdictions: tuple[str, ...] = ()
    not_jurisdictions: tuple[str, ...] = ()
    makers: tuple[str, ...] = ()
    not_makers: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    not_licences: tuple[str, ...] = ()
    without: tuple[Subject, ...] = ()
    unknown: Literal["refuse", "allow"] = "refuse"


class Breach(msgspec.Struct, frozen=True):
    """One demand that is not met. `unknown`: nobody knows whether it is. `clause`: where a licence says so."""

    demand: str
    why: str
    unknown: bool = False
    clause: str = ""
    evidence: Evidence | None = None


class Subjected(msgspec.Struct, frozen=True):
    """A registered model as policies see it: put together once per load (`subject`), asked by each policy."""

    family: Family
    openness: Openness
    answer: Answer
    licences: tuple[Licence, ...]
    unread: tuple[str, ...]


class Loss(msgspec.Struct, frozen=True):
    """A target that a route would lose, and why."""

    target: str
    breaches: tuple[Breach, ...]


class Impact(msgspec.Struct, frozen=True):
    """What policies would do to the routes: who loses which targets, and who would be left with none."""

    losses: dict[str, tuple[Loss, ...]]
    empty: tuple[str, ...]


def subject(family: Family, register: Register, owner: Owner) -> Subjected:
    """A family with all that policies ask, for one owner."""
    ids = dict.fromkeys(assess.weights_licence(one) for one in assess.binding(family, register))
    return Subjected(
        family=family,
        openness=assess.assess(family, register),
        answer=assess.answer(family, register, owner),
        licences=tuple(register.licences[one] for one in ids if one in register.licences),
        unread=tuple(one for one in ids if one not in register.licences),
    )


def breaches(policy: Policy, model: Subjected | None) -> tuple[Breach, ...]:
    """Every demand of `policy` that `model` does not meet; empty: it may be used. None: it is not registered."""
    if model is None:
        found = [Breach("registered", "the register knows nothing of this model", unknown=True)]
    else:
        found = [*_licence(policy, model), *_thresholds(policy, model), *_grades(policy, model), *_names(policy, model)]
    return tuple(one for one in found if not (one.unknown and policy.unknown == "allow"))


def impact(
    routes: Mapping[str, tuple[str, ...]],
    policies: Mapping[str, Iterable[Policy]],
    find: Callable[[str], Subjected | None],
) -> Impact:
    """What happens to `routes` (name to targets) under `policies` (route's name to its policies).

    `find` gives the model behind a target's name, None where it is not registered.
    """
    losses: dict[str, tuple[Loss, ...]] = {}
    for name, targets in routes.items():
        lost = []
        for target in targets:
            model = find(target)
            broken = tuple(breach for policy in policies.get(name, ()) for breach in breaches(policy, model))
            if broken:
                lost.append(Loss(target, broken))
        if lost:
            losses[name] = tuple(lost)
    empty = tuple(name for name, lost in losses.items() if len(lost) == len(routes[name]))
    return Impact(losses, empty)


def _licence(policy: Policy, model: Subjected) -> Iterable[Breach]:
    if policy.licence_fits and model.answer.outcome in {"forbidden", "person"}:
        for finding in model.answer.findings:
            if finding.effect in {"forbidden", "person"}:
                yield _of_finding("licence_fits", finding)
    if policy.commercial:
        yield from _of_conditions(
            "commercial", model, lambda one: one.subject == "commercial" and one.effect == "forbidden"
        )
    if policy.outputs_may_train:
        yield from _of_conditions(
            "outputs_may_train", model, lambda one: one.subject == "outputs" and one.effect != "note"
        )
    if policy.usable_in:
        yield from _of_conditions("usable_in", model, lambda one: _shuts_out(one, policy.usable_in, model))
    if policy.without:
        yield from _of_conditions("without", model, lambda one: one.subject in policy.without)


def _shuts_out(condition: Condition, regions: tuple[str, ...], model: Subjected) -> bool:
    if condition.subject != "region" or condition.effect not in {"forbidden", "person"}:
        return False
    modality = model.family.facts.modality
    if condition.when.modality is not None and modality is not None and modality.value != condition.when.modality:
        return False
    shut = (*condition.when.domicile_in, *condition.when.users_in)
    return any(within(region, shut) for region in regions)


def _thresholds(policy: Policy, model: Subjected) -> Iterable[Breach]:
    users, revenue = policy.no_user_cap_below, policy.no_revenue_cap_below
    if users is not None:
        yield from _of_conditions(
            "no_user_cap_below", model, lambda one: _caps(one, one.when.monthly_users_above, users)
        )
    if revenue is not None:
        yield from _of_conditions("no_revenue_cap_below", model, lambda one: _caps(one, _per_year(one), revenue))


def _per_year(condition: Condition) -> int | None:
    """The revenue threshold of a condition, per year."""
    when = condition.when
    monthly = None if when.monthly_revenue_above is None else 12 * when.monthly_revenue_above
    return next(
        (one for one in (when.annual_revenue_above, when.annual_revenue_from, monthly) if one is not None), None
    )


def _caps(condition: Condition, threshold: int | None, limit: int) -> bool:
    return condition.effect in {"forbidden", "person"} and threshold is not None and threshold < limit


def _grades(policy: Policy, model: Subjected) -> Iterable[Breach]:
    openness = model.openness
    if policy.weights is not None:
        component = model.family.components.get("parameters")
        state = component.state if component else "unknown"
        if component is None or state not in {"open", "restricted"}:
            evidence = model.family.evidence(component) if component else None
            yield Breach("weights", f"the weights are {state}", unknown=state == "unknown", evidence=evidence)
    if policy.framework is not None and not 0 < openness.grade <= policy.framework:
        verdict = next(one for one in openness.framework.classes if one.grade == policy.framework)
        missing = ", ".join(verdict.missing) or "what its base lacks"
        yield Breach("framework", f"class {policy.framework} is not reached; missing or unknown: {missing}")
    for demand, wanted, judged in (
        ("open_source", policy.open_source, openness.definition),
        ("exempt", policy.exempt, openness.exemption),
    ):
        if wanted and judged.meets != "yes":
            why = "; ".join(f"{part.requirement}: {part.why}" for part in judged.parts if part.meets != "yes")
            yield Breach(demand, why, unknown=judged.meets in {"unknown", "person"})


def _names(policy: Policy, model: Subjected) -> Iterable[Breach]:
    facts = model.family.facts
    for demand, given, fact in (
        ("jurisdictions", policy.jurisdictions, facts.jurisdiction),
        ("makers", policy.makers, facts.maker),
    ):
        refused: tuple[str, ...] = getattr(policy, f"not_{demand}")
        if not (given or refused):
            continue
        if fact is None:
            yield Breach(demand, "not known", unknown=True)
            continue
        evidence = model.family.evidence(fact)
        inside = _among(fact.value, given, regions=demand == "jurisdictions")
        if given and not inside:
            yield Breach(demand, f"{fact.value} is not among {', '.join(given)}", evidence=evidence)
        if _among(fact.value, refused, regions=demand == "jurisdictions"):
            yield Breach(f"not_{demand}", f"{fact.value} is excluded", evidence=evidence)
    licence = model.openness.licence
    if policy.licences and licence not in policy.licences:
        yield Breach(
            "licences",
            f"{licence or 'no known licence'} is not among {', '.join(policy.licences)}",
            unknown=not licence,
        )
    if licence in policy.not_licences:
        yield Breach("not_licences", f"{licence} is excluded")


def _among(value: str, names: tuple[str, ...], *, regions: bool) -> bool:
    return within(value, names) if regions else value.lower() in {name.lower() for name in names}


def _of_conditions(demand: str, model: Subjected, meets: Callable[[Condition], bool]) -> Iterable[Breach]:
    """A breach for each condition of its licences that `meets` picks, and for each licence that nobody has read."""
    for licence in model.licences:
        if licence.grants.value.use is None:
            why = f"nobody has read the {licence.title}"
            yield Breach(demand, why, unknown=True, evidence=licence.evidence(licence.grants))
        for condition in licence.conditions:
            if meets(condition):
                why = f"{licence.title}, {condition.clause}: {condition.subject}"
                yield Breach(demand, why, clause=condition.clause, evidence=licence.evidence(condition))
    for name in model.unread:
        yield Breach(demand, f"nobody has read the licence {name!r}" if name else "no licence is known", unknown=True)


def _of_finding(demand: str, finding: Finding) -> Breach:
    return Breach(
        demand, finding.says, bool(finding.unanswered) or not finding.clause, finding.clause, finding.evidence
    )
