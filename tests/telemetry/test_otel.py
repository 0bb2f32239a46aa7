"""What the environment asks for reaches a real receiver; what it cannot have is said."""

import pytest
import typer

pytest.importorskip("opentelemetry.sdk.trace")

from tests.gateway.test_fail_over import BOTH, route
from tests.running import Running
from tests.telemetry.collector import attributes, collector
from tests.telemetry.making import CANARY, attempt, exchange
from understudy.cli import serve
from understudy.gateway.measuring import measure
from understudy.telemetry import otel
from understudy.telemetry.over import Names

HERE = "http://127.0.0.1:4318"


@pytest.mark.parametrize(
    ("environ", "traces", "metrics"),
    [
        ({}, False, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": HERE}, True, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{HERE}/v1/traces"}, True, False),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{HERE}/v1/metrics"}, False, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True, False),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, False, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": HERE}, False, True),
        ({"OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": HERE}, True, False),
        ({"OTEL_METRICS_EXPORTER": "console", "OTEL_EXPORTER_OTLP_ENDPOINT": HERE}, True, False),
        ({"OTEL_METRICS_EXPORTER": "console, OTLP"}, False, True),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, False, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False, False),
    ],
)
def test_a_signal_is_exported_only_where_the_environment_asks_for_it(environ, traces, metrics):
    assert (otel.wanted(environ, "traces"), otel.wanted(environ, "metrics")) == (traces, metrics)


def test_nobody_asking_means_no_thread():
    assert otel.telling({}, "0", routes=Names(), targets=Names()) is None


def test_what_of_the_variables_is_not_followed_is_said(caplog):
    environ = {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    assert otel.telling(environ, "0", routes=Names(), targets=Names()) is None
    assert "OTEL_METRICS_EXPORTER names 'prometheus'" in caplog.text
    assert "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'" in caplog.text


def test_without_the_sdk_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(otel.NoSdkError, match=r"understudy\[otel\]"):
        otel.telling({"OTEL_TRACES_EXPORTER": "otlp"}, "0", routes=Names(), targets=Names())


def test_serve_without_the_sdk_says_so_and_ends(monkeypatch, capsys, tmp_path):
    async def without(*_arguments):
        raise otel.NoSdkError("OpenTelemetry needs its SDK")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(serve, "_serve", without)
    with pytest.raises(typer.Exit) as ended:
        serve.serve(config=None, host=None, port=0)
    assert ended.value.exit_code == 2
    assert "OpenTelemetry needs its SDK" in capsys.readouterr().err


def test_spans_and_metrics_reach_a_collector(monkeypatch):
    with collector() as got:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": got.url, "OTEL_EXPORTER_OTLP_HEADERS": "x-token=abc"}
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        made = otel.telling(environ, "1.2.3", routes=Names(["gpt-5"]), targets=Names(["openai/gpt-5"]))
        made.observe(exchange(attempt()))
        made.close()
    assert made.lost == 0
    assert len(got.spans()) == 2
    assert {"gen_ai.client.operation.duration", "gen_ai.server.request.duration"} <= set(got.metrics())
    (resource, *_) = got.resources()
    assert (resource["service.name"], resource["service.version"]) == ("understudy", "1.2.3")
    assert {headers.get("x-token") for headers in got.headers} == {"abc"}


def test_the_environment_may_give_it_another_name(monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "front door")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    with collector() as got:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{got.url}/v1/metrics")
        environ = {"OTEL_METRICS_EXPORTER": "otlp"}
        made = otel.telling(environ, "1.2.3", routes=Names(["gpt-5"]), targets=Names(["openai/gpt-5"]))
        made.observe(exchange(attempt()))
        made.close()
    (resource, *_) = got.resources()
    assert resource["service.name"] == "front door"
    assert resource["deployment.environment.name"] == "test"


def test_a_running_gateway_exports_what_happened_and_passes_the_context_on(monkeypatch):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {
        "traceparent": f"00-{trace}-00f067aa0ba902b7-01", "tracestate": "vendor=1",
        "baggage": f"user={CANARY}",
    }  # fmt: skip
    with collector() as got:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": got.url}
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", got.url)
        with Running(BOTH + route("first/overloaded", "second/ok")) as gateway:
            gateway.call(lambda: measure(gateway.gateway, environ))
            gateway.exchange(gateway.chat("r", headers=headers))
            assert "understudy_otel_lost 0.0" in gateway.http.get("/metrics").text
            (sent,) = gateway.b.requests
    assert sent.headers["traceparent"] == headers["traceparent"]
    assert sent.headers["tracestate"] == "vendor=1"
    assert "baggage" not in sent.headers  # it says things about the client's users, and a provider is a third party
    spans = {span.name: span for span in got.spans()}
    assert {span.trace_id.hex() for span in spans.values()} == {trace}
    assert spans["chat r"].parent_span_id.hex() == "00f067aa0ba902b7"
    durations = {
        (found["gen_ai.request.model"], found.get("error.type"))
        for found in map(attributes, got.points("gen_ai.client.operation.duration"))
    }
    assert durations == {("overloaded", "overloaded"), ("ok", None)}
    assert CANARY.encode() not in b"".join(body for _, body in got.bodies)


def test_a_collector_that_refuses_costs_no_call_an_answer(monkeypatch):
    with collector() as got:
        got.status = 400
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", got.url)
        with Running(BOTH + route("first/ok")) as gateway:
            gateway.call(lambda: measure(gateway.gateway, {"OTEL_EXPORTER_OTLP_ENDPOINT": got.url}))
            assert gateway.chat("r").status_code == 200
    assert got.bodies
