"""What official SDKs ask for beside chat, unchanged but for the base URL, of providers of every dialect that has it."""

import cohere
import cohere.core
import httpx
import httpx2
import ollama
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types

from tests.gateway.operations import KEY, PROVIDERS, config
from tests.running import Running

TEXTS = ["a cat", "a dog"]
RANKING = ["cohere-chat", "openai-chat"]


@pytest.fixture(scope="module")
def gateway():
    with Running(config()) as running:
        running.a.switch("m", "overloaded")
        yield running


@pytest.fixture(scope="module")
def expected(gateway):
    headers = {"authorization": f"Bearer {KEY}"}
    told = gateway.http.post("/v1/embeddings", json={"model": "openai-chat/e", "input": TEXTS}, headers=headers).json()
    return [pytest.approx(entry["embedding"], abs=1e-6) for entry in told["data"]]


@pytest.fixture(scope="module")
def openai_sdk(gateway):
    with httpx2.Client(trust_env=False, timeout=60) as http:
        yield openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0, http_client=http)


@pytest.fixture(scope="module")
def cohere_sdk(gateway):
    with httpx.Client(trust_env=False, timeout=60) as http:
        yield cohere.ClientV2(api_key=KEY, base_url=gateway.url, httpx_client=http)


@pytest.fixture(scope="module")
def old_cohere_sdk(gateway):
    with httpx.Client(trust_env=False, timeout=60) as http:
        yield cohere.Client(api_key=KEY, base_url=gateway.url, httpx_client=http)


@pytest.fixture(scope="module")
def genai_sdk(gateway):
    with genai.Client(api_key=KEY, http_options={"base_url": gateway.url}) as client:
        yield client


@pytest.fixture(scope="module")
def ollama_sdk(gateway):
    client = ollama.Client(host=gateway.url, headers={"authorization": f"Bearer {KEY}"}, trust_env=False)
    yield client
    client._client.close()


@pytest.mark.parametrize("where", PROVIDERS)
@pytest.mark.parametrize("encoding", [openai.omit, "float"])
def test_openai_gets_vectors_in_either_encoding(openai_sdk, expected, where, encoding):
    """Where the caller does not say, the SDK asks for base64 and unpacks it."""
    answer = openai_sdk.embeddings.create(model=f"{where}/e", input=TEXTS, encoding_format=encoding)
    assert [entry.embedding for entry in answer.data] == expected
    assert answer.usage.prompt_tokens >= 0
    assert answer.model


def test_openai_gets_base64_as_it_is_when_it_asks_for_it(openai_sdk):
    answer = openai_sdk.embeddings.create(model="gemini/e", input=TEXTS, encoding_format="base64")
    assert all(isinstance(entry.embedding, str) for entry in answer.data)


@pytest.mark.parametrize("where", PROVIDERS)
@pytest.mark.parametrize("kind", ["float", "base64"])
def test_cohere_gets_vectors(cohere_sdk, expected, where, kind):
    answer = cohere_sdk.embed(
        model=f"{where}/e", texts=TEXTS, input_type="search_document", embedding_types=[kind], output_dimension=8
    )
    vectors = answer.embeddings.float_ if kind == "float" else answer.embeddings.base64
    assert len(vectors) == 2
    assert kind == "base64" or vectors == expected
    assert answer.id


@pytest.mark.parametrize("where", PROVIDERS)
def test_google_gets_vectors(genai_sdk, expected, where):
    config_ = genai_types.EmbedContentConfig(task_type="RETRIEVAL_QUERY", output_dimensionality=8)
    answer = genai_sdk.models.embed_content(model=f"{where}/e", contents=TEXTS, config=config_)
    assert [entry.values for entry in answer.embeddings] == expected


@pytest.fixture(scope="module")
def cloud_sdk(gateway):
    options = {"base_url": gateway.url, "api_version": "v1beta1"}
    with genai.Client(vertexai=True, api_key=KEY, http_options=options) as client:
        yield client


@pytest.mark.parametrize("where", PROVIDERS)
@pytest.mark.parametrize("model", ["text-embedding-005", "gemini-embedding-2"])
def test_googles_cloud_client_gets_vectors_by_each_of_its_paths(cloud_sdk, expected, where, model):
    """`:predict` for one model; `:embedContent` for one content of the other, `:batchEmbedContents` for more."""
    contents = [genai_types.Content(parts=[genai_types.Part(text=text)]) for text in TEXTS]
    for count in (1, 2):
        answer = cloud_sdk.models.embed_content(
            model=f"publishers/google/models/{where}/{model}", contents=contents[:count]
        )
        assert [entry.values for entry in answer.embeddings] == expected[:count]


def test_several_parts_that_are_to_be_one_vector_go_to_google_only(cloud_sdk):
    """The SDK makes one content of plain texts for Google's newer models."""
    named = "publishers/google/models/{}/gemini-embedding-2"
    assert len(cloud_sdk.models.embed_content(model=named.format("cloud"), contents=TEXTS).embeddings) == 1
    with pytest.raises(genai_errors.APIError, match="not a single text"):
        cloud_sdk.models.embed_content(model=named.format("ollama"), contents=TEXTS)


@pytest.mark.parametrize("where", PROVIDERS)
def test_ollama_gets_vectors(ollama_sdk, expected, where):
    answer = ollama_sdk.embed(model=f"{where}/e", input=TEXTS, dimensions=8, truncate=True)
    assert list(answer.embeddings) == expected
    one = ollama_sdk.embeddings(model=f"{where}/e", prompt=TEXTS[0])
    assert one.embedding == expected[0]


@pytest.mark.parametrize("where", RANKING)
def test_cohere_gets_a_ranking(cohere_sdk, old_cohere_sdk, where):
    documents = ["a dog", "the black cat"]
    answer = cohere_sdk.rerank(model=f"{where}/r", query="black cat", documents=documents, top_n=1)
    assert [(one.index, one.relevance_score) for one in answer.results] == [(1, 1.0)]
    old = old_cohere_sdk.rerank(
        model=f"{where}/r", query="black cat", documents=[{"text": text} for text in documents], return_documents=True
    )
    assert [(one.index, one.document.text) for one in old.results] == [(1, "the black cat"), (0, "a dog")]


def test_openai_gets_moderations(openai_sdk):
    answer = openai_sdk.moderations.create(model="openai-chat/m2", input=["fine", "flag this"])
    assert [result.flagged for result in answer.results] == [False, True]
    assert answer.results[1].categories.violence


def test_every_sdk_has_its_vectors_after_a_failure(openai_sdk, cohere_sdk, genai_sdk, ollama_sdk):
    assert openai_sdk.embeddings.create(model="moves-gemini", input=TEXTS).data
    assert cohere_sdk.embed(model="moves-ollama", texts=TEXTS, input_type="clustering").embeddings.float_
    assert genai_sdk.models.embed_content(model="moves-cohere-chat", contents=TEXTS).embeddings
    assert ollama_sdk.embed(model="moves-gemini", input=TEXTS).embeddings


def test_every_sdk_raises_its_own_error_when_another_space_is_all_there_is(
    openai_sdk, cohere_sdk, genai_sdk, ollama_sdk
):
    with pytest.raises(openai.APIStatusError, match="other_vector_space"):
        openai_sdk.embeddings.create(model="spaces", input=TEXTS)
    with pytest.raises(cohere.core.ApiError, match="other_vector_space"):
        cohere_sdk.embed(model="spaces", texts=TEXTS, input_type="clustering", request_options={"max_retries": 0})
    with pytest.raises(genai_errors.APIError, match="other_vector_space"):
        genai_sdk.models.embed_content(model="spaces", contents=TEXTS)
    with pytest.raises(ollama.ResponseError, match="other_vector_space"):
        ollama_sdk.embed(model="spaces", input=TEXTS)


def test_every_sdk_raises_its_own_error_where_nobody_has_vectors(openai_sdk, cohere_sdk, genai_sdk, ollama_sdk):
    with pytest.raises(openai.APIStatusError) as raised:
        openai_sdk.embeddings.create(model="no-vectors", input=TEXTS)
    assert (raised.value.status_code, raised.value.code) == (501, "not_supported")
    with pytest.raises(cohere.core.ApiError) as raised:
        cohere_sdk.embed(model="no-vectors", texts=TEXTS, input_type="clustering", request_options={"max_retries": 0})
    assert raised.value.status_code == 501
    with pytest.raises(genai_errors.APIError) as raised:
        genai_sdk.models.embed_content(model="no-vectors", contents=TEXTS)
    assert raised.value.code == 501
    with pytest.raises(ollama.ResponseError) as raised:
        ollama_sdk.embed(model="no-vectors", input=TEXTS)
    assert raised.value.status_code == 501
