"""Logs of others, in the forms that their makers document."""

import gzip
import json
from pathlib import Path

import pytest

from tests.ledger.making import ask, ids
from tests.ledger.recorded_usage import MATERIAL
from understudy.ledger import end_users
from understudy.ledger.database import open_engine
from understudy.ledger.queries import one
from understudy.ledger.store import Store
from understudy.moving import bring, foreign

SPEC = Path(__file__).parents[3] / "shared/material/specs/openai/openapi.yaml"

ASKED = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Hi"}],
    "safety_identifier": "u-1",
    "user": "old",
}
ANSWER = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1_790_000_000, "model": "gpt-4o-mini-2024-07-18",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100,
              "prompt_tokens_details": {"cached_tokens": 400}},
}  # fmt: skip
RESPONSE = {
    "id": "resp_1", "object": "response", "created_at": 1_790_000_001, "model": "gpt-4o-mini", "status": "completed",
    "output": [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": "Hello.", "annotations": []}]}],
    "usage": {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12},
}  # fmt: skip
STORED = ANSWER | {"request_id": "req_1", "input_user": "u-2", "metadata": {}, "tool_choice": None}
BATCH = {
    "id": "batch_req_1", "custom_id": "mine-1", "error": None,
    "response": {"status_code": 200, "request_id": "req_9", "body": ANSWER},
}  # fmt: skip
STANDARD = {
    "id": "chatcmpl-2", "trace_id": "t-1", "call_type": "acompletion", "response_cost": 0.25, "status": "success",
    "total_tokens": 12, "prompt_tokens": 10, "completion_tokens": 2, "startTime": 1_790_000_002.5,
    "endTime": 1_790_000_004.0, "completionStartTime": 1_790_000_003.0, "model": "gpt-4o-mini", "model_group": "small",
    "api_base": "https://x", "metadata": {"user_api_key_alias": "team-a", "user_api_key_hash": "88dc"}, "stream": True,
    "request_tags": ["blue"], "end_user": "u-3", "messages": [{"role": "user", "content": "Hi"}], "response": ANSWER,
    "custom_llm_provider": "openai",
}  # fmt: skip
FAILED = STANDARD | {
    "id": "chatcmpl-3", "status": "failure", "response": None, "error_str": "litellm.RateLimitError: slow down",
    "error_information": {"error_code": "429", "error_class": "RateLimitError", "llm_provider": "openai"},
}  # fmt: skip


def read(tmp_path, *rows, provider="openai", bodies=True, how="given", key=""):
    log, url = tmp_path / "log.jsonl", f"sqlite:///{tmp_path}/l.db"
    log.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    store, result = Store(url), bring.Brought()
    reader = foreign.Reader(provider, lambda name: end_users.kept(name, how, key), bodies=bodies)
    for _ in bring.bring(reader.read(log), store, result):
        pass
    store.close()
    return result, url


def found(url, identity=None):
    with open_engine(url).begin() as connection:
        return one(connection, identity or ids(url)[0])


def test_a_pair_of_bodies_is_an_exchange(tmp_path):
    result, url = read(tmp_path, {"request": ASKED, "response": ANSWER})
    assert (result.new, result.refusals, result.complete) == (1, [], None)
    whole = found(url)
    line = whole.exchange
    assert (line.wall, line.dialect, line.model, line.route) == (
        1_790_000_000,
        "openai-chat",
        "gpt-4o-mini",
        "gpt-4o-mini",
    )
    assert (line.outcome, line.end_user) == ("answered", "u-1")
    assert (line.tokens.input, line.tokens.output, line.tokens.cached_read) == (1000, 100, 400)
    assert line.cost.usd == pytest.approx(0.00018)  # 600 x 0.15 + 400 x 0.075 + 100 x 0.60, OpenAI's price page
    assert [(body.side, json.loads(body.data)) for body in whole.bodies] == [("request", ASKED), ("answer", ANSWER)]


def test_the_responses_api_is_read_too(tmp_path):
    _, url = read(tmp_path, {"request": {"model": "gpt-4o-mini", "input": "Hi"}, "response": RESPONSE})
    line = found(url).exchange
    assert (line.dialect, line.wall, line.tokens.input) == ("openai-responses", 1_790_000_001, 10)


def test_who_answered_is_not_guessed(tmp_path):
    _, url = read(tmp_path, {"request": ASKED, "response": ANSWER}, provider="imported")
    line = found(url).exchange
    assert (line.target, line.cost) == ("imported/gpt-4o-mini-2024-07-18", None)


def test_a_stored_completion_is_openais(tmp_path):
    _, url = read(tmp_path, STORED, provider="imported")
    whole = found(url)
    assert (whole.exchange.target, whole.exchange.end_user) == ("openai/gpt-4o-mini-2024-07-18", "u-2")
    assert [body.side for body in whole.bodies] == ["answer"]


def test_a_batch_costs_what_a_batch_costs(tmp_path):
    plain = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    body = ANSWER | {"model": "gpt-4.1-mini", "created": 1_795_000_000, "usage": plain}
    _, url = read(tmp_path, BATCH | {"response": BATCH["response"] | {"body": body}})
    whole = found(url)
    assert whole.attempts[0].request_id == "req_9"
    assert whole.exchange.cost.usd == pytest.approx((1000 * 0.20 + 100 * 0.80) / 1e6)  # OpenAI's price page


def test_litellms_payload_keeps_what_it_says(tmp_path):
    result, url = read(tmp_path, STANDARD, FAILED)
    assert (result.new, result.refusals) == (2, [])
    good, bad = sorted((found(url, name) for name in ids(url)), key=lambda whole: whole.exchange.outcome)
    line = good.exchange
    assert (line.route, line.target, line.key, line.session) == ("small", "openai/gpt-4o-mini", "team-a", "t-1")
    assert (line.end_user, line.tags, line.stream) == ("u-3", ("blue",), True)
    assert (line.wall, line.total, line.first_content) == (1_790_000_002.5, 1.5, 0.5)
    assert (line.cost.usd, line.cost.price_version, line.tokens.output) == (0.25, "litellm", 2)
    assert json.loads(good.bodies[0].data) == {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
    assert (bad.exchange.outcome, bad.exchange.status, bad.exchange.cost) == ("failed", 429, None)
    assert bad.attempts[0].fault_message == "litellm.RateLimitError: slow down"


def test_nothing_comes_twice(tmp_path):
    rows = [{"request": ASKED, "response": ANSWER}, STORED, BATCH, STANDARD]
    first, url = read(tmp_path, *rows)
    again, _ = read(tmp_path, *rows, rows[0])
    assert (first.new, again.new, again.known) == (4, 0, 5)
    assert ask(url, "SELECT sum(exchanges) FROM hours") == [(4,)]


def test_bodies_stay_away_and_users_are_hashed_where_that_is_wanted(tmp_path):
    _, url = read(tmp_path, {"request": ASKED, "response": ANSWER}, STANDARD, bodies=False, how="hashed", key="k" * 32)
    assert ask(url, "SELECT count(*) FROM bodies") == [(0,)]
    kept = {row[0] for row in ask(url, "SELECT end_user FROM exchanges")}
    assert kept == {end_users.kept(name, "hashed", "k" * 32) for name in ("u-1", "u-3")}


BAD = [
    ("{}", "none of the forms"),
    ("[]", "Expected `object`"),
    ("nonsense", "no JSON"),
    ({"request": ASKED, "response": None}, "Expected `object`, got `null`"),
    ({"request": ASKED, "response": {"error": {"message": "no"}}}, "not a chat.completion"),
    ({"request": ASKED, "response": {**ANSWER, "created": None}}, "does not say when"),
    ({"request": ASKED, "response": {**ANSWER, "choices": 5}}, "choices"),
    ({"request": {"model": 5}, "response": ANSWER}, "Expected `str`, got `int`"),
    (BATCH | {"response": None, "error": {"code": "x", "message": "y"}}, "a batch's request that failed"),
    (STANDARD | {"startTime": "2026-11-25"}, "Expected `float`, got `str`"),
]


@pytest.mark.parametrize(("row", "why"), BAD, ids=[why for _, why in BAD])
def test_what_cannot_be_read_is_refused_by_its_line(tmp_path, row, why):
    result, _ = read(tmp_path, STANDARD, row, STORED)
    assert (result.new, result.refused, result.refusals[0].where) == (2, 1, "line 2")
    assert why in result.refusals[0].why


def test_a_line_that_is_too_long_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign, "LONGEST", 5000)
    result, _ = read(tmp_path, "x" * 6000, STORED)
    assert [refused.why for refused in result.refusals] == ["longer than 5000 bytes"]


@pytest.mark.skipif(not SPEC.exists(), reason="shared/material is not beside the checkout")
def test_the_specifications_own_example_of_a_list_is_read(tmp_path):
    text = SPEC.read_text()
    begin = text.index('"object": "list",', text.index("name: List Chat Completions"))
    listed, _ = json.JSONDecoder().raw_decode(text, text.rindex("{", 0, begin))
    result, url = read(tmp_path, *listed["data"])
    assert (result.new, result.refusals) == (len(listed["data"]), [])
    assert found(url).exchange.tokens.input == listed["data"][0]["usage"]["prompt_tokens"]


@pytest.mark.skipif(not MATERIAL.exists(), reason="shared/material is not beside the checkout")
def test_recorded_pairs_are_read_as_the_dialects_read_them(tmp_path):
    pairs = []
    with gzip.open(MATERIAL, "rt") as rows:
        for row in map(json.loads, rows):
            good = row["status"] == 200 and not row["stream"] and row["dialect"] in ("openai-chat", "openai-responses")
            if good and isinstance(row["body"], dict) and isinstance(row["request"], dict):
                pairs.append({"request": row["request"], "response": row["body"]})
    result, _ = read(tmp_path, *pairs)
    assert result.new + result.known > 0.9 * len(pairs)
    assert not [one for one in result.refusals if "no JSON" in one.why]
