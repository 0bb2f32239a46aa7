import json

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
    body, losses = embeddings_openai.encode_answer(answer, encoding)
    assert embeddings_openai.decode_answer(body) == answer
    assert not losses
    if encoding == "float":
        assert CreateEmbeddingResponse.model_validate_json(body).usage.prompt_tokens == 3


@pytest.mark.parametrize("text", ["!", "AAA=", "AACAfw=="])
def test_bad_base64_and_infinity_are_refused(text):
    with pytest.raises(Malformed):
        embeddings.from_base64(text, "x")


def test_a_space_is_the_bare_name():
    assert embeddings.same_space("openai/text-embedding-3-small", "text-embedding-3-small")
    assert not embeddings.same_space("openai/text-embedding-3-small", "openai/text-embedding-3-large")
    assert not embeddings.same_space("", "")


def test_a_wrong_dimension_or_count_is_refused():
    asked = embeddings.EmbeddingRequest(model="m", inputs=("a",), dimensions=2)
    embeddings.check(asked, embeddings.EmbeddingAnswer(model="m", vectors=((1.0, 2.0),)))
    with pytest.raises(Malformed, match="instead of 2"):
        embeddings.check(asked, embeddings.EmbeddingAnswer(model="m", vectors=((1.0,),)))
    with pytest.raises(Malformed, match="1 inputs"):
        embeddings.check(asked, embeddings.EmbeddingAnswer(model="m", vectors=()))
