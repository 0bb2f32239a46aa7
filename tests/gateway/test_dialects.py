"""Every client dialect onto every provider dialect, over real sockets.

Providers of each dialect are of two kinds. `sim-gemini/ok` is the simulator, which reads and writes with code of its
own. `via-gemini/first/ok` is the gateway itself once more: a call leaves in the gemini dialect, comes in again as a
gemini client's call, and goes on to the simulator; so it passes two translations. What outside eyes see is checked by
the SDKs (`tests/sdk/test_dialects.py`).
"""

import socket

import msgspec
import pytest

from tests.running import TWO, Running
from understudy import clock, dialects
from understudy.canon import Delta, Ended, Failed, Fault, Message, Request, Sampling, Text, Tool, ToolCall
from understudy.gateway import surface, telling
from understudy.gateway.record import Failure
from understudy.providers.auth import AuthError

NAMES = sorted(dialects.DIALECTS)
BASES = {"openai-chat": "/v1", "openai-responses": "/v1", "openai-completions": "/v1"}
KEY = "gateway-key"
ANSWER = "This is a simulated answer"


TALKS = [name for name in NAMES if name != "openai-completions"]
PROVIDERS = [*(f"via-{name}/first/ok" for name in NAMES), *(f"sim-{name}/ok" for name in NAMES)]
CALLERS = [*(f"via-{name}/first/ok" for name in TALKS), *(f"sim-{name}/ok" for name in TALKS)]


def config(port):
    via = "".join(
        f'[providers.via-{name}]\ndialect = "{name}"\nbase_url = "http://127.0.0.1:{port}{BASES.get(name, "")}"\n'
        f'api_key = "{KEY}"\ncooldown = false\n'
        for name in NAMES
    )
    via += "".join(
        f'[providers.sim-{name}]\ndialect = "{name}"\nbase_url = "{{root}}{BASES.get(name, "")}"\napi_key = "x"\n'
        "cooldown = false\n"
        for name in NAMES
    )
    routes = '[routes.strict-own]\ntargets = ["sim-anthropic-messages/ok"]\nstrict = true\n'
    routes += "".join(
        f'[routes.strict-{name}]\ntargets = ["via-{name}/first/ok"]\nstrict = true\n'
        f'[routes.moves-{name}]\ntargets = ["via-{name}/first/overloaded", "second/ok"]\n'
        for name in NAMES
    )
    routes += "".join(
        f'[routes.breaks-{name}-{behaviour}]\ntargets = ["sim-{name}/{behaviour}", "second/ok"]\n'
        for name in NAMES
        for behaviour in ("overloaded", "internal", "rate-limit", "invalid-key")
    )
    return f'[server]\nkeys = ["{KEY}"]\n' + TWO.replace("0.4", "5") + via + routes


@pytest.fixture(scope="module")
def gateway():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Running(config(port), port=port) as running:
        yield running


def ask(gateway, dialect, model, *, stream=False, tools=(), text="Hello there", **more):
    """A call as a client of `dialect` makes it, and what that client reads in the answer."""
    request = Request("test", model, (Message("user", (Text(text),)),), tools=tools, stream=stream, **more)
    body, _ = dialects.get(dialect).encode_request(request)
    base = "" if dialect == "gemini" else BASES.get(dialect, "")
    path = surface.provider_path(dialect, base, model, stream=stream)
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    return gateway.http.post(path, content=body, headers=headers)


def read_stream(dialect, response):
    decoder = dialects.get(dialect).StreamDecoder()
    return [*decoder.feed(response.content), *decoder.close()]


def text_of(answer):
    return "".join(part.text for part in answer.choices[0].parts if isinstance(part, Text))


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("client", NAMES)
def test_an_answer_reaches_every_client_from_every_provider(gateway, client, provider):
    response = ask(gateway, client, provider)
    assert response.status_code == 200, response.text
    answer = dialects.get(client).decode_answer(response.content)
    assert text_of(answer).startswith(ANSWER)
    assert answer.choices[0].finish == "stop"
    assert answer.usage.input
    assert answer.usage.output
    assert response.headers["x-understudy-target"] == provider


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("client", NAMES)
def test_a_stream_reaches_every_client_from_every_provider(gateway, client, provider):
    response = ask(gateway, client, provider, stream=True)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].encode().startswith(surface.STREAM_TYPES[client])
    events = read_stream(client, response)
    text = "".join(event.text for event in events if isinstance(event, Delta))
    assert text.startswith(ANSWER)
    assert isinstance(events[-1], Ended)


WEATHER = Tool(
    "get_weather",
    description="The weather in a city",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("provider", CALLERS)
@pytest.mark.parametrize("client", TALKS)
def test_a_tool_call_reaches_every_client_from_every_provider(gateway, client, provider, stream):
    response = ask(gateway, client, provider, tools=(WEATHER,), stream=stream, text="Use the tool")
    assert response.status_code == 200, response.text
    if stream:
        events = read_stream(client, response)
        assert isinstance(events[-1], Ended)
        (call,) = [event.part for event in events if isinstance(getattr(event, "part", None), ToolCall)]
        arguments = call.arguments + "".join(event.text for event in events if isinstance(event, Delta))
    else:
        answer = dialects.get(client).decode_answer(response.content)
        (call,) = [part for part in answer.choices[0].parts if isinstance(part, ToolCall)]
        arguments = call.arguments
    assert call.name == "get_weather"
    assert msgspec.json.decode(arguments) == {"city": "simulated"}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("provider", NAMES)
@pytest.mark.parametrize("client", NAMES)
def test_a_failure_at_any_provider_moves_the_call(gateway, client, provider, stream):
    response = ask(gateway, client, f"moves-{provider}", stream=stream)
    assert response.status_code == 200, response.text
    assert response.headers["x-understudy-target"] == "second/ok"
    assert response.headers["x-understudy-attempts"] == "2"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("provider", NAMES)
@pytest.mark.parametrize("client", NAMES)
def test_an_error_comes_in_the_clients_dialect(gateway, client, provider, stream):
    response = ask(gateway, client, f"via-{provider}/first/context-length", stream=stream)
    assert response.status_code in (400, 413, 422), response.text
    fault = dialects.get(client).decode_fault(response.status_code, dict(response.headers), response.content)
    assert fault.message


@pytest.mark.parametrize("provider", NAMES)
@pytest.mark.parametrize("client", NAMES)
def test_a_cut_after_the_first_words_is_an_error_in_the_clients_stream(gateway, client, provider):
    response = ask(gateway, client, f"via-{provider}/first/cut:after=3", stream=True)
    if response.status_code != 200:  # both came in one piece: nothing had gone out yet
        assert dialects.get(client).decode_fault(response.status_code, {}, response.content).message
        return
    assert isinstance(read_stream(client, response)[-1], Failed)


@pytest.mark.parametrize("client", NAMES)
def test_a_provider_that_breaks_in_its_own_words_moves_the_call(gateway, client):
    for name in NAMES:
        for behaviour in ("overloaded", "internal", "rate-limit", "invalid-key"):
            response = ask(gateway, client, f"breaks-{name}-{behaviour}")
            assert response.status_code == 200, (name, behaviour, response.text)
            assert response.headers["x-understudy-target"] == "second/ok"


@pytest.mark.parametrize("client", NAMES)
def test_a_wrong_key_is_refused_in_the_clients_dialect(gateway, client):
    base = "" if client == "gemini" else BASES.get(client, "")
    path = surface.provider_path(client, base, "first/ok", stream=False)
    response = gateway.http.post(path, content=b"{}", headers={"x-api-key": "wrong"})
    assert response.status_code in (401, 403, 400)
    assert "server.keys" in dialects.get(client).decode_fault(response.status_code, {}, response.content).message


@pytest.mark.parametrize("client", NAMES)
def test_nonsense_is_refused_in_the_clients_dialect(gateway, client):
    base = "" if client == "gemini" else BASES.get(client, "")
    path = surface.provider_path(client, base, "first/ok", stream=False)
    response = gateway.http.post(path, content=b"[1", headers={"x-api-key": KEY})
    assert response.status_code == 400
    assert "JSON" in dialects.get(client).decode_fault(400, {}, response.content).message


def test_losses_are_named_in_a_header(gateway):
    response = ask(gateway, "openai-chat", "via-anthropic-messages/first/ok", sampling=Sampling(seed=7))
    assert response.status_code == 200
    assert "sampling.seed" in response.headers["x-understudy-losses"]
    record = next(e for e in reversed(gateway.exchanges) if e.call.door.dialect == "openai-chat")
    assert any(loss.field == "sampling.seed" for loss in record.attempts[-1].losses)


def test_a_strict_route_refuses_what_would_be_lost(gateway):
    response = ask(gateway, "openai-chat", "strict-anthropic-messages", sampling=Sampling(seed=7))
    assert response.status_code == 400
    assert "sampling.seed" in response.json()["error"]["message"]
    assert ask(gateway, "openai-chat", "strict-openai-chat", sampling=Sampling(seed=7)).status_code == 200


def test_gemini_streams_without_alt_are_one_json_array(gateway):
    body = {"contents": [{"role": "user", "parts": [{"text": "Hello there"}]}]}
    for model in ("first/ok", "via-gemini/first/ok"):
        path = f"/v1beta/models/{model}:streamGenerateContent?key={KEY}"
        response = gateway.http.post(path, json=body)
        assert response.headers["content-type"].startswith("application/json")
        pieces = [
            item["candidates"][0]["content"]["parts"][0]["text"] for item in response.json() if item["candidates"]
        ]
        assert "".join(pieces).startswith(ANSWER)


def test_an_aws_signature_shows_the_key_as_its_id(gateway):
    signed = (
        f"AWS4-HMAC-SHA256 Credential={KEY}/20261125/eu-west-1/bedrock/aws4_request, SignedHeaders=host, Signature=0"
    )
    body = {"messages": [{"role": "user", "content": [{"text": "Hello there"}]}]}
    response = gateway.http.post("/model/first%2Fok/converse", json=body, headers={"authorization": signed})
    assert response.status_code == 200, response.text
    assert response.json()["output"]["message"]["content"][0]["text"].startswith(ANSWER)


@pytest.mark.parametrize("provider", ["sim-anthropic-messages/ok", "sim-gemini/ok", "first/ok"])
def test_a_translated_stream_leaves_its_connection_for_the_next(gateway, provider):
    made = []
    attach = gateway.a.attach
    gateway.a.attach = lambda connection: (made.append(connection), attach(connection))
    try:
        for _ in range(5):
            assert ask(gateway, "openai-responses", provider, stream=True).status_code == 200
    finally:
        gateway.a.attach = attach
    assert len(made) <= 1, "the first may have to be made, the others find it"


def test_credentials_that_cannot_be_had_move_the_call_and_are_asked_for_again(gateway):
    async def away(*_request):
        raise AuthError("The service is away.")

    target = gateway.gateway.routing.routes["moves-gemini"].targets[0]
    target.provider.signer = away
    target.cooldown = True
    try:
        response = ask(gateway, "openai-chat", "moves-gemini")
        assert response.headers["x-understudy-target"] == "second/ok"
        cooldown = gateway.call(lambda: gateway.gateway.health.cooldowns.of(target.place, clock.monotonic()))
        assert cooldown.kind == "no_credentials"
        assert cooldown.until - cooldown.since == 60
    finally:
        target.provider.signer = None
        target.cooldown = False
        gateway.call(lambda: gateway.gateway.health.cooldowns.clear(target.place))


def test_reasoning_sealed_for_another_provider_is_a_loss_at_the_clients_own(gateway):
    block = {"type": "thinking", "thinking": "Hm.", "signature": "understudy:made-up"}
    messages = [
        {"role": "user", "content": "Hello there"},
        {"role": "assistant", "content": [block, {"type": "text", "text": "Yes?"}]},
        {"role": "user", "content": "Hello again"},
    ]
    body = {"model": "sim-anthropic-messages/ok", "max_tokens": 99, "messages": messages}
    response = gateway.http.post("/v1/messages", json=body, headers={"x-api-key": KEY})
    assert response.status_code == 200
    assert response.headers["x-understudy-losses"] == "messages"
    assert "understudy:made-up" not in gateway.call(lambda: gateway.a.requests)[-1].body.decode()
    strict = gateway.http.post("/v1/messages", json={**body, "model": "strict-own"}, headers={"x-api-key": KEY})
    assert strict.status_code == 400
    assert "reasoning" in strict.json()["error"]["message"]


def test_an_image_at_a_private_address_is_not_fetched_and_is_a_loss(gateway):
    image = {"type": "image_url", "image_url": {"url": f"{gateway.url}/healthz"}}
    body = {"model": "sim-ollama/ok", "messages": [{"role": "user", "content": [image, {"type": "text", "text": "?"}]}]}
    response = gateway.http.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {KEY}"})
    assert response.status_code == 200
    assert "messages[0].parts[0].source" in response.headers["x-understudy-losses"]


@pytest.mark.parametrize("name", NAMES)
def test_only_an_error_of_the_dialect_is_passed_on_word_for_word(name):
    dialect = dialects.get(name)

    def passes(status, body):
        return telling._is_error(Failure(dialect.decode_fault(status, {}, body), status, [], body, name), name)

    assert passes(*dialect.encode_fault(Fault(status=400, message="Too long."))[::2])
    assert not passes(502, b"<html><body>Bad Gateway</body></html>")
    assert not passes(502, b"")
