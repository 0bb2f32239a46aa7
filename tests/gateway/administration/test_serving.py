"""What is asked of the admin API, and by whom."""

import csv
import io
import threading

import pytest

from tests.gateway.administration.filled import ADMIN, EXCHANGES, NOW, ROLES, filled
from tests.gateway.test_fail_over import route
from tests.running import TWO, Running
from understudy.access.keys import may
from understudy.gateway.administration import records, serving, table
from understudy.ledger import database

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """One that is only read, but for its audit."""
    with filled(tmp_path_factory.mktemp("admin")) as running:
        yield running


@pytest.fixture
def own(tmp_path):
    """One that a test may change."""
    with filled(tmp_path) as running:
        yield running


def get(gateway, path, headers=ADMIN, **query):
    return gateway.http.get(f"/admin/{path}", params=query or None, headers=headers)


def post(gateway, path, body, headers=ADMIN):
    return gateway.http.post(f"/admin/{path}", json=body, headers=headers)


def audit(gateway, **query):
    assert gateway.written()
    return get(gateway, "audit", **query).json()["audit"]


def concrete(endpoint):
    return endpoint.path.format(id="ex_00000000", side="request", name="nobody")


# -- who may -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("endpoint", table.ENDPOINTS, ids=lambda one: one.name)
def test_a_role_may_what_its_rights_say_and_nothing_else(gateway, endpoint, role):
    body = b"{}" if endpoint.body is not None else None  # never enough for anything to be done
    headers = {**gateway.keys[role], **({} if body is None else JSON)}
    response = gateway.http.request(endpoint.method, concrete(endpoint), content=body, headers=headers)
    allowed = may(role, endpoint.right)
    assert (response.status_code != 403) is allowed, response.text
    if not allowed:
        assert response.json()["error"]["code"] == "not_allowed"


def test_words_are_for_admins_and_auditors_only():
    words = {endpoint.name for endpoint in table.ENDPOINTS if endpoint.right == "inspect"}
    assert words == {"read_body", "list_feedback"}
    assert [role for role in ROLES if may(role, "inspect")] == ["admin", "auditor"]


@pytest.mark.parametrize("endpoint", table.ENDPOINTS, ids=lambda one: one.name)
def test_nothing_is_told_to_who_shows_no_key_or_a_clients(gateway, endpoint):
    for headers in ({}, {"authorization": "Bearer client"}, {"authorization": "Bearer nonsense"}):
        if endpoint.right == "call" and "client" in str(headers):
            continue
        response = gateway.http.request(endpoint.method, concrete(endpoint), headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"


def test_answers_are_for_no_cache(gateway):
    headers = get(gateway, "keys").headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


# -- what is asked -----------------------------------------------------------------------------------------------------


def test_pages_follow_each_other_without_a_gap(gateway):
    seen, after = [], {}
    while True:
        page = get(gateway, "exchanges", limit=5, **after).json()
        seen += [line["id"] for line in page["exchanges"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen == [f"ex_{number:08x}" for number in reversed(range(EXCHANGES))]


@pytest.mark.parametrize("name", ["feedback", "audit"])
def test_notes_have_pages_too(own, name):
    for number in range(3):
        assert get(own, f"exchanges/ex_0000000{number}/bodies/request").status_code == 200
    assert own.written()
    whole = get(own, name, limit=500).json()
    assert len(whole[name]) > 3
    first = get(own, name, limit=2).json()
    second = get(own, name, limit=500, after=first["next"]).json()
    assert first[name] + second[name] == whole[name]
    assert second["next"] is None


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({"since": NOW + 600, "until": NOW + 1800}, {1, 2}),
        ({"failed": "true"}, {2, 5, 8, 11}),
        ({"outcome": "answered", "route": "route-1"}, {1, 3, 7, 9}),
        ({"end_user": "u1"}, {1, 5, 9}),
        ({"key": "key_1", "status": 503}, {5, 11}),
        ({"tag": "blue", "session": "s1", "model": "gpt-5", "limit": 2}, {10, 11}),
        ({"task": "none"}, set()),
    ],
)
def test_filters_are_the_ledgers(gateway, query, numbers):
    found = get(gateway, "exchanges", **query).json()["exchanges"]
    assert {int(line["id"][3:], 16) for line in found} == numbers


def test_an_exchange_is_a_time_line_without_words(gateway):
    found = get(gateway, "exchanges/ex_00000000").json()
    assert [attempt["fault"] for attempt in found["attempts"]] == ["overloaded", None]
    assert found["attempts"][0]["losses"] == [{"field": "tools[0]", "why": "unknown", "kind": "dropped"}]
    assert found["events"][0]["detail"] == {"seconds": 30}
    assert found["feedback"] == [{"id": "fb_00000000", "wall": NOW, "by": None, "score": 0.5, "label": "good"}]
    assert [(body["side"], body["size"]) for body in found["bodies"]] == [("request", 18), ("answer", 2)]
    assert "Hi" not in str(found)
    assert get(gateway, "exchanges/ex_none").json()["error"]["code"] == "exchange_not_found"


def test_a_body_is_text_or_base64_and_reading_it_is_on_record(gateway):
    auditor = gateway.keys["auditor"]
    request = get(gateway, "exchanges/ex_00000003/bodies/request", headers=auditor).json()
    assert (request["encoding"], request["data"]) == ("utf-8", '{"messages": "Hi"}')
    assert get(gateway, "exchanges/ex_00000003/bodies/answer").json()["data"] == "AP8="
    assert get(gateway, "exchanges/ex_none/bodies/answer").json()["error"]["code"] == "body_not_found"
    who = gateway.store.record("auditor").key.id
    readings = audit(gateway, action="read_body", actor=who)
    assert [one["detail"] for one in readings if one["subject"] == "ex_00000003"] == [{"side": "request"}]


def test_usage_is_the_same_as_json_and_as_csv(gateway):
    query = {"by": ["route", "day"], "since": NOW - 600, "until": NOW + 6000}
    sums = get(gateway, "usage", **query).json()["usage"]
    text = get(gateway, "usage", headers={**ADMIN, "accept": "text/csv"}, **query)
    assert text.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(text.text)))
    assert [(row["route"], int(row["exchanges"]), int(row["input"])) for row in rows] == [
        (one["group"]["route"], one["exchanges"], one["input"]) for one in sums
    ]
    assert sum(one["exchanges"] for one in sums) == 10
    assert get(gateway, "usage", headers={**ADMIN, "accept": "*/*, text/csv"}).json()["usage"]


def test_more_sums_than_fit_are_refused_and_not_cut(gateway, monkeypatch):
    monkeypatch.setattr(records, "SUMS", 2)
    assert len(get(gateway, "usage", by="route").json()["usage"]) == 2
    for by in (["route", "hour"], ["task", "hour", "key"]):
        error = get(gateway, "usage", by=by, until=NOW + 6000).json()["error"]
        assert (error["code"], error["param"]) == ("invalid_value", "by")
        assert "2 sums" in error["message"]


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("exchanges?limit=0", "limit"),
        ("exchanges?limit=5&limit=6", "limit"),
        ("exchanges?colour=red", "colour"),
        ("exchanges?since=soon", "since"),
        ("exchanges?since=nan", "since"),
        ("exchanges?after=here", "after"),
        ("exchanges?route=", "route"),
        ("exchanges?route=%00", "route"),
        ("usage?by=colour", "by[0]"),
        ("exchanges/a.b", "id"),
        ("exchanges/ex_1/bodies/middle", "side"),
        ("exchanges?" + "&".join(f"a{number}" for number in range(200)), None),
    ],
)
def test_a_question_that_makes_no_sense_says_where(gateway, path, param):
    response = get(gateway, path)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["code"], error["param"]) == ("invalid_value", param)
    assert error["message"]


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b'{"name": "x"}', {}, 415),
        (b'{"name": "x"}', {"content-type": "text/plain"}, 415),
        (b'{"name": "x"}', {**JSON, "content-encoding": "gzip"}, 415),
        (b"{", JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (b'{"name": "\xff"}', JSON, 400),
        (b'{"name": "x", "colour": 1}', JSON, 400),
        (b'{"name": "x", "limits": ["requests=1/week"]}', JSON, 400),
        (b'{"name": "x", "budgets": ["usd=1/day,zone=Nowhere"]}', JSON, 400),
        (b'{"name": " "}', JSON, 400),
    ],
)
def test_a_key_that_cannot_be_is_not_made(gateway, content, headers, status):
    response = gateway.http.post("/admin/keys", content=content, headers={**ADMIN, **headers})
    assert response.status_code == status, response.text
    assert get(gateway, "keys/x").status_code == 404


# -- what is changed ---------------------------------------------------------------------------------------------------


def test_a_key_lives_from_creation_to_removal_and_each_step_takes_effect_at_once(own):
    made = post(own, "keys", {"name": "new key", "routes": ["r"], "limits": ["requests=5/second"]})
    assert made.status_code == 201
    secret = made.json()["secret"]
    mine = {"authorization": f"Bearer {secret}"}
    assert own.chat("r", headers=mine).status_code == 200
    assert post(own, "keys", {"name": "new key"}).json()["error"]["code"] == "name_taken"
    changed = own.http.patch("/admin/keys/new%20key", json={"disabled": True, "expires": None}, headers=ADMIN).json()
    assert changed["disabled"]
    assert changed["limits"] == ["requests=5/second"], "what is not given stays"
    assert own.chat("r", headers=mine).status_code == 401
    assert own.http.patch("/admin/keys/new%20key", json={"disabled": False}, headers=ADMIN).status_code == 200
    rotated = post(own, "keys/new%20key/rotate", {"overlap": 0}).json()
    assert own.chat("r", headers=mine).status_code == 401
    mine = {"authorization": f"Bearer {rotated['secret']}"}
    assert own.chat("r", headers=mine).status_code == 200
    identity = made.json()["key"]["id"]
    assert own.http.delete(f"/admin/keys/{identity}", headers=ADMIN).json() == {"id": identity, "name": "new key"}
    assert own.chat("r", headers=mine).status_code == 401
    assert own.http.delete(f"/admin/keys/{identity}", headers=ADMIN).json()["error"]["code"] == "key_not_found"
    done = [one for one in audit(own) if one["subject"] == identity]
    assert {one["action"] for one in done} == {"create_key", "change_key", "rotate_key", "remove_key"}
    assert {one["actor"] for one in done} == {"server.admin_keys"}
    everything = str(audit(own)) + get(own, "keys").text
    assert secret not in everything
    assert rotated["secret"] not in everything


def test_a_key_shows_what_it_has_spent(own):
    made = post(own, "keys", {"name": "spender", "budgets": ["tokens=1000000/day"]}).json()
    assert own.chat("r", headers={"authorization": f"Bearer {made['secret']}"}).status_code == 200
    assert own.until(lambda: own.store.spent().get(made["key"]["id"]))
    (spent,) = get(own, "keys/spender").json()["spent"]
    assert spent["unit"] == "tokens"
    assert spent["spent"] > 0


def test_a_purge_counts_first_and_deletes_when_confirmed(own):
    asked = {"end_user": "u1"}
    counted = post(own, "purge", asked).json()
    assert (counted["confirmed"], counted["left"], counted["rows"]["exchanges"]) == (False, 3, 3)
    assert get(own, "exchanges/ex_00000001").status_code == 200
    deleted = post(own, "purge", {**asked, "confirm": True}).json()
    assert deleted == {"confirmed": True, "left": 0, "rows": counted["rows"]}
    assert get(own, "exchanges/ex_00000001").status_code == 404
    assert get(own, "exchanges/ex_00000002").status_code == 200
    (done,) = [one for one in audit(own, action="purge") if one["actor"] != "command line"]
    assert done["detail"]["deleted"] == counted["rows"]
    only = post(own, "purge", {"session": "s1", "bodies_only": True, "confirm": True}).json()
    assert list(only["rows"]) == ["bodies"]
    assert get(own, "exchanges/ex_00000002").json()["bodies"] == []
    assert post(own, "purge", {"confirm": True}).json()["error"]["code"] == "invalid_body"
    assert len(get(own, "exchanges").json()["exchanges"]) == EXCHANGES - 3


def test_an_end_user_whom_a_client_named_can_be_found_and_purged(own):
    client = {"authorization": "Bearer client"}
    name = own.chat("r", headers=client, user="u-77").headers["x-understudy-exchange"]
    assert own.chat("r", headers={**client, "x-understudy-user": "somebody else"}).status_code == 200
    assert own.until(lambda: any(exchange.id == name for exchange in own.exchanges))
    assert own.written()
    assert [one["id"] for one in get(own, "exchanges", end_user="u-77").json()["exchanges"]] == [name]
    purged = post(own, "purge", {"end_user": "u-77", "confirm": True}).json()
    assert (purged["rows"]["exchanges"], purged["rows"]["bodies"], purged["left"]) == (1, 2, 0)
    assert get(own, f"exchanges/{name}").status_code == 404
    assert len(get(own, "exchanges", end_user="somebody else").json()["exchanges"]) == 1


def test_commands_to_targets_are_on_record(own):
    operator = own.keys["operator"]
    assert post(own, "targets", {"target": "first/internal", "command": "drain"}, headers=operator).status_code == 200
    (done,) = audit(own, action="drain_target")
    assert (done["actor"], done["subject"]) == (own.store.record("operator").key.id, "first/internal")


def test_feedback_says_who_gave_it_and_an_admin_key_may_too(own):
    given = {"exchange": "ex_00000000", "comment": "Nice."}
    for headers in (own.keys["user"], ADMIN, {"authorization": "Bearer client"}):
        response = own.http.post("/understudy/feedback", json=given, headers=headers)
        assert response.status_code == 200
    assert own.written()
    found = get(own, "feedback", exchange="ex_00000000").json()["feedback"]
    assert [one["by"] for one in found if one["comment"] == "Nice."].count(None) == 2
    assert own.store.record("user").key.id in [one["by"] for one in found]


def test_a_ledger_in_postgresql_is_asked_and_purged_likewise(tmp_path, postgres_server):
    with filled(tmp_path, postgres_server.url()) as gateway:
        assert get(gateway, "ledger").json()["database"] == "postgresql"
        page = get(gateway, "exchanges", limit=2, end_user="u1").json()
        assert [line["id"] for line in page["exchanges"]] == ["ex_00000009", "ex_00000005"]
        rest = get(gateway, "exchanges", limit=2, end_user="u1", after=page["next"]).json()
        assert [line["id"] for line in rest["exchanges"]] == ["ex_00000001"]
        assert get(gateway, "exchanges/ex_00000001/bodies/answer").json()["data"] == "AP8="
        assert sum(one["exchanges"] for one in get(gateway, "usage", by="hour").json()["usage"]) == EXCHANGES
        assert len(get(gateway, "feedback", exchange="ex_00000001").json()["feedback"]) == 1
        purged = post(gateway, "purge", {"end_user": "u1", "confirm": True}).json()
        assert (purged["rows"]["exchanges"], purged["left"]) == (3, 0)
        assert {one["action"] for one in audit(gateway)} == {"purge", "read_body"}


def test_the_ledger_says_how_it_is(gateway):
    state = get(gateway, "ledger").json()
    assert (state["lost"], state["error"], state["database"]) == ({}, None, "sqlite")
    assert state["written"] >= 2 * EXCHANGES


# -- what cannot be answered -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", [one for one in table.ENDPOINTS if one.needs], ids=lambda one: one.name)
def test_what_is_not_there_is_501_with_what_to_set(bare, endpoint):
    bodies = {"purge": {"key": "k"}, "create_key": {"name": "k"}}
    content = bodies.get(endpoint.name, {}) if endpoint.body is not None else None
    response = bare.http.request(endpoint.method, concrete(endpoint), json=content)
    assert response.status_code == 501
    setting = "server.key_store" if endpoint.needs == "keys" else "ledger.url"
    assert setting in response.json()["error"]["message"]


def test_figures_and_feedback_need_what_serve_brings(bare):
    assert bare.http.get("/metrics").json()["error"]["code"] == "not_supported"
    response = bare.http.post("/understudy/feedback", json={"exchange": "ex_1"})
    assert (response.status_code, response.json()["error"]["code"]) == (501, "not_supported")


@pytest.fixture(scope="module")
def bare():
    with Running(TWO + route("first/ok")) as running:
        yield running


def test_without_a_ledger_the_log_has_who_did_what(bare, caplog):
    assert post(bare, "targets", {"target": "first/ok", "command": "reopen"}, headers={}).status_code == 200
    assert bare.until(lambda: "anybody did reopen_target to first/ok" in caplog.text)


def test_a_ledger_that_cannot_be_read_is_503_and_says_why(own, tmp_path):
    for path in (tmp_path / "none/ledger.sqlite", tmp_path / "text.sqlite"):
        (tmp_path / "text.sqlite").write_text("This is no database. " * 500)
        own.call(lambda path=path: setattr(own.gateway.recorder.ledger, "_settings", settings(path)))
        response = get(own, "exchanges")
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        error = response.json()["error"]
        assert error["code"] == "ledger_unavailable"
        assert any(word in error["message"] for word in ("not there yet", "not a database"))
    own.call(lambda: setattr(own.gateway.recorder.ledger, "_settings", settings(None)))
    assert "SQLite or PostgreSQL" in get(own, "exchanges").json()["error"]["message"]


def settings(path):
    from understudy.ledger import Settings

    return Settings(url="mysql://h/x" if path is None else f"sqlite:///{path}", spool="")


def test_a_question_has_a_bound_in_time(own, monkeypatch):
    monkeypatch.setattr(records, "PATIENCE", -1.0)
    monkeypatch.setattr(database, "_STEPS", 1)  # a ledger so small is read before anybody looks at the clock
    response = get(own, "exchanges")
    assert response.status_code == 503
    assert "ask for less" in response.json()["error"]["message"]


def test_a_store_that_cannot_be_used_is_503(own, monkeypatch):
    from understudy.access.store import Store, StoreError

    def fails(*_):
        raise StoreError("The disk is away.")

    monkeypatch.setattr(Store, "records", fails)
    assert get(own, "keys").json()["error"] == {
        "message": "The disk is away.", "type": "server_error", "param": None, "code": "keys_unavailable",
    }  # fmt: skip


def test_more_questions_than_can_wait_are_refused_and_calls_go_on(own, monkeypatch):
    going = threading.Event()
    real = records._told

    def slow(*args):
        going.wait(20)
        return real(*args)

    monkeypatch.setattr(records, "_told", slow)
    monkeypatch.setattr(serving, "WAITING", 0)
    answers = []
    asking = [threading.Thread(target=lambda: answers.append(get(own, "exchanges"))) for _ in range(serving.THREADS)]
    for thread in asking:
        thread.start()
    assert own.until(lambda: own.gateway._desk._waiting == serving.THREADS)
    refused = get(own, "exchanges")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
    assert own.chat("r", headers={"authorization": "Bearer client"}).status_code == 200
    going.set()
    for thread in asking:
        thread.join(30)
    assert [answer.status_code for answer in answers] == [200] * serving.THREADS


def test_a_client_that_leaves_amid_its_question_is_no_mistake(own, caplog):
    import socket

    with socket.create_connection(("127.0.0.1", int(own.url.rsplit(":", 1)[1]))) as raw:
        head = "POST /admin/keys HTTP/1.1\r\nhost: x\r\nauthorization: Bearer boss\r\n"
        raw.sendall(f"{head}content-type: application/json\r\ncontent-length: 50\r\n\r\n{{".encode())
        assert own.until(lambda: own.server.server_state.connections)
    assert own.until(lambda: len(own.server.server_state.tasks) == 0)
    assert "Traceback" not in caplog.text


def test_refusals_of_a_row_are_those_that_its_work_can_raise():
    for endpoint in table.ENDPOINTS:
        assert {400, 401, 403, 500} <= set(endpoint.refusals())
        assert (endpoint.body is not None) == (415 in endpoint.refusals())
        assert bool(endpoint.needs) == (503 in endpoint.refusals())


def test_paths_with_escapes_are_found():
    found = table.find("/admin/keys/a%2Fb/rotate")
    assert found is not None
    assert found.named == {"name": "a/b"}
    assert table.find("/admin/keys/a/b/rotate") is None
