"""Traffic of the Responses API that others recorded comes back as it was, and goes through Chat Completions and back.

Skips where the material is absent. What differs is explained, by name, or fails the test.
"""

import json
from collections import Counter
from typing import Any

import pytest

from tests.dialects.recorded_openai_responses import (
    ENDS,
    Difference,
    assert_a_stream,
    errors,
    event_schemas,
    facts_of_answer,
    facts_of_request,
    names,
    recorded,
    schemas,
    wire_events,
)
from tests.dialects.test_recorded import differences
from understudy.canon import Ended, Event, Failed, Text
from understudy.canon.join import join
from understudy.dialects import Malformed, openai_chat, openai_responses

NAME = "openai-responses"

REASONS = {
    "several": "The recording holds several responses, one behind the other: a stream ends with its first.",
    "contradiction": "The last event contradicts `output_item.done` (edited recordings): what was streamed is kept.",
    "late-seal": "`encrypted_content` is given when an item is done, not in a first version when it begins.",
    "whole": "Hosted tools, pictures and unknown items begin with what is known at their end.",
    "name": "`function_call_arguments.done` names the function, as OpenAI's document requires.",
    "logprobs": "Events of text have `logprobs`, empty if need be, as OpenAI's document requires.",
    "vllm": "`reasoning_part` is `content_part`, its name in OpenAI's document.",
    "done": "What grew is said to be done, where a server left that out; and text that had no delta has one.",
    "identifiers": "`item_id` is the item's own id; some recordings have another in each event.",
    "indices": "Indices count from zero, without gaps; one server counts on.",
    "blank": "A part of a message begins with the blank fields that it will end with.",
    "fault": "`error` has its fields twice, flat as in OpenAI's document and nested as OpenAI sends them.",
}
STANDARD = ("created", "in_progress", "output_item.added", "content_part.added", "content_part.done")


@pytest.fixture(scope="module")
def exchanges() -> list[dict[str, Any]]:
    return recorded(NAME)


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def requests(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["request"] is not None]


def answers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["wire"] == "json" and "output" in row["body"]]


def streams(rows: list[dict[str, Any]]) -> list[tuple[dict[str, Any], list[Event]]]:
    out = []
    for row in rows:
        if row["wire"] == "sse":
            decoder = openai_responses.StreamDecoder()
            out.append((row, decoder.feed(row["body_text"].encode()) + decoder.close()))
    return out


def show(found: list[Difference], row: dict[str, Any]) -> list[str]:
    return [f"{row['id']} {row['vendor']} {d[0]}: {str(d[1])[:160]} -> {str(d[2])[:160]}" for d in found]


def test_every_recorded_request_comes_back_as_it_was(exchanges: list[dict[str, Any]]) -> None:
    wrong, count = [], 0
    for row in requests(exchanges):
        again, losses = openai_responses.encode_request(openai_responses.decode_request(body(row["request"])))
        assert losses == (), row["id"]
        wrong += show(differences(row["request"], json.loads(again)), row)
        count += 1
    print(f"requests: {count}, exact: {count - len(wrong)}")
    assert not wrong, "\n".join(wrong[:20])


def test_every_recorded_answer_comes_back_as_it_was(exchanges: list[dict[str, Any]]) -> None:
    wrong, count = [], 0
    for row in answers(exchanges):
        again, losses = openai_responses.encode_answer(openai_responses.decode_answer(body(row["body"])))
        assert losses == (), row["id"]
        wrong += show(differences(row["body"], json.loads(again)), row)
        count += 1
    print(f"answers: {count}, exact: {count - len(wrong)}")
    assert not wrong, "\n".join(wrong[:20])


def test_every_recorded_stream_ends_with_the_response_it_ended_with(exchanges: list[dict[str, Any]]) -> None:
    counts, wrong = Counter[str](), []
    for row, found in streams(exchanges):
        old = wire_events(row["body_text"])
        encoder = openai_responses.StreamEncoder()
        text = b"".join(encoder.encode(event) for event in found).decode()
        new = wire_events(text)
        assert encoder.losses == []
        assert_a_stream(new)
        failed = old[-1]["type"] == "response.failed"
        assert isinstance(found[-1], Failed if failed else Ended)
        assert new[-1]["type"] == old[-1]["type"]
        done = {event["output_index"]: event["item"] for event in old if event["type"] == "response.output_item.done"}
        streamed = [done[place] for place in sorted(done)]
        last = old[-1]["response"]
        reasons = {"several"} if row["body_text"].count('"response.created"') > 2 else set()
        if last["output"] != streamed:
            reasons.add("contradiction")
            last = {**last, "output": streamed}
        unexplained = []
        for difference in differences(last, new[-1]["response"]):
            path, before, after = difference
            if path.endswith((".logprobs", ".annotations")) and (before, after) == ("<absent>", []):
                reasons.add("blank")
            elif path.startswith(".output") and contradicts_itself(old):
                reasons.add("contradiction")
            else:
                unexplained.append(difference)
        counts["stream: " + (" + ".join(sorted(reasons)) or "exact")] += 1
        wrong += show(unexplained, row)
    print(dict(counts))
    assert not wrong, "\n".join(wrong[:20])


def contradicts_itself(wire: list[dict[str, Any]]) -> bool:
    """Whether items end with other ids, or other texts, than they were given with."""
    ids, texts = {}, Counter[Any]()
    for event in wire:
        place = event.get("output_index")
        if event["type"] == "response.output_item.added":
            ids[place] = event["item"].get("id")
        if event["type"] in ("response.output_text.delta", "response.function_call_arguments.delta"):
            texts[place] = texts.get(place, "") + event["delta"]
        if event["type"] == "response.output_item.done":
            item = event["item"]
            said = item.get("arguments") or "".join(part.get("text", "") for part in item.get("content") or ())
            if item.get("id") != ids[place] or (place in texts and texts[place] != said):
                return True
    return False


def normal(event: dict[str, Any], reasons: set[str]) -> dict[str, Any]:
    """An event without what `REASONS` explains."""
    out = {key: value for key, value in event.items() if key not in ("sequence_number", "obfuscation", "copilot_usage")}
    kind = out["type"]
    if kind.startswith("response.reasoning_part."):
        reasons.add("vllm")
        out["type"] = kind = kind.replace("reasoning_part", "content_part")
    if kind == "response.function_call_arguments.done" and out.pop("name", None) is None:
        reasons.add("name")
    if kind in ("response.output_text.delta", "response.output_text.done") and not out.get("logprobs"):
        if "logprobs" not in out:
            reasons.add("logprobs")
        out.pop("logprobs", None)
    if kind == "error":
        reasons.add("fault")
        out = {"type": kind, "error": out.get("error", out)}
    part = out.get("part")
    if isinstance(part, dict) and part.get("type") == "output_text":
        out["part"] = {key: value for key, value in part.items() if value or key not in ("annotations", "logprobs")}
    return out


def test_every_recorded_event_is_written_again(exchanges: list[dict[str, Any]]) -> None:
    counts, wrong = Counter[str](), []
    for row, found in streams(exchanges):
        reasons: set[str] = set()
        encoder = openai_responses.StreamEncoder()
        new = wire_events(b"".join(encoder.encode(event) for event in found).decode())
        old = wire_events(row["body_text"])
        pair = [
            Counter(
                json.dumps(normal(event, reasons), sort_keys=True)
                for event in wire
                if event["type"] not in ENDS and event["type"] != "keepalive"
            )
            for wire in (old, new)
        ]
        ids = {event["output_index"]: event["item"].get("id") for event in old if event["type"].endswith("item.added")}
        grown = {event.get("output_index") for event in old if event["type"].endswith(".delta")}
        odd = {
            event["output_index"]
            for event in old
            if event.get("item_id", ids.get(event.get("output_index"))) != ids.get(event.get("output_index"))
        }
        counted = {event["output_index"] for event in old if event.get("content_index")}
        gone = [json.loads(text) for text in pair[0] - pair[1]]
        come = [json.loads(text) for text in pair[1] - pair[0]]
        for event in [*gone, *come]:
            reason = "contradiction" if contradicts_itself(old) else explain(event, odd, counted, grown)
            if reason is None:
                wrong.append(f"{row['id']} {'gone' if event in gone else 'new'}: {json.dumps(event)[:300]}")
            else:
                reasons.add(reason)
        assert reasons <= REASONS.keys()
        counts["events: " + (" + ".join(sorted(reasons)) or "exact")] += 1
    print(dict(counts))
    assert not wrong, "\n".join(wrong[:20])


def explain(event: dict[str, Any], odd: set[int], counted: set[int], grown: set[Any]) -> str | None:
    kind, place = event["type"], event.get("output_index")
    if kind == "response.output_item.added":
        return "late-seal" if event["item"]["type"] == "reasoning" else "whole"
    if place in odd:
        return "identifiers"
    if place in counted:
        return "indices"
    if kind == "response.in_progress" or place not in grown or kind.endswith((".done", ".added")):
        return "done"
    return None


def test_a_stream_adds_up_to_the_answer_it_ends_with(exchanges: list[dict[str, Any]]) -> None:
    for row, found in streams(exchanges):
        if not isinstance(found[-1], Ended):
            continue
        last = wire_events(row["body_text"])[-1]["response"]
        whole = openai_responses.decode_answer(body(last))
        kept = [
            event for event in found if not (hasattr(event, "text") and event.text == "" and hasattr(event, "data"))
        ]
        texts = ["".join(p.text for p in a.choices[0].parts if isinstance(p, Text)) for a in (whole, join(kept))]
        if "ran successfully in the container" not in texts[0]:  # a recording that contradicts itself
            assert texts[0] == texts[1], row["id"]
        assert join(kept).choices[0].finish == whole.choices[0].finish
        assert join(kept).usage == whole.usage


def test_requests_go_through_chat_completions_and_back(exchanges: list[dict[str, Any]]) -> None:
    counts = Counter[str]()
    for row in requests(exchanges):
        first = openai_responses.decode_request(body(row["request"]))
        if not first.messages:  # a prompt that OpenAI holds: nothing can be said elsewhere
            with pytest.raises(Malformed):
                openai_chat.encode_request(first)
            continue
        chat, there = openai_chat.encode_request(first)
        back, here = openai_responses.encode_request(openai_chat.decode_request(chat))
        second = openai_responses.decode_request(back)
        if not any(loss.why.endswith("is a text here") for loss in there):  # a result of a call that OpenAI holds
            assert facts_of_request(first) == facts_of_request(second), row["id"]
        counts["request: " + ("with" if there or here else "without") + " losses"] += 1
    print(dict(counts))


def test_answers_go_through_chat_completions_and_back(exchanges: list[dict[str, Any]]) -> None:
    counts = Counter[str]()
    for row in answers(exchanges):
        first = openai_responses.decode_answer(body(row["body"]))
        if first.choices[0].finish is None:
            continue
        chat, there = openai_chat.encode_answer(first)
        back, here = openai_responses.encode_answer(openai_chat.decode_answer(chat))
        assert facts_of_answer(first) == facts_of_answer(openai_responses.decode_answer(back)), row["id"]
        counts["answer: " + ("with" if there or here else "without") + " losses"] += 1
    print(dict(counts))


def test_streams_go_through_chat_completions_and_back(exchanges: list[dict[str, Any]]) -> None:
    for row, found in streams(exchanges):
        chat, reader = openai_chat.StreamEncoder(), openai_chat.StreamDecoder()
        middle = reader.feed(b"".join(chat.encode(event) for event in found)) + reader.close()
        encoder, decoder = openai_responses.StreamEncoder(), openai_responses.StreamDecoder()
        wire = b"".join(encoder.encode(event) for event in middle)
        assert_a_stream(wire_events(wire.decode()))
        again = decoder.feed(wire) + decoder.close()
        assert type(again[-1]) is type(found[-1])
        if isinstance(found[-1], Ended):
            first, second = (facts_of_answer(join(quiet(events))) for events in (found, again))
            assert first == second, row["id"]


def quiet(found: list[Event]) -> list[Event]:
    """Without deltas that bring notes alone, which `join` does not know."""
    return [
        event
        for event in found
        if not (hasattr(event, "extra") and any(key.startswith("~") for key in event.extra))
        or not hasattr(event, "index")
    ]


# --- against OpenAI's own document -----------------------------------------------------------------------------------


def request_errors(value: dict[str, Any]) -> list[str]:
    schema = schemas()["CreateResponse"]
    unknown = [f"{key} is unknown" for key in value if key not in names(schema)]
    return unknown + errors(schema, value)


def test_requests_of_chat_completions_are_valid_here() -> None:
    wrong, count = [], 0
    for row in recorded("openai-chat"):
        if row["request"] is None:
            continue
        translated, _ = openai_responses.encode_request(openai_chat.decode_request(body(row["request"])))
        wrong += [f"{row['id']} {error}" for error in request_errors(json.loads(translated))]
        count += 1
    print(f"translated requests: {count}, rejected: {len(wrong)}")
    assert not wrong, "\n".join(wrong[:20])


def test_requests_written_again_are_as_valid_as_they_were(exchanges: list[dict[str, Any]]) -> None:
    counts = Counter[str]()
    for row in requests(exchanges):
        again, _ = openai_responses.encode_request(openai_responses.decode_request(body(row["request"])))
        before, after = request_errors(row["request"]), request_errors(json.loads(again))
        assert [error.partition(":")[0] for error in before] == [error.partition(":")[0] for error in after]
        counts["valid" if not after else "invalid as recorded"] += 1
    print(dict(counts))


def test_answers_of_chat_completions_are_valid_here() -> None:
    wrong, counts = [], Counter[str]()
    for row in recorded("openai-chat"):
        if row["wire"] == "json" and "choices" in row["body"]:
            answer = openai_chat.decode_answer(body(row["body"]))
            value = json.loads(openai_responses.encode_answer(answer)[0])
            wrong += [f"{row['id']} {e}" for e in errors(schemas()["Response"], value) if not known(e)]
            counts["answers"] += 1
        if row["wire"] == "sse" and len(row["body_text"]) < 40_000:
            reader, encoder = openai_chat.StreamDecoder(), openai_responses.StreamEncoder()
            found = reader.feed(row["body_text"].encode()) + reader.close()
            wire = wire_events(b"".join(encoder.encode(event) for event in found).decode())
            if wire[0]["type"] != "error":
                assert_a_stream(wire)
            kinds: Counter[str] = Counter()
            for event in wire:
                kinds[event["type"]] += 1
                if kinds[event["type"]] < 4 or event["type"] in ENDS:
                    schema = event_schemas()[event["type"]]
                    wrong += [f"{row['id']} {event['type']} {e}" for e in errors(schema, event) if not known(e)]
            counts["streams"] += 1
    print(dict(counts))
    assert not wrong, "\n".join(wrong[:20])


def known(error: str) -> bool:
    """Rejections that say nothing: OpenAI sends a null for usage until there is one, and codes beyond its own list."""
    return ".usage: 'None'" in error or ".error.code:" in error or ".incomplete_details" in error
