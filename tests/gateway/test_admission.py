"""Virtual keys at the door: whose call it is, what it may ask for, and how often."""

import concurrent.futures

import pytest

from tests.gateway.test_fail_over import route
from tests.running import TWO, Running
from understudy.access import Budget, Limit
from understudy.access.store import Store
from understudy.gateway import recording, settings

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
