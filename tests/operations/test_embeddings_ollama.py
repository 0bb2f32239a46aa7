import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ollama import EmbedResponse

from understudy.dialects.wire import Malformed
from understudy.operations import embeddings_ollama, embeddings_openai

TEXT = st.text(st.characters(codec="utf-8"))


@given(TEXT | st.lists(TEXT), st.booleans())
def test_a_request_comes_back_as_it_was_sent(given_input, truncate):
    sent = {"model": "m", "input": given_input, "truncate": truncate, "keep_alive": "5m", "options": {}}
    body, losses = embeddings_ollama.encode_request(embeddings_ollama.decode_request(json.dumps(sent).encode()))
    assert json.loads(body) == sent
    assert not losses


def test_a_request_of_the_other_dialect_says_what_is_lost():
    asked = embeddings_openai.decode_request(b'{"model":"m","input":"a","user":"u","new":1}')
    body, losses = embeddings_ollama.encode_request(asked)
    assert json.loads(body) == {"model": "m", "input": ["a"]}
    assert {loss.field for loss in losses} == {"user", "new"}


def test_lists_of_tokens_are_refused_rather_than_left_out():
    with pytest.raises(Malformed, match="send text"):
        embeddings_ollama.encode_request(embeddings_openai.decode_request(b'{"model":"m","input":[1,2]}'))


def test_an_answer_comes_back_and_the_official_types_read_it():
    sent = b'{"model":"m","embeddings":[[0.5,1.0]],"prompt_eval_count":2,"total_duration":9}'
    answer = embeddings_ollama.decode_answer(sent)
    body, losses = embeddings_ollama.encode_answer(answer)
    assert json.loads(body) == json.loads(sent)
    assert not losses
    assert EmbedResponse.model_validate_json(body).prompt_eval_count == 2
