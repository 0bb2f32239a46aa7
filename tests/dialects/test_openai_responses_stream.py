"""Streams of this dialect: what a client sees of another dialect's answer, and what odd servers may leave out."""

import json
from typing import Any

from tests.dialects.recorded_openai_responses import assert_a_stream, wire_events
from understudy.canon import (
    Answer,
    Choice,
    Citation,
    Delta,
    Ended,
    Event,
    Extras,
    Failed,
    Fault,
    Finished,
    Image,
    Inline,
    PartEnded,
    PartStarted,
    Ping,
    Reasoning,
    Refusal,
    Skipped,
    Started,
    Stored,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
    Used,
)
from understudy.dialects import openai_responses

START = Started("openai-chat", "chatcmpl-1", "m", 5)


def written(*events: Event) -> list[dict[str, Any]]:
    encoder = openai_responses.StreamEncoder()
    return wire_events(b"".join(encoder.encode(event) for event in events).decode())


def read(*wire: dict[str, Any], name: str = "") -> list[Event]:
    decoder = openai_responses.StreamDecoder()
    prefix = f"event: {name}\n" if name else ""
    body = "".join(f"{prefix}data: {json.dumps(event)}\n\n" for event in wire)
    return decoder.feed(body.encode()) + decoder.close()


def kinds(wire: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in wire]


def test_an_answer_of_another_dialect_is_written_in_openais_own_order() -> None:
    wire = written(
        START,
        PartStarted(0, 0, Reasoning(extra={"~as": {"as": ["reasoning_content"]}})),
        Delta(0, 0, "hm"),
        Delta(0, 0, signature="sig"),
        PartEnded(0, 0),
        PartStarted(0, 1, Text("")),
        Delta(0, 1, "Hi", logprobs=(TokenLogprob("Hi", -0.5),)),
        Delta(0, 1, citations=(Citation("url", "https://a.example", "A", start=0, end=2),)),
        PartEnded(0, 1),
        PartStarted(0, 2, Refusal("")),
        Delta(0, 2, "no"),
        PartEnded(0, 2),
        PartStarted(0, 3, ToolCall("c1", "f")),
        PartStarted(0, 4, ToolCall("", "sql", kind="custom")),
        Delta(0, 3, "{}"),
        Delta(0, 4, "x"),
        PartEnded(0, 3),
        PartEnded(0, 4),
        PartStarted(0, 5, Image(Inline("AA", "image/png"))),
        PartEnded(0, 5),
        Used(Usage(1, 2)),
        Finished(0, "tool_calls", "tool_calls"),
        Ended(),
    )
    assert_a_stream(wire)
    assert kinds(wire) == [
        "created", "in_progress",
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done", "content_part.done",
        "output_item.done", "output_item.added", "content_part.added", "output_text.delta",
        "output_text.annotation.added", "output_text.done", "content_part.done", "content_part.added",
        "refusal.delta", "refusal.done", "content_part.done", "output_item.done", "output_item.added",
        "output_item.added", "function_call_arguments.delta", "custom_tool_call_input.delta",
        "function_call_arguments.done", "output_item.done", "custom_tool_call_input.done", "output_item.done",
        "output_item.added", "output_item.done", "completed",
    ]  # fmt: skip
    thought, message, call, custom, image = wire[-1]["response"]["output"]
    assert thought["encrypted_content"].startswith("understudy.")
    assert [part["type"] for part in message["content"]] == ["output_text", "refusal"]
    assert message["content"][0]["annotations"][0]["end_index"] == 2
    assert message["content"][0]["logprobs"][0]["bytes"] == [72, 105]
    assert (call["call_id"], call["arguments"], call["status"]) == ("c1", "{}", "completed")
    assert custom["call_id"]
    assert (image["type"], image["result"]) == ("image_generation_call", "AA")
    assert wire[-1]["response"]["usage"]["total_tokens"] == 3
    assert wire[-1]["response"]["native_finish_reason"] == "tool_calls"
    assert [
        event["item"]["status"] for event in wire if event["type"].endswith("item.added") and "status" in event["item"]
    ]


def test_sealed_reasoning_without_words_is_an_item_without_parts() -> None:
    wire = written(
        START, PartStarted(0, 0, Reasoning(sealed="g", id="rs")), PartEnded(0, 0), Finished(0, "stop"), Ended()
    )
    assert kinds(wire)[2:-1] == ["output_item.added", "output_item.done"]
    assert "encrypted_content" not in wire[2]["item"]
    assert wire[3]["item"]["encrypted_content"].startswith("understudy.")


def test_a_summary_that_came_with_its_part_is_not_forgotten() -> None:
    thought = Reasoning(summary="Plan", sealed="g", id="rs")
    wire = written(START, PartStarted(0, 0, thought), PartEnded(0, 0), Finished(0, "stop"), Ended())
    assert_a_stream(wire)
    assert wire[-1]["response"]["output"][0]["summary"] == [{"type": "summary_text", "text": "Plan"}]


def test_reasoning_of_one_id_is_one_item() -> None:
    wire = written(
        START, PartStarted(0, 0, Reasoning(summary="", id="rs")), Delta(0, 0, "a"), PartEnded(0, 0),
        PartStarted(0, 1, Reasoning(summary="", id="rs")), Delta(0, 1, "b"), PartEnded(0, 1),
        PartStarted(0, 2, Reasoning(id="rs")), Delta(0, 2, "c", sealed="g"), PartEnded(0, 2),
        PartStarted(0, 3, Reasoning(id="rs2")), Delta(0, 3, "d"), PartEnded(0, 3), Finished(0, "stop"), Ended(),
    )  # fmt: skip
    assert_a_stream(wire)
    first, second = wire[-1]["response"]["output"]
    assert [piece["text"] for piece in (*first["summary"], *first["content"])] == ["a", "b", "c"]
    assert second["content"] == [{"type": "reasoning_text", "text": "d"}]


def test_a_failure_ends_with_an_error_and_a_failed_response_that_keeps_what_came() -> None:
    fault = Fault(status=429, message="Slow down.", phase="stream")
    wire = written(START, PartStarted(0, 0, Text("")), Delta(0, 0, "Ha"), Used(Usage(1, 1)), Failed(fault))
    assert kinds(wire)[-2:] == ["error", "failed"]
    assert wire[-2]["message"] == wire[-2]["error"]["message"] == "Slow down."
    assert wire[-1]["response"]["error"] == {"code": "rate_limit_exceeded", "message": "Slow down."}
    assert wire[-1]["response"]["output"][0]["content"][0]["text"] == "Ha"
    assert kinds(written(Failed(Fault()))) == ["error"]


def test_an_answer_cut_by_its_limit_is_incomplete() -> None:
    wire = written(START, Finished(0, "length"), Ended())
    assert kinds(wire)[-1] == "incomplete"
    assert wire[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert kinds(written(START, Finished(0, "error"), Ended()))[-1] == "failed"


def test_late_things_without_a_place_are_announced() -> None:
    encoder = openai_responses.StreamEncoder()
    for event in (START, PartStarted(0, 0, Text("")), Delta(0, 0, "a", signature="s"), Delta(0, 0, extra={"x": 1}),
                  Delta(0, 0, citations=(Citation("page", source=Stored("f")),)), Delta(0, 9, "lost"),
                  PartEnded(0, 9)):  # fmt: skip
        encoder.encode(event)
    assert [loss.field for loss in encoder.losses] == [
        "choices[0].parts[0].signature", "choices[0].parts[0].x", "choices[0].parts[0].citations[0]",
    ]  # fmt: skip
    assert encoder.encode(Ping("a\nb")) == b": a b\n\n"


# --- reading ---------------------------------------------------------------------------------------------------------


def message(*content: dict[str, Any], status: str = "completed") -> dict[str, Any]:
    return {"type": "message", "id": "m1", "role": "assistant", "status": status, "content": list(content)}


def text(said: str, *annotations: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": said, "annotations": list(annotations)}


def response(*output: Any, **fields: Any) -> dict[str, Any]:
    return {"id": "r", "object": "response", "status": "completed", "model": "m", "output": list(output)} | fields


CREATED = {"type": "response.created", "response": response(status="in_progress")}
COMPLETED = {"type": "response.completed", "response": response()}
DELTA = {"type": "response.output_text.delta", "output_index": 0, "item_id": "m1", "delta": "Hi"}


def texts(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Delta) and event.text]


def test_deltas_without_an_item_begin_one() -> None:
    events = read(CREATED, DELTA, COMPLETED)
    assert [type(event) for event in events[1:4]] == [PartStarted, Delta, PartEnded]
    assert isinstance(events[-1], Ended)
    thought = DELTA | {"type": "response.reasoning_text.delta"}
    assert isinstance(read(CREATED, thought, COMPLETED)[1].part, Reasoning)  # type: ignore[union-attr]  # it has begun


def test_arguments_without_an_item_wait_for_its_end() -> None:
    call = {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": "{}"}
    delta = {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": "{}"}
    events = read(CREATED, delta, {"type": "response.output_item.done", "output_index": 0, "item": call}, COMPLETED)
    (started,) = [event for event in events if isinstance(event, PartStarted)]
    assert isinstance(started.part, ToolCall)
    assert (started.part.name, started.part.arguments) == ("f", "{}")


def test_an_item_that_was_never_done_ends_as_the_response_has_it() -> None:
    added = {"type": "response.output_item.added", "output_index": 0, "item": message(status="in_progress")}
    last = {"type": "response.completed", "response": response(message(text("Hi there", {"type": "new"})))}
    assert texts(read(CREATED, added, added, DELTA, last)) == ["Hi", " there"]
    other = {"type": "response.completed", "response": response(message(text("Hi")) | {"id": "else"})}
    assert texts(read(CREATED, added, DELTA, other)) == ["Hi"]


def test_a_hosted_tool_that_was_never_done_does_not_hold_up_the_others() -> None:
    calls = [{"type": "web_search_call", "id": f"w{i}", "status": "in_progress"} for i in range(2)]
    added = [{"type": "response.output_item.added", "output_index": i, "item": call} for i, call in enumerate(calls)]
    done = {"type": "response.output_item.done", "output_index": 1, "item": calls[1]}
    events = read(CREATED, *added, done, done, COMPLETED)
    assert [event.part.id for event in events if isinstance(event, PartStarted)] == ["w1"]  # type: ignore[union-attr]  # calls have ids
    assert isinstance(events[-1], Ended)


def test_several_contents_of_one_message_follow_one_another() -> None:
    added = {"type": "response.output_item.added", "output_index": 0, "item": message(status="in_progress")}
    second = DELTA | {"content_index": 1, "delta": "So"}
    cited = {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 1}
    note = {"type": "response.output_text.annotation.added", "output_index": 0, "content_index": 1, "annotation": cited}
    done = {
        "type": "response.output_item.done",
        "output_index": 0,
        "item": message(text("Hi"), text("So", cited), {"type": "new"}),
    }
    odd = note | {"annotation": 5}
    events = read(CREATED, added, DELTA, second, note, odd, DELTA, done, DELTA, COMPLETED)
    opened = [type(event) for event in events if isinstance(event, PartStarted | PartEnded)]
    assert opened == [PartStarted, PartEnded] * 3
    assert sum(len(event.citations) for event in events if isinstance(event, Delta)) == 1


def test_an_event_may_be_named_outside_of_its_data() -> None:
    events = read({"response": response()}, name="response.completed")
    assert isinstance(events[-1], Ended)
    assert isinstance(read({"error": {"message": "no"}})[-1], Failed)
    assert [type(event) for event in read({"x": 1}, CREATED, [])] == [Skipped, Started, Failed]


def test_a_failed_response_without_a_reason_is_a_failure() -> None:
    failed = read(CREATED, {"type": "response.failed", "response": response(status="failed", error=None)})[-1]
    assert isinstance(failed, Failed)
    assert "no reason" in failed.fault.message


def test_wrong_types_skip_an_event_whole() -> None:
    wrong: list[dict[str, Any]] = [
        DELTA | {"delta": 5},
        DELTA | {"output_index": True},
        DELTA | {"content_index": "0"},
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "content": 5}},
        {"type": "response.output_item.done", "output_index": 0, "item": []},
        {"type": "response.completed", "response": {"output": 5}},
        {"type": "response.completed", "response": response(usage=[1])},
        {"type": "response.completed", "response": response(5)},
    ]
    for event in wrong:
        events = read(CREATED, event)
        assert [type(each) for each in events] == [Started, Skipped, Failed], event


def test_an_event_too_large_is_a_failure() -> None:
    decoder = openai_responses.StreamDecoder()
    events = decoder.feed(b"data: " + b"x" * (17 * 1024 * 1024))
    assert isinstance(events[-1], Failed)
    assert events[-1].fault.kind == "malformed_events"


def test_unknown_events_and_changed_fields_come_back() -> None:
    moon = {"type": "response.moon", "phase": "full"}
    last = {"type": "response.completed", "response": response(service_tier="flex", tool_usage={"a": 1}, model="m-2")}
    events = read(CREATED, moon, last)
    assert next(event.fields for event in events if isinstance(event, Extras)) == {"events": [moon]}
    wire = written(*events)
    assert wire[2] == {**moon, "sequence_number": 2}
    assert wire[-1]["response"] == last["response"]


def test_a_whole_answer_and_its_stream_name_their_items_alike() -> None:
    answer = Answer(
        "openai-chat", "chatcmpl-1", "m", (Choice(0, (Text("Hi"), ToolCall("c", "f")), "tool_calls"),), None, 5
    )
    whole = json.loads(openai_responses.encode_answer(answer)[0])
    wire = written(
        START, PartStarted(0, 0, Text("")), Delta(0, 0, "Hi"), PartEnded(0, 0), PartStarted(0, 1, ToolCall("c", "f")),
        PartEnded(0, 1), Finished(0, "tool_calls"), Ended(),
    )  # fmt: skip
    assert wire[-1]["response"]["output"] == whole["output"]
