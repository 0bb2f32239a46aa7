"""A rolling restart under traffic, with real processes, a real PostgreSQL and a real Redis: nobody notices."""

import re
import threading

import httpx2
import psycopg
import pytest

from tests.cli.process import Process
from tests.deploy.balancer import Balancer, HAProxy
from tests.deploy.replicas import Replicas, ask, until
from tests.gateway.redis_server import RedisServer
from tests.running import read

MESSAGES = [{"role": "user", "content": "Tell me something about foxes"}]


@pytest.fixture(scope="module")
def box():
    with Process("sim", "--port", 0) as sim:
        yield sim.url


@pytest.fixture
def redis_url(tmp_path):
    server = RedisServer(tmp_path).start()
    yield server.url
    server.kill()


@pytest.fixture
def ledger_url(postgres_server):
    return postgres_server.url()


@pytest.fixture
def replicas(tmp_path, redis_url, ledger_url, box):
    with Replicas(tmp_path, redis=redis_url, ledger=ledger_url, box=box, linger=4) as replicas:
        yield replicas


class Clients:
    """Applications that never pause and never try again. `ids` are the exchanges that were answered in full."""

    def __init__(self, url):
        self.url, self.ids, self.failures, self.streams = url, set(), [], 0
        self._over, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._streaming) for _ in range(8)]
        self._threads += [threading.Thread(target=self._calling) for _ in range(2)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_raised):
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _http(self):
        return httpx2.Client(base_url=self.url, timeout=60, trust_env=False)

    def _streaming(self):
        """One stream after another, each on a connection of its own: 1.5 s, longer than a replica takes to say no."""
        while not self._over.is_set():
            with self._http() as http:
                self._ask(http, "steady", stream=True)

    def _calling(self):
        """Short calls, on a connection that is kept for as long as the gateway lets it."""
        with self._http() as http:
            while not self._over.is_set():
                self._ask(http, "box/ok", stream=False)

    def _ask(self, http, model, *, stream):
        try:
            body = {"model": model, "stream": stream, "messages": MESSAGES}
            response = http.post("/v1/chat/completions", json=body)
            whole = response.status_code == 200
            if stream and whole:
                content, finish, error, done = read(response.text)
                whole = done and error is None and finish == "stop" and len(content.split()) >= 30
        except httpx2.HTTPError as error:
            whole, response = False, None
            self._failed(repr(error))
        with self._lock:
            self.streams += stream
            if whole:
                self.ids.add(response.headers["x-understudy-exchange"])
            elif response is not None:
                self._failed(f"{response.status_code} {response.text[-500:]}")

    def _failed(self, what):
        self.failures.append(what)
        self._over.wait(0.1)


def kept(url):
    """The ids in the ledger, the outcomes, and how many exchanges the sums per hour have counted."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT id, outcome FROM exchanges").fetchall()
        counted = connection.execute("SELECT sum(exchanges) FROM hours").fetchone()[0]
    return {row[0] for row in rows}, {row[1] for row in rows}, counted


@pytest.mark.timeout(400)
@pytest.mark.parametrize("balanced", [Balancer, HAProxy])
def test_a_rolling_restart_cuts_no_stream_refuses_no_call_and_loses_no_record(replicas, ledger_url, balanced):
    with balanced(replicas.ports) as balancer, Clients(balancer.url) as clients:
        until(lambda: all(map(serves, replicas.ports)), "both replicas get calls")
        for port in replicas.ports:
            roll(replicas, clients, port)
    assert clients.failures == []
    assert clients.streams > 16
    for port in replicas.ports:
        replicas.stop(port)
        assert replicas.running[port].finish()[0] == 0
    assert kept(ledger_url) == (clients.ids, {"answered"}, len(clients.ids))


def roll(replicas, clients, port):
    """Restart one replica while its streams run."""
    former = replicas.running[port]
    replicas.stop(port)
    until(lambda: ask(port, "/readyz").status_code == 503, "it says that it stops")
    assert ask(port, "/healthz").status_code == 200, "an orchestrator must not kill it"
    answer = ask(port, "/v1/chat/completions", model="box/ok", messages=MESSAGES)
    assert answer.status_code == 200, "who does not know yet is still served"
    assert answer.headers["connection"] == "close", "and is told to ask on another connection next time"
    clients.ids.add(answer.headers["x-understudy-exchange"])
    code, errors = former.finish()
    assert code == 0
    assert "Traceback" not in errors
    replicas.start(port)
    until(lambda: serves(port), "it is back, and the balancer has noticed")


def serves(port):
    """Whether the replica has answered several calls since it was started."""
    found = re.findall(r"(?m)^understudy_exchanges_total\{.*\} (\S+)$", ask(port, "/metrics").text)
    return sum(map(float, found)) > 20


def test_what_one_replica_finds_out_spares_the_other_the_try(replicas):
    one, other = replicas.ports
    first = ask(one, "/v1/chat/completions", model="limited", messages=MESSAGES)
    assert (first.status_code, first.headers["x-understudy-attempts"]) == (200, "2")

    def known():
        targets = ask(other, "/admin/targets").json()["targets"]
        return any(target["state"] == "cooling down" for target in targets)

    until(known, "the other replica hears of the cooldown")
    second = ask(other, "/v1/chat/completions", model="limited", messages=MESSAGES)
    assert (second.status_code, second.headers["x-understudy-attempts"]) == (200, "1")
