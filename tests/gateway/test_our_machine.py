"""What goes wrong on the machine that the gateway runs on, and in how it finds its providers: descriptors, listeners,
names, certificates.
"""

import contextlib
import datetime as dt
import logging
import os
import socket
import ssl
import sys
import time

import msgspec
import pytest
import trustme

from tests.cli.process import Process
from tests.gateway.sockets import Line, Provider
from tests.running import TWO, Running
from understudy import clock
from understudy.gateway import exchange

PATIENT = TWO.replace("0.4", "5")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and sets another process' limits")


def provider(name, url):
    return f'[providers.{name}]\ndialect = "openai-chat"\nbase_url = "{url}"\n'


def body(model):
    return msgspec.json.encode({"model": model, "messages": [{"role": "user", "content": "Hello there"}]})


# -- descriptors -----------------------------------------------------------------------------------------------------


def processor(process):
    """Seconds of processor time that a process has used."""
    with open(f"/proc/{process.pid}/stat") as file:  # noqa: PTH123  # not a file of ours
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@LINUX
def test_out_of_descriptors_the_gateway_says_so_idles_and_comes_back(tmp_path):
    import resource

    with Provider() as used, Provider() as fresh, contextlib.ExitStack() as lines:
        config = tmp_path / "understudy.toml"
        config.write_text(
            "[server]\nport = 0\n[defaults]\nretries = 0\n" + provider("used", used.url) + provider("new", fresh.url)
        )
        gateway = lines.enter_context(Process("serve", "-c", config))
        pid = gateway.process.pid
        inside = lines.enter_context(Line(gateway.url))
        inside.post(body("used/m"))
        assert inside.response()[0] == 200
        full = max(map(int, os.listdir(f"/proc/{pid}/fd"))) + 1  # noqa: PTH208  # only their numbers
        usual, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (full, hard))
        held = [lines.enter_context(Line(gateway.url)) for _ in range(30)]
        assert wait_for(lambda: sum(map(gone, held)) > 15), "those that there is no descriptor for are turned away"
        before, began = processor(gateway.process), time.monotonic()
        time.sleep(0.5)  # a busy loop shows only while real time passes
        busy = (processor(gateway.process) - before) / (time.monotonic() - began)
        assert busy < 0.5, f"{busy:.0%} of a processor for doing nothing"

        inside.post(body("new/m"))
        status, _, answer = inside.response()
        assert (status, msgspec.json.decode(answer)["error"]["code"]) == (503, "exhausted")
        assert not fresh.calls
        inside.post(body("used/m"))
        assert inside.response()[0] == 200, "a kept connection needs no descriptor"

        resource.prlimit(pid, resource.RLIMIT_NOFILE, (usual, hard))
        for model in ("new/m", "used/m", "new/m"):  # nothing cools down, and the door is open
            assert answered(gateway.url, model) == 200
        gateway.stop()
        code, said = gateway.finish()
    assert code == 0
    assert "no file descriptor" in said


def gone(line):
    """Whether the gateway has closed a connection."""
    line.socket.setblocking(False)
    try:
        return not line.socket.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    finally:
        line.socket.settimeout(10)


def wait_for(condition):
    end = time.monotonic() + 5
    while not (true := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return true


def answered(url, model):
    with Line(url) as line:
        line.post(body(model))
        return line.response()[0]


def test_a_listener_that_the_loop_has_closed_is_opened_again(caplog):
    with Running(PATIENT) as gateway, caplog.at_level(logging.WARNING, "understudy"):
        port = int(gateway.url.rpartition(":")[2])

        def lose(which):
            for server in gateway.server.servers[which]:
                server.close()  # as uvloop does when accepting fails

        for which in (slice(3), slice(None)):
            gateway.call(lambda which=which: lose(which))
            assert gateway.until(lambda: all(one.fileno() >= 0 for one in gateway.server._listeners))
            with contextlib.closing(socket.create_connection(("127.0.0.1", port), 5)):
                assert gateway.chat("first/ok").status_code == 200
    assert "3 of 16 listeners were lost" in caplog.text
    assert "16 of 16 listeners were lost" in caplog.text


def test_a_mistake_of_ours_is_an_error_to_the_client_and_a_trace_to_the_owner(monkeypatch, caplog):
    def mistaken(*_args):
        raise RuntimeError("what only the owner may read")

    monkeypatch.setattr(exchange, "run", mistaken)
    with Running(PATIENT) as gateway, caplog.at_level(logging.ERROR, "understudy"):
        answer = gateway.chat("first/ok")
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
        assert "only the owner" not in answer.text
        assert gateway.until(lambda: gateway.gateway.idle)
    assert "what only the owner may read" in caplog.text


# -- names and certificates ------------------------------------------------------------------------------------------

MOVES = '[routes.r]\ntargets = ["broken/m", "first/ok"]\n'


def cooling(gateway, name):
    """The obstacle that keeps calls from a provider's model."""
    health, target = gateway.gateway.health, gateway.gateway.routing.routes["r"].targets[0]
    assert target.provider.name == name
    return gateway.call(lambda: health.lasting(target, clock.monotonic()))


def test_a_name_that_has_vanished_is_no_matter_to_anybody_else():
    gone = f"http://{'x' * 70}.invalid/v1"  # too long for a name: no resolver need be asked
    with Running(PATIENT + provider("broken", gone) + MOVES) as gateway:
        answer = gateway.chat("r")
        assert answer.headers["x-understudy-target"] == "first/ok"
        (failed, _) = gateway.exchange(answer).attempts
        assert failed.fault.kind == "unreachable"
        assert "does not resolve" in failed.fault.message or "cannot connect" in failed.fault.message
        assert cooling(gateway, "broken").kind == "unreachable"
        assert gateway.chat("second/ok").status_code == 200


@pytest.fixture
def expired(tmp_path):
    """A provider whose certificate was good until yesterday, and the environment that trusts its maker."""
    maker = trustme.CA()
    maker.cert_pem.write_to_path(tmp_path / "ca.pem")
    now = dt.datetime.now(dt.UTC)
    days = dt.timedelta(days=1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    maker.issue_cert("localhost", not_before=now - 9 * days, not_after=now - days).configure_cert(context)
    with Provider() as behind:
        behind._server.socket = context.wrap_socket(behind._server.socket, server_side=True)
        url = behind.url.replace("http://127.0.0.1", "https://localhost")
        yield url, {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
        assert not behind.requests, "nothing is sent to whom nobody trusts"


def test_an_expired_certificate_moves_the_call_cools_the_endpoint_and_is_told_as_what_it_is(expired, caplog):
    url, environ = expired
    with Running(PATIENT + provider("broken", url) + MOVES, environ) as gateway:
        with caplog.at_level(logging.WARNING, "understudy"):
            answer = gateway.chat("r")
        assert answer.headers["x-understudy-target"] == "first/ok"
        assert gateway.exchange(answer).attempts[0].fault.kind == "untrusted"
        assert "the certificate of 'localhost' is not trusted: certificate has expired" in caplog.text
        assert cooling(gateway, "broken").kind == "untrusted"
        assert 50 < cooling(gateway, "broken").wait <= 60
        assert gateway.chat("r").headers["x-understudy-attempts"] == "1"
        alone = gateway.chat("broken/m")
        assert alone.status_code >= 500
        assert "certificate is not trusted" in alone.json()["error"]["message"]
