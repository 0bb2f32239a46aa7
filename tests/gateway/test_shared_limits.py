"""Limits and budgets of gateways on real sockets, alone and sharing a real Redis: exact, and no call hangs on Redis."""

import concurrent.futures
import contextlib
import time
from collections import Counter

import httpx2
import pytest

from tests.access.test_local import most_in_a_second
from tests.gateway.crowd import crowd
from tests.gateway.redis_server import RedisServer
from tests.running import Running
from understudy.access import Budget, Limit
from understudy.access.store import Store

IN, OUT = 100, 1000
"""US dollars per million tokens: so many micro-dollars a token."""

GATEWAY = f"""
[server]
key_store = "{{store}}"
keys = ["fixed"]
admin_keys = ["boss"]
{{more}}
[providers.first]
dialect = "openai-chat"
base_url = "{{a}}"
[providers.first.prices]
input = {IN}
output = {OUT}
[routes.r]
targets = ["first/ok"]
"""
BODY = {"model": "r", "messages": [{"role": "user", "content": "Hello there"}]}
BOSS = {"authorization": "Bearer boss"}


@pytest.fixture
def server(tmp_path):
    server = RedisServer(tmp_path).start()
    yield server
    server.kill()


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "keys.sqlite")
    yield opened
    opened.close()


def gateway(store, server=None, **more):
    """A gateway; `server` is the Redis that it shares, `more` are settings of `[server]`."""
    settings = {} if server is None else {"redis": server.url, "redis_patience": 5.0}
    lines = "\n".join(f'{name} = "{value}"' if isinstance(value, str) else f"{name} = {value}"
                      for name, value in {**settings, **more}.items())  # fmt: skip
    return Running(GATEWAY.replace("{store}", store.where).replace("{more}", lines))


@contextlib.contextmanager
def two(store, server, **more):
    with gateway(store, server, **more) as one, gateway(store, server, **more) as other:
        for running in (one, other):
            assert running.until(lambda running=running: shared(running).connected)
        yield one, other


def shared(running):
    return running.gateway.authorization.admission._shared


def made(store, name, *gateways, **settings):
    """A key that all these gateways know."""
    secret = store.create(name, **settings)[1].reveal()
    for running in gateways:
        assert running.until(lambda running=running: known(running, secret))
    return secret


def known(running, secret):
    return running.gateway.authorization.admission._ring.find(secret.encode(), 0).__class__.__name__ == "Key"


def bearer(secret):
    return {"authorization": f"Bearer {secret}"}


def limits(running):
    return running.http.get("/admin/targets", headers=BOSS).json()["limits"]


# -- exact -----------------------------------------------------------------------------------------------------------


class Times(dict):
    """The leases of a gateway, and when each was given, by the clock of Redis."""

    def __init__(self):
        self.all = []

    def __setitem__(self, name, lease):
        self.all.append(lease.at / 1e6)
        super().__setitem__(name, lease)


def cost(answers):
    """Micro-dollars, by what the provider said that it used."""
    usages = [body["usage"] for status, body in answers if status == 200]
    return sum(usage["prompt_tokens"] * IN + usage["completion_tokens"] * OUT for usage in usages)


def check(answers, times, budget):
    """All windows and the budget, by what clients and providers saw."""
    counts = Counter(status for status, _ in answers)
    assert set(counts) == {200, 429}
    assert counts[200] == len(times)
    assert most_in_a_second(times) <= 101, "1 % above 100 at most"
    assert cost(answers) <= 1.01 * budget
    assert cost(answers) > 0.95 * budget, "and the budget is used"
    codes = {body["error"]["code"] for status, body in answers if status == 429}
    assert codes - {"rate_limit_exceeded"} == {"budget_exceeded"}


LIMITED = {"limits": (Limit("requests", 100, "second"),)}


def budget_of(running, secret, calls):
    """Micro-dollars for about so many calls like `BODY`."""
    usage = running.http.post("/v1/chat/completions", json=BODY, headers=bearer(secret)).json()["usage"]
    return calls * (usage["prompt_tokens"] * IN + usage["completion_tokens"] * OUT)


def test_500_clients_of_one_gateway_stay_within_rate_and_budget(store):
    with gateway(store) as one:
        budget = budget_of(one, "fixed", 250)
        secret = made(store, "crowded", one, budgets=(Budget("usd", budget, "day"),), **LIMITED)
        one.exchanges.clear()
        answers = crowd([one.url], secret, BODY, lambda answers: cost(answers) > 0.96 * budget)
        assert one.until(lambda: len(one.exchanges) == sum(status == 200 for status, _ in answers))
        check(answers, [exchange.verdict.at for exchange in one.exchanges], budget)


def test_500_clients_of_two_gateways_stay_within_rate_and_budget_together(store, server):
    with two(store, server) as both:
        budget = budget_of(both[0], "fixed", 250)
        secret = made(store, "crowded", *both, budgets=(Budget("usd", budget, "day"),), **LIMITED)
        times = [Times() for _ in both]
        for running, noted in zip(both, times, strict=True):
            running.call(lambda running=running, noted=noted: setattr(shared(running), "_leases", noted))
        urls = [running.url for running in both]
        answers = crowd(urls, secret, BODY, lambda answers: cost(answers) > 0.96 * budget)
        assert [limits(running)["alone"] for running in both] == [0, 0], "every decision was a shared one"
        check(answers, [*times[0].all, *times[1].all], budget)
        assert min(len(noted.all) for noted in times) > 10, "both had a share"


def test_what_one_gateway_spent_the_other_refuses(store, server):
    with two(store, server) as (one, other):
        price = budget_of(one, "fixed", 1)
        secret = made(store, "spender", one, other, budgets=(Budget("usd", 600_000, "day"),))
        assert price < 60_000
        answers = []
        for _ in range(40):
            answers += [running.chat("r", headers=bearer(secret), max_tokens=30) for running in (one, other)]
        spent = sum(answer.status_code == 200 for answer in answers) * price
        assert answers[-1].json()["error"]["code"] == answers[-2].json()["error"]["code"] == "budget_exceeded"
        assert 540_000 < spent <= 606_000
        assert store.record("spender")
        key = store.record("spender").key.id
        assert one.until(lambda: store.spent().get(key, [None])[0] is not None)


# -- without Redis -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["pause", "kill"])
def test_no_call_fails_or_hangs_when_redis_does_and_what_was_spent_is_booked_when_it_is_back(store, server, how):
    with two(store, server, redis_patience=0.05) as (one, other):
        price = budget_of(one, "fixed", 1)
        secret = made(store, "k", one, other, budgets=(Budget("usd", 10**9, "day"),), **LIMITED)
        getattr(server, how)()
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            jobs = [pool.submit(one.chat, "r", stream=bool(n % 2), headers=bearer(secret)) for n in range(40)]
            assert [job.result().status_code for job in jobs] == [200] * 40
        assert time.monotonic() - began < 20, "40 calls by ten clients; each waits for 0.05 s at most"
        report = limits(one)
        assert report["connected"] is False
        assert report["alone"] > 0
        server.go_on() if how == "pause" else server.start()
        assert all(running.until(lambda running=running: shared(running).connected) for running in (one, other))

        def spent():
            assert other.chat("r", headers=bearer(secret)).status_code == 200
            found = other.call(shared(other).spent)
            return found[store.record("k").key.id][0].spent

        end = time.monotonic() + 20
        while spent() < 40 * price * 0.9:  # half of the calls were streams without usage: of those it is an estimate
            assert time.monotonic() < end, "what was spent without Redis did not get there"
        assert limits(one)["lost"] == 0


def test_closed_refuses_while_redis_is_away_and_opens_when_it_is_back(store, server):
    with two(store, server, redis_gone="closed", redis_patience=0.05) as (one, _):
        secret = made(store, "k", one, **LIMITED)
        free = made(store, "free", one)
        assert one.chat("r", headers=bearer(secret)).status_code == 200
        server.pause()
        refused = one.chat("r", headers=bearer(secret))
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "limits_unavailable"
        assert refused.headers["retry-after"] == "1"
        assert one.chat("r", headers=bearer(free)).status_code == 200, "a key without limits asks nobody"
        server.go_on()
        assert one.until(lambda: shared(one).connected)
        end = time.monotonic() + 20
        while one.chat("r", headers=bearer(secret)).status_code != 200:
            assert time.monotonic() < end


def test_a_client_that_leaves_while_redis_is_asked_takes_nothing(store, server):
    with two(store, server) as (one, other):
        secret = made(store, "k", one, other, limits=(Limit("parallel", 1),))
        server.pause()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            left = pool.submit(httpx2.post, f"{one.url}/v1/chat/completions", json=BODY, headers=bearer(secret),
                               timeout=0.3, trust_env=False)  # fmt: skip
            assert isinstance(left.exception(), httpx2.ReadTimeout)
        assert one.until(lambda: one.gateway.idle)
        server.go_on()
        end = time.monotonic() + 20
        while other.chat("r", headers=bearer(secret)).status_code != 200:
            assert time.monotonic() < end, "its place was not given back"
        assert [exchange.outcome for exchange in one.exchanges] == []


def test_a_gateway_without_redis_says_that_its_limits_are_its_own(store):
    with gateway(store) as one:
        assert limits(one) is None


# -- told ------------------------------------------------------------------------------------------------------------

DIALECTS = {
    "openai-chat": ("/v1/chat/completions", BODY),
    "openai-responses": ("/v1/responses", {"model": "r", "input": "Hi"}),
    "openai-completions": ("/v1/completions", {"model": "r", "prompt": "Hi"}),
    "anthropic-messages": ("/v1/messages", {**BODY, "max_tokens": 9}),
    "gemini": ("/v1beta/models/r:generateContent", {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}),
    "cohere-chat": ("/v2/chat", BODY),
    "ollama": ("/api/chat", {**BODY, "stream": False}),
    "bedrock-converse": ("/model/r/converse", {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}),
}
OPENAI = {f"x-ratelimit-{field}-{what}" for field in ("limit", "remaining", "reset") for what in ("requests", "tokens")}
ANTHROPIC = {
    f"anthropic-ratelimit-{what}-{field}"
    for field in ("limit", "remaining", "reset")
    for what in ("requests", "tokens")
}
TOLD = {"anthropic-messages": ANTHROPIC, "gemini": set(), "bedrock-converse": set()}


@pytest.mark.parametrize("kind", ["alone", "shared"])
def test_each_client_is_told_of_its_limits_in_its_own_words(store, request, kind):
    redis = request.getfixturevalue("server") if kind == "shared" else None
    with gateway(store, redis) as one:
        assert redis is None or one.until(lambda: shared(one).connected)
        for dialect, (path, body) in DIALECTS.items():
            secret = made(store, dialect, one, limits=(Limit("requests", 1, "hour"), Limit("tokens", 10**5, "hour")))
            first, second = (one.http.post(path, json=body, headers=bearer(secret)) for _ in range(2))
            assert (first.status_code, second.status_code) == (200, 429), (dialect, first.text)
            for answer in (first, second):
                named = {name for name in answer.headers if "ratelimit" in name}
                assert named == TOLD.get(dialect, OPENAI), dialect
            assert 3500 < int(second.headers["retry-after"]) <= 3660
            assert "x-should-retry" not in second.headers
            if dialect == "gemini":
                (info,) = [one for one in second.json()["error"]["details"] if one["@type"].endswith("RetryInfo")]
                assert info["retryDelay"] == f"{second.headers['retry-after']}s"
            if dialect == "bedrock-converse":
                assert int(second.headers["x-amz-retry-after"]) > 3_500_000
                assert second.headers["x-amzn-errortype"].startswith("ThrottlingException")
        report = limits(one)
        assert report is None if redis is None else report == {"connected": True, "alone": 0, "lost": 0}
