import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from understudy.dialects.wire import Malformed
from understudy.operations import embeddings, embeddings_openai

FLOATS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=8).map(tuple)
TEXT = st.text(st.characters(codec="utf-8"))
TOKENS = st.lists(st.integers(0, 10**6), min_size=1)


@given(FLOATS)
def test_base64_keeps_every_float32(vector):
    assert embeddings.from_base64(embeddings.to_base64(vector), "x") == vector


@given(TEXT | TOKENS | st.lists(TEXT) | st.lists(TOKENS), st.dictionaries(st.just("user") | st.just("new"), TEXT))
def test_a_request_comes_back_as_it_was_sent(given_input, rest):
    sent = {"model": "m", "input": given_input, "encoding_format": "base64", **rest}
    body, losses = embeddings_openai.encode_request(embeddings_openai.decode_request(json.dumps(sent).encode()))
    assert json.loads(body) == sent
    assert not losses


@given(st.lists(FLOATS), st.sampled_from(["float", "base64"]))
def test_an_answer_comes_back_and_the_official_types_read_it(vectors, encoding):
    answer = embeddings.EmbeddingAnswer(
        model="m", vectors=tuple(vectors), input_tokens=3, dialect=embeddings_openai.NAME
    )
    asked = embeddings.EmbeddingRequest(model="m", inputs=(), encoding=encoding)
    body, losses = embeddings_openai.encode_answer(answer, asked)
    again = embeddings_openai.decode_answer(body)
    assert (again.model, again.vectors, again.input_tokens, again.extra) == ("m", tuple(vectors), 3, {})
    assert again.encodings == ({encoding} if vectors else set())
    assert not losses
    if encoding == "float":
        assert CreateEmbeddingResponse.model_validate_json(body).usage.prompt_tokens == 3


@pytest.mark.parametrize("text", ["!", "AAA=", "AACAfw=="])
def test_bad_base64_and_infinity_are_refused(text):
    with pytest.raises(Malformed):
        embeddings.from_base64(text, "x")


@pytest.mark.parametrize(
    "values", [[math.inf], [math.nan, 1], [-math.inf, math.inf], [10**400], [True], ["1"], {}, None]
)
def test_what_is_no_list_of_finite_numbers_is_refused(values):
    with pytest.raises(Malformed):
        embeddings.finite(values, "x")


def test_numbers_whose_sum_is_too_large_are_finite_all_the_same():
    assert embeddings.finite([1.7e308, 1.7e308], "x") == (1.7e308, 1.7e308)


def test_a_number_that_float32_cannot_hold_is_no_base64():
    with pytest.raises(Malformed, match="float32"):
        embeddings.to_base64((1e300,))


@pytest.mark.parametrize(
    "data", [[{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}], [{"index": 5, "embedding": [1]}]]
)
def test_an_answer_whose_places_are_wrong_is_refused(data):
    with pytest.raises(Malformed, match="index"):
        embeddings_openai.decode_answer(json.dumps({"data": data}).encode())


def test_vectors_are_put_in_the_order_of_their_places():
    data = [{"index": 1, "embedding": [1]}, {"index": 0, "embedding": [0]}]
    assert embeddings_openai.decode_answer(json.dumps({"data": data}).encode()).vectors == ((0,), (1,))


def test_a_space_is_the_bare_name():
    assert embeddings.same_space("openai/text-embedding-3-small", "text-embedding-3-small")
    assert not embeddings.same_space("openai/text-embedding-3-small", "openai/text-embedding-3-large")
    assert embeddings.same_space("nomic-embed-text", "ollama/nomic-embed-text:latest")
    assert not embeddings.same_space("nomic-embed-text:v1", "nomic-embed-text:v1.5")
    assert not embeddings.same_space("", "")


def test_a_wrong_dimension_or_count_is_refused():
    asked = embeddings.EmbeddingRequest(model="m", inputs=("a",), dimensions=2)
    embeddings.check(asked, embeddings.EmbeddingAnswer(model="m", vectors=((1.0, 2.0),)))
    with pytest.raises(Malformed, match="instead of 2"):
        embeddings.check(asked, embeddings.EmbeddingAnswer(model="m", vectors=((1.0,),)))
    with pytest.raises(Malformed, match="is empty"):
        embeddings.check(
            embeddings.EmbeddingRequest(model="m", inputs=("a",)), embeddings.EmbeddingAnswer(model="m", vectors=((),))
        )
    with pytest.raises(Malformed, match="1 inputs"):
        embeddings.check(asked, embeddings.EmbeddingAnswer(model="m", vectors=()))


def test_usage_beside_the_known_counts_is_kept_for_the_same_dialect():
    usage = {"prompt_tokens": 3, "total_tokens": 5, "prompt_tokens_details": {"audio": 1}}
    sent = {"object": "list", "model": "m", "data": [], "usage": usage}
    body, losses = embeddings_openai.encode_answer(embeddings_openai.decode_answer(json.dumps(sent).encode()))
    assert json.loads(body) == sent
    assert not losses
