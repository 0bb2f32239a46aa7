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
from understudy import dialects
from understudy.canon import Delta, Ended, Failed, Message, Request, Sampling, Text, Tool, ToolCall
from understudy.gateway import surface

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
    routes = "".join(
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
    exchange = next(e for e in reversed(gateway.exchanges) if e.call.door.dialect == "openai-chat")
    assert any(loss.field == "sampling.seed" for loss in exchange.attempts[-1].losses)


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
