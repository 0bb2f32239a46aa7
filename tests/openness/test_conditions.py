"""What licences ask of whom: a table of owners and licences, boundaries of every threshold, more users never free."""

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.openness import conditions
from understudy.openness.conditions import OUTCOMES, Answer, Finding, Owner, combined, evaluate, unknown, within
from understudy.openness.facts import Condition, Fact, Grants, Licence, Source, When
from understudy.openness.register import register

KNOWN = register().licences

# Owners. Each says everything that a licence may ask, so that no answer hangs on what was left out.
HOBBY = Owner(
    commercial=False,
    monthly_users=1,
    annual_revenue=0,
    monthly_revenue=0,
    domicile="US",
    users_in=("US",),
    hosts=False,
    distributes=False,
    trains_on_outputs=False,
    competes_with=(),
)


def who(**changes):
    base = {name: getattr(HOBBY, name) for name in HOBBY.__struct_fields__}
    return Owner(**{**base, **changes})


SHOP = who(commercial=True, monthly_users=50_000, annual_revenue=800_000, monthly_revenue=70_000)
BANK = who(
    commercial=True,
    monthly_users=5_000_000,
    annual_revenue=2_000_000_000,
    monthly_revenue=170_000_000,
    domicile="DE",
    users_in=("DE", "FR"),
)
HOST = who(commercial=True, monthly_users=50_000, annual_revenue=900_000, monthly_revenue=75_000, hosts=True)
MAKER = who(
    commercial=True, monthly_users=50_000, annual_revenue=900_000, monthly_revenue=75_000, trains_on_outputs=True
)
PASSES = who(commercial=True, monthly_users=50_000, annual_revenue=900_000, monthly_revenue=75_000, distributes=True)
GIANT = who(commercial=True, monthly_users=900_000_000, annual_revenue=90_000_000_000, monthly_revenue=7_000_000_000)
RIVAL = who(
    commercial=True, monthly_users=50_000, annual_revenue=900_000, monthly_revenue=75_000, competes_with=("naver",)
)
SEOUL = who(
    commercial=True,
    monthly_users=50_000,
    annual_revenue=900_000,
    monthly_revenue=75_000,
    domicile="KR",
    users_in=("KR",),
)

A, D, P, F = "allowed", "duties", "person", "forbidden"
OWNERS = {
    "hobby": HOBBY,
    "shop": SHOP,
    "bank": BANK,
    "host": HOST,
    "maker": MAKER,
    "passes": PASSES,
    "giant": GIANT,
    "rival": RIVAL,
    "seoul": SEOUL,
}

# For each licence: what it comes to for each owner, and the clause that decides where it is not plain.
TABLE = {
    #                          hobby shop bank host maker passes giant rival seoul
    "apache-2.0":               (A, A, A, A, A, D, A, A, A),
    "mit":                      (A, A, A, A, A, D, A, A, A),
    "cc-by-nc-4.0":             (A, F, F, F, F, F, F, F, F),
    "cc-by-4.0":                (A, A, A, A, A, D, A, A, A),
    "openmdw-1.0":              (A, A, A, A, A, D, A, A, A),
    "llama-1":                  (P, F, F, F, F, F, F, F, F),
    "llama-2":                  (D, D, D, D, F, D, P, D, D),
    "llama-3":                  (D, D, D, D, F, D, P, D, D),
    "llama-3.1":                (D, D, D, D, D, D, P, D, D),
    "llama-3.3":                (D, D, D, D, D, D, P, D, D),
    "gemma-2025-03":            (D, D, D, D, P, D, D, D, D),
    "deepseek-1.0":             (D, D, D, D, P, D, D, D, D),
    "tongyi-qianwen-2023":      (A, A, A, A, F, D, F, A, A),
    "qwen-2024":                (A, A, A, A, D, D, F, A, A),
    "qwen-research-2024":       (P, F, F, F, F, F, F, F, F),
    "exaone-1.1-nc":            (P, F, F, F, F, F, F, F, F),
    "mrl-0.1":                  (P, F, F, F, F, F, F, F, F),
    "mnpl-0.1":                 (P, F, F, F, F, F, F, F, F),
    "mistral-modified-mit":     (A, A, F, A, A, D, F, A, A),
    "kimi-k2-modified-mit":     (A, A, D, A, A, D, D, A, A),
    "nvidia-open-model-2025-04": (D, D, D, D, D, D, D, D, D),
    "falcon-2-11b":             (D, D, D, D, P, D, D, D, D),
    "bigcode-openrail-m-1":     (D, D, D, D, D, D, D, D, D),
    "stability-community-2024": (D, D, F, D, F, D, F, D, D),
    "hyperclova-x-seed-2025":   (D, D, D, D, P, D, P, F, D),
    "hunyuan-3d-2.0":           (D, D, F, D, F, D, P, D, F),
    "hunyuan-large-2024":       (D, D, F, D, F, D, P, D, D),
    "lfm-1.0":                  (A, A, F, A, A, D, F, A, A),
    "databricks-open-model":    (D, D, D, D, F, D, P, D, D),
}  # fmt: skip

CASES = [
    (licence, owner, expected) for licence, row in TABLE.items() for owner, expected in zip(OWNERS, row, strict=True)
]


def test_the_table_is_as_large_as_was_promised():
    assert len(CASES) >= 120


@pytest.mark.parametrize(("licence", "owner", "expected"), CASES, ids=str)
def test_a_licence_means_for_an_owner_what_its_text_says(licence, owner, expected):
    answer = evaluate(KNOWN[licence], OWNERS[owner], modality="text")
    assert answer.outcome == expected, [finding.says for finding in answer.findings]
    assert all(
        finding.evidence is not None and finding.evidence.link.startswith("https://") for finding in answer.findings
    )


# What decides, by clause: (licence, owner, subject, clause, effect)
@pytest.mark.parametrize(
    ("licence", "owner", "subject", "clause", "effect"),
    [
        ("llama-3.3", "giant", "threshold", "2", "person"),
        ("llama-2", "maker", "outputs", "1.b.v", "forbidden"),
        ("llama-3", "maker", "outputs", "1.b.v", "forbidden"),
        ("llama-3.1", "maker", "naming", "1.b.i", "duty"),
        ("llama-1", "shop", "commercial", "2(a)", "forbidden"),
        ("cc-by-nc-4.0", "shop", "commercial", "2(a)(1)", "forbidden"),
        ("gemma-2025-03", "host", "pass-on", "3.1 with 1.1(b)", "duty"),
        ("gemma-2025-03", "maker", "outputs", "1.1(e)", "person"),
        ("gemma-2025-03", "hobby", "remote", "3.2", "note"),
        ("deepseek-1.0", "host", "pass-on", "4 with 1, 5", "duty"),
        ("deepseek-1.0", "hobby", "field-of-use", "5, attachment A", "duty"),
        ("tongyi-qianwen-2023", "giant", "threshold", "4", "forbidden"),
        ("tongyi-qianwen-2023", "maker", "outputs", "5(b)", "forbidden"),
        ("exaone-1.1-nc", "hobby", "terms-change", "9.1", "note"),
        ("mistral-modified-mit", "bank", "threshold", "2", "forbidden"),
        ("kimi-k2-modified-mit", "bank", "threshold", "last paragraph", "duty"),
        ("nvidia-open-model-2025-04", "hobby", "termination", "2.1", "note"),
        ("falcon-2-11b", "hobby", "terms-change", "5.3", "note"),
        ("stability-community-2024", "bank", "threshold", "III", "forbidden"),
        ("stability-community-2024", "shop", "registration", "III", "duty"),
        ("hyperclova-x-seed-2025", "rival", "competition", "4", "forbidden"),
        ("hunyuan-3d-2.0", "seoul", "region", "1(l), 5(c)", "forbidden"),
        ("hunyuan-large-2024", "bank", "region", "1(l), 5(c)", "forbidden"),
        ("lfm-1.0", "bank", "threshold", "5", "forbidden"),
    ],
)
def test_the_clause_that_decides_is_named_and_quoted(licence, owner, subject, clause, effect):
    findings = evaluate(KNOWN[licence], OWNERS[owner], modality="text").findings
    meant = [one for one in findings if (one.subject, one.clause, one.effect) == (subject, clause, effect)]
    assert meant, findings
    assert meant[0].evidence.quote


@pytest.mark.parametrize(
    ("licence", "owner", "show"),
    [
        ("llama-3", PASSES, "Built with Meta Llama 3"),
        ("llama-3", MAKER, "Llama 3"),
        ("llama-3.1", HOST, "Built with Llama"),
        (
            "llama-3.3",
            PASSES,
            (
                "Llama 3.3 is licensed under the Llama 3.3 Community License, Copyright © Meta Platforms, Inc. "
                "All Rights Reserved."
            ),
        ),
        ("qwen-2024", MAKER, "Built with Qwen"),
        ("kimi-k2-modified-mit", GIANT, "Kimi K2"),
        ("stability-community-2024", HOST, "Powered by Stability AI"),
        ("hyperclova-x-seed-2025", PASSES, "Powered by HyperCLOVA X"),
        ("nvidia-open-model-2025-04", PASSES, "Licensed by NVIDIA Corporation under the NVIDIA Open Model License"),
        ("mrl-0.1", who(distributes=True), "Licensed by Mistral AI under the Mistral AI Research License"),
    ],
)
def test_a_duty_says_the_exact_text_and_where_it_belongs(licence, owner, show):
    findings = [one for one in evaluate(KNOWN[licence], owner, modality="text").findings if one.show == show]
    assert findings
    assert all(one.where and show in one.says for one in findings)


@pytest.mark.parametrize(
    ("licence", "field", "least", "inclusive"),
    [
        ("tongyi-qianwen-2023", "monthly_users", 100_000_000, False),
        ("qwen-2024", "monthly_users", 100_000_000, False),
        ("mistral-modified-mit", "monthly_revenue", 20_000_000, False),
        ("stability-community-2024", "annual_revenue", 1_000_000, False),
        ("lfm-1.0", "annual_revenue", 10_000_000, True),
    ],
)
def test_a_threshold_is_met_exactly_where_the_text_says(licence, field, least, inclusive):
    def forbidden(value):
        return evaluate(KNOWN[licence], who(commercial=True, **{field: value})).outcome == "forbidden"

    assert not forbidden(least - 1)
    assert forbidden(least) is inclusive
    assert forbidden(least + 1)


@pytest.mark.parametrize(
    ("licence", "least", "day"),
    [
        ("llama-2", 700_000_000, "2023-07-18"),
        ("llama-3", 700_000_000, "2024-04-18"),
        ("llama-3.1", 700_000_000, "2024-07-23"),
        ("llama-3.2", 700_000_000, "2024-09-25"),
        ("llama-3.3", 700_000_000, "2024-12-06"),
        ("llama-4", 700_000_000, "2025-04-05"),
        ("databricks-open-model", 700_000_000, "2024-03-27"),
        ("hyperclova-x-seed-2025", 10_000_000, "2025-04-24"),
        ("hunyuan-3d-2.0", 1_000_000, "2025-01-21"),
        ("hunyuan-large-2024", 100_000_000, "2024-11-05"),
    ],
)
def test_a_threshold_of_one_day_asks_for_the_users_of_that_day(licence, least, day):
    def outcome(**changes):
        return evaluate(KNOWN[licence], who(commercial=True, **changes), modality="text").outcome

    assert outcome(monthly_users=least) == "duties"
    assert outcome(monthly_users=least + 1) == "person", "today's users say nothing sure about that day"
    assert outcome(monthly_users=least + 1, users_at={day: least}) == "duties"
    assert outcome(monthly_users=0, users_at={day: least + 1}) == "forbidden"
    assert outcome(monthly_users=least + 1, users_at={"2020-01-01": 1}) == "person"


@pytest.mark.parametrize(
    ("least", "users", "expected"), [(100_000_000, 100_000_000, "allowed"), (100_000_000, 100_000_001, "duties")]
)
def test_kimis_threshold_brings_a_duty_not_a_ban(least, users, expected):
    assert evaluate(KNOWN["kimi-k2-modified-mit"], who(commercial=True, monthly_users=users)).outcome == expected


@pytest.mark.parametrize(
    ("licence", "modality", "domicile", "expected"),
    [
        ("llama-3.2", "multimodal", "FR", "forbidden"),
        ("llama-3.2", "multimodal", "EU", "forbidden"),
        ("llama-3.2", "multimodal", "US", "duties"),
        ("llama-3.2", "text", "FR", "duties"),
        ("llama-3.2", None, "FR", "person"),
        ("llama-3.2", "multimodal", None, "person"),
        ("llama-4", "multimodal", "DE", "forbidden"),
        ("llama-4", "multimodal", "CH", "duties"),
        ("llama-3.1", "multimodal", "FR", "duties"),
    ],
)
def test_multimodal_llamas_grant_nothing_to_owners_in_the_union(licence, modality, domicile, expected):
    assert evaluate(KNOWN[licence], who(domicile=domicile), modality=modality).outcome == expected


def test_users_elsewhere_are_shut_out_where_a_licence_has_a_territory():
    owner = who(users_in=("US", "IT"))
    answer = evaluate(KNOWN["hunyuan-large-2024"], owner)
    assert answer.outcome == "forbidden"
    assert any("users in EU" in one.says for one in answer.findings if one.effect == "forbidden")


def test_what_the_owner_has_not_said_is_asked_and_never_taken_for_a_yes():
    answer = evaluate(KNOWN["llama-3.3"], Owner(), modality="text")
    assert answer.outcome == "person"
    finding = next(one for one in answer.findings if one.subject == "threshold")
    assert finding.unanswered == ("monthly_users",)
    assert "say `monthly_users` to decide" in finding.says
    assert evaluate(KNOWN["cc-by-nc-4.0"], Owner()).outcome == "person"
    assert evaluate(KNOWN["apache-2.0"], Owner()).outcome == "duties"


def test_a_condition_that_cannot_meet_the_owner_asks_nothing():
    answer = evaluate(KNOWN["qwen-2024"], Owner(commercial=False, distributes=False, trains_on_outputs=False))
    assert answer == Answer(conditions.RULES, "allowed", ())


def test_an_unread_licence_needs_a_person():
    assert unknown("nobodys-1").outcome == "person"
    assert "nobodys-1" in unknown("nobodys-1").findings[0].says
    assert unknown("").findings[0].says == "no licence is known"
    assert evaluate(KNOWN["jamba-open-model"], HOBBY).outcome == "person"


def test_a_text_that_grants_no_use_forbids_it():
    source = {"text": Source("https://example.org/x", dt.date(2026, 1, 2))}
    licence = Licence("shut", "Shut", source, Fact(Grants(use=False), "text"))
    assert evaluate(licence, HOBBY).outcome == "forbidden"


def test_a_chain_is_as_free_as_its_least_free_licence():
    answers = [evaluate(KNOWN[name], MAKER, modality="text") for name in ("mit", "llama-3.1", "llama-3")]
    assert [one.outcome for one in answers] == ["allowed", "duties", "forbidden"]
    assert combined(answers).outcome == "forbidden"
    assert len(combined(answers).findings) == sum(len(one.findings) for one in answers)
    assert combined([]).outcome == "allowed"


@pytest.mark.parametrize(
    ("place", "regions", "inside"),
    [
        ("DE", ("EU",), True),
        ("de", ("EU",), True),
        ("EU", ("DE",), True),
        ("GB", ("EU",), False),
        ("KR", ("EU", "KR"), True),
        ("CH", ("EU", "GB"), False),
        ("EU", ("EU",), True),
        ("US", (), False),
    ],
)
def test_a_place_is_within_a_region(place, regions, inside):
    assert within(place, regions) is inside


def test_the_union_has_twenty_seven_members():
    assert len(conditions.EU) == 27


def conditioned(effect, **when):
    source = {"text": Source("https://example.org/x", dt.date(2026, 1, 2))}
    one = Condition("threshold", effect, "1", "text", "words", when=When(**when), todo="do it")
    return Licence("x", "X", source, Fact(Grants(use=True), "text"), conditions=(one,))


@pytest.mark.parametrize(
    ("when", "owner", "holds"),
    [
        ({}, HOBBY, True),
        ({"commercial": False}, HOBBY, True),
        ({"hosts": True}, HOBBY, False),
        ({"hosts": True}, HOST, True),
        ({"annual_revenue_above": 5}, who(annual_revenue=5), False),
        ({"annual_revenue_above": 5}, who(annual_revenue=6), True),
        ({"annual_revenue_from": 5}, who(annual_revenue=4), False),
        ({"annual_revenue_from": 5}, who(annual_revenue=5), True),
        ({"monthly_revenue_above": 5}, who(monthly_revenue=5), False),
        ({"monthly_revenue_above": 5}, who(monthly_revenue=6), True),
        ({"competes_with": "Naver"}, RIVAL, True),
        ({"users_in": ("EU",)}, BANK, True),
        ({"users_in": ("EU",)}, SHOP, False),
        ({"commercial": True, "monthly_users_above": 10}, SHOP, True),
        ({"commercial": True, "monthly_users_above": 10}, HOBBY, False),
    ],
)
def test_a_condition_meets_if_all_its_tests_hold(when, owner, holds):
    assert evaluate(conditioned("forbidden", **when), owner).outcome == ("forbidden" if holds else "allowed")


def test_each_effect_has_its_sentence():
    says = {
        effect: evaluate(conditioned(effect), HOBBY).findings[0].says
        for effect in ("duty", "forbidden", "person", "note")
    }
    assert says["duty"] == "threshold: do it"
    bare = Finding("x", "remote", "note", "", "", None)
    assert bare.unanswered == ()
    source = {"text": Source("https://example.org/x", dt.date(2026, 1, 2))}
    for effect, words in (
        ("forbidden", "not allowed"),
        ("person", "needs a person's judgement"),
        ("note", "see the clause"),
    ):
        one = Condition("remote", effect, "1", "text", "words", when=When(commercial=False, modality="text"))
        licence = Licence("x", "X", source, Fact(Grants(use=True), "text"), conditions=(one,))
        assert (
            evaluate(licence, HOBBY, modality="text").findings[0].says
            == f"remote: {words} (for: not commercial, modality text)"
        )


AMOUNT = st.integers(0, 2_000_000_000)


@settings(max_examples=200)
@given(
    st.sampled_from(sorted(KNOWN)),
    AMOUNT,
    AMOUNT,
    st.sampled_from(["monthly_users", "annual_revenue", "monthly_revenue"]),
    st.booleans(),
    st.sampled_from(["US", "DE", "KR"]),
    st.booleans(),
    st.sampled_from(["text", "multimodal", None]),
)
def test_more_users_or_money_never_free(  # noqa: PLR0917  # drawn by Hypothesis
    name, one, two, field, commercial, domicile, trains, modality
):
    owners = [
        who(**{field: value}, commercial=commercial, domicile=domicile, trains_on_outputs=trains)
        for value in sorted((one, two))
    ]
    less, more = (OUTCOMES.index(evaluate(KNOWN[name], owner, modality=modality).outcome) for owner in owners)
    assert less <= more


@settings(max_examples=100)
@given(st.sampled_from(sorted(KNOWN)), st.sampled_from(["commercial", "hosts", "distributes", "trains_on_outputs"]))
def test_saying_nothing_is_never_freer_than_the_freer_answer(name, field):
    outcomes = [
        OUTCOMES.index(evaluate(KNOWN[name], who(**{field: value}), modality="text").outcome)
        for value in (True, False, None)
    ]
    assert outcomes[2] >= min(outcomes[:2])
