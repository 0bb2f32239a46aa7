"""What stands between the socket and the app: heads without end, garbage, pipelines, clients that come and go."""

import contextlib
import socket
import time

import msgspec
import pytest

from tests.gateway.sockets import Line
from tests.running import TWO, Running, read
from understudy.gateway.server import Protocol

MESSAGES = [{"role": "user", "content": "Hello there"}]
GOOD = msgspec.json.encode({"model": "r", "messages": MESSAGES})
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
ROUTES = '[routes.r]\ntargets = ["first/ok"]\n[routes.drip]\ntargets = ["first/drip:between=0.05"]\n'


@pytest.fixture(scope="module")
def gateway():
    with Running("[server]\nmax_headers = 4096\n" + TWO + ROUTES) as running:
        yield running


@pytest.fixture
def line(gateway):
    with Line(gateway.url) as line:
        yield line


def refused(line, status, code):
    answer = line.rest()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert b"connection: close" in head
    assert b"content-type: application/json" in head
    error = msgspec.json.decode(body)["error"]
    assert error["code"] == code
    assert error["type"] == "invalid_request_error"


CHUNKED = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
ENDLESS = {
    "one header": (b"GET /healthz HTTP/1.1\r\nx-a: ", b"a" * 1000),
    "many headers": (b"GET /healthz HTTP/1.1\r\n", b"x-a: %b\r\n" % (b"a" * 200)),
    "a header's name": (b"GET /healthz HTTP/1.1\r\n", b"a" * 1000),
    "the path": (b"GET /", b"a" * 1000),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"x: yyyyy\r\n"),
    "one trailer": (CHUNKED + b"2\r\n{}\r\n0\r\nx: ", b"y" * 99),
    "a chunk's size": (CHUNKED + b"2;x=", b"y" * 100),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDLESS)
def test_a_head_without_end_is_refused_while_it_comes(line, name):
    start, more = ENDLESS[name]
    line.send(start)
    line.socket.settimeout(0.002)
    sent = 0
    try:
        while sent < 200_000:
            line.send(more)
            sent += len(more)
            try:
                if line.socket.recv(1, socket.MSG_PEEK):
                    break
            except TimeoutError:
                continue
    except ConnectionError:
        pass
    line.socket.settimeout(10)
    assert sent < 20_000
    refused(line, 431, "headers_too_large")


@pytest.mark.parametrize("size", [5_000, 100_000, 3_000_000])
def test_a_head_that_is_too_large_is_refused_and_the_client_can_read_why(line, size):
    line.send(b"GET /healthz HTTP/1.1\r\nx-a: ", b"a" * size, b"\r\n\r\n")
    refused(line, 431, "headers_too_large")


def test_a_head_of_the_allowed_size_is_taken_however_it_comes(line):
    head = b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-a: %b\r\n\r\n" % (b"a" * 3900)
    line.send(head, head[:2000])
    time.sleep(0.02)
    line.send(head[2000:])
    assert line.response()[0] == 200
    assert line.response()[0] == 200


def test_a_large_body_is_no_large_head(gateway, line):
    body = GOOD + b" " * 300_000
    line.post(body)
    assert line.response()[0] == 200
    line.send(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body), body + HEALTH[:9]
    )
    assert line.response()[0] == 200
    line.send(HEALTH[9:])
    assert line.response()[0] == 200


GARBAGE = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"hello\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
           b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", b"GET / HTTP/1.1\r\nx y: z\r\n\r\n",
           b"POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
           b"GET / HTTP/1.1\r\nx: a\x00b\r\n\r\n"]  # fmt: skip


@pytest.mark.parametrize("garbage", GARBAGE)
def test_what_is_not_http_is_told_so_in_json(line, garbage):
    line.send(garbage)
    refused(line, 400, "invalid_http")


def test_a_wrongly_framed_body_is_no_call(gateway, line, monkeypatch):
    monkeypatch.setattr("understudy.gateway.server.LINGER", 0.05)
    asked = len(gateway.a.requests)
    line.send(CHUNKED, b"xyz\r\n")
    refused(line, 400, "invalid_http")
    assert len(gateway.a.requests) == asked
    assert gateway.until(lambda: gateway.gateway.idle)


def test_garbage_behind_a_call_never_stands_in_its_answer(gateway, line):
    line.post(msgspec.json.encode({"model": "drip", "stream": True, "messages": MESSAGES}))
    line.until(b"chat.completion.chunk")
    line.send(b"\x00\x01garbage\r\n\r\n")
    assert b"HTTP/1.1 400" not in line.rest()
    assert gateway.until(lambda: gateway.gateway.idle)


def test_a_refused_client_that_goes_on_and_on_is_let_go(line, monkeypatch):
    monkeypatch.setattr("understudy.gateway.server.LINGER", 0.05)
    line.send(b"\x00\r\n\r\n")
    assert b"400" in line.rest()
    talking = (line.send(b"x") or time.sleep(0.005) for _ in range(400))
    with pytest.raises(ConnectionError):
        any(talking)


def test_pipelined_requests_are_answered_in_order(line):
    nowhere = HEALTH.replace(b"/healthz", b"/nowhere")
    line.post(GOOD)
    line.send(HEALTH + nowhere + HEALTH)
    line.post(GOOD.replace(b'"r"', b'""'))
    line.send(HEALTH)
    assert [line.response()[0] for _ in range(6)] == [200, 200, 404, 200, 400, 200]


def test_a_thousand_pipelined_requests_are_no_large_head(line):
    line.send(HEALTH * 1000)
    assert {line.response()[0] for _ in range(1000)} == {200}


def test_a_connection_serves_call_after_call(gateway, line):
    for _ in range(3):
        line.post(msgspec.json.encode({"model": "r", "stream": True, "messages": MESSAGES}))
        stream = line.until(b"0\r\n\r\n")
        assert b"[DONE]" in stream
        line.post(GOOD)
        assert line.response()[0] == 200


def test_a_client_that_asks_to_close_is_obeyed(line):
    line.post(GOOD, b"connection: close\r\n")
    status, head, _ = line.response()
    assert status == 200
    assert b"connection: close" in head
    assert line.rest() == b""


def test_http_1_0_is_served(line):
    line.send(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert line.rest().startswith(b"HTTP/1.1 200")


def test_a_client_that_asks_before_it_sends_is_told_to_go_on(line):
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n"
    line.send(head % len(GOOD))
    assert line.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    line.send(GOOD)
    assert line.response()[0] == 200


def test_an_upgrade_to_something_else_is_ignored(line):
    line.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
              b"sec-websocket-key: eA==\r\nsec-websocket-version: 13\r\n\r\n")  # fmt: skip
    assert line.response()[0] == 200


def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing_behind(gateway):
    with Line(gateway.url) as line:
        line.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        assert gateway.until(lambda: gateway.gateway.open == 1)
    assert gateway.until(lambda: gateway.gateway.idle)
    assert gateway.http.get("/healthz").status_code == 200


def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_error_of_ours(gateway, caplog):
    with Line(gateway.url) as line:
        line.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        assert gateway.until(lambda: gateway.gateway.open == 1)
    assert gateway.until(lambda: gateway.gateway.idle)
    assert "Traceback" not in caplog.text


def test_a_client_that_leaves_in_the_middle_of_an_answer_is_no_error_of_ours(gateway, caplog):
    with Line(gateway.url) as line:
        line.post(GOOD.replace(b'"r"', b'"drip"'))
        assert gateway.until(lambda: gateway.gateway.open == 1)
    assert gateway.until(lambda: gateway.gateway.idle)
    assert "Traceback" not in caplog.text


def test_too_many_open_calls_are_refused_with_a_time_to_come_back():
    with Running("[server]\nmax_open = 1\n" + TWO + ROUTES) as gateway, Line(gateway.url) as line:
        line.post(msgspec.json.encode({"model": "drip", "stream": True, "messages": MESSAGES}))
        line.until(b"chat.completion.chunk")
        response = gateway.chat("r")
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert response.json()["error"]["code"] == "overloaded"
        assert "server.max_open" in response.json()["error"]["message"]
        assert gateway.http.get("/healthz").status_code == 200, "health is no call"
        line.until(b"[DONE]")
        assert gateway.until(lambda: gateway.gateway.idle)
        assert gateway.chat("r").status_code == 200


def test_a_gateway_that_stops_takes_no_new_call_on_an_old_connection():
    with Running(TWO + ROUTES) as gateway:
        assert gateway.chat("r").status_code == 200
        gateway.call(lambda: setattr(gateway.gateway, "stopping", True))
        response = gateway.chat("r")
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert response.json()["error"]["message"] == "The gateway is stopping."
        assert gateway.http.get("/readyz").status_code == 503
        assert gateway.http.get("/healthz").status_code == 200


@pytest.mark.parametrize("cors", ["", 'cors_origins = ["*"]\n'])
def test_a_gateway_that_is_about_to_stop_serves_and_keeps_no_connection(cors):
    with Running("[server]\n" + cors + TWO + ROUTES) as gateway:
        assert "connection" not in gateway.chat("r").headers
        gateway.call(lambda: setattr(gateway.gateway, "leaving", True))
        for response in (gateway.chat("r"), gateway.chat("r", stream=True), gateway.http.get("/v1/models")):
            assert response.status_code == 200
            assert response.headers["connection"] == "close"
        response = gateway.http.get("/readyz")
        assert (response.status_code, response.headers["connection"]) == (503, "close")
        gateway.call(lambda: setattr(gateway.gateway, "leaving", False))


def test_what_runs_longer_than_a_stopping_gateway_waits_ends_with_an_error():
    silent = '[routes.silent]\ntargets = ["first/silent"]\nfirst_token_timeout = 9\n'
    with contextlib.ExitStack() as lines:
        with Running("[server]\ndrain = 0.2\n" + TWO + ROUTES + silent) as gateway:
            begun, waiting = (lines.enter_context(Line(gateway.url)) for _ in range(2))
            begun.post(msgspec.json.encode({"model": "drip", "stream": True, "messages": MESSAGES}))
            begun.until(b"chat.completion.chunk")
            waiting.post(GOOD.replace(b'"r"', b'"silent"'))
            assert gateway.until(lambda: gateway.gateway.open == 2)
        rest = begun.rest()
        status, _, body = waiting.response()
    assert [exchange.outcome for exchange in gateway.exchanges] == ["stopped", "stopped"]
    assert b'"code":"gateway_stopping"' in rest
    assert b"[DONE]" not in rest
    assert status == 503
    assert b'"code":"gateway_stopping"' in body


ORIGIN = {"origin": "https://app.example"}
PREFLIGHT = {**ORIGIN, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}


def test_pages_of_other_origins_are_not_let_in_by_default(gateway):
    response = gateway.chat("r", headers=ORIGIN)
    assert not [name for name in response.headers if name.startswith("access-control-")]
    assert gateway.http.options("/v1/chat/completions", headers=PREFLIGHT).status_code == 405


def test_pages_of_the_configured_origins_are():
    config = '[server]\ncors_origins = ["https://app.example"]\nkeys = ["k"]\n' + TWO + ROUTES
    with Running(config) as gateway:
        preflight = gateway.http.options("/v1/chat/completions", headers=PREFLIGHT)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "https://app.example"
        assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
        response = gateway.chat("r", stream=True, headers={**ORIGIN, "authorization": "Bearer k"})
        assert response.headers["access-control-allow-origin"] == "https://app.example"
        assert "x-understudy-target" in response.headers["access-control-expose-headers"]
        assert read(response.text)[3]
        assert gateway.chat("r", headers=ORIGIN).headers["access-control-allow-origin"], "errors can be read too"
        stranger = gateway.http.options("/v1/chat/completions", headers={**PREFLIGHT, "origin": "https://evil.example"})
        assert stranger.status_code == 400
        assert "access-control-allow-origin" not in stranger.headers


def test_every_gateway_has_its_own_bound():
    assert Protocol.max_headers == 32 * 1024
