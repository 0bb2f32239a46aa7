"""Calls that go nowhere: the right status, OpenAI's shape, the field at fault, and nothing sent to a provider."""

import gzip

import msgspec
import pytest

from tests.gateway.sockets import Line
from tests.running import TWO, Running

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "Hello there"}]
GOOD = msgspec.json.encode({"model": "r", "messages": MESSAGES})
ROUTE = '[routes.r]\ntargets = ["first/ok"]\n[routes."gpt-4.1"]\ntargets = ["first/ok"]\n'


@pytest.fixture(scope="module")
def gateway():
    with Running("[server]\nmax_body = 4096\n" + TWO + ROUTE) as running:
        yield running


def refused(response, status, code, param=None):
    """The error's message, after a look at everything around it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (code, param)
    assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    return error["message"]


def call(**fields):
    body = {"model": "r", "messages": MESSAGES, **fields}
    return msgspec.json.encode({name: value for name, value in body.items() if value is not ...})


BODIES = {
    # name: (body, the field at fault, a piece of the message)
    "empty": (b"", None, "The body is empty: send JSON."),
    "half": (GOOD[:20], None, "not valid JSON"),
    "not JSON": (b"model=r", None, "not valid JSON"),
    "more than one": (GOOD + GOOD, None, "not valid JSON"),
    "a list": (b"[1]", None, "must be a JSON object"),
    "null": (b"null", None, "must be a JSON object"),
    "not UTF-8": (GOOD.replace(b"Hello", b"H\xe9llo").replace(b'"r"', b'"\xff"'), None, "not valid JSON"),
    "half a character": (GOOD.replace(b'"r"', b'"\\ud800"'), None, "not valid JSON"),
    "no model": (call(model=...), "model", "`model` is missing."),
    "model null": (call(model=None), "model", "`model`: expected `str`, got `null`."),
    "model a number": (call(model=5), "model", "`model`: expected `str`, got `int`."),
    "model empty": (call(model=""), "model", "`model` is empty"),
    "no messages": (call(messages=...), "messages", "`messages` is missing."),
    "messages a text": (call(messages="Hello"), "messages", "`messages`: expected `array`, got `str`."),
    "messages empty": (call(messages=[]), "messages", "`messages` is empty"),
    "stream a text": (call(stream="yes"), "stream", "`stream`: expected `bool | null`, got `str`."),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_no_call_is_refused_with_the_field(gateway, name):
    body, field, message = BODIES[name]
    asked = len(gateway.a.requests)
    response = gateway.http.post(CHAT, content=body, headers={"content-type": "application/json"})
    assert message in refused(response, 400, "invalid_body", field)
    assert len(gateway.a.requests) == asked


def test_a_body_nested_without_end_is_refused():
    body = b'{"model":"r","messages":[1],"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with Running(TWO + '[routes.r]\ntargets = ["first/ok"]\n') as running:
        refused(running.http.post(CHAT, content=body), 400, "invalid_body")


def test_what_a_provider_would_object_to_is_the_providers_business(gateway):
    response = gateway.http.post(CHAT, content=call(messages=["Hello"]))
    assert response.status_code == 400
    assert "x-understudy-target" in response.headers


KINDS = {"text/plain": 415, "application/x-www-form-urlencoded": 415, "multipart/form-data; boundary=x": 415, "": 415,
         "application/json": 200, "Application/JSON; charset=utf-8": 200, "application/vnd.api+json": 200}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_only_json_is_taken(gateway, kind):
    response = gateway.http.post(CHAT, content=GOOD, headers={"content-type": kind})
    if KINDS[kind] == 200:
        assert response.status_code == 200
    else:
        assert "is not application/json" in refused(response, 415, "unsupported_media_type")


def test_a_body_without_content_type_is_taken_for_json(gateway):
    assert gateway.http.post(CHAT, content=GOOD).status_code == 200


def test_a_compressed_body_is_refused_in_words(gateway):
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    response = gateway.http.post(CHAT, content=gzip.compress(GOOD), headers=headers)
    assert "send it plain" in refused(response, 415, "unsupported_encoding")
    headers["content-encoding"] = "identity"
    assert gateway.http.post(CHAT, content=GOOD, headers=headers).status_code == 200


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read(gateway):
    with Line(gateway.url) as line:
        line.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n")
        status, _, body = line.response()
    assert status == 413
    assert b"4096 bytes (server.max_body)" in body


def test_a_body_in_chunks_is_refused_when_it_has_become_too_large(gateway):
    def chunks():
        for _ in range(50):
            yield b" " * 100

    assert "4096" in refused(gateway.http.post(CHAT, content=chunks()), 413, "body_too_large")


def test_the_largest_body_is_taken_and_one_byte_more_is_not(gateway):
    exact = GOOD + b" " * (4096 - len(GOOD))
    assert gateway.http.post(CHAT, content=exact).status_code == 200
    assert gateway.http.post(CHAT, content=iter([exact])).status_code == 200
    refused(gateway.http.post(CHAT, content=exact + b" "), 413, "body_too_large")
    refused(gateway.http.post(CHAT, content=iter([exact, b" "])), 413, "body_too_large")


# -- model names -------------------------------------------------------------------------------------------------------


def test_an_unknown_model_is_looked_for_at_the_providers_and_near_names_are_given():
    with Running(TWO + ROUTE) as running:
        message = refused(running.chat("gpt-4.l"), 404, "model_not_found", "model")
        assert message == "The model 'gpt-4.l' is not served here. Did you mean 'gpt-4.1'?"
        assert "GET /v1/models" in refused(running.chat("quite-another"), 404, "model_not_found", "model")
        assert "first/overloaded-529" in refused(running.chat("first-overloaded-529"), 404, "model_not_found", "model")
        asked = [request.path for request in running.a.requests + running.b.requests]
        assert asked == ["/v1/models"] * 2, "once for all that come soon after"


def test_a_name_that_two_providers_serve_is_ambiguous():
    with Running(TWO) as running:
        message = refused(running.chat("tool-cut"), 404, "model_not_found", "model")
        assert "More than one provider serves 'tool-cut'" in message
        assert "'first/tool-cut' or 'second/tool-cut'" in message
        assert "or add a route" in message


def test_a_name_that_one_provider_serves_is_enough():
    with Running(TWO.replace("cooldown = false", 'cooldown = false\nmodels = ["mine"]') + ROUTE) as running:
        running.a.switch("mine", "ok")
        response = running.chat("mine")
        assert response.status_code == 200
        assert response.headers["x-understudy-target"] == "first/mine"


@pytest.mark.parametrize(
    "name", ["first/a\r\nx-evil: 1", "first/\x00", "first/" + "x" * 3000, "first/", "/ok", "nobody/ok"]
)
def test_a_name_that_nothing_can_be_called_leads_nowhere(gateway, name):
    response = gateway.chat(name)
    message = refused(response, 404, "model_not_found", "model")
    assert len(message) < 500
    assert "x-evil" not in response.headers


def test_a_name_in_any_script_is_a_name(gateway):
    gateway.a.switch("modèle-Ω", "ok")
    response = gateway.chat("first/modèle-Ω")
    assert response.status_code == 200
    assert response.headers["x-understudy-target"].startswith("first/mod")


# -- paths and methods -------------------------------------------------------------------------------------------------


def test_an_unknown_path_is_told_what_there_is(gateway):
    for path in ("/", "/v1", "/v1/complete", "/v1/chat/completions/", "/v3/models", "//v1/models"):
        message = refused(gateway.http.get(gateway.url + path), 404, "unknown_url")
        assert "/v1/chat/completions" in message


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", CHAT, "POST"),
        ("PUT", CHAT, "POST"),
        ("DELETE", "/v1/models/r", "GET"),
        ("POST", "/v1/models", "GET"),
        ("POST", "/healthz", "GET"),
        ("OPTIONS", CHAT, "POST"),
        ("PATCH", "/readyz", "GET"),
    ],
)
def test_a_wrong_method_is_told_the_right_one(gateway, method, path, allow):
    response = gateway.http.request(method, path)
    assert f"does not take {method}; use {allow}" in refused(response, 405, "method_not_allowed")
    assert response.headers["allow"] == allow


def test_head_has_no_body_and_leaves_the_connection_in_order(gateway):
    with Line(gateway.url) as line:
        for path in (b"/healthz", b"/v1/chat/completions", b"/nowhere"):
            line.send(b"HEAD %b HTTP/1.1\r\nhost: x\r\n\r\n" % path)
            status, _, _ = line.response(head_only=True)
            assert status in (200, 404, 405)
        line.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert line.response()[2] == b'{"status":"ok"}'


# -- keys --------------------------------------------------------------------------------------------------------------

ONE, TWO_KEY = "sk-client-one-1111", "sk-client-two-2222"


@pytest.fixture(scope="module")
def locked():
    config = f'[server]\nkeys = ["{ONE}", "env:CLIENT_KEY"]\n' + TWO + ROUTE
    with Running(config, {"CLIENT_KEY": TWO_KEY}) as running:
        yield running


@pytest.mark.parametrize("value", [f"Bearer {ONE}", f"Bearer {TWO_KEY}", f"bearer {ONE}", f"BEARER  {ONE}"])
def test_any_of_the_keys_opens(locked, value):
    assert locked.chat("r", headers={"authorization": value}).status_code == 200


WRONG_KEYS = ["Bearer sk-client-one-1112", f"Bearer {ONE}x", f"Bearer {ONE[:-1]}", f"Basic {ONE}", ONE, "Bearer",
              "", "Bearer env:CLIENT_KEY", f"Bearer {ONE.upper()}", f"Bearer{ONE}", f"Bearer {ONE} {ONE}"]  # fmt: skip


@pytest.mark.parametrize("value", WRONG_KEYS)
def test_anything_else_does_not(locked, value):
    asked = len(locked.a.requests)
    message = refused(locked.chat("r", headers={"authorization": value}), 401, "invalid_api_key")
    assert "server.keys" in message
    assert ONE not in message
    assert "sk-client" not in message
    assert len(locked.a.requests) == asked


@pytest.mark.parametrize(("method", "path"), [("POST", CHAT), ("GET", "/v1/models"), ("GET", "/v1/models/r")])
def test_without_a_key_it_is_said_how_to_send_one(locked, method, path):
    response = locked.http.request(method, path)
    assert "Authorization: Bearer KEY" in refused(response, 401, "invalid_api_key")
    assert response.headers["www-authenticate"] == "Bearer"


def test_a_stranger_learns_nothing_about_bodies_or_models(locked):
    for body in (b"nonsense", call(model="nowhere"), b" " * 5_000_000):
        refused(locked.http.post(CHAT, content=body), 401, "invalid_api_key")
    refused(locked.http.get("/v1/models/nowhere"), 401, "invalid_api_key")


def test_health_needs_no_key(locked):
    assert locked.http.get("/healthz").json() == {"status": "ok"}
    assert locked.http.get("/readyz").json() == {"status": "ready"}
