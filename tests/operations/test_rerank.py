import contextlib
import json

import pytest
from cohere.types import RerankResponse
from cohere.v2.types import V2RerankResponse
from hypothesis import given
from hypothesis import strategies as st

from understudy.dialects.wire import Malformed
from understudy.operations import rerank
from understudy.operations.rerank import V1, V2

ASKED = {"model": "m", "query": "q", "documents": ["a", "b"], "top_n": 1}
ANSWERED = {"id": "i", "results": [{"index": 1, "relevance_score": 0.5}]}


def asked(version=V2, **more):
    return rerank.decode_request(json.dumps({**ASKED, **more}).encode(), version)


def answered(version=V2, **more):
    return rerank.decode_answer(json.dumps({**ANSWERED, **more}).encode(), version)


@pytest.mark.parametrize(
    ("version", "more"),
    [
        (V2, {"max_tokens_per_doc": 9, "priority": 1}),
        (V1, {"return_documents": True, "documents": [{"text": "a", "title": "t"}, {"title": "u"}]}),
        (V1, {"rank_fields": ["title"], "top_n": None}),
    ],
)
def test_a_request_comes_back_as_it_was_sent(version, more):
    body, losses = rerank.encode_request(asked(version, **more), version)
    assert json.loads(body) == {**ASKED, **more}
    assert not losses


def test_the_newer_request_goes_to_who_has_the_older():
    body, losses = rerank.encode_request(asked(V2, max_tokens_per_doc=9), V1)
    assert json.loads(body) == {**ASKED, "return_documents": False}
    assert [loss.field for loss in losses] == ["max_tokens_per_doc"]


def test_documents_lose_all_but_their_text_and_that_is_told():
    documents = [{"text": "a"}, {"text": "b", "title": "t"}]
    body, losses = rerank.encode_request(asked(V1, documents=documents), V2)
    assert json.loads(body)["documents"] == ["a", "b"]
    assert [loss.field for loss in losses] == ["documents[1]"]
    with pytest.raises(Malformed, match=r"documents\[0\]"):
        rerank.encode_request(asked(V1, documents=[{"title": "t"}]), V2)


def test_the_older_answer_has_documents_unless_unwanted():
    body, _ = rerank.encode_answer(answered(), asked(V1), V1)
    assert RerankResponse.model_validate_json(body).results[0].document.text == "b"
    body, _ = rerank.encode_answer(answered(), asked(V1, return_documents=False), V1)
    assert json.loads(body)["results"] == ANSWERED["results"]


def test_the_newer_answer_says_what_it_could_not_take_over():
    results = [{"index": 1, "relevance_score": 0.5, "document": {"text": "b"}, "new": 1}, {**ANSWERED["results"][0]}]
    answer = answered(V1, results=results, usage={"total_tokens": 3}, object="list", model="x")
    body, losses = rerank.encode_answer(answer, asked(V2), V2)
    assert V2RerankResponse.model_validate_json(body).results[0].index == 1
    assert json.loads(body)["results"] == ANSWERED["results"]  # no more than top_n
    assert {loss.field for loss in losses} == {"usage", "results[0].new"}


def test_an_answer_comes_back_as_it_was():
    meta = {"meta": {"billed_units": {"search_units": 1}}}
    body, losses = rerank.encode_answer(answered(**meta), asked(V2), V2)
    assert json.loads(body) == {**ANSWERED, **meta}
    assert not losses


@pytest.mark.parametrize(
    "results",
    [[], [{"index": 2, "relevance_score": 1}], [{"index": -1, "relevance_score": 1}],
     [{"index": 0, "relevance_score": 1}, {"index": 0, "relevance_score": 1}]],
)  # fmt: skip
def test_a_ranking_must_be_of_the_documents_sent(results):
    rerank.check(asked(), answered())
    with pytest.raises(Malformed):
        rerank.check(asked(), answered(results=results))


KEYS = [*ASKED, "results", "index", "text"]
JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=10,
)


@given(JSON)
def test_whatever_comes_is_read_or_malformed(value):
    body = json.dumps(value).encode()
    for read in (rerank.decode_request, rerank.decode_answer):
        for version in (V1, V2):
            with contextlib.suppress(Malformed):
                read(body, version)
