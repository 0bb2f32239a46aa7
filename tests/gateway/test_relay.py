"""What goes to a provider, what comes back, and what stays here: down to the byte, over real sockets."""

import asyncio
import contextlib

import msgspec
import pytest

from tests.gateway.sockets import ANSWER, Line, Provider, answer
from tests.running import Running

MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
BODY = (
    b'{ "stream":false, "messages" : [ {"role":"user","content":"Gr\\u00fc\xc3\x9fe \\/ \\ud83d\\ude00"} ],\n'
    b'"model":"NAME","temperature":1.10,"seed":12345678901234567890,"top_p":1e-400,"x_unknown":{"a" :[ ]},"n":null}'
)


def body(model):
    return BODY.replace(b"NAME", model)


@contextlib.contextmanager
def between(provider, settings="", *, headers="", routes="", environ=None):
    config = (
        f'{settings}\n[providers.box]\ndialect = "openai-chat"\nbase_url = "{provider.url}"\n'
        f'api_key = "sk-box-secret"\ncooldown = false\n{headers}\n[defaults]\nretries = 0\n[routes.r]\n'
        f'targets = ["box/real-model"]\n[routes.m]\ntargets = ["box/m"]\n{routes}'
    )
    with Running(config, environ) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def provider():
    with Provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(provider):
    with between(provider) as gateway:
        yield gateway


@pytest.fixture
def line(gateway):
    with Line(gateway.url) as line:
        yield line


# -- there ------------------------------------------------------------------------------------------------------------


def test_where_the_name_is_the_same_the_very_bytes_are_sent(provider, line):
    line.post(body(b"m"))
    assert line.response()[0] == 200
    assert provider.calls[-1][1] == body(b"m")


def test_the_name_is_rewritten_and_every_other_value_stays_as_it_was_written(provider, line):
    line.post(body(b"r"))
    assert line.response()[0] == 200
    head, sent = provider.calls[-1]
    assert b"content-length: %d" % len(sent) in head
    expected = MEMBERS.decode(body(b"r")) | {"model": msgspec.Raw(b'"real-model"')}
    got = MEMBERS.decode(sent)
    assert list(got) == list(expected)
    assert {name: bytes(value) for name, value in got.items()} == {k: bytes(v) for k, v in expected.items()}


def test_a_name_written_twice_or_with_escapes_is_rewritten_too(provider, line):
    for text in (b'{"model":"x","messages":[1],"model":"r"}', b'{"\\u006dodel":"\\u0072","messages":[1]}'):
        line.post(text)
        assert line.response()[0] == 200
        assert msgspec.json.decode(provider.calls[-1][1])["model"] == "real-model"
        assert b'"x"' not in provider.calls[-1][1]


def test_a_call_is_plain_and_complete_http(provider, line):
    line.post(body(b"r"))
    line.response()
    head = provider.calls[-1][0].split(b"\r\n")
    assert head[0] == b"POST /v1/chat/completions HTTP/1.1"
    names = [each.split(b":")[0] for each in head[1:]]
    assert len(names) == len(set(names))
    assert set(names) == {
        b"host", b"user-agent", b"accept-encoding", b"authorization", b"content-type", b"content-length",
    }  # fmt: skip
    assert b"host: " + provider.url.split("/")[2].encode() in head
    assert b"accept-encoding: identity" in head


SECRETS = (
    b"authorization: Bearer sk-the-clients-own\r\ncookie: session=hidden\r\napi-key: hidden\r\nx-api-key: hidden\r\n"
    b"proxy-authorization: Basic hidden\r\nx-forwarded-for: 10.0.0.7\r\nx-real-ip: 10.0.0.7\r\n"
    b"forwarded: for=10.0.0.7\r\norigin: http://10.0.0.7\r\n"
    b"referer: http://10.0.0.7/\r\nuser-agent: private/1\r\nx-anything: hidden\r\n"
    b"te: trailers\r\nopenai-organization: org-hidden\r\n"
)


def test_a_clients_credentials_and_address_never_reach_a_provider(provider, line):
    line.post(body(b"r"), SECRETS)
    assert line.response()[0] == 200
    head, sent = provider.calls[-1]
    for secret in (b"sk-the-clients-own", b"hidden", b"10.0.0.7", b"private/1", b"trailers"):
        assert secret not in head + sent
    assert b"authorization: Bearer sk-box-secret" in head


def test_what_means_something_to_a_provider_goes_along(provider, line):
    given = (b"openai-beta: x=1", b"idempotency-key: k-1", b"x-client-request-id: q", b"traceparent: 00-a-b-01")
    line.post(body(b"r"), b"".join(each.replace(b"open", b"Open") + b"\r\n" for each in given))
    assert line.response()[0] == 200
    assert set(given) <= set(provider.headers())


def test_a_folded_header_of_a_client_makes_no_header_of_ours(provider, line):
    line.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nidempotency-key: a\r\n x-evil: 1\r\n")
    line.send(b"content-length: %d\r\n\r\n" % len(body(b"r")), body(b"r"))
    assert line.until(b"\r\n\r\n")
    assert not [each for each in provider.headers() if each.startswith((b"x-evil", b" x-evil"))]


def test_a_provider_may_be_given_headers_and_told_to_be_passed_some(provider):
    headers = 'headers = { X-Team = "env:TEAM", x-plain = "a b" }\nforward = ["X-Tenant", "openai-organization"]'
    with between(provider, headers=headers, environ={"TEAM": "blue"}) as gateway, Line(gateway.url) as line:
        line.post(body(b"r"), b"x-tenant: 7\r\nOpenAI-Organization: org-1\r\nx-other: hidden\r\nx-team: red\r\n")
        assert line.response()[0] == 200
        sent = provider.headers()
    assert {b"x-team: blue", b"x-plain: a b", b"x-tenant: 7", b"openai-organization: org-1"} <= set(sent)
    assert not [each for each in sent if b"hidden" in each or b"red" in each]


def test_keys_go_the_way_their_provider_wants(provider):
    with between(provider, headers='auth = "api-key"') as gateway:
        assert gateway.chat("r").status_code == 200
        assert b"api-key: sk-box-secret" in provider.headers()
        assert not [each for each in provider.headers() if each.startswith(b"authorization")]
    with between(provider, headers='auth = "none"') as gateway:
        assert gateway.chat("r").status_code == 200
        assert b"sk-box-secret" not in provider.calls[-1][0]


# -- and back ---------------------------------------------------------------------------------------------------------

FROM_PROVIDER = (
    b"x-request-id: req_1\r\nx-ratelimit-remaining-requests: 9\r\nopenai-processing-ms: 5\r\nX-Custom: kept\r\n"
    b"set-cookie: __cf_bm=tracking\r\naccess-control-allow-origin: *\r\naccess-control-expose-headers: X-Request-ID\r\n"
    b"connection: keep-alive\r\nkeep-alive: timeout=5\r\nserver: cloudflare\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    b"alt-svc: h3\r\nstrict-transport-security: max-age=1\r\nvary: origin\r\n"
)


def test_what_a_provider_says_of_the_answer_comes_back_and_what_it_says_of_its_site_does_not(provider, gateway):
    provider.reply = answer(headers=FROM_PROVIDER)
    response = gateway.chat("r")
    provider.reply = answer()
    assert response.content == ANSWER
    kept = {
        "x-request-id": "req_1",
        "x-ratelimit-remaining-requests": "9",
        "openai-processing-ms": "5",
        "x-custom": "kept",
    }
    assert kept.items() <= response.headers.items()
    dropped = {"set-cookie", "keep-alive", "server", "alt-svc", "strict-transport-security", "vary", "connection"}
    assert not dropped & set(response.headers)
    assert not [name for name in response.headers if name.startswith("access-control")]
    assert "1970" not in response.headers.get("date", "")


def test_what_belongs_to_one_connection_stays_on_it(provider, gateway):
    provider.reply = answer(headers=b"connection: keep-alive, x-hop\r\nx-hop: 1\r\n")
    response = gateway.chat("r")
    provider.reply = answer()
    assert "x-hop" not in response.headers


def test_a_provider_cannot_speak_in_our_name(provider, gateway):
    provider.reply = answer(headers=b"x-understudy-target: somebody/else\r\nx-understudy-attempts: 9\r\n")
    response = gateway.chat("r")
    provider.reply = answer()
    assert response.headers["x-understudy-target"] == "box/real-model"
    assert response.headers["x-understudy-attempts"] == "1"


def test_every_answer_says_which_exchange_target_and_how_many_attempts(gateway):
    first, second = gateway.chat("r"), gateway.chat("r")
    assert first.headers["x-understudy-exchange"].startswith("ex_")
    assert first.headers["x-understudy-exchange"] != second.headers["x-understudy-exchange"]
    assert first.headers["x-understudy-target"] == "box/real-model"
    assert first.headers["x-understudy-attempts"] == "1"


DEEP = b"[" * 3000 + b"]" * 3000


@pytest.mark.parametrize("status", [b"200 OK", b"400 Bad Request", b"500 Internal Server Error"])
def test_an_answer_nested_without_end_is_an_answer_that_cannot_be_read(provider, gateway, status):
    for text in (b'{"error":%b}' % DEEP, b'{"choices":%b}' % DEEP, DEEP):
        provider.reply = answer(status, body=text)
        response = gateway.chat("r")
        assert response.status_code >= 400
        assert response.json()["error"]
    provider.reply = answer()


def test_a_stream_is_passed_on_byte_by_byte(provider, gateway):
    events = (
        b": hello\n\n"
        b'data: {"id":"c","x":1.0,"choices":[{"index":0,"delta":{"content":"a\\u0062"}}]}\n\n'
        b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
        b'data: {"choices":[],"usage":{"total_tokens":3}}\n\ndata: [DONE]\n\n'
    )
    provider.reply = answer(kind=b"text/event-stream; charset=utf-8", body=events)
    response = gateway.chat("r", stream=True)
    provider.reply = answer()
    assert response.content == events
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in response.headers


def test_a_provider_that_answers_early_and_closes_is_heard(provider, gateway):
    def early(connection):
        connection.sendall(
            answer(b"413 Content Too Large", b"connection: close\r\n", b'{"error":{"message":"too big"}}')
        )

    provider.reply = early
    response = gateway.chat("r")
    provider.reply = answer()
    assert response.status_code == 413
    assert response.json() == {"error": {"message": "too big"}}


# -- credentials -------------------------------------------------------------------------------------------------------


def test_credentials_that_do_not_come_have_no_more_time_than_a_first_token(provider):
    async def never(*_request):
        await asyncio.Event().wait()

    settings = "first_token_timeout = 0.05\n"
    with between(provider, routes=f'[routes.s]\ntargets = ["box/m"]\n{settings}') as gateway:
        gateway.gateway.routing.providers["box"].signer = never
        before = len(provider.calls)
        response = gateway.chat("s")
        (attempt,) = gateway.exchange(response).attempts
    assert (response.status_code, response.json()["error"]["code"]) == (502, "no_credentials")
    assert (attempt.fault.kind, attempt.fault.phase) == ("no_credentials", "send")
    assert "in time" in attempt.fault.message
    assert attempt.ended - attempt.started < 5
    assert len(provider.calls) == before, "nothing is sent without credentials"
