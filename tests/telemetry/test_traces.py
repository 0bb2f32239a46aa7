"""Spans: made afterwards with the times that were, under the client's own span, and without a word of what was said."""

import pytest

from tests.telemetry.making import CANARY, attempt, exchange, frozen, switched
from understudy.canon import Fault
from understudy.telemetry import told
from understudy.telemetry.over import OTHER, Names

sdk = pytest.importorskip("opentelemetry.sdk.trace")
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402  after the skip
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: E402
from opentelemetry.trace import SpanKind, StatusCode  # noqa: E402

from understudy.telemetry.traces import Spans  # noqa: E402

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = {b"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01".encode(), b"tracestate": b"vendor=1"}


def spans(*exchanges, costs=()):
    exporter = InMemorySpanExporter()
    provider = sdk.TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    names = Names(["openai/gpt-5", "anthropic/opus", "local/smollm2-135m"])
    made = told.Telling([Spans(provider)], routes=Names(["gpt-5"]), targets=names)
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


def test_what_is_done_beside_chat_has_its_own_name():
    from understudy.gateway import embed, operate

    one = exchange(attempt(), stream=False)
    one.call = operate.OperationCall(b'{"model":"gpt-5","input":"x"}', {}, embed.OPENAI)
    child, whole = spans(one)
    assert whole.name == "embeddings gpt-5"
    assert child.attributes["gen_ai.operation.name"] == "embeddings"
