import json

import pytest

from understudy.dialects.wire import Malformed
from understudy.operations import embeddings, embeddings_gemini, embeddings_openai, embeddings_vertex


def content(text="a"):
    return {"parts": [{"text": text}]}


def batch(*requests):
    return embeddings_gemini.decode_batch_request(json.dumps({"requests": requests}).encode())


@pytest.mark.parametrize("where", ["top", "config"])
def test_settings_are_found_at_both_places(where):
    settings = {"taskType": "CLUSTERING", "outputDimensionality": 7, "autoTruncate": True, "title": "t"}
    asked = {"content": content(), **(settings if where == "top" else {"embedContentConfig": settings})}
    request = embeddings_gemini.decode_request(json.dumps(asked).encode())
    assert (request.purpose, request.dimensions, request.truncate) == ("clustering", 7, True)
    _, losses = embeddings_openai.encode_request(request)
    assert {loss.field for loss in losses} == {"purpose", "truncate", "title"}


@pytest.mark.parametrize(
    "second",
    [{"content": content(), "outputDimensionality": 3}, {"content": {"parts": [{"text": "a"}, {"text": "b"}]}},
     {"content": {"parts": [{"inlineData": {}}]}}, {"content": {}}],
)  # fmt: skip
def test_what_only_google_can_say_is_refused_elsewhere(second):
    request = batch({"content": content()}, second)
    assert len(request.inputs) == 2
    with pytest.raises(Malformed, match=r"inputs\[1\]"):
        embeddings_openai.encode_request(request)


def test_the_name_in_requests_becomes_the_targets():
    whole = {"requests": [{"model": "models/a", "content": content()}, {"content": content(), "x": 1}], "y": 2}
    again = embeddings_gemini.renamed(whole, "models/b")
    assert again == {"requests": [{"content": content(), "model": "models/b"}, whole["requests"][1]], "y": 2}
    assert embeddings_gemini.renamed(whole, None)["requests"][0] == {"content": content()}


def test_the_answer_fits_the_path():
    answer = embeddings.EmbeddingAnswer(model="m", vectors=((1.0,),))
    one = embeddings_gemini.decode_request(json.dumps({"content": content()}).encode())
    assert json.loads(embeddings_gemini.encode_answer(answer, one)[0]) == {"embedding": {"values": [1.0]}}
    many = batch({"content": content()})
    assert json.loads(embeddings_gemini.encode_answer(answer, many)[0]) == {"embeddings": [{"values": [1.0]}]}


def test_what_an_answer_says_beside_is_a_loss_elsewhere():
    details = {"promptTokenCount": 4, "promptTokenDetails": [{"modality": "TEXT"}]}
    sent = {"embedding": {"values": [1.0], "shape": [1]}, "usageMetadata": details, "truncated": True}
    answer = embeddings_gemini.decode_answer(json.dumps(sent).encode())
    assert answer.input_tokens == 4
    _, losses = embeddings_openai.encode_answer(answer)
    assert {loss.field for loss in losses} == {"embeddings.shape", "usageMetadata.promptTokenDetails", "truncated"}


def test_vertex_counts_tokens_of_all_predictions_and_tells_what_was_cut():
    cut = {"values": [1.0], "statistics": {"token_count": 3, "truncated": True}}
    whole = {"values": [2.0], "statistics": {"token_count": 4.0, "truncated": False}}
    sent = {"predictions": [{"embeddings": cut}, {"embeddings": whole}]}
    answer = embeddings_vertex.decode_answer(json.dumps(sent).encode())
    assert (answer.vectors, answer.input_tokens) == (((1.0,), (2.0,)), 7)
    _, losses = embeddings_openai.encode_answer(answer)
    assert {loss.field for loss in losses} == {"predictions.embeddings.statistics.truncated"}


def test_instances_with_settings_of_their_own_are_refused_elsewhere():
    instances = [{"content": "a", "task_type": "CLUSTERING"}, {"content": "b", "task_type": "CLASSIFICATION"}]
    request = embeddings_vertex.decode_request(json.dumps({"instances": instances}).encode())
    with pytest.raises(Malformed, match="settings of its own"):
        embeddings_openai.encode_request(request)
