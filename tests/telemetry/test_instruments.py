"""Metrics for OpenTelemetry: the conventions' names, units, buckets and attributes, as a receiver reads them."""

from pathlib import Path

import pytest

pytest.importorskip("opentelemetry.sdk.metrics")

from opentelemetry.semconv._incubating.metrics import gen_ai_metrics

from tests.telemetry.collector import attributes, collector
from tests.telemetry.making import CANARY, attempt, exchange, frozen, switched
from understudy.canon import Fault, Usage
from understudy.telemetry import instruments, otel
from understudy.telemetry.over import OTHER, Names

USAGE = "gen_ai.client.inference.usage"


@pytest.fixture
def exported(monkeypatch):
    def export(*exchanges, targets=("openai/gpt-5", "anthropic/opus", "local/smollm2-135m")):
        with collector() as got:
            environ = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": got.url}
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", got.url)
            made = otel.telling(environ, "0", routes=Names(["gpt-5"]), targets=Names(targets))
            for one in exchanges:
                made.observe(one)
            made.close()
        assert made.lost == 0
        return got

    return export


def told(got, name, **more):
    """(sum, count) of a histogram, or the value of a counter, by its attributes that are not the usual ones."""
    usual = {"gen_ai.operation.name", "gen_ai.provider.name"}
    found = {}
    for point in got.points(name):
        key = tuple(sorted((k, v) for k, v in attributes(point).items() if k not in usual))
        found[key] = (point.sum, point.count) if hasattr(point, "bucket_counts") else point.as_int
    return found


def test_attempts_are_operations_at_providers_and_exchanges_are_requests_to_us(exported):
    with frozen():
        got = exported(switched())
    durations = {
        (found["gen_ai.provider.name"], found["gen_ai.request.model"], found.get("error.type")): point.sum
        for point in got.points("gen_ai.client.operation.duration")
        for found in [attributes(point)]
    }
    assert durations == pytest.approx(
        {
            ("openai", "gpt-5", "overloaded"): 0.5,
            ("anthropic", "opus", "stream_broken"): 1.0,
            ("local", "smollm2-135m", None): 1.5,
        }
    )
    (request,) = got.points("gen_ai.server.request.duration")
    assert request.sum == pytest.approx(3.0)
    assert attributes(request) == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "understudy", "gen_ai.request.model": "gpt-5",
    }  # fmt: skip
    (first,) = got.points("gen_ai.server.time_to_first_token")
    assert first.sum == pytest.approx(2.0)
    (each,) = got.points("gen_ai.server.time_per_output_token")
    assert each.sum == pytest.approx(1.0 / 19)
    chunks = {attributes(point)["gen_ai.request.model"]: point.sum for point in got.points(
        "gen_ai.client.operation.time_to_first_chunk")}  # fmt: skip
    assert chunks == pytest.approx({"opus": 0.5, "smollm2-135m": 0.5})


def test_tokens_are_those_that_a_provider_told(exported):
    heard = Usage(100, 40, cached_read=30, cached_write=20, reasoning=15, audio_input=60, audio_output=5)
    got = exported(exchange(attempt(usage=heard)), exchange(attempt(usage=Usage(9, 9, estimated=True))))
    of = ("gen_ai.request.model", "gpt-5")

    def modality(name):
        return ("gen_ai.token.modality", name)

    assert told(got, f"{USAGE}.input_tokens") == {(of, modality("unknown")): 40, (of, modality("audio")): 60}
    assert told(got, f"{USAGE}.output_tokens") == {(of, modality("unknown")): 35, (of, modality("audio")): 5}
    assert told(got, f"{USAGE}.cache_read.input_tokens") == {(of, modality("unknown")): 30}
    assert told(got, f"{USAGE}.cache_write.input_tokens") == {(of, modality("unknown")): 20}
    assert told(got, f"{USAGE}.reasoning.output_tokens") == {(of, modality("unknown")): 15}
    assert told(got, "gen_ai.client.inference.operation.input_tokens") == {(of,): (100, 1)}
    assert told(got, "gen_ai.client.inference.operation.output_tokens") == {(of,): (40, 1)}
    assert told(got, "gen_ai.client.token.usage") == {
        (of, ("gen_ai.token.type", "input")): (100, 1),
        (of, ("gen_ai.token.type", "output")): (40, 1),
    }


def test_a_failed_operation_counts_no_tokens_and_is_in_no_distribution(exported):
    got = exported(exchange(attempt(fault=Fault("overloaded", 529), first=None), outcome="failed"))
    ((_, value),) = told(got, f"{USAGE}.input_tokens").items()
    assert value == 0
    assert "gen_ai.client.inference.operation.input_tokens" not in got.metrics()
    (request,) = got.points("gen_ai.server.request.duration")
    assert attributes(request)["error.type"] == "failed"


def test_figures_that_make_no_sense_are_no_less_than_nothing(exported):
    got = exported(exchange(attempt(usage=Usage(-5, 3, audio_output=9, reasoning=-1), lasts=-1.0, first=None)))
    assert set(told(got, f"{USAGE}.input_tokens").values()) == {0}
    assert set(told(got, f"{USAGE}.output_tokens").values()) == {0, 9}  # more sound than there was at all
    assert [point.sum for point in got.points("gen_ai.client.operation.duration")] == [0]


def test_what_is_no_inference_and_no_stream_is_measured_by_its_duration_alone(exported):
    from understudy.gateway import embed, operate

    one = exchange(attempt(usage=Usage(5, 0)))
    one.call = operate.OperationCall(b'{"model":"gpt-5","input":"x"}', {}, embed.OPENAI)
    got = exported(one)
    assert set(got.metrics()) == {"gen_ai.client.operation.duration", "gen_ai.server.request.duration"}
    (duration,) = got.points("gen_ai.client.operation.duration")
    assert attributes(duration)["gen_ai.operation.name"] == "embeddings"


def test_units_buckets_and_kinds_are_the_conventions(exported):
    got = exported(switched(), exchange(attempt(usage=Usage(1, 2, cached_read=0, cached_write=0, reasoning=0))))
    metrics = got.metrics()
    assert set(metrics) == {*instruments.HISTOGRAMS, *instruments.COUNTERS}
    for name, metric in metrics.items():
        counted = name.startswith(USAGE)
        assert metric.HasField("sum" if counted else "histogram")
        assert metric.unit == ("s" if "duration" in name or "time_" in name else "{token}")
    durations = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
    tokens = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864]
    for name, bounds in {
        "gen_ai.client.operation.duration": durations,
        "gen_ai.client.operation.time_to_first_chunk": durations,
        "gen_ai.server.request.duration": durations,
        "gen_ai.client.inference.operation.input_tokens": tokens,
        "gen_ai.client.token.usage": tokens,
    }.items():
        assert list(got.points(name)[0].explicit_bounds) == bounds, name


def test_the_names_that_opentelemetrys_package_knows_are_spelt_as_there():
    theirs = {value for name, value in vars(gen_ai_metrics).items() if name.startswith("GEN_AI_")}
    ours = {name for name in instruments.HISTOGRAMS if ".inference." not in name}
    assert ours <= theirs


def test_hostile_names_have_an_end_and_no_secret_gets_out(exported):
    made_up = [
        exchange(attempt(f"openai/{CANARY}-{number}"), route=f"openai/{CANARY}-{number}", outcome="failed")
        for number in range(1000)
    ]
    answered = [exchange(attempt(f"openai/m{number}"), route=f"openai/m{number}") for number in range(1000)]
    got = exported(*made_up, *answered, targets=())
    assert CANARY.encode() not in b"".join(body for _, body in got.bodies)
    models = {attributes(point)["gen_ai.request.model"] for point in got.points("gen_ai.client.operation.duration")}
    assert OTHER in models
    assert len(models) <= 51


def test_every_metric_is_documented():
    page = (Path(__file__).parents[2] / "docs/guides/telemetry.md").read_text()
    assert not [name for name in (*instruments.HISTOGRAMS, *instruments.COUNTERS) if f"`{name}`" not in page]
