"""The Model Openness Framework: worked cases from its rules, and ten thousand against a second judge."""

import random

import pytest

from understudy.openness import framework
from understudy.openness.components import COMPONENTS, NAMED
from understudy.openness.framework import Release, grade

THREE = ("architecture", "parameters", "evaluation_results", "model_card", "data_card", "technical_report")
TWO = (*THREE, "training_code", "inference_code", "evaluation_code", "evaluation_data")
ONE = (*TWO, "datasets", "preprocessing_code", "intermediate_parameters", "research_paper")
OPTIONAL = ("sample_outputs", "supporting_libraries", "model_metadata")


def release(names, licence="Apache-2.0", **own):
    return Release({name: own.get(name) for name in names}, {"distribution": licence} if licence else {})


def test_there_are_seventeen_components_and_the_tools_names_lead_back():
    assert len(COMPONENTS) == 17
    assert {NAMED[spec.title] for spec in COMPONENTS.values()} == set(COMPONENTS)
    assert set(ONE) | set(OPTIONAL) == set(COMPONENTS)


@pytest.mark.parametrize(("names", "reached"), [((), 0), (THREE, 3), (TWO, 2), (ONE, 1), ((*ONE, *OPTIONAL), 1)])
def test_a_class_is_reached_with_all_its_components(names, reached):
    verdict = grade(release(names))
    assert verdict.grade == reached
    assert verdict.rules == "Model Openness Framework 1.0 (2024-12-15)"
    assert verdict.title == framework.TITLES[reached]


@pytest.mark.parametrize("name", THREE)
def test_one_missing_component_of_the_first_class_leaves_none(name):
    verdict = grade(release([one for one in TWO if one != name]))
    assert verdict.grade == 0
    assert verdict.missing_for_next == (name,)
    assert [one.progress for one in verdict.classes] == [pytest.approx(500 / 6), 0, 0]


@pytest.mark.parametrize("name", [one for one in TWO if one not in THREE])
def test_one_missing_component_of_the_second_class_leaves_the_third(name):
    verdict = grade(release([one for one in TWO if one != name]))
    assert verdict.grade == 3
    assert verdict.missing_for_next == (name,)


@pytest.mark.parametrize("name", [one for one in ONE if one not in TWO])
def test_one_missing_component_of_the_first_rank_leaves_the_second(name):
    verdict = grade(release([one for one in ONE if one != name]))
    assert verdict.grade == 2
    assert verdict.missing_for_next == (name,)


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_optional_component_is_never_missed_and_never_spoils(name):
    assert grade(release(ONE)).grade == grade(release((*ONE, name), **{name: "unlicensed"})).grade == 1


def test_a_paper_stands_in_for_the_report_and_class_one_needs_one_less():
    names = [name for name in ONE if name != "technical_report"]
    verdict = grade(release(names))
    assert verdict.grade == 1
    assert "Technical report: the research paper stands in for it" in verdict.warnings
    assert grade(release([name for name in (*THREE, "research_paper") if name != "technical_report"])).grade == 3


def test_a_paper_stands_in_for_a_report_that_is_not_open():
    assert grade(release((*THREE, "research_paper"), technical_report="CC-BY-NC-4.0")).grade == 3


def test_a_paper_that_is_not_open_stands_in_for_nothing():
    names = [name for name in (*THREE, "research_paper") if name != "technical_report"]
    assert grade(release(names, research_paper="unlicensed")).grade == 0


def test_a_report_that_counts_is_not_replaced():
    verdict = grade(release([name for name in ONE if name != "research_paper"]))
    assert verdict.grade == 2
    assert verdict.missing_for_next == ("research_paper",)


@pytest.mark.parametrize(
    "licence",
    [
        "MIT",
        "Apache-2.0",
        "CC-BY-4.0",
        "CC0-1.0",
        "CDLA-Permissive-2.0",
        "OpenMDW-1.0",
        "GPL-3.0-only",
        "ODbL-1.0",
        "CC-BY-SA-4.0",
        "PDDL-1.0",
        "WTFPL",
    ],
)
def test_open_licences_count(licence):
    assert grade(release(THREE, licence)).grade == 3


@pytest.mark.parametrize(
    "licence", ["llama-3.3", "CC-BY-NC-4.0", "CC-BY-ND-4.0", "unlicensed", "unknown", "gemma", "mit "]
)
def test_other_licences_do_not(licence):
    assert grade(release(THREE, licence)).grade == 0


def test_a_component_without_any_licence_does_not_count():
    verdict = grade(release(THREE, None))
    assert verdict.grade == 0
    assert {row.status for row in verdict.rows if row.component in THREE} == {"unlicensed"}


def test_the_kinds_licence_goes_before_the_distributions_and_the_components_own_before_both():
    code_closed = Release(dict.fromkeys(TWO), {"distribution": "MIT", "code": "proprietary"})
    assert grade(code_closed).grade == 0
    own = {**dict.fromkeys(TWO), **{name: "MIT" for name in TWO if COMPONENTS[name].kind == "code"}}
    assert grade(Release(own, {"distribution": "MIT", "code": "proprietary"})).grade == 2


@pytest.mark.parametrize("own", ["unlicensed", ""])
def test_unlicensed_overrides_what_holds_for_the_release(own):
    verdict = grade(release(THREE, "MIT", parameters=own))
    assert verdict.grade == 0
    assert next(row for row in verdict.rows if row.component == "parameters").status == "unlicensed"


def test_the_wrong_kind_of_licence_is_a_warning():
    verdict = grade(release(THREE, "MIT"))
    assert verdict.grade == 3
    assert any(warning.startswith("Model card: MIT is open") for warning in verdict.warnings)
    assert not any(warning.startswith("Model architecture") for warning in verdict.warnings)
    assert not grade(release(ONE, "OpenMDW-1.0")).warnings


def test_an_unread_licence_says_so():
    row = next(row for row in grade(release(THREE, "MIT", parameters="unknown")).rows if row.component == "parameters")
    assert row.why == "nobody has read its licence for the register"


# --- the second judge: after the tool's own way, by bookkeeping per class, not by ours ------------------------------

OPEN = {"MIT", "Apache-2.0", "CC-BY-4.0", "OpenMDW-1.0", "CDLA-Permissive-2.0"}
SHUT = {"llama-3.3", "CC-BY-NC-4.0", "unlicensed", "proprietary"}


def judge(release: Release) -> tuple[int, dict[int, float]]:  # noqa: C901, PLR0912  # one after the other, as the tool
    """The tool's evaluate, handleTechnicalReportOmission and getProgress, one after the other."""
    required = {3: list(THREE), 2: list(TWO), 1: list(ONE)}
    fresh = {3: 6, 2: 4, 1: 4}
    included = {}
    for number in (3, 2, 1):
        included[number] = []
        for name in required[number]:
            if name in release.components:
                own = release.components[name]
                if own is None:
                    kind = COMPONENTS[name].kind
                    licence = release.licences.get(kind) or release.licences.get("distribution") or "unlicensed"
                else:
                    licence = own or "unlicensed"
                if licence in OPEN:
                    included[number].append(name)
    if "technical_report" not in included[3] and "research_paper" in included[1]:
        for number in (2, 3):
            included[number].append("research_paper")
    reached, progress = 0, {}
    for number in (3, 2, 1):
        total = 0
        stopped = number
        for step in range(3, number - 1, -1):
            total += fresh[step]
            count = len(included[step])
            if count < total:
                stopped = step
                break
        if stopped > number:
            progress[number] = 0.0
            continue
        if number == 1 and "technical_report" not in included[1] and "research_paper" in included[1]:
            total -= 1
        progress[number] = min(100.0, count / total * 100)
        if progress[number] == 100.0:
            reached = number
    return reached, progress


def draw(chance: random.Random) -> Release:
    """A release that is likely to be near a class: most parts there, most licences open."""
    dropped = chance.sample(sorted(COMPONENTS), chance.choice((0, 0, 1, 1, 2, 4, 9)))
    licences = [*sorted(OPEN) * 3, *sorted(SHUT)]
    components = {
        name: chance.choice(licences) if chance.random() < 0.25 else None for name in COMPONENTS if name not in dropped
    }
    general = {
        kind: chance.choice(licences)
        for kind in ("code", "data", "document", "distribution")
        if chance.random() < (0.9 if kind == "distribution" else 0.2)
    }
    return Release(components, general)


def test_a_second_judge_agrees_on_ten_thousand_cases():
    chance = random.Random(20241215)
    seen = set()
    for _ in range(10_000):
        case = draw(chance)
        verdict = grade(case)
        reached, progress = judge(case)
        assert verdict.grade == reached, case
        assert {one.grade: one.progress for one in verdict.classes} == pytest.approx(progress), case
        seen.add(reached)
    assert seen == {0, 1, 2, 3}, "the cases must reach every class"
