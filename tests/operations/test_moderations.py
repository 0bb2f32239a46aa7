import json

import pytest
from openai.types import ModerationCreateResponse

from understudy.dialects.wire import Malformed
from understudy.operations import moderations

VERDICT = {"flagged": False, "categories": {"violence": False}, "category_scores": {"violence": 0.1}}


def answered(*results, count=1):
    return moderations.answered(json.dumps({"id": "i", "model": "m", "results": results}).encode(), count)


@pytest.mark.parametrize(
    ("given", "count"),
    [("a", 1), (["a", "b"], 2), ([], 0), ([{"type": "text", "text": "a"}, {"type": "image_url"}], 1), (None, 1)],
)
def test_each_text_has_a_result_and_parts_together_have_one(given, count):
    assert moderations.inputs(json.dumps({"input": given}).encode()) == count


def test_an_answer_passes_word_for_word():
    sent = b'{ "results": [ {"flagged": true, "categories": {}} ] }'
    assert moderations.answered(sent, 1) == (sent, ())


def test_a_missing_verdict_is_taken_from_the_categories():
    one = {"categories": {"violence": True}, "category_scores": {}}
    other = {"categories": {"violence": False}, "category_scores": {}}
    body, losses = answered(one, other, count=2)
    assert [result["flagged"] for result in json.loads(body)["results"]] == [True, False]
    assert [(loss.field, loss.kind) for loss in losses] == [("results.flagged", "approximated")]
    assert ModerationCreateResponse.model_construct(**json.loads(body)).model == "m"


@pytest.mark.parametrize("results", [(), (VERDICT, VERDICT), ({"flagged": False},), (7,)])
def test_a_text_without_a_result_of_its_own_is_no_answer(results):
    with pytest.raises(Malformed):
        answered(*results)
