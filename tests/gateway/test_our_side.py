"""What goes wrong on our own side of a call: clients that leave or do not read, time that jumps, settings that change.

None of it is the provider's doing, so none of it may count against a target, and nothing may be left behind.
"""

import asyncio
import concurrent.futures
import contextlib
import os
import queue
import socket
import sys
import threading
import time

import msgspec
import pytest

from tests.gateway.sockets import Line, Provider
from tests.gateway.test_dialects import BASES, NAMES, ask
from tests.running import TWO, Running, read
from understudy import clock
from understudy.gateway import reloading, server

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
CHUNK = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[%b]}\n\n'
ROLE = CHUNK % b'{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}'
ONCE = CHUNK % b'{"index":0,"delta":{"content":"Once upon"},"finish_reason":null}'
END = CHUNK % b'{"index":0,"delta":{"content":" a time"},"finish_reason":"stop"}' + b"data: [DONE]\n\n"
MESSAGES = [{"role": "user", "content": "Hello there"}]
PATIENT = TWO.replace("0.4", "5")
SOON = 0.1
"""Seconds within which a provider must see that nobody wants its answer any more."""


def held(provider, *, more=""):
    return f'[providers.held]\ndialect = "openai-chat"\nbase_url = "{provider.url}"\n{more}'


def body(model="held/m", *, stream=True, **more):
    return msgspec.json.encode({"model": model, "stream": stream, "messages": MESSAGES, **more})


class Holding(Provider):
    """Sends the beginning of an answer; the rest when `go` is set, unless the other side leaves first."""

    def __init__(self, begins=b"", ends=b""):
        self.begins, self.ends = begins, ends
        self.reached, self.left = threading.Semaphore(0), queue.Queue()
        self.go = threading.Event()
        super().__init__(self._hold)

    def _hold(self, connection):
        connection.sendall(self.begins)
        self.reached.release()
        if self.ends:
            self.go.wait(10)
            connection.sendall(self.ends)
            return
        connection.settimeout(10)
        with contextlib.suppress(ConnectionError):
            assert not connection.recv(1)
        self.left.put(time.monotonic())


def place(gateway, route):
    return gateway.call(lambda: gateway.gateway.routing.routes[route].targets[-1].place)


def clean(gateway, route, *, answers=False):
    """Whether nothing is left of any call, and nothing of it speaks against the last target of `route`."""
    app, where = gateway.gateway, place(gateway, route)
    health, transport = app.health, app.transport
    assert gateway.until(lambda: app.idle and health.limiter.flying(where) == 0)
    assert gateway.until(lambda: transport.open_connections == transport.idle_connections)
    assert not health.breakers.troubled
    assert not health.cooldowns.running
    if not answers:
        assert gateway.call(lambda: health.latencies.load(where, clock.monotonic())) == 0, "no latency is noted"
    return True


# -- a client that leaves --------------------------------------------------------------------------------------------

STAGES = {
    "before-the-head": (b"", b"", {}),
    "before-the-head-of-a-whole-answer": (b"", b"", {"stream": False}),
    "before-the-first-token": (HEAD + ROLE, b"", {}),
    "in-mid-stream": (HEAD + ROLE + ONCE, b"Once", {}),
    "amid-a-translated-stream": (HEAD + ROLE + ONCE, b"Once", {"max_tokens": 9}),
    "amid-comments": (b"", b": keep-alive", {"model": "patient"}),
    "while-another-goes-on": (HEAD + ROLE, b'"content":"', {"model": "broken"}),
}
ROUTES = """
[routes.r]
targets = ["held/m"]
[routes.patient]
targets = ["held/m"]
keep_alive = 0.05
[routes.broken]
targets = ["first/cut:after=5", "held/m"]
"""


def leave(gateway, provider, stage):
    """Leave at `stage`; the seconds until the provider noticed."""
    _, seen, more = STAGES[stage]
    with Line(gateway.url) as line:
        path = b"/v1/messages" if "max_tokens" in more else b"/v1/chat/completions"
        line.post(body(**{"model": "r", **more}), path=path)
        if seen:
            line.until(seen)
        assert provider.reached.acquire(timeout=5)
        left = time.monotonic()
    return provider.left.get(timeout=5) - left


def descriptors():
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0  # noqa: PTH208  # only the count


def tasks(gateway):
    return len(asyncio.all_tasks(gateway.loop))


@pytest.mark.parametrize("way", ["straight", "asgi"])
@pytest.mark.parametrize("stage", STAGES)
def test_when_a_client_leaves_the_provider_is_told_at_once_and_nothing_is_left(stage, way):
    origins = '[server]\ncors_origins = ["https://app.example"]\n' if way == "asgi" else ""
    with Holding(STAGES[stage][0]) as provider, Running(origins + PATIENT + held(provider) + ROUTES) as gateway:
        # The machine may be busy with something else for a moment, but not each time.
        took = [leave(gateway, provider, stage) for _ in range(3)]
        assert min(took) < SOON
        assert clean(gateway, "r")
        few = gateway.call(lambda: tasks(gateway)) + 5, descriptors() + 5  # both come and go a little
        for _ in range(10):
            leave(gateway, provider, stage)
        assert clean(gateway, "r")
        assert gateway.until(lambda: tasks(gateway) < few[0] and descriptors() < few[1])
        assert {exchange.outcome for exchange in gateway.exchanges} == {"client_left"}
        assert all(exchange.ended for exchange in gateway.exchanges)


def test_a_client_that_leaves_while_it_waits_for_a_busy_target_is_waited_for_by_nobody():
    with Holding() as provider, Running(PATIENT + held(provider) + ROUTES) as gateway, Line(gateway.url) as first:
        where, health = place(gateway, "r"), gateway.gateway.health
        first.post(body("r"))
        assert provider.reached.acquire(timeout=5)
        gateway.call(lambda: health.limiter.count(where, clock.monotonic()))
        gateway.call(lambda: health.limiter.release(where, "overload", clock.monotonic()))  # from now on one at a time
        with Line(gateway.url) as second:
            second.post(body("r"))
            assert gateway.until(lambda: gateway.gateway.open == 2)
            left = time.monotonic()
        assert gateway.until(lambda: gateway.exchanges)
        assert gateway.exchanges[0].ended - left < SOON
        assert (gateway.exchanges[0].outcome, gateway.exchanges[0].attempts) == ("client_left", [])
        assert gateway.call(lambda: health.limiter.flying(where)) == 1
        assert len(provider.calls) == 1
        first.socket.close()
        assert clean(gateway, "r")


# -- a client that does not read -------------------------------------------------------------------------------------

BIG = CHUNK % (b'{"index":0,"delta":{"content":"%b"},"finish_reason":null}' % (b"x" * 16_000))
COUNT = 1500
QUICK = PATIENT.replace("liveness_timeout = 5", "liveness_timeout = 0.5").replace(
    "progress_timeout = 5", "progress_timeout = 0.5"
)


class Pushing(Provider):
    """Pushes a large stream as fast as it is taken. `stalled` once nothing was taken for longer than QUICK's clocks."""

    def __init__(self):
        self.stalled, self.gone, self.sent = threading.Event(), threading.Event(), 0
        self.answer = HEAD + BIG * COUNT + END
        super().__init__(self._push)

    def _push(self, connection):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        connection.settimeout(1)
        left = memoryview(self.answer)
        try:
            while left:
                with contextlib.suppress(TimeoutError):
                    taken = connection.send(left[:65536])
                    left = left[taken:]
                    self.sent += taken
                    continue
                self.stalled.set()
        except ConnectionError:
            self.gone.set()


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/messages"], ids=["relayed", "translated"])
def test_a_client_that_reads_nothing_for_a_while_slows_the_provider_and_loses_nothing(path):
    route = '[routes.r]\ntargets = ["held/m"]\nmid_stream = "error"\n'
    with Pushing() as provider, Running(QUICK + held(provider) + route) as gateway:
        with Line(gateway.url, receive_buffer=64 * 1024) as line:
            line.post(body("r", max_tokens=9), b"connection: close\r\n", path=path)
            assert provider.stalled.wait(20), "the provider was never made to wait"
            assert provider.sent < 16_000_000, "what nobody reads stays with the provider"
            origin = gateway.gateway.transport.origin(provider.url)
            (connection,) = gateway.call(lambda: origin._lent_or_idle)
            assert connection.paused
            assert connection.unread < 2 * 2**20
            words = 0
            tail = b""
            while piece := line.socket.recv(262144):
                words += (tail[-1:] + piece).count(b"xx") if tail else piece.count(b"xx")
                tail = (tail + piece)[-200:]
        assert gateway.until(lambda: gateway.exchanges)
        (exchange,) = gateway.exchanges
        assert exchange.outcome == "answered"
        assert [attempt.fault for attempt in exchange.attempts] == [None]
        assert words >= COUNT * 7990
        assert (b"[DONE]" if b"chat" in path else b"message_stop") in tail


@pytest.mark.parametrize("way", ["straight", "asgi"])
def test_a_client_that_never_reads_again_is_let_go(monkeypatch, way):
    monkeypatch.setattr(server, "STALLED", 0.2)
    origins = '[server]\ncors_origins = ["https://app.example"]\n' if way == "asgi" else ""
    with Pushing() as provider, Running(origins + PATIENT + held(provider) + ROUTES) as gateway:
        with Line(gateway.url, receive_buffer=64 * 1024) as line:
            line.post(body("r"))
            assert provider.gone.wait(10)
            assert gateway.until(lambda: gateway.exchanges)
            assert clean(gateway, "r", answers=True)
        assert gateway.exchanges[0].outcome == "client_left"


# -- time that jumps -------------------------------------------------------------------------------------------------

HOUR = 3600.0


class Jumps:
    """Clocks that tests set forward and back: `wall` and `monotonic` are the seconds by which each is off."""

    wall = monotonic = 0.0


@pytest.fixture
def jumps(monkeypatch):
    off, wall, monotonic = Jumps(), clock.wall, clock.monotonic
    monkeypatch.setattr(clock, "wall", lambda: wall() + off.wall)
    monkeypatch.setattr(clock, "monotonic", lambda: monotonic() + off.monotonic)
    return off


COOLED = """
[routes.r]
targets = ["held/m"]
[providers.cooled]
dialect = "openai-chat"
base_url = "{a}"
[providers.google]
dialect = "gemini"
base_url = "{root}"
api_key = "x"
[routes.limited]
targets = ["cooled/rate-limit:retry=30"]
[routes.daily]
targets = ["google/daily-quota"]
"""


@pytest.mark.parametrize("jump", [-5 * HOUR, 5 * HOUR, -60 * 365 * 24 * HOUR])
def test_a_wall_clock_that_jumps_stops_no_call_and_makes_no_cooldown_longer(jumps, jump):
    with Holding(HEAD + ROLE + ONCE, END) as provider, Running(PATIENT + held(provider) + COOLED) as gateway:
        health, routes = gateway.gateway.health, gateway.gateway.routing.routes

        def left(route):
            found = gateway.call(lambda: health.lasting(routes[route].targets[0], clock.monotonic()))
            return None if found is None else found.wait

        assert gateway.chat("limited").status_code == 429
        before = left("limited")
        with Line(gateway.url) as line:
            line.post(body("r"), b"connection: close\r\n")
            line.until(b"Once")
            jumps.wall = jump
            provider.go.set()
            assert line.rest().count(b"[DONE]") == 1
        assert before - 5 < left("limited") <= before
        assert gateway.chat("daily").status_code == 429
        assert 0 < left("daily") <= 25 * HOUR
        assert gateway.chat("first/ok").status_code == 200
        jumps.monotonic = 26 * HOUR
        assert left("limited") is left("daily") is None


@pytest.mark.parametrize("begun", [False, True])
def test_waking_from_suspend_ends_what_waited_with_a_clear_error_and_serves_what_comes_next(jumps, begun):
    clocks = PATIENT.replace("_timeout = 5", "_timeout = 1")
    with (
        Holding(HEAD + ROLE + ONCE if begun else b"") as provider,
        Running(clocks + held(provider) + ROUTES) as gateway,
    ):
        assert gateway.chat("first/ok").status_code == 200
        with Line(gateway.url) as line:
            line.post(body("r"), b"connection: close\r\n")
            if begun:
                line.until(b"Once")
            assert provider.reached.acquire(timeout=5)
            jumps.monotonic = HOUR
            rest = line.rest()
        assert rest.count(b'"error"') == 1
        assert b"deadline" in rest
        assert b"[DONE]" not in rest
        assert provider.left.get(timeout=5)
        assert gateway.chat("first/ok").status_code == 200
        assert gateway.until(lambda: gateway.gateway.idle)


# -- settings that change --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def changing(config, tmp_path):
    """A gateway, and a function that puts another configuration in force."""
    with Running(config) as gateway:
        file = tmp_path / "understudy.toml"

        def reload(text):
            text = text.replace("{a}", gateway.a.url).replace("{b}", gateway.b.url).replace("{root}", gateway.a.root)
            file.write_text(text.replace("{other}", gateway.b.root))
            job = reloading.reload(gateway.gateway, file, {})
            assert asyncio.run_coroutine_threadsafe(job, gateway.loop).result(10)

        yield gateway, reload


def speaking(site):
    """A provider of each dialect at `site`, and a route to each, translated and not."""
    text = '[server]\nkeys = ["gateway-key"]\n' + PATIENT
    for name in NAMES:
        text += f'[providers.{name}]\ndialect = "{name}"\nbase_url = "{site}{BASES.get(name, "")}"\napi_key = "x"\n'
        text += f'[routes.r-{name}]\ntargets = ["{name}/ok"]\n'
    return text


def test_no_client_of_any_dialect_notices_that_its_providers_are_moved(tmp_path):
    with changing(speaking("{root}"), tmp_path) as (gateway, reload), concurrent.futures.ThreadPoolExecutor(8) as pool:
        pairs = [(one, other) for one in NAMES for other in NAMES]
        calls = [
            pool.submit(ask, gateway, one, f"r-{other}", stream=at % 2 == 0) for at, (one, other) in enumerate(pairs)
        ]
        for _ in range(4):
            reload(speaking("{other}"))
            reload(speaking("{root}"))
        assert {call.result().status_code for call in calls} == {200}
        assert gateway.until(lambda: len(gateway.exchanges) == len(pairs))
        assert {exchange.outcome for exchange in gateway.exchanges} == {"answered"}


def test_a_stream_of_a_provider_that_is_dropped_goes_on_and_new_calls_do_not_find_it(tmp_path):
    with (
        Holding(HEAD + ROLE + ONCE, END) as provider,
        changing(PATIENT + held(provider) + ROUTES, tmp_path) as (gateway, reload),
        Line(gateway.url) as line,
    ):
        line.post(body("r"), b"connection: close\r\n")
        begun = line.until(b"Once upon")
        reload(PATIENT)
        assert gateway.chat("r").status_code == 404
        assert gateway.chat("held/m").status_code == 404
        provider.go.set()
        lines = (begun + line.rest()).partition(b"\r\n\r\n")[2].decode()
        assert read(lines) == ("Once upon a time", "stop", None, True)
        transport = gateway.gateway.transport
        assert gateway.until(lambda: transport.open_connections == transport.idle_connections)


def test_a_key_that_is_taken_away_ends_no_stream_and_opens_no_other(tmp_path):
    locked = '[server]\nkeys = ["{}"]\n' + PATIENT
    with Holding(HEAD + ROLE + ONCE, END) as provider:
        more = held(provider) + ROUTES
        with changing(locked.replace("{}", "old") + more, tmp_path) as (gateway, reload), Line(gateway.url) as line:
            line.post(body("r"), b"authorization: Bearer old\r\n")
            line.until(b"Once upon")
            reload(locked.replace("{}", "new") + more)
            provider.go.set()
            line.until(b"0\r\n\r\n")
            line.post(body("first/ok"), b"authorization: Bearer old\r\n")
            assert line.response()[0] == 401
            line.post(body("first/ok", stream=False), b"authorization: Bearer new\r\n")
            assert line.response()[0] == 200
