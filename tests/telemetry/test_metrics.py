"""Metrics: true counts, labels with an end, nothing that a client said, next to no time."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.telemetry.making import CANARY, attempt, exchange, frozen, given_again, switched
from tests.timing import best
from understudy.canon import Fault, Usage
from understudy.telemetry import metrics
from understudy.telemetry.metrics import Metrics, exposition
from understudy.telemetry.over import OTHER, Names

TARGETS = ("openai/gpt-5", "anthropic/opus", "local/smollm2-135m")


def counted(**more):
    return Metrics(routes=Names(["gpt-5"]), names_of_targets=Names(TARGETS), **more)


def samples(made):
    text = exposition(made).decode()
    families = text_string_to_metric_families(text)
    return {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}


def value(made, name, **labels):
    return samples(made).get((name, *sorted(labels.items())))


def test_everything_that_happened_to_a_call_is_counted_once():
    made = counted()
    with frozen():
        made.observe(switched(), [None, 1500, None])
    assert value(made, "understudy_exchanges_total", route="gpt-5", dialect="openai-chat", outcome="answered") == 1
    assert value(made, "understudy_attempts_total", target="openai/gpt-5", reaction="fail_over") == 1
    assert value(made, "understudy_attempts_total", target="local/smollm2-135m", reaction="answered") == 1
    assert value(made, "understudy_faults_total", target="openai/gpt-5", kind="overloaded") == 1
    assert value(made, "understudy_switches_total", route="gpt-5") == 2
    assert value(made, "understudy_continuations_total", target="local/smollm2-135m", way="prefill") == 1
    assert value(made, "understudy_losses_total", target="local/smollm2-135m", kind="dropped") == 1
    for kind, count in {"input": 107, "output": 20, "cached_read": 50, "reasoning": 5}.items():
        assert value(made, "understudy_tokens_total", target="local/smollm2-135m", kind=kind) == count
    assert value(made, "understudy_cost_usd_total", target="anthropic/opus") == 0.0015
    assert value(made, "understudy_cost_unknown_total", target="local/smollm2-135m") == 1
    assert value(made, "understudy_cost_unknown_total", target="openai/gpt-5") is None  # it used nothing


def test_what_the_cache_gave_is_counted_and_what_it_saved():
    made = counted()
    made.observe(given_again(saved=1500))
    made.observe(given_again(saved=None))
    missed = exchange(attempt())
    missed.cache = "miss"
    made.observe(missed)
    assert value(made, "understudy_cache_total", route="gpt-5", result="hit") == 2
    assert value(made, "understudy_cache_total", route="gpt-5", result="miss") == 1
    assert value(made, "understudy_cache_saved_usd_total", route="gpt-5") == 0.0015


def test_a_retry_at_the_same_target_is_no_switch():
    made = counted()
    fault = Fault("connect_refused", phase="connect")
    made.observe(exchange(attempt(fault=fault, first=None, action="retry"), attempt()))
    assert value(made, "understudy_switches_total", route="gpt-5") is None


def test_times_are_in_the_bucket_that_holds_them():
    made = counted()
    with frozen():
        for first in (0.1, 0.5, 1000.0):
            made.observe(exchange(attempt(first=first, lasts=2000.0), lasts=2.5))
    bucket = "understudy_first_content_seconds_bucket"
    found = {
        bound: value(made, bucket, target="openai/gpt-5", le=bound) for bound in ("0.05", "0.1", "0.5", "640.0", "+Inf")
    }
    assert found == {"0.05": 0, "0.1": 1, "0.5": 2, "640.0": 2, "+Inf": 3}
    assert value(made, "understudy_first_content_seconds_count", target="openai/gpt-5") == 3
    assert abs(value(made, "understudy_first_content_seconds_sum", target="openai/gpt-5") - 1000.6) < 1e-6
    assert value(made, "understudy_exchange_seconds_bucket", route="gpt-5", le="2.5") == 3


def test_content_without_a_word_of_its_usage_is_counted_as_such():
    made = counted()
    made.observe(exchange(attempt()))
    assert value(made, "understudy_tokens_unknown_total", target="openai/gpt-5") == 1


def test_names_that_clients_make_up_have_an_end():
    made = Metrics(routes=Names(["gpt-5"], spare=3), names_of_targets=Names(spare=3))
    for number in range(1000):
        made.observe(exchange(attempt(f"openai/m{number}"), route=f"openai/m{number}"))
    routes = {dict(key[1:])["route"] for key in samples(made) if key[0] == "understudy_exchanges_total"}
    assert routes == {"openai/m0", "openai/m1", "openai/m2", OTHER}
    assert len(samples(made)) < 300


def test_clients_add_no_series_by_what_they_send():
    """Keys, tasks, sessions, tags and users are no labels: there may be thousands. The ledger is asked for those."""
    made = counted(targets=lambda: [{"target": name, "state": "ready", "in_flight": 0} for name in TARGETS])

    def sent(number):
        marks = {f"x-understudy-{name}".encode(): f"{name}-{number}".encode() for name in ("task", "session", "tags")}
        headers = marks | {b"authorization": f"Bearer sk-{number}".encode()}
        hostile = f"openai/{number}" + '"}\n# \N{SNOWMAN}'
        return [
            switched(headers=headers),
            exchange(attempt(hostile, fault=Fault("no_such_model", 404), first=None), route=hostile, outcome="failed"),
        ]

    for one in sent(0):
        made.observe(one)
    before = set(samples(made))
    for number in range(1, 2000):
        for one in sent(number):
            made.observe(one)
    assert set(samples(made)) == before


def test_labels_are_none_but_those_with_an_end():
    tables = (metrics._COUNTERS, metrics._HISTOGRAMS, metrics._GAUGES)
    labels = {label for table in tables for _, of in table.values() for label in of}
    assert labels == {"route", "target", "dialect", "outcome", "reaction", "kind", "way", "state", "result"}


def test_a_name_that_nobody_answered_to_is_not_shown():
    made = counted()
    target = f"openai/{CANARY}"
    failed = attempt(target, fault=Fault("no_such_model", 404), first=None, action="surface")
    made.observe(exchange(failed, route=target, outcome="failed"))
    assert value(made, "understudy_exchanges_total", route=OTHER, dialect="openai-chat", outcome="failed") == 1
    assert CANARY not in exposition(made).decode()


def test_nothing_that_was_said_is_in_a_metric():
    made = counted()
    made.observe(switched())
    assert CANARY not in exposition(made).decode()


def test_the_state_of_targets_is_read_when_somebody_asks():
    states = [
        {"target": "openai/gpt-5", "state": "ready", "in_flight": 2},
        {"target": "openai/gpt-5", "state": "half-open", "in_flight": 1},
        {"target": "anthropic/opus", "state": "cooling down", "in_flight": 0},
        {"target": "openai/made-up", "state": "ready", "in_flight": 0},
    ]
    made = counted(targets=lambda: states, open_calls=lambda: 7, extra=lambda: {"understudy_ledger_lost": 3})
    assert value(made, "understudy_target_state", target="openai/gpt-5", state="half-open") == 1
    assert value(made, "understudy_target_state", target="openai/gpt-5", state="ready") == 0
    assert value(made, "understudy_target_state", target="anthropic/opus", state="cooling down") == 1
    assert value(made, "understudy_target_in_flight", target="openai/gpt-5") == 3
    assert value(made, "understudy_target_state", target=OTHER, state="ready") == 1
    assert value(made, "understudy_open_calls") == 7
    assert value(made, "understudy_ledger_lost") == 3
    states[:] = []
    assert value(made, "understudy_target_state", target="openai/gpt-5", state="ready") is None


def test_states_are_those_of_the_admin_api():
    from understudy.gateway import admin
    from understudy.resilience import breaker

    source = "".join(Path(module.__file__).read_text() for module in (admin, breaker))
    assert not [state for state in metrics.STATES if f'"{state}"' not in source]


def test_every_series_that_is_exposed_is_one_of_the_named():
    made = counted(
        targets=lambda: [{"target": "openai/gpt-5", "state": "ready", "in_flight": 0}],
        open_calls=lambda: 0,
        extra=lambda: dict.fromkeys(metrics._EXTRA, 1.0),
    )
    made.observe(switched(), [None, 1, 1])
    made.observe(exchange(attempt()))
    made.observe(exchange(attempt(usage=Usage(1, 1))))
    made.observe(given_again(saved=1500))
    assert {key[0] for key in samples(made)} == metrics.names()


def test_counting_takes_less_than_ten_microseconds():
    made = counted()
    usage = Usage(100, 20, cached_read=10, reasoning=5)
    one = exchange(attempt(usage=usage))
    taken = best(lambda: made.observe(one, [1500]))
    assert taken is None or taken < 10e-6


def test_every_metric_and_state_is_documented():
    page = (Path(__file__).parents[2] / "docs/guides/telemetry.md").read_text()
    named = {
        name.removesuffix(part)
        for name in metrics.names()
        for part in ("_bucket", "_sum", "_count")
        if name.endswith(part)
    }
    named |= {name for name in metrics.names() if not name.endswith(("_bucket", "_sum", "_count"))}
    assert not [name for name in named if f"`{name}`" not in page]
    assert not [state for state in metrics.STATES if f"`{state}`" not in page]
