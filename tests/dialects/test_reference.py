"""The page of losses says what translations really do. That it is current is checked in tests/test_docs.py."""

import pytest

from understudy import dialects
from understudy.dialects.probes import ANSWERS, MODELS, REQUESTS, Probe
from understudy.dialects.reference import METADATA, Outcome, find, outcome, render

PROBES = {("answer " if probe.answer else "request ") + probe.name: probe for probe in REQUESTS + ANSWERS}


def test_there_is_a_model_for_every_dialect() -> None:
    assert MODELS.keys() == dialects.DIALECTS.keys()


def test_no_two_probes_have_one_name() -> None:
    assert len(PROBES) == len(REQUESTS) + len(ANSWERS)


@pytest.mark.parametrize("name", PROBES)
def test_every_feature_is_one_that_some_dialect_can_say(name: str) -> None:
    assert any(find((PROBES[name],), target)[PROBES[name].name] for target in dialects.DIALECTS)


@pytest.mark.parametrize("target", dialects.DIALECTS)
@pytest.mark.parametrize("probes", [REQUESTS, ANSWERS], ids=["request", "answer"])
def test_nothing_is_lost_unannounced(probes: tuple[Probe, ...], target: str) -> None:
    silent = [
        (name, source)
        for name, by_source in find(probes, target).items()
        for source, said in by_source.items()
        if "unannounced" in said.why
    ]
    assert silent == []


def test_what_an_answer_is_called_and_when_it_was_made_is_metadata_where_there_is_no_field_for_it() -> None:
    found = {target: find(ANSWERS, target) for target in ("anthropic-messages", "bedrock-converse", "openai-chat")}
    kinds = {
        (target, name): {said.kind for said in by_name[name].values()}
        for target, by_name in found.items()
        for name in METADATA
    }
    assert kinds["anthropic-messages", "time of the answer"] == {"metadata"}
    assert kinds["bedrock-converse", "id of the answer"] == {"metadata"}
    assert kinds["openai-chat", "id of the answer"] == {"exact"}


def test_an_outcome_depends_on_both_ends() -> None:
    top_k = PROBES["request top_k"]
    assert outcome(top_k, "openai-responses", "gemini") is None
    assert outcome(top_k, "anthropic-messages", "gemini") == Outcome("exact")
    lost = outcome(top_k, "anthropic-messages", "openai-chat")
    assert lost is not None
    assert lost.kind == "lost"
    hot = outcome(PROBES["request temperature above 1"], "openai-chat", "anthropic-messages")
    assert hot is not None
    assert hot.kind == "approximated"


def test_the_page_is_the_same_each_time_and_names_every_dialect() -> None:
    page = render()
    assert page == render()
    assert [line for line in page.splitlines() if line.startswith("## ")][1:] == [f"## {n}" for n in dialects.DIALECTS]
    assert page.endswith("\n")
