import json

import pytest
from cohere.types import EmbedByTypeResponse

from understudy.dialects.wire import Malformed
from understudy.operations import embeddings, embeddings_cohere, embeddings_gemini, embeddings_openai

ASKED = {"model": "m", "texts": ["a", "b"], "input_type": "clustering"}


def decoded(**more):
    return embeddings_cohere.decode_request(json.dumps({**ASKED, **more}).encode())


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"truncate": "START", "max_tokens": 7, "priority": 1},
        {"input_type": "image", "embedding_types": ["int8", "float"]},
        {"texts": None, "images": ["data:image/png;base64,AA"]},
        {"texts": None, "inputs": [{"content": [{"type": "text", "text": "a"}]}, {"content": []}]},
    ],
)
def test_a_request_comes_back_as_it_was_sent(more):
    body, losses = embeddings_cohere.encode_request(decoded(**more))
    assert json.loads(body) == {**ASKED, **more}
    assert not losses


def test_what_only_cohere_can_embed_is_refused_elsewhere():
    for more in (
        {"texts": None, "images": ["data:image/png;base64,AA"]},
        {"texts": None, "inputs": [{"content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        {"embedding_types": ["float", "int8"]},
    ):
        with pytest.raises(Malformed):
            embeddings_openai.encode_request(decoded(**more))


def test_a_single_text_among_inputs_is_a_text():
    asked = decoded(texts=None, inputs=[{"content": [{"type": "text", "text": "a"}]}])
    assert json.loads(embeddings_openai.encode_request(asked)[0])["input"] == ["a"]


def test_settings_that_others_lack_are_losses():
    _, losses = embeddings_openai.encode_request(decoded(truncate="START", priority=1))
    assert {loss.field for loss in losses} == {"truncate", "priority", "purpose"}


def test_a_purpose_that_nobody_named_is_guessed_and_told():
    asked = embeddings_openai.decode_request(b'{"model":"m","input":"a"}')
    body, losses = embeddings_cohere.encode_request(asked)
    assert json.loads(body)["input_type"] == "search_document"
    assert [(loss.field, loss.kind) for loss in losses] == [("purpose", "approximated")]


def test_a_purpose_goes_over_where_both_have_a_word():
    asked = embeddings_gemini.decode_request(b'{"content":{"parts":[{"text":"a"}]},"taskType":"RETRIEVAL_QUERY"}')
    assert json.loads(embeddings_cohere.encode_request(asked)[0])["input_type"] == "search_query"
    asked = embeddings_gemini.decode_request(b'{"content":{"parts":[{"text":"a"}]},"taskType":"FACT_VERIFICATION"}')
    _, losses = embeddings_cohere.encode_request(asked)
    assert {loss.field for loss in losses} == {"taskType", "purpose"}


def test_an_answer_has_the_kinds_asked_for_and_the_official_type_reads_it():
    answer = embeddings.EmbeddingAnswer(model="m", vectors=((0.5, 1.0),), input_tokens=2, id="i")
    asked = embeddings_cohere.decode_request(
        b'{"model":"m","texts":["a"],"input_type":"clustering","embedding_types":["float","base64"]}'
    )
    body, _ = embeddings_cohere.encode_answer(answer, asked)
    read = EmbedByTypeResponse.model_validate_json(body)
    assert read.embeddings.float_ == [[0.5, 1.0]]
    assert embeddings.from_base64(read.embeddings.base64[0], "x") == (0.5, 1.0)
    assert read.meta.billed_units.input_tokens == 2
    assert read.texts == ["a"]


def test_an_answer_comes_back_with_every_kind():
    sent = {
        "id": "i", "embeddings": {"int8": [[1, 2]], "binary": [[3]]}, "texts": ["a"],
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 1, "images": 2}, "warnings": ["w"]},
    }  # fmt: skip
    answer = embeddings_cohere.decode_answer(json.dumps(sent).encode())
    body, losses = embeddings_cohere.encode_answer(answer)
    assert json.loads(body) == sent | {"response_type": "embeddings_by_type"}
    assert not losses
    _, losses = embeddings_openai.encode_answer(answer)
    assert {loss.field for loss in losses} == {"meta"}


def test_the_kinds_of_an_answer_must_agree_in_number_and_be_those_asked_for():
    with pytest.raises(Malformed, match="2 vectors"):
        embeddings_cohere.decode_answer(b'{"embeddings":{"float":[[1.0]],"int8":[[1],[2]]}}')
    answer = embeddings_cohere.decode_answer(b'{"embeddings":{"float":[[1.0],[2.0]]}}')
    with pytest.raises(Malformed, match="int8"):
        embeddings.check(decoded(embedding_types=["float", "int8"]), answer)


def test_packed_bits_count_as_eight_dimensions():
    answer = embeddings_cohere.decode_answer(b'{"embeddings":{"ubinary":[[1,2],[3,4]]}}')
    embeddings.check(decoded(embedding_types=["ubinary"], output_dimension=16), answer)
    with pytest.raises(Malformed, match="16 dimensions instead of 2"):
        embeddings.check(decoded(embedding_types=["ubinary"], output_dimension=2), answer)
