"""Embeddings over real sockets: every client's way to ask onto every provider's, and what must never be passed on."""

import json

import pytest

from tests.gateway.operations import DIALECTS, PROVIDERS, VERTEX, config, data, floats, post, provider, single, told
from tests.gateway.sockets import Provider, answer
from tests.running import Running
from understudy.gateway import embed, operate


@pytest.fixture(scope="module")
def gateway():
    with Running(config()) as running:
        yield running


@pytest.fixture
def failing(gateway):
    """The first provider's model `m` is overloaded."""
    gateway.a.switch("m", "overloaded")
    yield gateway
    gateway.a.switch("m", None)


# -- clients: how each asks for the vectors of texts, and reads them ---------------------------------------------------


def openai(gateway, model, texts, dimensions=None, encoding="float"):
    body = {"model": model, "input": texts, "encoding_format": encoding}
    response = post(gateway, "/v1/embeddings", body | ({"dimensions": dimensions} if dimensions else {}))
    if response.status_code != 200:
        return response, None
    told = response.json()
    assert [entry["index"] for entry in told["data"]] == list(range(len(told["data"])))
    assert told["usage"]["total_tokens"] == told["usage"]["prompt_tokens"]
    vectors = [entry["embedding"] for entry in told["data"]]
    return response, [floats(vector) for vector in vectors] if encoding == "base64" else vectors


def openai_base64(gateway, model, texts, dimensions=None):
    return openai(gateway, model, texts, dimensions, "base64")


def cohere(gateway, model, texts, dimensions=None, kind="float"):
    body = {"model": model, "texts": texts, "input_type": "search_query", "embedding_types": [kind]}
    response = post(gateway, "/v2/embed", body | ({"output_dimension": dimensions} if dimensions else {}))
    if response.status_code != 200:
        return response, None
    vectors = response.json()["embeddings"][kind]
    return response, [floats(vector) for vector in vectors] if kind == "base64" else vectors


def cohere_base64(gateway, model, texts, dimensions=None):
    return cohere(gateway, model, texts, dimensions, "base64")


def gemini(gateway, model, texts, dimensions=None):
    more = {"outputDimensionality": dimensions} if dimensions else {}
    requests = [{"model": f"models/{model}", "content": {"parts": [{"text": text}]}, **more} for text in texts]
    response = post(gateway, f"/v1beta/models/{model}:batchEmbedContents", {"requests": requests})
    return response, response.status_code == 200 and [entry["values"] for entry in response.json()["embeddings"]]


def gemini_one(gateway, model, texts, dimensions=None):
    more = {"outputDimensionality": dimensions} if dimensions else {}
    body = {"content": {"parts": [{"text": texts[0]}]}, **more}
    response = post(gateway, f"/v1beta/models/{model}:embedContent", body)
    return response, response.status_code == 200 and [response.json()["embedding"]["values"]]


def vertex(gateway, model, texts, dimensions=None):
    more = {"parameters": {"outputDimensionality": dimensions}} if dimensions else {}
    body = {"instances": [{"content": text, "task_type": "RETRIEVAL_QUERY"} for text in texts], **more}
    response = post(gateway, f"{VERTEX}/models/{model}:predict", body)
    told = response.json()
    return response, response.status_code == 200 and [one["embeddings"]["values"] for one in told["predictions"]]


def ollama(gateway, model, texts, dimensions=None):
    more = {"dimensions": dimensions} if dimensions else {}
    response = post(gateway, "/api/embed", {"model": model, "input": texts, **more})
    return response, response.status_code == 200 and response.json()["embeddings"]


def ollama_legacy(gateway, model, texts, dimensions=None):
    response = post(gateway, "/api/embeddings", {"model": model, "prompt": texts[0]})
    return response, response.status_code == 200 and [response.json()["embedding"]]


CLIENTS = [openai, openai_base64, cohere, cohere_base64, gemini, gemini_one, vertex, ollama, ollama_legacy]
ONE = (gemini_one, ollama_legacy)
WITH_DIMENSIONS = [client for client in CLIENTS if client is not ollama_legacy]
CLIENT_NAME = {"ids": lambda client: client.__name__ if callable(client) else str(client)}


@pytest.mark.parametrize("where", PROVIDERS)
@pytest.mark.parametrize("client", CLIENTS, **CLIENT_NAME)
def test_every_client_gets_the_vectors_of_every_provider(gateway, client, where):
    texts = ["a cat"] if client in ONE else ["a cat", "a dog"]
    response, vectors = client(gateway, f"{where}/e", texts)
    assert response.status_code == 200, response.text
    _, plain = openai(gateway, "openai-chat/e", texts)
    assert [pytest.approx(vector, abs=1e-6) for vector in plain] == vectors
    assert response.headers["x-understudy-target"] == f"{where}/e"


@pytest.mark.parametrize("where", PROVIDERS)
@pytest.mark.parametrize("client", WITH_DIMENSIONS, **CLIENT_NAME)
def test_every_client_gets_the_dimension_that_it_asks_for(gateway, client, where):
    response, vectors = client(gateway, f"{where}/e", ["a cat"], 5)
    assert response.status_code == 200, response.text
    assert [len(vector) for vector in vectors] == [5]


@pytest.mark.parametrize("where", DIALECTS)
@pytest.mark.parametrize("client", CLIENTS, **CLIENT_NAME)
def test_a_failure_moves_to_another_provider_of_the_same_model(failing, client, where):
    response, vectors = client(failing, f"moves-{where}", ["a cat"])
    assert response.status_code == 200, response.text
    assert response.headers["x-understudy-attempts"] == "2"
    assert response.headers["x-understudy-target"] == f"other-{where}/m"
    assert len(vectors) == 1


# -- what goes through as it came --------------------------------------------------------------------------------------


def test_the_same_dialect_passes_word_for_word_but_for_the_models_name():
    spoken = data([0.5, 1], provider="here", usage={"prompt_tokens": 1, "total_tokens": 3, "cost": 0.1})
    server, text = single(told(spoken))
    with server, Running(text) as running:
        body = '{ "input":"x", "model":"one/e",  "anything": [1] }'
        response = running.http.post("/v1/embeddings", content=body, headers={"content-type": "application/json"})
        assert response.content == json.dumps(spoken).encode()
        head, sent = server.calls[0]
        assert head.startswith(b"POST /v1/embeddings HTTP/1.1\r\n")
        assert json.loads(sent) == {"input": "x", "model": "e", "anything": [1]}
        assert "x-understudy-losses" not in response.headers


def test_what_a_translation_loses_is_told(gateway):
    body = {"model": "cohere-chat/e", "input": "x", "user": "me", "anything": 1}
    response = post(gateway, "/v1/embeddings", body)
    lost = response.headers["x-understudy-losses"].split(", ")
    assert {"user", "anything", "~purpose"} <= set(lost)


def test_a_strict_route_refuses_what_would_be_lost(gateway):
    response = post(gateway, "/v1/embeddings", {"model": "strict", "input": "x", "user": "me"})
    assert response.status_code == 400
    assert "user" in response.json()["error"]["message"]


def test_usage_beside_the_known_counts_is_a_loss_across_dialects():
    server, text = single(told(data([1.0], usage={"prompt_tokens": 1, "total_tokens": 1, "cost": 0.1})))
    with server, Running(text) as running:
        response = running.http.post("/api/embed", json={"model": "one/e", "input": "x"})
        assert response.json() == {"model": "x", "embeddings": [[1.0]], "prompt_eval_count": 1}
        assert response.headers["x-understudy-losses"] == "usage"


def test_a_provider_that_knows_no_base64_is_helped():
    server, text = single(told(data([0.5, 0.25])))
    with server, Running(text) as running:
        body = {"model": "one/e", "input": "x", "encoding_format": "base64"}
        response = running.http.post("/v1/embeddings", json=body)
        assert floats(response.json()["data"][0]["embedding"]) == [0.5, 0.25]


def test_googles_requests_name_the_providers_model():
    server, text = single(told({"embeddings": [{"values": [1.0]}]}), "gemini", "{url}beta")
    with server, Running(text) as running:
        requests = [{"model": "models/one/e", "content": {"parts": [{"text": "x"}]}}]
        response = running.http.post("/v1beta/models/one/e:batchEmbedContents", json={"requests": requests})
        assert response.status_code == 200
        head, sent = server.calls[0]
        assert head.startswith(b"POST /v1beta/models/e:batchEmbedContents HTTP/1.1\r\n")
        assert json.loads(sent)["requests"][0]["model"] == "models/e"


@pytest.mark.parametrize(
    ("model", "count", "verb"),
    [
        ("gemini-embedding-2", 1, "embedContent"),
        ("gemini-embedding-2", 2, "batchEmbedContents"),
        ("te-5", 2, "predict"),
    ],
)
def test_vertex_is_asked_as_its_own_client_asks(model, count, verb):
    values = {"values": [1.0]}
    replies = {
        "embedContent": {"embedding": values},
        "batchEmbedContents": {"embeddings": [values] * count},
        "predict": {"predictions": [{"embeddings": values}] * count},
    }
    server, text = single(told(replies[verb]), "gemini", "{url}" + VERTEX)
    with server, Running(text) as running:
        response = running.http.post("/v1/embeddings", json={"model": f"one/{model}", "input": ["x"] * count})
        assert response.status_code == 200, response.text
        head, sent = server.calls[0]
        assert f"/models/{model}:{verb} HTTP".encode() in head
        assert b'"model"' not in sent


def test_what_is_large_is_read_and_written_as_well():
    """In a thread, since much is to be read."""
    vectors = [[0.5] * 4000] * 40
    server, text = single(told(data(*vectors)))
    with server, Running(text) as running:
        body = {"model": "one/e", "input": ["x" * 10000] * 40}
        response = running.http.post("/api/embed", json=body)
        assert response.json()["embeddings"] == vectors
        refused = running.http.post("/api/embed", json={**body, "input": [*body["input"], "one more"]})
        assert running.exchange(refused).attempts[0].fault.kind == "bad_answer"


def test_what_only_the_provider_understands_is_its_own_business():
    spoken = {"data": "in a way of its own"}
    server, text = single(told(spoken))
    with server, Running(text) as running:
        body = {"model": "one/e", "input": "x", "encoding_format": "bytes"}
        assert running.http.post("/v1/embeddings", json=body).json() == spoken


def test_what_cannot_be_read_is_refused_before_it_is_translated(gateway):
    body = {"model": "ollama/e", "input": "x", "encoding_format": "bytes"}
    response = post(gateway, "/v1/embeddings", body)
    assert response.status_code == 400
    assert "encoding_format" in response.json()["error"]["message"]


def test_tokens_go_only_where_tokens_are_read(gateway):
    assert post(gateway, "/v1/embeddings", {"model": "openai-chat/e", "input": [1, 2]}).status_code == 200
    refused = post(gateway, "/v1/embeddings", {"model": "ollama/e", "input": [1, 2]})
    assert refused.status_code == 400
    assert "tokens" in refused.json()["error"]["message"]


# -- vectors that must not be passed on --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (data([1.0, 2.0], [1.0]), "dimensions"),
        (data([1.0, 2.0]), "inputs were sent"),
        (data([1.0], [1.0]), "instead of 2"),
        (data([], []), "instead of 2"),
        (data([1.0, None], [1.0, 2.0]), "array of numbers"),
        (data("!", "!"), "base64"),
        ({"data": "none"}, "must be an array"),
    ],
)
def test_wrong_vectors_are_never_passed_on(reply, why):
    server, text = single(told(reply))
    with server, Running(text) as running:
        body = {"model": "one/e", "input": ["x", "y"], "dimensions": 2}
        response = running.http.post("/v1/embeddings", json=body)
        assert response.status_code == 502
        assert response.json()["error"]["code"] == "bad_answer"
        record = running.exchange(response).attempts[0]
        assert why in record.fault.message


def test_wrong_vectors_move_the_call_on():
    first = Provider(told(data([1.0])))
    second = Provider(told(data([1.0, 2.0])))
    text = provider("first", "openai-chat", first.url) + provider("second", "openai-chat", second.url)
    text += '[defaults]\nretries = 0\n[routes.r]\ntargets = ["first/e", "second/e"]\n'
    with first, second, Running(text) as running:
        response = running.http.post("/v1/embeddings", json={"model": "r", "input": "x", "dimensions": 2})
        assert response.json()["data"][0]["embedding"] == [1.0, 2.0]
        assert response.headers["x-understudy-target"] == "second/e"


def test_coheres_roundings_are_checked_by_their_number(gateway):
    body = {"model": "cohere-chat/e", "texts": ["a", "b"], "input_type": "clustering"}
    response = post(gateway, "/v2/embed", body | {"embedding_types": ["int8", "ubinary"]})
    assert {kind: len(vectors) for kind, vectors in response.json()["embeddings"].items()} == {"int8": 2, "ubinary": 2}
    refused = post(gateway, "/v2/embed", body | {"embedding_types": ["int8"], "model": "openai-chat/e"})
    assert refused.status_code == 400
    assert "int8" in refused.json()["message"]


# -- vector spaces -----------------------------------------------------------------------------------------------------


def test_another_models_vectors_never_stand_in(failing):
    response = post(failing, "/v1/embeddings", {"model": "spaces", "input": "x"})
    assert response.status_code == 503
    message = response.json()["error"]["message"]
    assert "other-openai-chat/n" in message
    assert "other_vector_space" in message
    assert response.headers["x-understudy-attempts"] == "1"


def test_a_route_may_allow_another_models_vectors(failing):
    response = post(failing, "/v1/embeddings", {"model": "any-space", "input": "x"})
    assert response.status_code == 200
    assert response.headers["x-understudy-target"] == "other-openai-chat/n"


def test_a_first_model_that_cools_down_does_not_hand_its_place_to_another_space():
    failing, other = Provider(answer(b"503 Service Unavailable", body=b"{}")), Provider(told(data([1.0])))
    text = provider("first", "openai-chat", failing.url) + provider("second", "openai-chat", other.url)
    text = text.replace("cooldown = false\n", "")
    text += '[defaults]\nretries = 0\n[routes.r]\ntargets = ["first/m", "second/n"]\n'
    with failing, other, Running(text) as running:
        for _ in range(2):
            assert running.http.post("/v1/embeddings", json={"model": "r", "input": "x"}).status_code == 503
        assert len(running.gateway.health.cooldowns.running)
        assert not other.calls


def test_targets_keep_their_weights_when_others_are_left_out(gateway):
    routing = gateway.gateway.routing
    narrow, left_out = operate.narrowed(embed.OPENAI, routing.find("weighted"), routing)
    assert [target.name for target in narrow.targets] == ["first/m", "other-gemini/m"]
    assert narrow.weights == (2, 4)
    assert len(left_out) == 2


@pytest.mark.parametrize("allowed", [False, True])
def test_substitutes_obey_the_same_rule_and_defaults_may_lift_it(allowed):
    failing, other = Provider(answer(b"503 Service Unavailable", body=b"{}")), Provider(told(data([1.0])))
    text = provider("first", "openai-chat", failing.url) + provider("second", "openai-chat", other.url)
    text += '[defaults]\nretries = 0\nsubstitutes = ["second/n"]\n'
    text += f"other_vector_space = {str(allowed).lower()}\n"
    with failing, other, Running(text) as running:
        response = running.http.post("/v1/embeddings", json={"model": "first/m", "input": "x"})
        assert response.status_code == (200 if allowed else 503)
        assert len(other.calls) == allowed


def test_the_first_target_that_has_vectors_says_which_space(gateway):
    response = post(gateway, "/v1/embeddings", {"model": "half", "input": "x"})
    assert response.status_code == 200
    assert response.headers["x-understudy-target"] == "other-cohere-chat/m"
