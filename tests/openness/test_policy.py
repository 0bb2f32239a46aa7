"""Policies: each demand, the clause where a licence is the reason, and what they would do to routes beforehand."""

import pytest

from tests.openness.build import condition, family, licence, part, register
from understudy.openness import policy
from understudy.openness.conditions import Owner
from understudy.openness.facts import Grants
from understudy.openness.policy import Policy, breaches, impact
from understudy.openness.register import register as packaged

SAID = Owner(
    commercial=True,
    monthly_users=1000,
    annual_revenue=1000,
    monthly_revenue=100,
    domicile="DE",
    users_in=("DE",),
    hosts=False,
    distributes=False,
    trains_on_outputs=False,
    competes_with=(),
)


def found(one, model, *licences, owner=SAID):
    known = register(model, licence("mit"), *licences)
    return breaches(one, policy.subject(model, known, owner))


def demands(*arguments, **more):
    return [one.demand for one in found(*arguments, **more)]


NOTHING = Policy(licence_fits=False)


def test_a_policy_without_demands_lets_everything_registered_through():
    assert not found(NOTHING, family(licence=None, components={}))


def test_a_model_that_nobody_registered_is_refused_unless_unknown_is_allowed():
    (breach,) = breaches(NOTHING, None)
    assert (breach.demand, breach.unknown) == ("registered", True)
    assert not breaches(Policy(unknown="allow"), None)


def test_a_licence_that_forbids_is_told_with_its_clause_and_words():
    one = licence("own", condition("commercial", "forbidden", clause="2(b)", when={"commercial": True}))
    (breach,) = found(Policy(), family(licence="own", components={"parameters": part("restricted")}), one)
    assert (breach.demand, breach.clause, breach.evidence.quote) == ("licence_fits", "2(b)", "the words")
    assert not breach.unknown


def test_a_licence_that_needs_a_person_is_refused_as_unknown():
    one = licence("own", condition("commercial", "forbidden", when={"commercial": True}))
    model = family(licence="own", components={"parameters": part("restricted")})
    (breach,) = found(Policy(), model, one, owner=Owner())
    assert breach.unknown
    assert not found(Policy(unknown="allow"), model, one, owner=Owner())
    (breach,) = found(Policy(), family(licence="nobodys"))
    assert breach.unknown


def test_a_licence_whose_text_nobody_has_read_meets_no_demand_on_it():
    one = licence("own", grants=Grants())
    (breach,) = found(Policy(licence_fits=False, commercial=True), family(licence="own"), one)
    assert (breach.unknown, breach.why) == (True, "nobody has read the Own")


def test_duties_do_not_refuse():
    assert not found(Policy(), family(licence="own"), licence("own", condition("naming", "duty")))


@pytest.mark.parametrize(
    ("demand", "one"),
    [
        ("commercial", condition("commercial", "forbidden")),
        ("outputs_may_train", condition("outputs", "person")),
        ("outputs_may_train", condition("outputs", "forbidden")),
    ],
)
def test_demands_on_conditions_refuse_whoever_the_owner_is(demand, one):
    wanted = Policy(licence_fits=False, **{demand: True})
    model = family(licence="own")
    assert demands(wanted, model, licence("own", one), owner=Owner()) == [demand]
    assert not demands(wanted, model, licence("own", condition("naming", "duty")), owner=Owner())
    (breach,) = found(wanted, family(licence="nobodys"))
    assert breach.unknown


@pytest.mark.parametrize(
    ("when", "limit", "refused"),
    [
        ({"monthly_users_above": 700_000_000}, {"no_user_cap_below": 50_000_000}, False),
        ({"monthly_users_above": 10_000_000}, {"no_user_cap_below": 50_000_000}, True),
        ({"monthly_users_above": 50_000_000}, {"no_user_cap_below": 50_000_000}, False),
        ({"annual_revenue_above": 1_000_000}, {"no_revenue_cap_below": 10_000_000}, True),
        ({"annual_revenue_from": 10_000_000}, {"no_revenue_cap_below": 10_000_000}, False),
        ({"monthly_revenue_above": 20_000_000}, {"no_revenue_cap_below": 500_000_000}, True),
        ({"monthly_revenue_above": 20_000_000}, {"no_revenue_cap_below": 240_000_000}, False),
        ({}, {"no_revenue_cap_below": 10_000_000, "no_user_cap_below": 1}, False),
    ],
)
def test_caps_are_compared_with_what_the_policy_can_bear(when, limit, refused):
    wanted = Policy(licence_fits=False, **limit)
    names = demands(wanted, family(licence="own"), licence("own", condition("threshold", "forbidden", when=when)))
    assert names == (list(limit)[:1] if refused else [])


def test_a_threshold_that_only_brings_a_duty_is_no_cap():
    one = licence("own", condition("threshold", "duty", when={"monthly_users_above": 5}))
    assert not demands(Policy(licence_fits=False, no_user_cap_below=10), family(licence="own"), one)


@pytest.mark.parametrize(
    ("when", "effect", "modality", "refused"),
    [
        ({"domicile_in": ("EU",)}, "forbidden", None, True),
        ({"users_in": ("FR",)}, "forbidden", None, True),
        ({"domicile_in": ("KR",)}, "forbidden", None, False),
        ({"domicile_in": ("EU",), "modality": "multimodal"}, "forbidden", "multimodal", True),
        ({"domicile_in": ("EU",), "modality": "multimodal"}, "forbidden", "text", False),
        ({"domicile_in": ("EU",), "modality": "multimodal"}, "forbidden", None, True),
        ({"domicile_in": ("EU",)}, "note", None, False),
    ],
)
def test_a_region_must_not_be_shut_out(when, effect, modality, refused):
    more = {"modality": modality} if modality else {}
    one = licence("own", condition("region", effect, when=when))
    names = demands(Policy(licence_fits=False, usable_in=("EU",)), family(licence="own", **more), one)
    assert names == (["usable_in"] if refused else [])


@pytest.mark.parametrize(
    ("components", "refused"),
    [
        ({"parameters": part()}, None),
        ({"parameters": part("restricted", "own")}, None),
        ({"parameters": part("closed")}, False),
        ({}, True),
        ({"parameters": part("unknown")}, True),
    ],
)
def test_weights_must_be_public(components, refused):
    result = found(Policy(licence_fits=False, weights="public"), family(components=components), licence("own"))
    assert [one.unknown for one in result] == ([] if refused is None else [refused])


def test_a_class_and_the_definitions_can_be_demanded():
    result = found(Policy(licence_fits=False, framework=2, open_source=True, exempt=True), family())
    assert [one.demand for one in result] == ["framework", "open_source", "exempt"]
    assert "architecture" in result[0].why
    assert result[1].unknown
    closed = family(components={"parameters": part("closed")})
    assert [one.unknown for one in found(Policy(licence_fits=False, open_source=True), closed)] == [False]


@pytest.mark.parametrize(
    ("wanted", "more", "names"),
    [
        ({"jurisdictions": ("EU",)}, {"jurisdiction": "FR"}, []),
        ({"jurisdictions": ("EU",)}, {"jurisdiction": "US"}, ["jurisdictions"]),
        ({"jurisdictions": ("EU",)}, {}, ["jurisdictions"]),
        ({"not_jurisdictions": ("CN",)}, {"jurisdiction": "CN"}, ["not_jurisdictions"]),
        ({"not_jurisdictions": ("CN",)}, {"jurisdiction": "US"}, []),
        ({"not_jurisdictions": ("CN",)}, {}, ["jurisdictions"]),
        ({"makers": ("somebody",)}, {}, []),
        ({"makers": ("Another",)}, {}, ["makers"]),
        ({"not_makers": ("Somebody",)}, {}, ["not_makers"]),
        ({"licences": ("mit", "apache-2.0")}, {}, []),
        ({"licences": ("apache-2.0",)}, {}, ["licences"]),
        ({"not_licences": ("mit",)}, {}, ["not_licences"]),
    ],
)
def test_makers_seats_and_licences_can_be_chosen(wanted, more, names):
    assert demands(Policy(licence_fits=False, **wanted), family(**more)) == names


def test_a_choice_of_licences_refuses_an_unknown_one_as_unknown():
    (breach,) = found(Policy(licence_fits=False, licences=("mit",)), family(licence=None, components={}))
    assert (breach.demand, breach.unknown) == ("licences", True)


def test_subjects_can_be_excluded():
    one = licence("own", condition("remote", "note"), condition("terms-change", "note"), condition("naming", "duty"))
    assert (
        demands(Policy(licence_fits=False, without=("remote", "terms-change")), family(licence="own"), one)
        == ["without"] * 2
    )


def test_the_licence_of_the_base_counts_as_well():
    base = family("base", licence="own", components={"parameters": part("restricted")}, maker="Another")
    child = family("child", base=["base"])
    known = register(base, child, licence("mit"), licence("own", condition("outputs", "forbidden")))
    result = breaches(Policy(licence_fits=False, outputs_may_train=True), policy.subject(child, known, SAID))
    assert [one.demand for one in result] == ["outputs_may_train"]


def test_the_issues_own_example_is_refused_with_the_clause_quoted():
    known = packaged()
    wanted = Policy(
        commercial=True, no_user_cap_below=50_000_000, usable_in=("EU",), weights="public", outputs_may_train=True
    )

    def names(model):
        return {one.demand for one in breaches(wanted, policy.subject(known.families[model], known, SAID))}

    assert not names("gpt-oss")
    assert not names("mistral-7b")
    assert not names("llama-3.3")
    assert names("llama-3") == {"outputs_may_train"}
    assert names("llama-4") == {"licence_fits", "usable_in"} or names("llama-4") == {"usable_in"}
    assert names("gpt") == {"weights", "outputs_may_train"}
    assert names("hunyuan-large") >= {"usable_in", "outputs_may_train"}
    assert names("command-a") >= {"licence_fits", "commercial"}
    result = breaches(wanted, policy.subject(known.families["llama-3"], known, SAID))
    assert result[0].clause == "1.b.v"
    assert "improve any other large language model" in result[0].evidence.quote


def test_the_impact_names_what_each_route_loses_and_which_is_left_with_none():
    good, bad = family("good"), family("bad", components={"parameters": part("closed")})
    known = register(good, bad, licence("mit"))
    models = {f"one/{name}": policy.subject(known.families[name], known, SAID) for name in ("good", "bad")}
    routes = {
        "mixed": ("one/good", "one/bad"),
        "lost": ("one/bad", "one/nobody"),
        "free": ("one/bad",),
        "fine": ("one/good",),
    }
    wanted = Policy(weights="public")
    result = impact(routes, {"mixed": [wanted], "lost": [wanted], "fine": [wanted]}, models.get)
    assert set(result.losses) == {"mixed", "lost"}
    assert [one.target for one in result.losses["mixed"]] == ["one/bad"]
    assert result.losses["mixed"][0].breaches[0].demand == "weights"
    assert result.empty == ("lost",)
