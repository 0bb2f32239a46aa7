import gzip
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.resilience import Place, Quotas, counted
from understudy.resilience.quota import BELIEVED, LONGEST, QUIET

MATERIAL = Path(__file__).parents[2].parent / "shared" / "material" / "exchanges.jsonl.gz"

HERE = Place("openai", "gpt-5", "https://api", "env:A")
OTHER_KEY = Place("openai", "gpt-5", "https://api", "env:B")
DATE = "Tue, 03 Mar 2026 10:00:00 GMT"


def lines(text):
    pairs = (line.strip().split(": ") for line in text.strip().splitlines())
    return [(name.encode(), value.encode()) for name, value in pairs]


def openai(requests=500, tokens=30_000, reset_requests="120ms", reset_tokens="0s"):
    return lines(f"""
        date: {DATE}
        x-ratelimit-limit-requests: 500
        x-ratelimit-remaining-requests: {requests}
        x-ratelimit-reset-requests: {reset_requests}
        x-ratelimit-limit-tokens: 30000
        x-ratelimit-remaining-tokens: {tokens}
        x-ratelimit-reset-tokens: {reset_tokens}
    """)


def told(headers, now=0.0):
    quotas = Quotas()
    quotas.heard(HERE, headers, now)
    return quotas


def left(quotas, now=0.0):
    return {one.name: (round(one.left, 3), one.limit, round(one.full_in, 3)) for one in quotas.left(HERE, now)}


def test_a_provider_that_says_nothing_is_not_remembered():
    quotas = told(lines("content-type: application/json\nx-request-id: 1\naccept-ranges: none\nretry-after: 3"))
    assert quotas.left(HERE, 0) == []
    assert quotas.admits(HERE, 1e9, 0) == 0
    assert quotas.sent(HERE, 1e9, 0) is None
    assert quotas.room(HERE, 0) == 1
    assert len(quotas.places) == 0


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param(  # a bucket that fills up steadily: 1 of 500 a minute comes back in 120 ms
            openai(499, 24_000, "120ms", "12s"),
            {"requests": (499, 500, 0.12), "tokens": (24_000, 30_000, 12)},
            id="openai",
        ),
        pytest.param(
            openai(0, 0, "6m0s", "1h2m3.5s"),
            {"requests": (0, 500, 360), "tokens": (0, 30_000, 3723.5)},
            id="openai-long",
        ),
        pytest.param(  # a reset rounded to nothing: the length of the window tells more
            openai(500, 29_000, "0s", "0s"),
            {"requests": (500, 500, 0), "tokens": (29_000, 30_000, 2)},
            id="openai-rounded",
        ),
        pytest.param(
            lines("""
                x-ratelimit-limit-project-tokens: 6000
                x-ratelimit-remaining-project-tokens: 5900
                x-ratelimit-reset-project-tokens: 1s
            """),
            {"project-tokens": (5900, 6000, 1)},
            id="openai-project",
        ),
        pytest.param(  # requests a day: 10 of 1000 come back in 864 s
            lines("""
                x-ratelimit-limit-requests: 1000
                x-ratelimit-remaining-requests: 990
                x-ratelimit-reset-requests: 14m24s
            """),
            {"requests": (990, 1000, 864)},
            id="groq",
        ),
        pytest.param(
            lines("x-ratelimit-limit-requests: 480\nx-ratelimit-remaining-requests: 360"),
            {"requests": (360, 480, 15)},
            id="xai",
        ),
        pytest.param(  # the reset is in seconds here and in milliseconds below: the period decides
            lines("""
                x-ratelimit-limit-requests: 5
                x-ratelimit-remaining-requests: 4
                x-ratelimit-renewalperiod-requests: 60
                x-ratelimit-reset-requests: 12
            """),
            {"requests": (4, 5, 12)},
            id="azure-seconds",
        ),
        pytest.param(
            lines("""
                x-ratelimit-limit-requests: 120
                x-ratelimit-remaining-requests: 119
                x-ratelimit-renewalperiod-requests: 60
                x-ratelimit-reset-requests: 500
            """),
            {"requests": (119, 120, 0.5)},
            id="azure-milliseconds",
        ),
        pytest.param(
            lines("""
                x-ratelimit-limit-tokens: -1
                x-ratelimit-remaining-tokens: -1
                x-ratelimit-reset-tokens: 0
            """),
            {},
            id="azure-unlimited",
        ),
        pytest.param(lines("x-ratelimit-remaining-requests: 119"), {"requests": (119, 119, 0)}, id="azure-old"),
        pytest.param(
            lines(f"""
                date: {DATE}
                anthropic-ratelimit-requests-limit: 50
                anthropic-ratelimit-requests-remaining: 49
                anthropic-ratelimit-requests-reset: 2026-03-03T10:00:01Z
                anthropic-ratelimit-input-tokens-limit: 30000
                anthropic-ratelimit-input-tokens-remaining: 10000
                anthropic-ratelimit-input-tokens-reset: 2026-03-03T10:00:40Z
                anthropic-ratelimit-output-tokens-limit: 8000
                anthropic-ratelimit-output-tokens-remaining: 8000
                anthropic-ratelimit-output-tokens-reset: 2026-03-03T10:00:00Z
                anthropic-ratelimit-tokens-limit: 38000
                anthropic-ratelimit-tokens-remaining: 18000
                anthropic-ratelimit-tokens-reset: 2026-03-03T10:00:40+00:00
            """),
            {
                "anthropic requests": (49, 50, 1),
                "anthropic input-tokens": (10_000, 30_000, 40),
                "anthropic output-tokens": (8000, 8000, 0),
                "anthropic tokens": (18_000, 38_000, 40),
            },
            id="anthropic",
        ),
        pytest.param(  # without a date the time cannot be set against anything
            lines("""
                anthropic-ratelimit-requests-limit: 60
                anthropic-ratelimit-requests-remaining: 50
                anthropic-ratelimit-requests-reset: 2026-03-03T10:00:01Z
            """),
            {"anthropic requests": (50, 60, 10)},
            id="anthropic-without-date",
        ),
        pytest.param(  # a fixed window: whole again at its end, which nobody tells
            lines("""
                x-ratelimit-limit-req-minute: 360
                x-ratelimit-remaining-req-minute: 358
                x-ratelimit-limit-tokens-month: 1000000000
                x-ratelimit-remaining-tokens-month: 900000000
                x-ratelimit-tokens-query-cost: 24
            """),
            {"req-minute": (358, 360, 60), "tokens-month": (900_000_000, 1_000_000_000, LONGEST)},
            id="mistral",
        ),
        pytest.param(
            lines("""
                x-ratelimit-limit-requests-day: 14400
                x-ratelimit-remaining-requests-day: 14390
                x-ratelimit-reset-requests-day: 24480.5123456789012
                x-ratelimit-limit-tokens-minute: 60000
                x-ratelimit-remaining-tokens-minute: 59000
                x-ratelimit-reset-tokens-minute: 0.25
            """),
            {"requests-day": (14_390, 14_400, 24480.512), "tokens-minute": (59_000, 60_000, 0.25)},
            id="cerebras",
        ),
        pytest.param(
            lines(f"""
                x-ratelimit-limit: 20
                x-ratelimit-remaining: 0
                x-ratelimit-reset: 1772532045000
                date: {DATE}
            """),
            {"x-ratelimit": (0, 20, 45)},
            id="openrouter",
        ),
        pytest.param(
            lines("x-ratelimit-limit: 2\nx-ratelimit-remaining: 1\nx-ratelimit-reset: 2"),
            {"x-ratelimit": (1, 2, 2)},
            id="together",
        ),
        pytest.param(
            lines("ratelimit-remaining: 2999\nratelimit-reset: 1"), {"ratelimit": (2999, 2999, 0)}, id="replicate"
        ),
    ],
)
def test_what_providers_send_is_understood(headers, expected):
    assert left(told(headers)) == expected


@pytest.mark.parametrize(
    "value",
    ["-1", "NaN", "inf", "1e9", "", " ", "soon", "9" * 16, "99999999999999", "0x10", "1_000", "\u0661", "12 34", "+5"],
)
def test_values_that_are_no_plain_number_are_ignored(value):
    raw = value.encode()
    assert told([(b"x-ratelimit-remaining-tokens", raw), (b"x-ratelimit-limit-tokens", b"100")]).left(HERE, 0) == []
    quotas = told([(b"x-ratelimit-remaining-tokens", b"70"), (b"x-ratelimit-limit-tokens", raw)])
    assert left(quotas) == {"tokens": (70, 70, 0)}


@pytest.mark.parametrize(
    "value",
    ["-5s", "NaN", "9999999999s", "999h" * 9, "9999d", "2026-13-45T99:00:00Z", "2026-03-03T10:00:30",
     "9999-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "T", "5", "m", "s", "ms", "1772532060000000", "1" * 50],
)  # fmt: skip
def test_a_reset_that_cannot_be_leaves_the_limit_per_minute(value):
    headers = lines(f"date: {DATE}\nx-ratelimit-limit-tokens: 600\nx-ratelimit-remaining-tokens: 500")
    headers.append((b"x-ratelimit-reset-tokens", value.encode()))
    quotas = told(headers)
    wait = quotas.admits(HERE, 600, 0)
    assert wait == pytest.approx(5 if value == "5" else 1 if value.startswith("0001") else 10)


@pytest.mark.parametrize(
    "date", ["", "now", "Tue, 99 Mar 2026 10:00:00 GMT", "Tue, 03 Mrz 2026 10:00:00 GMT", "x" * 9999]
)
def test_a_date_that_cannot_be_is_none(date):
    headers = lines("anthropic-ratelimit-requests-limit: 60\nanthropic-ratelimit-requests-remaining: 0")
    headers += [(b"anthropic-ratelimit-requests-reset", b"2026-03-03T10:00:01Z"), (b"date", date.encode())]
    assert told(headers).admits(HERE, 0, 0) == pytest.approx(1)
    assert left(told(headers)) == {"anthropic requests": (0, 60, 60)}


def test_a_remainder_above_the_limit_is_the_limit():
    assert left(told(openai(requests=999)))["requests"] == (500, 500, 0)


def test_where_nobody_names_the_limit_it_is_the_most_ever_seen():
    quotas = told(lines("ratelimit-remaining: 10"))
    quotas.heard(HERE, lines("ratelimit-remaining: 600"), 1)
    quotas.heard(HERE, lines("ratelimit-remaining: 300"), 2)
    assert left(quotas, 2)["ratelimit"][:2] == (300, 600)


def test_a_call_waits_until_there_is_room_for_it():
    quotas = told(openai(tokens=1000, reset_tokens="58s"))
    assert quotas.admits(HERE, 1000, 0) == 0
    assert quotas.admits(HERE, 6000, 0) == pytest.approx(10)
    assert quotas.admits(HERE, 6000, 4) == pytest.approx(6)
    assert quotas.admits(HERE, 6000, 10) == 0
    assert quotas.admits(OTHER_KEY, 6000, 0) == 0


def test_who_has_waited_as_long_as_was_said_may_go():
    for tokens in range(1001, 30_000, 13):
        quotas = told(openai(tokens=1000, reset_tokens="58s"), now=1000.1)
        now = 1000.7
        assert quotas.admits(HERE, tokens, now + quotas.admits(HERE, tokens, now)) == 0


def test_a_whole_limit_with_a_reset_comes_back_over_its_minute():
    quotas = told(openai(tokens=30_000, reset_tokens="1s"))
    quotas.sent(HERE, 30_000, 0)
    assert quotas.admits(HERE, 15_000, 0) == pytest.approx(30)


def test_the_scarcest_limit_decides():
    quotas = told(openai(requests=0, tokens=1000, reset_requests="60s", reset_tokens="58s"))
    assert quotas.admits(HERE, 10, 0) == pytest.approx(0.12)
    assert quotas.admits(HERE, 6000, 0) == pytest.approx(10)
    assert quotas.room(HERE, 0) == 0


def test_a_call_larger_than_the_limit_waits_for_a_whole_one_and_is_then_tried():
    quotas = told(openai(tokens=15_000, reset_tokens="30s"))
    assert quotas.admits(HERE, 10**6, 0) == pytest.approx(30)
    assert quotas.admits(HERE, 10**6, 30) == 0


def test_calls_are_debited_before_anything_is_heard_of_them():
    quotas = told(openai())
    for _ in range(3):
        assert quotas.admits(HERE, 10_000, 0) == 0
        quotas.sent(HERE, 10_000, 0)
    assert quotas.admits(HERE, 10_000, 0) == pytest.approx(20)
    assert left(quotas)["requests"][0] == 497


def test_headers_correct_the_debits_and_keep_those_of_later_calls():
    quotas = told(openai())
    first = quotas.sent(HERE, 10_000, 1)
    quotas.sent(HERE, 5_000, 1)
    quotas.heard(HERE, openai(tokens=27_000, reset_tokens="6s"), 1, first)  # the provider took less than was debited
    assert left(quotas, 1)["tokens"][0] == 22_000


def test_what_came_back_while_the_answer_was_on_its_way_counts():
    quotas = told(openai())
    mark = quotas.sent(HERE, 10_000, 1)
    quotas.heard(HERE, openai(tokens=20_000, reset_tokens="20s"), 5, mark)
    assert left(quotas, 5)["tokens"][0] == 22_000


def test_an_answer_that_was_overtaken_is_old_news():
    quotas = told(openai())
    first, second = quotas.sent(HERE, 10_000, 1), quotas.sent(HERE, 10_000, 2)
    quotas.heard(HERE, openai(tokens=10_000, reset_tokens="40s"), 3, second)
    quotas.heard(HERE, openai(tokens=20_000, reset_tokens="20s"), 4, first)
    assert left(quotas, 4)["tokens"][0] == 11_000


def test_headers_are_not_read_each_time_while_there_is_plenty_but_a_refusal_is():
    quotas = told(openai())
    quotas.heard(HERE, openai(tokens=1), QUIET / 2)
    assert left(quotas, QUIET / 2)["tokens"][0] == 30_000
    quotas.heard(HERE, openai(tokens=1), QUIET / 2, refused=True)
    assert left(quotas, QUIET / 2)["tokens"][0] == 1
    quotas.heard(HERE, openai(tokens=2), 0.7 * QUIET)  # little is left: it is read again sooner
    assert left(quotas, 0.7 * QUIET)["tokens"][0] == 2


def test_a_silent_provider_is_listened_to_again_soon():
    quotas = told(lines("x-request-id: 1"))
    quotas.heard(HERE, openai(), QUIET / 2)
    assert quotas.left(HERE, QUIET / 2) == []
    quotas.heard(HERE, openai(), QUIET / 2, refused=True)
    assert len(quotas.left(HERE, QUIET / 2)) == 2
    quotas = told(lines("x-ratelimit-remaining-tokens: -1"))
    quotas.heard(HERE, openai(), QUIET)
    assert len(quotas.left(HERE, QUIET)) == 2


def test_openai_counts_max_tokens_or_the_prompt_whichever_is_more():
    assert counted(900, None) == 900
    assert counted(900, 4096) == 4096
    assert counted(9000, 4096) == 9000


def test_anthropic_counts_the_prompt_and_not_what_may_be_written():
    quotas = told(
        lines("""
            anthropic-ratelimit-input-tokens-limit: 30000
            anthropic-ratelimit-input-tokens-remaining: 30000
            anthropic-ratelimit-output-tokens-limit: 8000
            anthropic-ratelimit-output-tokens-remaining: 8000
        """)
    )
    assert quotas.admits(HERE, counted(500, 64_000), 0, prompt=500) == 0
    quotas.sent(HERE, counted(500, 64_000), 0, prompt=500)
    assert left(quotas)["anthropic input-tokens"][0] == 29_500
    assert left(quotas)["anthropic output-tokens"][0] == 8000
    quotas.heard(HERE, lines("anthropic-ratelimit-output-tokens-remaining: 0"), 1)
    assert quotas.admits(HERE, 500, 1) == pytest.approx(1 / (8000 / 60))


def test_a_fixed_window_gives_nothing_back_before_its_end():
    quotas = told(
        lines("""
            x-ratelimit-limit-tokens-minute: 1000
            x-ratelimit-remaining-tokens-minute: 100
            x-ratelimit-reset-tokens-minute: 30
        """)
    )
    assert quotas.admits(HERE, 500, 20) == pytest.approx(10)
    assert quotas.admits(HERE, 500, 30) == 0
    quotas.sent(HERE, 900, 30)
    assert quotas.admits(HERE, 500, 40) == pytest.approx(50)


def test_a_key_without_any_allowance_is_tried_again_after_the_window():
    quotas = told(lines("x-ratelimit-limit-req-minute: 0\nx-ratelimit-remaining-req-minute: 0"))
    assert quotas.admits(HERE, 1, 0) == 60
    assert quotas.room(HERE, 0) == 0
    assert quotas.admits(HERE, 1, 60) == 0


def test_what_was_heard_long_ago_blocks_nobody_for_ever():
    quotas = told(lines("x-ratelimit-limit-tokens-month: 1000\nx-ratelimit-remaining-tokens-month: 0"))
    assert quotas.admits(HERE, 1, 0) == BELIEVED
    assert quotas.admits(HERE, 1, BELIEVED) == 0
    assert quotas.admits(HERE, 1, 2 * BELIEVED) == 0


def test_however_many_names_clients_invent_memory_has_an_end():
    quotas = Quotas()
    for number in range(9000):
        quotas.heard(Place("p", str(number)), openai(), 0)
        quotas.heard(Place("q", str(number)), [], 0)
    assert len(quotas.places) == 8192
    assert len(quotas._silent) <= 8192


NAMES = [name for name, _ in openai()] + [
    b"x-ratelimit-remaining-req-minute", b"x-ratelimit-limit-req-minute", b"x-ratelimit-reset-req-minute",
    b"anthropic-ratelimit-tokens-remaining", b"anthropic-ratelimit-tokens-reset", b"ratelimit-remaining", b"",
    b"x-ratelimit-renewalperiod-tokens", b"x-ratelimit-", b"x",
]  # fmt: skip
VALUES = st.one_of(
    st.binary(max_size=20),
    st.from_regex(r"-?[0-9]{1,16}(\.[0-9]{1,3})?(ms|s|m|h|d)?", fullmatch=True).map(str.encode),
    st.from_regex(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})", fullmatch=True
    ).map(str.encode),
    st.sampled_from([DATE.encode(), b"0", b"-1", b"NaN", b"60"]),
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["sent", "heard", "refused"]),
            st.floats(0, 100),
            st.floats(0, 1e6),
            st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=8),
        ),
        max_size=20,
    )
)
def test_whatever_a_provider_sends_quota_is_never_negative_and_no_wait_is_endless(steps):
    quotas, now, marks = Quotas(), 0.0, []
    for step, pause, tokens, headers in steps:
        now += pause
        if step == "sent":
            marks.append(quotas.sent(HERE, tokens, now))
        else:
            quotas.heard(HERE, headers, now, marks.pop() if marks else None, refused=step == "refused")
        wait = quotas.admits(HERE, tokens, now)
        assert 0 <= wait <= BELIEVED
        assert quotas.admits(HERE, tokens, now + wait) == 0
        assert 0 <= quotas.room(HERE, now + wait) <= 1
        for one in quotas.left(HERE, now + wait):
            assert 0 <= one.left <= one.limit
            assert one.full_in >= 0


def recorded():
    """The headers of every recorded answer that says something about limits."""
    with gzip.open(MATERIAL) as rows:
        for row in rows:
            if b"ratelimit" not in row:
                continue
            headers = json.loads(row)["headers"] or {}
            pairs = headers.items() if isinstance(headers, dict) else headers
            flat = [(name.lower(), value[0] if isinstance(value, list) else value) for name, value in pairs]
            if any("ratelimit" in name for name, _ in flat):
                yield [(name.encode(), str(value).encode()) for name, value in flat]


@pytest.mark.skipif(not MATERIAL.exists(), reason="recorded traffic is not here")
def test_recorded_headers_are_understood():
    understood = 0
    remaining = re.compile(rb"(x-|anthropic-)?ratelimit-.*remaining.*")
    for headers in recorded():
        said = [
            name
            for name, value in headers
            if remaining.fullmatch(name) and value.isdigit() and not re.search(rb"bysize|images|usage|audio", name)
        ]
        windows = told(headers).left(HERE, 0)
        assert len(windows) == len(said), headers
        understood += bool(windows)
        assert all(0 <= one.left <= one.limit for one in windows)
    assert understood > 2000
