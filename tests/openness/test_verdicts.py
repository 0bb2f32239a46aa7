"""OSI's definition, the EU's exemption, the European index, and all of them along a lineage."""

import pytest

from tests.openness.build import ALL, condition, family, licence, part, register
from understudy.openness import assess, definition, exemption, index
from understudy.openness.components import COMPONENTS
from understudy.openness.facts import Grants, Licences
from understudy.openness.register import register as packaged

WHOLE = {name: part() for name in COMPONENTS}


def judged(**changes):
    components = {name: one for name, one in {**WHOLE, **changes}.items() if one is not None}
    return definition.judge(family(components=components), {})


def part_of(verdict, requirement):
    return next(one for one in verdict.parts if one.requirement == requirement)


def test_all_open_meets_the_definition():
    verdict = judged()
    assert verdict.meets == "yes"
    assert verdict.rules == "Open Source AI Definition 1.0"
    assert not verdict.missing


@pytest.mark.parametrize(
    ("changes", "requirement", "meets"),
    [
        ({"datasets": None}, "data information", "yes"),  # the data card tells
        ({"datasets": None, "data_card": None}, "data information", "person"),  # a paper may tell
        ({"datasets": part("closed"), "data_card": part("restricted", "unknown")}, "data information", "person"),
        (
            {"datasets": None, "data_card": None, "technical_report": None, "research_paper": None},
            "data information",
            "unknown",
        ),
        ({name: part("closed") for name in definition.DATA_INFORMATION}, "data information", "no"),
        ({"training_code": None}, "training code", "unknown"),
        ({"training_code": part("unknown")}, "training code", "unknown"),
        ({"training_code": part("closed")}, "training code", "no"),
        ({"training_code": part("restricted", partly=True)}, "training code", "no"),
        ({"training_code": part("restricted", "unknown")}, "training code", "unknown"),
        ({"training_code": part("restricted", "own")}, "training code", "no"),
        ({"inference_code": part("open", "CC-BY-4.0")}, "inference code", "no"),  # open data, not approved by the OSI
        ({"parameters": None}, "parameters", "unknown"),
        ({"parameters": part("closed")}, "parameters", "no"),
        ({"parameters": part("restricted", "own")}, "parameters", "no"),
        ({"parameters": part("restricted", "unknown")}, "parameters", "unknown"),
        ({"parameters": part("open", "OpenMDW-1.0")}, "parameters", "yes"),
    ],
)
def test_each_requirement_of_the_definition_is_judged_by_its_facts(changes, requirement, meets):
    verdict = judged(**changes)
    assert part_of(verdict, requirement).meets == meets
    assert verdict.meets == meets
    assert (requirement in verdict.missing) is (meets != "yes")


def test_one_no_outweighs_what_is_unknown():
    assert definition.worst(["yes", "unknown", "no", "person"]) == "no"
    assert definition.worst(["yes", "person", "unknown"]) == "unknown"
    assert definition.worst(["yes", "person"]) == "person"


def exempt(model, *licences):
    return exemption.judge(model, {one.id: one for one in licences})


def test_free_weights_with_a_card_are_exempt_but_for_two_duties():
    verdict = exempt(family(components=WHOLE))
    assert verdict.meets == "yes"
    assert "copyright policy" in verdict.lifts
    assert "systemic risk is not known" in verdict.caveats[0]
    assert not exempt(family(components=WHOLE, systemic_risk=False)).caveats


@pytest.mark.parametrize(
    ("one", "meets", "why"),
    [
        (condition("commercial", "forbidden"), "no", "non-commercial"),
        (condition("threshold", "forbidden"), "no", "threshold"),
        (condition("threshold", "person"), "no", "threshold"),
        (condition("threshold", "duty"), "person", "duty"),
        (condition("competition", "forbidden"), "no", "competitors"),
        (condition("region", "forbidden"), "no", "regions"),
        (condition("field-of-use", "duty"), "person", "limits for safety"),
        (condition("outputs", "forbidden"), "person", "train"),
        (condition("registration", "duty"), "person", "registered"),
        (condition("remote", "note"), "person", "remotely"),
        (condition("terms-change", "note"), "person", "change"),
        (condition("notice", "duty"), "yes", "grants them"),
        (condition("naming", "duty"), "yes", "grants them"),
        (condition("pass-on", "duty"), "yes", "grants them"),
    ],
)
def test_each_condition_of_a_licence_is_read_by_the_guidelines(one, meets, why):
    verdict = exempt(family(licence="own", components={**WHOLE, "parameters": part("restricted")}), licence("own", one))
    assert verdict.meets == meets
    assert why in part_of(verdict, "licence grants access, use, modification and distribution").why


@pytest.mark.parametrize(
    ("grants", "meets"),
    [
        (ALL, "yes"),
        (Grants(use=True, modify=True, redistribute=False), "no"),
        (Grants(use=True, modify=True), "unknown"),
    ],
)
def test_a_licence_that_does_not_grant_everything_is_no_exemption(grants, meets):
    assert exempt(family(licence="own"), licence("own", grants=grants)).parts[1].meets == meets


@pytest.mark.parametrize(
    ("model", "requirement", "meets"),
    [
        (family(components={}), "weights public", "unknown"),
        (family(components={"parameters": part("closed")}), "weights public", "no"),
        (family(gated=True), "weights public", "person"),
        (family(licence=None), "licence grants access, use, modification and distribution", "unknown"),
        (family(licence="nobodys"), "licence grants access, use, modification and distribution", "unknown"),
        (family(licence="ODbL-1.0"), "licence grants access, use, modification and distribution", "yes"),
        (family(), "information on the architecture", "unknown"),
        (
            family(components={name: part("closed") for name in ("model_card", "inference_code")}),
            "information on usage",
            "no",
        ),
        (family(components={"model_card": part("restricted", "unknown")}), "information on usage", "yes"),
        (family(monetised=True), "no monetisation", "no"),
        (family(monetised=False), "no monetisation", "yes"),
        (family(systemic_risk=True), "no systemic risk", "no"),
    ],
)
def test_each_requirement_of_the_exemption_is_judged_by_its_facts(model, requirement, meets):
    assert part_of(exempt(model), requirement).meets == meets


def test_the_index_has_its_twelve_dimensions_with_what_shows_them():
    components = {
        "parameters": part(),
        "training_code": part("closed"),
        "datasets": part("restricted", partly=True),
        "technical_report": part("restricted", "unknown"),
        "model_card": part("unknown"),
    }
    rows = {one.key: one for one in index.dimensions(family(components=components, dimensions={"paper": "closed"}))}
    assert list(rows) == list(index.DIMENSIONS)
    found = {key: row.class_ for key, row in rows.items()}
    assert found == {
        "datasources_basemodel": "partial",
        "datasources_endmodel": "unknown",
        "weights_basemodel": "open",
        "weights_endmodel": "open",
        "trainingcode": "closed",
        "code": "unknown",
        "hardware_architecture": "unknown",
        "preprint": "partial",
        "paper": "closed",
        "modelcard": "unknown",
        "datasheet": "unknown",
        "licenses": "open",
    }
    assert rows["paper"].link == "https://example.org/page"
    assert "so it says" in rows["paper"].notes
    assert rows["code"].notes == "not verified"


@pytest.mark.parametrize(("named", "class_"), [("mit", "open"), ("llama-3.3", "partial"), (None, "unknown")])
def test_the_index_judges_the_licence_of_the_weights(named, class_):
    assert index.dimensions(family(licence=named))[-1].class_ == class_


def test_a_derived_model_is_at_most_as_open_as_its_base():
    base = family("base", licence="own", components={**WHOLE, "parameters": part("restricted")}, maker="Another")
    child = family("child", components=WHOLE, base=["base"])
    known = register(base, child, licence("own", condition("commercial", "forbidden", when={"commercial": True})))
    found = assess.assess(child, known)
    assert (found.own_grade, found.grade) == (1, 0)
    assert found.lineage == ("child", "base")
    assert found.definition.meets == found.exemption.meets == "no"
    assert found.conflicts[0].why == (
        "Child is labelled MIT, but was made from Base, which is under Own: what the base asks still holds"
    )
    assert assess.answer(child, known, assess.Owner(commercial=True)).outcome == "forbidden"


def test_a_maker_may_license_its_own_derivative_anew_but_not_what_others_made_below_it():
    deep = family("deep", licence="own", components={"parameters": part("restricted")}, maker="Another")
    base = family("base", licence="own", components={"parameters": part("restricted")}, base=["deep"])
    child = family("child", base=["base"])
    known = register(deep, base, child, licence("own"))
    assert [one.id for one in assess.binding(child, known)] == ["child", "deep"]
    assert [one.id for one in assess.lineage(child, known)] == ["child", "base", "deep"]
    assert not assess.conflicts([child, base], known)


def test_a_base_under_a_licence_that_is_not_known_is_a_conflict_too():
    known = register(family("base", licence=None, components={}, maker="Another"), family("child", base=["base"]))
    assert "no known licence" in assess.assess(known.families["child"], known).conflicts[0].why


def test_an_unread_licence_of_a_base_needs_a_person():
    known = register(
        family("base", licence=None, components={}, maker="Another"), family("child", base=["base"]), licence("mit")
    )
    assert assess.answer(known.families["child"], known, assess.Owner()).outcome == "person"


def test_what_is_published_in_part_is_no_component_of_a_release():
    model = family(
        components={"datasets": part("restricted", partly=True), "parameters": part(), "model_card": part("closed")}
    )
    assert assess.release(model).components == {"parameters": None}


def test_at_best_says_what_unknown_facts_could_still_bring():
    components = {
        **{name: part() for name in ("architecture", "parameters", "model_card")},
        "technical_report": part("restricted", "unknown"),
        "data_card": part("restricted", "unlicensed"),
    }
    known = register(family(components=components))
    found = assess.assess(known.families["tiny"], known)
    assert (found.grade, found.best_grade) == (0, 0), "an unlicensed data card is known to be none"
    del components["data_card"]
    known = register(family(components=components))
    found = assess.assess(known.families["tiny"], known)
    assert (found.grade, found.best_grade) == (0, 1)


def test_the_licence_of_a_kind_goes_before_the_distributions():
    import msgspec

    base = family()
    model = msgspec.structs.replace(
        base, licences=Licences(distribution=base.licences.distribution, data=base.licences.distribution)
    )
    assert model.licence("data") is model.licences.data
    assert assess.release(model).licences == {"data": "MIT", "distribution": "MIT"}


# What the register itself comes to, where the facts are beyond doubt.
@pytest.mark.parametrize(
    ("name", "open_source", "exempt"),
    [
        ("llama-3.3", "no", "no"),
        ("gpt", "no", "no"),
        ("claude", "no", "no"),
        ("command-a", "no", "no"),
        ("llama-4", "no", "no"),
        ("gemma-3", "no", "person"),
        ("kimi-k2", "no", "person"),
        ("bloom", "no", "person"),
        ("gpt-oss", "no", "yes"),
        ("olmo-2", "unknown", "yes"),
        ("pythia", "unknown", "yes"),
        ("deepseek-r1-distill-llama-8b", "no", "no"),
    ],
)
def test_labels_of_the_register_come_to_what_its_facts_say(name, open_source, exempt):
    known = packaged()
    found = assess.assess(known.families[name], known)
    assert (found.definition.meets, found.exemption.meets) == (open_source, exempt)


def test_models_distilled_from_llama_are_in_conflict_with_their_label():
    known = packaged()
    found = assess.assess(known.families["deepseek-r1-distill-llama-70b"], known)
    assert found.conflicts[0].base_says == "llama-3.3"
    assert not assess.assess(known.families["deepseek-r1-distill-qwen"], known).conflicts


def test_no_weights_with_a_cap_or_a_closed_licence_reach_a_class():
    known = packaged()
    for model in known.families.values():
        found = assess.assess(model, known)
        if found.exemption.meets == "no":
            assert found.grade == 0, model.id
