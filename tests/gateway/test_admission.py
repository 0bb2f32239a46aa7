"""Virtual keys at the door: whose call it is, what it may ask for, and how often."""

import asyncio
import concurrent.futures
import json

import pytest

from tests.gateway.test_fail_over import route
from tests.running import TWO, Running
from understudy.access import Budget, Denied, Limit
from understudy.access.store import Store, StoreError
from understudy.gateway import recording, reloading, settings
from understudy.gateway.recording import Recorder
from understudy.ledger import records

ROUTES = TWO + route("first/ok") + route("second/ok", name="other")
ROUTES += route("first/ok", name="keeps") + 'store = "bodies"\n'


@pytest.fixture
def keyed(tmp_path):
    """A gateway with a store of keys, and how to make one in it."""
    path = tmp_path / "keys.sqlite"
    store = Store(path)
    with Running(f'[server]\nkey_store = "{path}"\nkeys = ["fixed"]\n' + ROUTES) as gateway:

        def key(name, **settings):
            secret = store.create(name, **settings)[1].reveal()
            ring = gateway.gateway.authorization.admission._ring
            assert gateway.until(lambda: ring.find(secret.encode(), 0).__class__.__name__ == "Key")
            return {"authorization": f"Bearer {secret}"}

        gateway.key = key
        yield gateway
    store.close()


def test_a_key_opens_and_is_on_the_record(keyed):
    headers = keyed.key("team-a")
    response = keyed.chat("r", headers=headers)
    assert response.status_code == 200
    assert keyed.exchange(response).verdict.key
    assert keyed.chat("r", headers={"authorization": "Bearer fixed"}).status_code == 200
    assert keyed.chat("r", headers={"authorization": "Bearer nonsense"}).status_code == 401
    assert keyed.chat("r").status_code == 401


def test_a_key_asks_for_its_routes_only(keyed):
    headers = keyed.key("narrow", routes=("r",))
    assert keyed.chat("r", headers=headers).status_code == 200
    response = keyed.chat("other", headers=headers)
    assert response.status_code == 403
    assert response.json()["error"]["code"] == "not_allowed"


@pytest.mark.parametrize("stream", [False, True])
def test_a_limit_holds_under_concurrency_and_is_told(keyed, stream):
    headers = keyed.key("limited", limits=(Limit("requests", 5, "minute"),))
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        jobs = [pool.submit(keyed.chat, "r", stream=stream, headers=headers) for _ in range(12)]
        answers = [job.result() for job in jobs]
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * 5 + [429] * 7
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert int(refused.headers["retry-after"]) >= 1
    allowed = next(answer for answer in answers if answer.status_code == 200)
    assert allowed.headers["x-ratelimit-limit-requests"] == "5"


def test_other_clients_read_it_in_their_own_words(keyed):
    headers = keyed.key("claude", limits=(Limit("requests", 1, "minute"),))
    body = {"model": "r", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    first = keyed.http.post("/v1/messages", json=body, headers=headers)
    assert first.headers["anthropic-ratelimit-requests-remaining"] == "0"
    second = keyed.http.post("/v1/messages", json=body, headers=headers)
    assert second.status_code == 429
    assert second.json()["error"]["type"] == "rate_limit_error"


def test_a_budget_of_tokens_is_settled_with_what_was_used(keyed):
    headers = keyed.key("budget", budgets=(Budget("tokens", 60, "day"),))
    statuses = []
    for _ in range(12):
        response = keyed.chat("r", headers=headers, max_tokens=5)
        statuses.append(response.status_code)
    assert statuses[0] == 200
    assert statuses[-1] == 429
    assert 2 <= statuses.count(200) <= 6


def test_calls_at_once_are_counted_and_given_back(keyed):
    headers = keyed.key("parallel", limits=(Limit("parallel", 1),))
    for _ in range(3):
        assert keyed.chat("r", headers=headers).status_code == 200


def test_roles_say_who_may_look_and_who_may_steer(keyed):
    auditor, operator, user = (keyed.key(role, role=role) for role in ("auditor", "operator", "user"))
    command = {"target": "first/ok", "command": "drain"}
    assert keyed.http.get("/admin/targets", headers=auditor).status_code == 200
    assert keyed.http.post("/admin/targets", json=command, headers=auditor).status_code == 403
    assert keyed.http.post("/admin/targets", json=command, headers=operator).status_code == 200
    assert keyed.http.get("/admin/targets", headers=user).status_code == 403
    assert keyed.chat("r", headers=auditor).status_code == 403


class Ledger:
    """Keeps what it is given."""

    def __init__(self):
        self.put = (kept := []).append
        self.kept = kept

    def state(self):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("key", "header", "expected"),
    [
        (None, None, "bodies"),
        ("bodies", None, "bodies"),
        ("metadata", None, "metadata"),
        ("none", None, "none"),
        ("metadata", "bodies", "metadata"),
        ("metadata", "none", "none"),
        ("bodies", "metadata", "metadata"),
    ],
)
def test_what_is_kept_is_the_least_of_what_route_key_and_client_say(keyed, key, header, expected):
    ledger = Ledger()
    keyed.call(lambda: setattr(keyed.gateway, "recorder", recording.Recorder(ledger, settings.Ledger())))
    headers = keyed.key("team", store=key) | ({} if header is None else {"x-understudy-store": header})
    name = keyed.exchange(keyed.chat("keeps", headers=headers)).id
    found = [record for record in ledger.kept if record.id == name]
    assert len(found) == (expected != "none")
    assert bool([body for record in found for body in record.bodies]) is (expected == "bodies")


def test_a_key_of_which_nothing_may_be_kept_gives_no_feedback(keyed):
    ledger = Ledger()
    keyed.call(lambda: setattr(keyed.gateway, "recorder", recording.Recorder(ledger, settings.Ledger())))

    def give(headers, **said):
        return keyed.http.post("/understudy/feedback", json={"exchange": "ex_1", **said}, headers=headers)

    none, metadata = keyed.key("none", store="none"), keyed.key("metadata", store="metadata")
    assert give(none, score=1).status_code == 403
    assert give(metadata, comment="Good.").status_code == 403
    assert "score or a label" in give(metadata, corrected="Better.").json()["error"]["message"]
    assert ledger.kept == []
    assert give(metadata, score=1, label="good").status_code == 200
    assert give(keyed.key("any"), comment="Good.").status_code == 200
    assert len(ledger.kept) == 2


def test_a_key_is_looked_up_once_for_a_call(keyed, monkeypatch):
    headers = keyed.key("once", limits=(Limit("parallel", 5),))
    ring, found = keyed.gateway.authorization.admission._ring, []
    real = ring.find
    monkeypatch.setattr(ring, "find", lambda *given: found.append(given) or real(*given))
    assert keyed.chat("r", headers=headers).status_code == 200
    body = {"model": "r", "input": "Hi"}
    assert keyed.http.post("/v1/embeddings", json=body, headers=headers).status_code == 200
    assert len(found) == 2


def test_who_names_no_bound_is_not_refused_for_tokens_of_an_answer_it_could_have_had(keyed):
    headers = keyed.key("modest", limits=(Limit("tokens", 1000, "hour"),))
    prompt = [{"role": "user", "content": "word " * 700}]
    left = []
    for more in ({"messages": prompt}, {"stream": True}):
        response = keyed.chat("r", headers=headers, **more)
        assert response.status_code == 200, response.text
        left.append(int(response.headers["x-ratelimit-remaining-tokens"]))
        keyed.exchange(response)
    assert 0 < left[0] < 130, "the prompt was taken as it came"
    assert left[1] < left[0], "and the answer when it had ended"
    greedy = keyed.chat("r", headers=headers, max_tokens=5000)
    assert greedy.json()["error"]["code"] == "request_too_large"


def test_a_call_in_the_background_that_does_not_begin_takes_nothing(tmp_path):
    store = Store(tmp_path / "keys.sqlite")
    secret = store.create("one", limits=(Limit("parallel", 1),))[1].reveal()
    store.close()
    more = f'[server]\nkey_store = "{tmp_path / "keys.sqlite"}"\nstored_responses = "off"\n'
    with Running(more + ROUTES) as gateway:
        headers = {"authorization": f"Bearer {secret}"}
        body = {"model": "r", "input": "Hi", "background": True}
        account = gateway.gateway.authorization.admission._local
        for _ in range(2):
            gateway.http.post("/v1/responses", json=body, headers=headers)
        assert gateway.call(lambda: [one.limits.open for one in account._accounts.values()]) == [0]
        assert gateway.chat("r", headers=headers).status_code == 200


def test_a_store_that_is_away_at_the_end_keeps_no_gateway_from_stopping(tmp_path, caplog):
    async def away():
        raise StoreError("The key store is away.")

    with Running(f'[server]\nkey_store = "{tmp_path / "keys.sqlite"}"\n' + ROUTES) as gateway:
        gateway.call(lambda: setattr(gateway.gateway.authorization.admission._keeper, "note", away))
    assert "is not kept. The key store is away." in caplog.text


# -- budgets in USD ----------------------------------------------------------------------------------------------------

PRICED = TWO + "[providers.first.prices]\ninput = 100\noutput = 1000\n" + route("first/ok")
PRICED += route("second/ok", name="u") + route("first/overloaded", "second/ok", name="m")


class Kept:
    """A ledger that keeps what it is given."""

    def __init__(self):
        self.records = []

    def put(self, record):
        self.records.append(record)


@pytest.fixture
def priced(tmp_path):
    """A gateway whose first provider has prices and whose second has none, and a function that makes keys."""
    store = Store(tmp_path / "keys.sqlite")
    with Running(f'[server]\nkey_store = "{tmp_path / "keys.sqlite"}"\n' + PRICED) as gateway:
        gateway.recorder = Recorder(Kept(), settings.Ledger())
        gateway.call(lambda: setattr(gateway.gateway, "recorder", gateway.recorder))

        def key(name, **more):
            record, secret = store.create(name, **more)
            ring = gateway.gateway.authorization.admission._ring
            shown = secret.reveal().encode()
            assert gateway.until(lambda: ring.find(shown, 0).__class__.__name__ == "Key")
            return record.key.id, {"authorization": f"Bearer {secret.reveal()}"}

        gateway.key, gateway.store = key, store
        yield gateway
    store.close()


def spent(gateway, key):
    return gateway.call(gateway.gateway.authorization.admission._local.spent)[key][0]


def test_a_hard_budget_in_usd_is_settled_with_what_calls_cost_and_refuses_then(priced):
    key, headers = priced.key("hard", budgets=(Budget("usd", 200_000, "day"),))
    cost = 0
    for _ in range(40):
        response = priced.chat("r", headers=headers, max_tokens=20)
        if response.status_code != 200:
            break
        priced.exchange(response)
        usage = response.json()["usage"]
        cost += usage["prompt_tokens"] * 100 + usage["completion_tokens"] * 1000
        assert spent(priced, key).spent == cost
    assert (response.status_code, response.json()["error"]["code"]) == (429, "budget_exceeded")
    assert response.headers["x-should-retry"] == "false"
    assert 170_000 < cost <= 202_000
    ledger = [record for record in priced.recorder.ledger.records if isinstance(record, records.Exchange)]
    assert sum(record.cost.usd for record in ledger) == pytest.approx(cost / 1e6)
    assert {record.cost.price_version.split()[0] for record in ledger} == {"configuration"}


def test_a_soft_budget_that_is_used_up_warns_in_header_log_and_ledger_and_refuses_nothing(priced, caplog):
    key, headers = priced.key("soft", budgets=(Budget("usd", 20_000, "day", hard=False),))
    answers = []
    for _ in range(4):
        answers.append(priced.chat("r", headers=headers, max_tokens=20))
        priced.exchange(answers[-1])
    assert [answer.status_code for answer in answers] == [200] * 4
    told = [answer.headers.get("x-understudy-budget") for answer in answers]
    assert told[0] is None
    assert told[3].startswith("usd=0.02/day;spent=0.0")
    events = [record for record in priced.recorder.ledger.records if isinstance(record, records.Event)]
    assert [event.kind for event in events] == ["budget used up"], "told once"
    detail = json.loads(events[0].detail)
    assert (detail["key"], detail["budget"]) == (key, "usd=0.02/day,soft")
    assert f"key {key}: its budget usd=0.02/day,soft is used up" in caplog.text


def test_a_model_without_a_price_is_refused_by_a_hard_budget_unless_that_allows_it(priced):
    _, strict = priced.key("strict", budgets=(Budget("usd", 10**6, "day"),))
    response = priced.chat("u", headers=strict)
    assert (response.status_code, response.json()["error"]["code"]) == (403, "price_unknown")
    key, lenient = priced.key("lenient", budgets=(Budget("usd", 10**6, "day", unknown="allow"),))
    priced.exchange(priced.chat("u", headers=lenient))
    assert (spent(priced, key).spent, spent(priced, key).unpriced) == (0, 1), "counted, and not as nothing"
    files = priced.http.get("/v1/files", headers=strict)
    assert files.json()["error"]["code"] != "price_unknown", "a list of files uses no tokens"


def test_a_call_that_moves_to_a_target_without_a_price_costs_what_was_set_aside(priced):
    key, headers = priced.key("moved", budgets=(Budget("usd", 10**6, "day"),))
    exchange = priced.exchange(priced.chat("m", headers=headers, max_tokens=20))
    assert [attempt.target for attempt in exchange.attempts] == ["first/overloaded", "second/ok"]
    expected = int(exchange.call.size()) * 100 + 20 * 1000
    assert spent(priced, key).spent == expected


def test_a_call_that_failed_costs_nothing(priced):
    key, headers = priced.key("failed", budgets=(Budget("usd", 10**6, "day"),))
    assert priced.chat("first/overloaded", headers=headers).status_code == 503
    assert priced.until(lambda: priced.exchanges and priced.exchanges[-1].verdict.settled)
    assert spent(priced, key).spent == 0


def test_prices_change_with_the_configuration(priced, tmp_path):
    file = tmp_path / "changed.toml"
    text = f'[server]\nkey_store = "{tmp_path / "keys.sqlite"}"\n' + PRICED.replace("output = 1000", "output = 2000")
    file.write_text(text.replace("{a}", priced.a.url).replace("{b}", priced.b.url))
    _, headers = priced.key("k")
    before = priced.exchange(priced.chat("r", headers=headers)).attempts[0].charge
    job = reloading.reload(priced.gateway, file, {})
    assert asyncio.run_coroutine_threadsafe(job, priced.loop).result(10)
    after = priced.exchange(priced.chat("r", headers=headers)).attempts[0].charge
    assert 1.5 < after.usd / before.usd < 2
    assert after.version != before.version


def test_keys_in_postgresql_open_two_gateways_and_end_at_both(postgres_server):
    url = postgres_server.url()
    store = Store(url)
    text = '[server]\nkey_store = "env:KEYS"\n' + ROUTES
    with Running(text, {"KEYS": url}) as one, Running(text, {"KEYS": url}) as other:
        secret = store.create("k")[1].reveal()
        headers = {"authorization": f"Bearer {secret}"}
        for gateway in (one, other):
            ring = gateway.gateway.authorization.admission._ring
            assert gateway.until(lambda ring=ring: len(ring) == 1)
            assert gateway.chat("r", headers=headers).status_code == 200
        store.change("k", disabled=True)
        for gateway in (one, other):
            ring = gateway.gateway.authorization.admission._ring
            assert gateway.until(lambda ring=ring: isinstance(ring.find(secret.encode(), 0), Denied))
            assert gateway.chat("r", headers=headers).status_code == 401
    assert store.record("k").key.used is not None
    store.close()
