"""What is done beside chat, over real sockets: what is refused, what moves, reranking and moderations."""

import json

import httpx2
import pytest

from tests.gateway.operations import KEY, config, data, post, provider, single, told
from tests.gateway.sockets import Provider, answer
from tests.running import Running
from understudy.gateway import operation_table
from understudy.local.models import WHEEL_MODEL, available
from understudy.providers.auth import AuthError


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


@pytest.mark.parametrize("behaviour", ["internal", "rate-limit", "invalid-key", "silent", "cut", "reset", "empty-body"])
def test_each_kind_of_failure_moves_the_call(gateway, behaviour):
    gateway.a.switch("m", behaviour)
    response = post(gateway, "/v1/embeddings", {"model": "quick", "input": "a cat"})
    gateway.a.switch("m", None)
    assert response.headers["x-understudy-target"] == "other-gemini/m"
    assert len(response.json()["data"]) == 1


def test_a_client_that_leaves_ends_the_attempt(gateway):
    gateway.a.switch("m", "silent")
    with pytest.raises(httpx2.ReadTimeout):
        gateway.http.post(
            "/v1/embeddings",
            json={"model": "first/m", "input": "x"},
            headers={"authorization": f"Bearer {KEY}"},
            timeout=0.1,
        )
    gateway.a.switch("m", None)
    assert gateway.until(lambda: gateway.exchanges and gateway.exchanges[-1].outcome == "client_left")
    assert gateway.call(lambda: gateway.gateway.open) == 0


def test_a_refusal_of_what_was_translated_moves_the_call_on():
    refusing = Provider(answer(b"400 Bad Request", body=b'{"message":"invalid request: nobody knows why"}'))
    other = Provider(told({"model": "e", "embeddings": [[1.0]]}))
    text = provider("first", "cohere-chat", refusing.url) + provider("second", "ollama", other.url)
    text += '[defaults]\nretries = 0\n[routes.r]\ntargets = ["first/e", "second/e"]\n'
    with refusing, other, Running(text) as running:
        response = running.http.post("/v1/embeddings", json={"model": "r", "input": "x"})
        assert response.json()["data"][0]["embedding"] == [1.0]
        assert running.exchange(response).attempts[0].fault.kind == "translation_rejected"


def test_each_request_is_signed_where_a_provider_wants_that():
    server, text = single(told(data([1.0])))
    seen = []

    async def sign(method, url, headers, body):
        seen.append((method, url, dict(headers), body))
        if len(seen) > 1:
            raise AuthError("The service is away.")
        return [(b"authorization", b"signed")]

    with server, Running(text + '[routes.r]\ntargets = ["one/e"]\n') as running:
        running.gateway.routing.providers["one"].signer = sign
        assert running.http.post("/v1/embeddings", json={"model": "r", "input": "x"}).status_code == 200
        body = json.dumps({"model": "e", "input": "x"}, separators=(",", ":")).encode()
        assert seen == [("POST", f"{server.url}/embeddings", {b"content-type": b"application/json"}, body)]
        assert b"\r\nauthorization: signed\r\n" in server.calls[0][0]
        refused = running.http.post("/v1/embeddings", json={"model": "r", "input": "x"})
        assert refused.json()["error"]["code"] == "no_credentials"


def test_an_embedded_model_only_chats():
    if WHEEL_MODEL not in available():
        pytest.skip("the embedded model is not installed")
    with Running("", local=True) as running:
        response = running.http.post("/v1/embeddings", json={"model": f"local/{WHEEL_MODEL}", "input": "x"})
        assert response.status_code == 501
        assert "the embedded engine only chats" in response.json()["error"]["message"]


# -- what is not there -------------------------------------------------------------------------------------------------

PATHS = {
    "/v1/embeddings": ({"input": "x"}, lambda told: told["error"]["message"]),
    "/v2/embed": ({"texts": ["x"]}, lambda told: told["message"]),
    "/api/embed": ({"input": "x"}, lambda told: told["error"]),
    "/v2/rerank": ({"query": "x", "documents": ["x"]}, lambda told: told["message"]),
    "/v1/rerank": ({"query": "x", "documents": ["x"]}, lambda told: told["message"]),
    "/v1/moderations": ({"input": "x"}, lambda told: told["error"]["message"]),
}


@pytest.mark.parametrize("path", PATHS)
def test_a_route_that_nobody_of_can_says_what_would_work(gateway, path):
    body, message = PATHS[path]
    response = post(gateway, path, {"model": "no-vectors", **body})
    assert response.status_code == 501
    assert "anthropic-messages has no" in message(response.json())
    assert "openai-chat" in message(response.json())
    if path == "/v1/embeddings":
        assert response.json()["error"]["code"] == "not_supported"


def test_google_is_told_in_googles_words(gateway):
    response = post(gateway, "/v1beta/models/no-vectors:embedContent", {"content": {"parts": [{"text": "x"}]}})
    assert response.status_code == 501
    assert response.json()["error"]["status"]


@pytest.mark.parametrize("path", PATHS)
def test_an_unknown_model_a_missing_one_and_no_json_are_refused(gateway, path):
    body, message = PATHS[path]
    assert post(gateway, path, {"model": "nowhere", **body}).status_code == 404
    refused = post(gateway, path, {"model": 3, **body})
    assert refused.status_code == 400
    assert "model" in message(refused.json())
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    assert gateway.http.post(path, content=b"{", headers=headers).status_code == 400
    assert gateway.http.post(path, content=b"", headers=headers).status_code == 400


@pytest.mark.parametrize("path", PATHS)
def test_the_key_the_method_and_the_type_are_checked(gateway, path):
    body, message = PATHS[path]
    assert gateway.http.post(path, json={"model": "first/m", **body}).status_code == 401
    headers = {"authorization": f"Bearer {KEY}"}
    assert "does not take GET" in message(gateway.http.get(path, headers=headers).json())
    refused = gateway.http.post(path, content=b"x", headers={**headers, "content-type": "text/plain"})
    assert "text/plain" in message(refused.json())
    statuses = (400,) if "rerank" in path or path == "/v2/embed" else (415,)  # Cohere's clients know no 415
    assert refused.status_code in statuses


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 5000, b'{"requests":[' * 900])
def test_what_is_no_json_object_is_refused_where_the_path_names_the_model(gateway, body):
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    for verb in ("embedContent", "batchEmbedContents", "predict"):
        response = gateway.http.post(f"/v1beta/models/gemini/e:{verb}", content=body, headers=headers)
        assert response.status_code == 400
        assert response.json()["error"]["status"] == "INVALID_ARGUMENT"


def test_deep_nesting_breaks_nothing(gateway):
    body = b'{"model":"models/e","requests":[' * 300 + b"]}" * 300
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    response = gateway.http.post("/v1beta/models/gemini/e:batchEmbedContents", content=body, headers=headers)
    assert response.status_code == 400


def test_an_escaped_path_leads_to_the_same_place(gateway):
    body = {"content": {"parts": [{"text": "x"}]}}
    assert post(gateway, "/v1beta/models/gemini%2Fe%3AembedContent", body).status_code == 200


def test_googles_key_may_stand_in_the_url(gateway):
    body = {"content": {"parts": [{"text": "x"}]}}
    path = "/v1beta/models/gemini/e:embedContent"
    assert gateway.http.post(f"{path}?key={KEY}", json=body).status_code == 200
    assert gateway.http.post(f"{path}?key=other", json=body).status_code == 401


def test_a_server_that_has_only_chat_is_not_cooled_down_for_it():
    missing = b'{"error":{"message":"Unknown request URL","type":"invalid_request_error","code":"unknown_url"}}'
    server, text = single(answer(b"404 Not Found", body=missing))
    with server, Running(text.replace("cooldown = false", "")) as running:
        response = running.http.post("/v1/embeddings", json={"model": "one/m", "input": "x"})
        assert response.status_code == 404
        assert running.exchange(response).attempts[0].fault.kind == "unsupported"
        assert not running.gateway.health.cooldowns.running


def test_a_body_that_is_too_large_is_refused():
    server, text = single(told(data([1.0])))
    with server, Running("[server]\nmax_body = 1024\n" + text) as running:
        response = running.http.post("/v1/embeddings", json={"model": "one/m", "input": "x" * 2000})
        assert response.status_code == 413
        assert not server.calls


# -- reranking ---------------------------------------------------------------------------------------------------------

DOCUMENTS = ["a dog", "the black cat", "black"]


@pytest.mark.parametrize("where", ["cohere-chat", "openai-chat", "openai-responses"])
@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
def test_every_provider_ranks_for_both_paths(gateway, path, where):
    body = {"model": f"{where}/r", "query": "black cat", "documents": DOCUMENTS, "top_n": 2}
    response = post(gateway, path, body)
    assert response.status_code == 200, response.text
    assert [(one["index"], one["relevance_score"]) for one in response.json()["results"]] == [(1, 1.0), (2, 0.5)]


def test_documents_without_text_go_only_where_they_are_read(gateway):
    body = {"query": "x", "documents": [{"title": "x"}]}
    refused = post(gateway, "/v2/rerank", {"model": "openai-chat/r", **body})
    assert refused.status_code == 400
    assert "documents[0]" in refused.json()["message"]


def test_reranking_may_move_to_another_model(failing):
    response = post(failing, "/v2/rerank", {"model": "spaces", "query": "dog", "documents": DOCUMENTS})
    assert response.status_code == 200
    assert response.headers["x-understudy-target"] == "other-openai-chat/n"
    assert response.json()["results"][0]["index"] == 0


@pytest.mark.parametrize("results", [[], [{"index": 7, "relevance_score": 1}], [{"index": 0, "relevance_score": "1"}]])
def test_a_ranking_of_documents_that_were_not_sent_is_no_answer(results):
    server, text = single(told({"results": results}))
    with server, Running(text) as running:
        body = {"model": "one/r", "query": "x", "documents": ["x"]}
        response = running.http.post("/v1/rerank", json=body)
        assert response.status_code == 503  # as Cohere's clients know it
        assert running.exchange(response).attempts[0].fault.kind == "bad_answer"


# -- moderations -------------------------------------------------------------------------------------------------------


def test_moderations_move_and_pass_word_for_word(failing):
    response = post(failing, "/v1/moderations", {"model": "moderates", "input": ["fine", "flag this"]})
    assert [result["flagged"] for result in response.json()["results"]] == [False, True]
    assert response.headers["x-understudy-target"] == "other-openai-chat/n"


def test_moderations_need_not_name_a_model():
    server, text = single(told({"id": "m", "model": "x", "results": [{"flagged": False, "categories": {}}]}))
    with server, Running(text + '[routes.omni-moderation-latest]\ntargets = ["one/guard"]\n') as running:
        assert running.http.post("/v1/moderations", json={"input": "x"}).status_code == 200
        assert json.loads(server.calls[0][1]) == {"input": "x", "model": "guard"}


def test_a_text_without_a_verdict_is_never_taken_for_harmless():
    server, text = single(told({"id": "m", "model": "x", "results": [{"categories": {"violence": True}}]}))
    with server, Running(text) as running:
        response = running.http.post("/v1/moderations", json={"model": "one/m", "input": "x"})
        assert response.json()["results"][0]["flagged"] is True
        assert response.headers["x-understudy-losses"] == "~results.flagged"
        assert running.http.post("/v1/moderations", json={"model": "one/m", "input": ["x", "y"]}).status_code == 502


def test_every_path_of_the_table_is_served(gateway):
    for path, methods in operation_table.PLAIN.items():
        for method in methods:
            assert gateway.http.request(method, path).status_code == 401
