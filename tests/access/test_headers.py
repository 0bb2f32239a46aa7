"""Each dialect's clients are told of limits in the words that their SDKs read."""

import pytest

from understudy.access import Budget, Key, Left, Limit, Local, headers
from understudy.access.verdict import Verdict
from understudy.resilience import Place, Quotas

REQUESTS = Left(Limit("requests", 100, "minute"), 40, 36.0)
TOKENS = Left(Limit("tokens", 9000, "day"), 8999, 0.0)
SCARCER = Left(Limit("requests", 1000, "day"), 10, 7200.5)


def test_openai():
    assert headers.limits([REQUESTS, TOKENS, SCARCER], "openai-chat", 0) == [
        (b"x-ratelimit-limit-requests", b"1000"),
        (b"x-ratelimit-remaining-requests", b"10"),
        (b"x-ratelimit-reset-requests", b"2h0m0.5s"),
        (b"x-ratelimit-limit-tokens", b"9000"),
        (b"x-ratelimit-remaining-tokens", b"8999"),
        (b"x-ratelimit-reset-tokens", b"0s"),
    ]


def test_anthropic():
    assert headers.limits([REQUESTS], "anthropic-messages", 1_800_000_000.5) == [
        (b"anthropic-ratelimit-requests-limit", b"100"),
        (b"anthropic-ratelimit-requests-remaining", b"40"),
        (b"anthropic-ratelimit-requests-reset", b"2027-01-15T08:00:37Z"),
    ]


@pytest.mark.parametrize("dialect", ["gemini", "bedrock-converse"])
def test_who_has_no_such_headers_gets_retry_after_alone(dialect):
    verdict = refused(Limit("requests", 1, "second"))
    told = dict(headers.told(verdict, dialect, 0))
    assert told.pop(b"x-amz-retry-after", None) == (b"1011" if dialect == "bedrock-converse" else None)
    assert told == {b"retry-after": b"2", b"retry-after-ms": b"1011"}


@pytest.mark.parametrize("dialect", ["openai-chat", "anthropic-messages"])
def test_what_we_tell_is_what_we_would_read(dialect):
    quotas, place = Quotas(), Place("p", "m", "u", "k")
    told = [*headers.limits([REQUESTS, TOKENS], dialect, 1000.0), (b"date", b"Thu, 01 Jan 1970 00:16:40 GMT")]
    quotas.heard(place, told, 50.0)
    left = {one.name.split()[-1]: one for one in quotas.left(place, 50.0)}
    assert (left["requests"].limit, left["requests"].left) == (100, 40)
    assert left["requests"].full_in == pytest.approx(36, abs=1)
    assert left["tokens"].left == 8999


def refused(limit=None, budget=None, cost=1, tokens=1):
    local = Local()
    key = Key("k", "k", limits=(limit,) if limit else (), budgets=(budget,) if budget else ())
    local.admit(key, tokens, cost, 30.0, 43_200.0)
    return local.admit(key, tokens, cost, 30.0, 43_200.0)


def test_a_rate_limit_says_when_to_come_back():
    verdict = refused(Limit("requests", 1, "second"))
    told = dict(headers.told(verdict, "openai-chat", 0))
    assert (told[b"retry-after"], told[b"retry-after-ms"]) == (b"2", b"1011")
    assert told[b"x-ratelimit-remaining-requests"] == b"0"
    assert b"x-should-retry" not in told
    assert (verdict.refusal.status, verdict.refusal.code) == (429, "rate_limit_exceeded")
    assert verdict.refusal.message == "Rate limit of this key reached: 1 requests per second. Try again in 2 s."


@pytest.mark.parametrize(("verdict", "code", "status", "after"), [
    (refused(Limit("tokens", 5, "day"), tokens=6), "request_too_large", 429, None),
    (refused(budget=Budget("usd", 1, "day")), "budget_exceeded", 429, b"43200"),
    (refused(budget=Budget("usd", 1, "day"), cost=None), "price_unknown", 403, None),
])  # fmt: skip
def test_what_a_client_must_not_try_again_by_itself(verdict, code, status, after):
    told = dict(headers.told(verdict, "openai-chat", 0))
    assert (verdict.refusal.code, verdict.refusal.status) == (code, status)
    assert told[b"x-should-retry"] == b"false"
    assert told.get(b"retry-after") == after


def test_a_key_without_limits_gets_no_headers():
    assert headers.told(Verdict("k"), "openai-chat", 0) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0121, "13ms"),
        (0.9999, "1s"),
        (1.5, "1.5s"),
        (59.9999, "1m0s"),
        (360, "6m0s"),
        (3600, "1h0m0s"),
        (90061.25, "25h1m1.25s"),
    ],
)
def test_durations_are_written_as_go_writes_them(seconds, text):
    assert headers.duration(seconds) == text
