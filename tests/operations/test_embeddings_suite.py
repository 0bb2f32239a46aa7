"""What holds for every wire format of embeddings, and between each two of them."""

import contextlib
import json
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.dialects.wire import Malformed
from understudy.operations import (
    embeddings_cohere,
    embeddings_gemini,
    embeddings_ollama,
    embeddings_ollama_legacy,
    embeddings_openai,
    embeddings_vertex,
)


class Form(NamedTuple):
    """A wire format, with a request and an answer as they stand in its documentation."""

    wire: object
    decode: object
    request: dict
    answer: dict


CONTENT = {"parts": [{"text": "a"}]}
GOOGLE = {"taskType": "RETRIEVAL_QUERY", "outputDimensionality": 2}
FORMS = {
    "openai": Form(
        embeddings_openai,
        embeddings_openai.decode_request,
        {"model": "m", "input": "a", "dimensions": 2},
        {
            "object": "list", "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1},
            "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 1.0]}],
        },
    ),
    "cohere": Form(
        embeddings_cohere,
        embeddings_cohere.decode_request,
        {
            "model": "m", "texts": ["a"], "input_type": "search_query", "embedding_types": ["float"],
            "output_dimension": 2, "truncate": "NONE",
        },
        {
            "id": "i", "embeddings": {"float": [[0.5, 1.0]]}, "texts": ["a"], "response_type": "embeddings_by_type",
            "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 1}},
        },
    ),
    "gemini": Form(
        embeddings_gemini,
        embeddings_gemini.decode_request,
        {"content": CONTENT, **GOOGLE},
        {"embedding": {"values": [0.5, 1.0]}, "usageMetadata": {"promptTokenCount": 1}},
    ),
    "gemini-batch": Form(
        embeddings_gemini,
        embeddings_gemini.decode_batch_request,
        {"requests": [{"model": "models/m", "content": CONTENT, **GOOGLE}]},
        {"embeddings": [{"values": [0.5, 1.0]}], "usageMetadata": {"promptTokenCount": 1}},
    ),
    "vertex": Form(
        embeddings_vertex,
        embeddings_vertex.decode_request,
        {"instances": [{"content": "a", "task_type": "RETRIEVAL_QUERY"}],
         "parameters": {"outputDimensionality": 2, "autoTruncate": False}},
        {"predictions": [
            {"embeddings": {"values": [0.5, 1.0], "statistics": {"token_count": 1, "truncated": False}}}
        ]},
    ),
    "ollama": Form(
        embeddings_ollama,
        embeddings_ollama.decode_request,
        {"model": "m", "input": "a", "dimensions": 2, "truncate": False},
        {"model": "m", "embeddings": [[0.5, 1.0]], "prompt_eval_count": 1},
    ),
    "ollama-legacy": Form(
        embeddings_ollama_legacy,
        embeddings_ollama_legacy.decode_request,
        {"model": "m", "prompt": "a"},
        {"embedding": [0.5, 1.0]},
    ),
}  # fmt: skip
HAVE_PURPOSE = ("cohere", "gemini", "gemini-batch", "vertex")
HAVE_TRUNCATE = ("cohere", "vertex", "ollama")
NO_TOKENS = "ollama-legacy"


def asked(name):
    return FORMS[name].decode(json.dumps(FORMS[name].request).encode())


def answered(name):
    return FORMS[name].wire.decode_answer(json.dumps(FORMS[name].answer).encode())


@pytest.mark.parametrize("name", FORMS)
def test_a_request_says_what_its_documentation_says(name):
    request = asked(name)
    assert request.inputs == ("a",)
    assert request.dimensions == (None if name == "ollama-legacy" else 2)
    assert request.purpose == ("query" if name in HAVE_PURPOSE else None)
    assert request.truncate is (False if name in HAVE_TRUNCATE else None)
    assert not [key for key in request.extra if not key.startswith("~")]


@pytest.mark.parametrize("name", FORMS)
def test_an_answer_says_what_its_documentation_says(name):
    answer = answered(name)
    assert answer.vectors == ((0.5, 1.0),)
    assert answer.input_tokens == (None if name == NO_TOKENS else 1)
    assert not [key for key in answer.extra if not key.startswith("~")]


@pytest.mark.parametrize("theirs", FORMS)
@pytest.mark.parametrize("client", FORMS)
def test_a_request_reaches_every_other_dialect_or_says_what_is_lost(client, theirs):
    request = asked(client)
    body, losses = FORMS[theirs].wire.encode_request(request)
    # Among Google's two paths a body goes out as it came in; from elsewhere it is a batch.
    form = client if client.startswith("gemini") else "gemini-batch"
    again = FORMS[form if theirs.startswith("gemini") else theirs].decode(body)
    lost = {loss.field for loss in losses}
    assert again.inputs == ("a",)
    for field in ("dimensions", "truncate", "purpose"):
        wanted = getattr(request, field)
        assert getattr(again, field) == wanted or field in lost
        assert wanted is not None or field not in lost or (field, theirs) == ("purpose", "cohere")


@pytest.mark.parametrize("client", FORMS)
@pytest.mark.parametrize("theirs", FORMS)
def test_an_answer_reaches_every_client(client, theirs):
    answer = answered(theirs)
    body, losses = FORMS[client].wire.encode_answer(answer, asked(client))
    again = FORMS[client].wire.decode_answer(body)
    assert again.vectors == answer.vectors
    lost = {loss.field for loss in losses}
    assert lost <= {"input_tokens"}
    assert again.input_tokens in (answer.input_tokens, 0) or lost == {"input_tokens"}


@pytest.mark.parametrize("name", [name for name in FORMS if name not in ("gemini", "gemini-batch")])
def test_a_request_and_an_answer_come_back_as_they_were(name):
    body, losses = FORMS[name].wire.encode_request(asked(name))
    assert (json.loads(body), losses) == (FORMS[name].request, ())
    body, losses = FORMS[name].wire.encode_answer(answered(name), asked(name))
    assert (json.loads(body), losses) == (FORMS[name].answer, ())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["model", "input", "texts", "prompt", "content", "parts", "text", "requests", "instances", "embeddings",
             "embedding", "data", "predictions", "values", "usage", "meta", "billed_units", "statistics", "float",
             "truncate", "input_type", "inputs", "parameters", "taskType", "embedContentConfig", "token_count"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
@given(value=JSON)
def test_whatever_comes_is_read_or_malformed(name, value):
    body = json.dumps(value).encode()
    for read in (FORMS[name].decode, FORMS[name].wire.decode_answer):
        with contextlib.suppress(Malformed):
            read(body)
