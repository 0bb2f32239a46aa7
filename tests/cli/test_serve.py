"""`understudy serve` and `understudy sim` as processes: start, stop, and what happens to those who are being served."""

import gc
import signal
import socket
import sys
import threading
import time

import httpx2
import msgspec
import pytest

from tests.cli.process import Process, run
from tests.gateway.sockets import Line, Provider
from tests.running import read
from understudy.cli import serve as serving

CALL = {"stream": True, "messages": [{"role": "user", "content": "Tell me something about foxes"}]}
BOX = """
[server]
port = 0
drain = {drain}
linger = {linger}
[providers.box]
dialect = "openai-chat"
base_url = "{url}"
"""


@pytest.fixture(scope="module")
def sim():
    with Process("sim", "--port", 0) as sim:
        yield sim
        sim.stop()
        assert sim.finish() == (0, "")


@pytest.fixture
def config(tmp_path):
    def write(url, drain=30, linger=0):
        path = tmp_path / "understudy.toml"
        path.write_text(BOX.format(url=url, drain=drain, linger=linger))
        return path

    return write


def test_it_says_what_it_found_answers_and_stops_in_order(sim, config):
    with Process("serve", "-c", config(sim.url + "/v1")) as gateway:
        assert "box" in gateway.printed
        with httpx2.Client(base_url=gateway.url, trust_env=False) as http:
            assert http.get("/readyz").json() == {"status": "ready"}
            response = http.post("/v1/chat/completions", json={"model": "box/ok", **CALL})
            assert read(response.text)[3]
        gateway.stop()
        assert gateway.finish() == (0, "")


def test_ctrl_c_stops_it_without_a_traceback(sim, config):
    with Process("serve", "-c", config(sim.url + "/v1")) as gateway:
        gateway.stop(signal.SIGINT)
        assert gateway.finish() == (0, "")


def test_while_it_lingers_it_serves_and_is_not_ready_until_a_second_signal(sim, config):
    with (
        Process("serve", "-c", config(sim.url + "/v1", linger=600)) as gateway,
        httpx2.Client(base_url=gateway.url, trust_env=False) as http,
    ):
        assert http.get("/readyz").status_code == 200
        gateway.stop()
        end = time.monotonic() + 60
        while (response := http.get("/readyz")).status_code == 200:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert response.json()["error"]["code"] == "stopping"
        assert http.get("/healthz").status_code == 200
        for _ in range(3):
            response = http.post("/v1/chat/completions", json={"model": "box/ok", **CALL})
            assert read(response.text)[3]
            assert response.headers["connection"] == "close"
        gateway.stop()
        assert gateway.finish() == (0, "")


def test_ctrl_c_does_not_linger(sim, config):
    with Process("serve", "-c", config(sim.url + "/v1", linger=600)) as gateway:
        gateway.stop(signal.SIGINT)
        assert gateway.finish() == (0, "")


def test_a_running_stream_finishes_and_new_calls_are_refused(sim, config):
    with (
        Process("serve", "-c", config(sim.url + "/v1")) as gateway,
        Line(gateway.url) as running,
        Line(gateway.url) as idle,
    ):
        idle.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        idle.response()
        running.post(msgspec.json.encode({"model": "box/drip:between=0.08", **CALL}))
        running.until(b"chat.completion.chunk")
        gateway.stop()
        assert idle.rest() == b"", "a connection that waits for nothing is closed"
        with pytest.raises(OSError, match="refused"):
            Line(gateway.url)
        rest = running.rest()
        assert b"[DONE]" in rest
        assert gateway.finish() == (0, "")


def test_what_is_still_running_when_the_time_is_over_ends_with_an_error_and_not_with_a_finish(sim, config):
    with Process("serve", "-c", config(sim.url + "/v1", drain=0.5)) as gateway, Line(gateway.url) as line:
        line.post(msgspec.json.encode({"model": "box/drip:between=0.1,tokens=500", **CALL}))
        line.until(b"chat.completion.chunk")
        started = time.monotonic()
        gateway.stop()
        rest = line.rest()
        assert time.monotonic() - started < 3
        assert gateway.finish()[0] == 0
    assert rest.endswith(b"0\r\n\r\n"), "in order as HTTP"
    assert b'"code":"gateway_stopping"' in rest
    assert rest.count(b'"error"') == 1
    assert b"[DONE]" not in rest
    assert b'"finish_reason":"' not in rest


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_client_that_does_not_read_costs_bounded_memory(config):
    """The provider pushes 200 MB; what the client does not take, the provider keeps."""
    event = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * 65_000)
    pushed = threading.Event()
    sent = 0

    def push(connection):
        nonlocal sent
        connection.settimeout(2)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        try:
            for _ in range(200_000_000 // len(event)):
                connection.sendall(event)
                sent += len(event)
        except TimeoutError:
            pushed.set()

    with Provider(push) as provider, Process("serve", "-c", config(provider.url)) as gateway:
        with Line(gateway.url, receive_buffer=64 * 1024) as line:
            line.post(msgspec.json.encode({"model": "box/m", **CALL}))
            line.until(b"chunked")
            before = gateway.peak()
            assert pushed.wait(20), "the provider was never made to wait"
            assert sent < 40_000_000
            assert gateway.peak() - before < 32
        gateway.stop()
        assert gateway.finish()[0] == 0


def test_an_address_that_is_taken_is_told_with_a_way_out(sim):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, errors = run("serve", "--port", port)
        assert code == 1
        assert "address already in use" in errors
        assert f"Cannot listen on 127.0.0.1:{port}" in errors
        assert "--port" in errors
        assert "Traceback" not in errors
        code, _, errors = run("sim", "--port", port)
        assert code == 1
        assert errors.startswith(f"Cannot listen on 127.0.0.1:{port}: ")
        assert "Traceback" not in errors


def test_garbage_is_collected_seldom_and_what_was_loaded_at_the_start_never():
    usual = gc.get_threshold()
    try:
        serving._collect_seldom()
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold()[0] > 10 * usual[0]
        assert gc.get_threshold()[1:] == usual[1:]
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        gc.set_threshold(*usual)
