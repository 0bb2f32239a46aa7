"""Spans: made afterwards with the times that were, under the client's own span, and without a word of what was said."""

import pytest

from tests.telemetry.making import CANARY, attempt, exchange, frozen, switched
from tests.timing import best
from understudy.canon import Fault, Usage
from understudy.telemetry import traces
from understudy.telemetry.over import OTHER, Names

sdk = pytest.importorskip("opentelemetry.sdk.trace")
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402  after the skip
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: E402
from opentelemetry.trace import SpanKind, StatusCode  # noqa: E402

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = {b"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01".encode(), b"tracestate": b"vendor=1"}


def spans(*exchanges, costs=()):
    exporter = InMemorySpanExporter()
    provider = sdk.TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    names = Names(["openai/gpt-5", "anthropic/opus", "local/smollm2-135m"])
    made = traces.Traces(provider, routes=Names(["gpt-5"]), targets=names)
    for one in exchanges:
        made.observe(one, costs)
    made.close()
    assert made.lost == 0
    return exporter.get_finished_spans()


def test_attempts_are_children_of_their_exchange_at_the_times_that_they_were():
    with frozen() as still:
        *attempts, whole = spans(switched())
        start = int(still.now * 1e9)
    assert [one.name for one in attempts] == ["chat gpt-5", "chat opus", "chat smollm2-135m"]
    assert whole.name == "chat gpt-5"
    assert (whole.kind, whole.start_time, whole.end_time) == (SpanKind.SERVER, start, start + 3_000_000_000)
    assert {one.parent.span_id for one in attempts} == {whole.context.span_id}
    assert {one.context.trace_id for one in attempts} == {whole.context.trace_id}
    assert [(one.start_time - start) // 1_000_000 for one in attempts] == [0, 500, 1500]
    assert [(one.end_time - start) // 1_000_000 for one in attempts] == [500, 1500, 3000]


def test_attributes_are_those_of_the_conventions():
    first, _, third, whole = spans(switched(), costs=[None, None, 1500])
    assert first.attributes["gen_ai.provider.name"] == "openai"
    assert first.attributes["error.type"] == "overloaded"
    assert first.status.status_code is StatusCode.ERROR
    expected = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "local", "gen_ai.request.model": "smollm2-135m",
        "gen_ai.request.stream": True, "gen_ai.response.time_to_first_chunk": 0.5, "gen_ai.usage.input_tokens": 107,
        "gen_ai.usage.output_tokens": 20, "gen_ai.usage.cache_read.input_tokens": 50,
        "gen_ai.usage.cache_write.input_tokens": 0, "gen_ai.usage.reasoning.output_tokens": 5,
        "understudy.reaction": "answered", "understudy.way": "prefill", "understudy.cost_usd": 0.0015,
    }  # fmt: skip
    assert dict(third.attributes) == pytest.approx(expected)
    assert third.status.status_code is StatusCode.UNSET
    assert whole.attributes["understudy.outcome"] == "answered"
    assert whole.attributes["understudy.attempts"] == 3


def test_the_clients_span_is_the_parent():
    child, whole = spans(exchange(attempt(), headers=PARENT))
    assert f"{whole.context.trace_id:032x}" == f"{child.context.trace_id:032x}" == TRACE
    assert f"{whole.parent.span_id:016x}" == "00f067aa0ba902b7"
    assert whole.context.trace_state.get("vendor") == "1"


@pytest.mark.parametrize(
    "header", [b"", b"nonsense", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01", b"\xff\xfe", b"a" * 9999]
)
def test_a_parent_that_is_none_is_ignored(header):
    _, whole = spans(exchange(attempt(), headers={b"traceparent": header}))
    assert whole.parent is None


def test_a_call_that_failed_is_an_error():
    (whole,) = spans(exchange(outcome="failed"))
    assert whole.status.status_code is StatusCode.ERROR
    assert whole.attributes["error.type"] == "failed"


def test_no_word_that_was_said_is_in_a_span():
    made_up = f"openai/{CANARY}"
    failed = exchange(
        attempt(made_up, fault=Fault("no_such_model", 404, message=CANARY)), route=made_up, outcome="failed"
    )
    found = spans(switched(), failed)
    assert CANARY not in "".join(span.to_json() for span in found)
    assert found[-1].attributes["gen_ai.request.model"] == OTHER


def test_when_nobody_has_time_exchanges_are_let_go_and_counted(monkeypatch):
    monkeypatch.setattr(traces, "_WAITING", 2)
    made = traces.Traces(sdk.TracerProvider(shutdown_on_exit=False), routes=Names(), targets=Names())
    made.close()  # nobody takes from the queue now
    for _ in range(5):
        made.observe(exchange(attempt()))
    assert made.lost == 3


def test_one_that_cannot_be_made_does_not_end_the_others():
    broken = exchange(attempt())
    broken.ended = float("nan")
    exporter = InMemorySpanExporter()
    provider = sdk.TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    made = traces.Traces(provider, routes=Names(), targets=Names())
    made.observe(broken)
    made.observe(exchange(attempt()))
    made.close()
    assert made.lost == 1
    assert [span.name for span in exporter.get_finished_spans()][-1] == "chat gpt-5"


def test_remembering_an_exchange_takes_microseconds():
    provider = sdk.TracerProvider(shutdown_on_exit=False)
    made = traces.Traces(provider, routes=Names(["gpt-5"]), targets=Names(["openai/gpt-5"]))
    made.close()
    one = exchange(attempt(usage=Usage(1, 1)), headers=PARENT)
    taken = best(lambda: made.observe(one))
    assert taken is None or taken < 20e-6


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
    ],
)
def test_traces_are_made_only_where_the_environment_asks_for_them(environ, expected):
    assert traces.wanted(environ) is expected


def test_without_the_sdk_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(traces.NoSdkError, match=r"understudy\[otel\]"):
        traces.provider("0")


def test_spans_reach_a_collector(tmp_path):
    import http.server
    import threading

    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    got = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
            made = traces.Traces(traces.provider("1.2.3"), routes=Names(["gpt-5"]), targets=Names(["openai/gpt-5"]))
            made.observe(exchange(attempt()))
            made.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    (path, body), *_ = got
    told = ExportTraceServiceRequest.FromString(body)
    assert path == "/v1/traces"
    assert len(told.resource_spans[0].scope_spans[0].spans) == 2
    resource = {one.key: one.value.string_value for one in told.resource_spans[0].resource.attributes}
    assert (resource["service.name"], resource["service.version"]) == ("understudy", "1.2.3")
