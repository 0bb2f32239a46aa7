"""What Gemini's answers mean, whole and streamed, and what is written for those of others."""

import json
from typing import Any

import msgspec
import pytest

from understudy.canon import (
    Answer,
    Audio,
    Choice,
    Citation,
    Ended,
    Extras,
    Failed,
    Finished,
    PartEnded,
    PartStarted,
    Ping,
    Reasoning,
    Started,
    Text,
    TokenLogprob,
    ToolCall,
    Unknown,
    Usage,
    Used,
)
from understudy.canon.answer import Delta
from understudy.canon.fault import Fault
from understudy.dialects import Malformed, gemini


def turn(*parts: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "parts": list(parts)}


# --- answers ---------------------------------------------------------------------------------------------------------


def answered(**candidate: Any) -> Choice:
    return gemini.decode_answer(json.dumps({"candidates": [candidate]}).encode()).choices[0]


FINISHES = [
    ("STOP", "stop"),
    ("MAX_TOKENS", "length"),
    ("SAFETY", "filtered"),
    ("RECITATION", "filtered"),
    ("SPII", "filtered"),
    ("MALFORMED_FUNCTION_CALL", "error"),
    ("ESCALATION", "unknown"),
    (2, "length"),
    (99, "unknown"),
]


@pytest.mark.parametrize(("reason", "finish"), FINISHES)
def test_finish_reasons(reason: Any, finish: str) -> None:
    assert answered(content=turn({"text": "a"}, role="model"), finishReason=reason).finish == finish


def test_a_stop_with_calls_of_functions_is_a_finish_by_calls() -> None:
    call = answered(content=turn({"functionCall": {"name": "f"}}, role="model"), finishReason="STOP")
    code = answered(content=turn({"executableCode": {"code": "1"}}, role="model"), finishReason="STOP")
    assert (call.finish, call.native_reason, code.finish) == ("tool_calls", "STOP", "stop")


@pytest.mark.parametrize(
    "body", [{"error": {"code": 500}}, {"promptFeedback": {"blockReason": "SAFETY"}}, {}, [], {"candidates": 1}]
)
def test_what_is_no_answer_is_refused(body: Any) -> None:
    with pytest.raises(Malformed):
        gemini.decode_answer(json.dumps(body).encode())


def test_usage_counts_what_google_counts_apart() -> None:
    counts = {
        "promptTokenCount": 10,
        "cachedContentTokenCount": 4,
        "toolUsePromptTokenCount": 5,
        "thoughtsTokenCount": 7,
        "candidatesTokenCount": 3,
        "totalTokenCount": 25,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 2}, 1],
    }
    answer = gemini.decode_answer(json.dumps({"candidates": [], "usageMetadata": counts}).encode())
    usage = answer.usage
    assert usage is not None
    figures = (usage.input, usage.output, usage.reasoning, usage.cached_read, usage.total, usage.audio_input)
    assert figures == (15, 10, 7, 4, 25, 2)
    assert json.loads(gemini.encode_answer(answer)[0])["usageMetadata"] == counts
    ours = Answer("openai-chat", "", "", (), Usage(15, 10, cached_read=4, reasoning=7, audio_output=2))
    assert json.loads(gemini.encode_answer(ours)[0])["usageMetadata"] == {
        "promptTokenCount": 15,
        "candidatesTokenCount": 3,
        "thoughtsTokenCount": 7,
        "cachedContentTokenCount": 4,
        "totalTokenCount": 25,
        "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 2}],
    }


def test_citations_count_characters_where_google_counts_bytes() -> None:
    chunks = [
        {"web": {"uri": "https://a.example", "title": "a"}},
        {"retrievedContext": {"uri": "x:1", "text": "q"}},
        {"web": 1},
        7,
    ]
    supports = [
        {"segment": {"startIndex": 8, "endIndex": 13, "text": "ö ü"}, "groundingChunkIndices": [0, 1, 2, 3, 9, "x"]},
        {"segment": {"partIndex": 1, "endIndex": 2}, "groundingChunkIndices": [0]},
        {"segment": {}, "groundingChunkIndices": [0]},
        {"segment": 1},
        2,
    ]
    recited = {
        "citationSources": [
            {"startIndex": 0, "endIndex": 3, "uri": "https://b.example"},
            {},
            {"uri": "https://b.example", "endIndex": 3},
        ]
    }
    choice = answered(
        content=turn({"text": "Größe ö ü."}, {"text": "ab"}, role="model"),
        groundingMetadata={"groundingChunks": chunks, "groundingSupports": supports},
        citationMetadata=recited,
    )
    first, second = choice.parts
    assert isinstance(first, Text)
    assert isinstance(second, Text)
    assert first.citations == (
        Citation("url", "https://a.example", "a", None, 6, 9),
        Citation("url", "x:1", None, "q", 6, 9),
        Citation("url", "https://a.example", "a"),
        Citation("url", "https://b.example", None, None, 0, 2),
    )
    assert second.citations == (Citation("url", "https://a.example", "a", None, 0, 2),)
    assert "groundingMetadata" in choice.extra


def test_citations_of_others_become_grounding_in_bytes() -> None:
    cited = Text(
        "Größe ö ü.", (Citation("url", "https://a.example", "a", None, 6, 9), Citation("url", "https://a.example", "a"))
    )
    body, losses = gemini.encode_answer(Answer("x", "i", "m", (Choice(0, (Reasoning("hm"), cited), "stop"),)))
    assert losses == ()
    assert json.loads(body)["candidates"][0]["groundingMetadata"] == {
        "groundingChunks": [{"web": {"uri": "https://a.example", "title": "a"}}],
        "groundingSupports": [
            {"segment": {"partIndex": 1, "startIndex": 8, "endIndex": 13, "text": "ö ü"}, "groundingChunkIndices": [0]},
            {"segment": {"partIndex": 1, "endIndex": 14, "text": "Größe ö ü."}, "groundingChunkIndices": [0]},
        ],
    }
    decoded_again = gemini.decode_answer(body).choices[0].parts[1]
    assert isinstance(decoded_again, Text)
    assert decoded_again.citations[0] == cited.citations[0]


@pytest.mark.parametrize(
    "result",
    [
        {"chosenCandidates": [{"token": "a"}]},
        {"chosenCandidates": []},
        {"topCandidates": []},
        {"chosenCandidates": [{"token": "a", "logProbability": -1}], "topCandidates": [1]},
        {"chosenCandidates": [{"token": "a", "logProbability": -1}], "topCandidates": []},
    ],
)
def test_log_probabilities_of_another_shape_are_kept_as_they_came(result: Any) -> None:
    choice = answered(content=turn({"text": "a"}, role="model"), logprobsResult=result)
    assert choice.extra["logprobsResult"] == result
    assert choice.parts == (Text("a"),)


def test_log_probabilities() -> None:
    result = {"chosenCandidates": [{"token": "a", "logProbability": -1, "tokenId": 4}], "logProbabilitySum": -1.0}
    body = {"candidates": [{"content": turn({"text": "a"}, role="model"), "logprobsResult": result}]}
    answer = gemini.decode_answer(json.dumps(body).encode())
    text = answer.choices[0].parts[0]
    assert isinstance(text, Text)
    assert text.logprobs == (TokenLogprob("a", -1, extra={"tokenId": 4}),)
    assert json.loads(gemini.encode_answer(answer)[0]) == body


def test_a_call_whose_arguments_are_no_json_is_left_out_and_never_repaired() -> None:
    broken = Choice(0, (ToolCall("1", "f", '{"a": 1'), ToolCall("2", "g", "")), "tool_calls")
    body, losses = gemini.encode_answer(Answer("openai-chat", "i", "m", (broken,)))
    candidate = json.loads(body)["candidates"][0]
    assert candidate["content"]["parts"] == [{"functionCall": {"id": "2", "name": "g", "args": {}}}]
    assert candidate["finishReason"] == "MALFORMED_FUNCTION_CALL"
    assert [loss.field for loss in losses] == ["choices[0].parts[0]"]
    cut = msgspec.structs.replace(broken, finish="length")
    body, _ = gemini.encode_answer(Answer("openai-chat", "i", "m", (cut,)))
    assert json.loads(body)["candidates"][0]["finishReason"] == "MAX_TOKENS"


def test_a_time_that_is_none_is_kept_as_it_came() -> None:
    for stamp in ("yesterday", "2026-01-01T00:00:00", "2026-01-01T00:00:00.5Z"):
        body = {"candidates": [{"finishReason": "STOP"}], "createTime": stamp}
        answer = gemini.decode_answer(json.dumps(body).encode())
        assert json.loads(gemini.encode_answer(answer)[0]) == body
    made = json.loads(gemini.encode_answer(Answer("x", "i", "m", (), created=0))[0])
    assert made == {"candidates": [], "modelVersion": "m", "responseId": "i", "createTime": "1970-01-01T00:00:00Z"}


# --- streams ---------------------------------------------------------------------------------------------------------


def written(*events: Any, array: bool = False) -> tuple[bytes, list[str]]:
    encoder = gemini.StreamEncoder(array=array)
    wire = b"".join(encoder.encode(event) for event in [Started("openai-chat", "i", "m"), *events])
    return wire, [loss.field for loss in encoder.losses]


def test_nothing_looks_finished_before_the_end() -> None:
    text = (
        PartStarted(0, 0, Text("")),
        Delta(0, 0, "Hi"),
        PartEnded(0, 0),
        Finished(0, "stop", "stop"),
        Used(Usage(1, 2)),
    )
    open_end, _ = written(*text)
    failed, _ = written(*text, Failed(Fault(status=502, message="gone")))
    whole, _ = written(*text, Ended())
    assert b"finishReason" not in open_end
    assert b"finishReason" not in failed
    last = json.loads(whole.split(b"data: ")[-1])
    assert last["candidates"][0]["finishReason"] == "STOP"
    assert last["usageMetadata"] == {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3}


def test_an_array_is_whole_json_in_every_case() -> None:
    text = (PartStarted(0, 0, Text("")), Ping(), Delta(0, 0, "Hi"), PartEnded(0, 0), Finished(0, "stop"))
    for end, count in ((Ended(), 2), (Failed(Fault(message="gone")), 2)):
        assert len(json.loads(written(*text, end, array=True)[0])) == count
    assert json.loads(written(Failed(Fault(message="gone")), array=True)[0])[0]["error"]["code"] == 503


def test_arguments_wait_until_a_call_is_whole_and_broken_ones_are_left_out() -> None:
    def call(text: str, finish: Any) -> bytes:
        start = PartStarted(0, 0, ToolCall("c1", "f"))
        return written(
            start, Delta(0, 0, text[:3]), Delta(0, 0, text[3:]), PartEnded(0, 0), Finished(0, finish), Ended()
        )[0]

    assert b'{"functionCall":{"id":"c1","name":"f","args":{"a":1}}}' in call('{"a":1}', "tool_calls")
    assert b"functionCall" not in call('{"a":1', "tool_calls")
    assert b"MALFORMED_FUNCTION_CALL" in call('{"a":1', "tool_calls")
    assert b"MAX_TOKENS" in call('{"a":1', "length")


def test_what_a_stream_cannot_carry_is_announced() -> None:
    wire, lost = written(
        PartStarted(0, 0, Reasoning(summary="")),
        Delta(0, 0, "hm", signature="c2ln"),
        Delta(0, 0, sealed="c2ln"),
        PartEnded(0, 0),
        PartStarted(0, 1, Text("")),
        Delta(
            0, 1, "a", signature="no base64", citations=(Citation("page", quote="q"), Citation("url", "u", quote="q"))
        ),
        PartEnded(0, 1),
        PartStarted(0, 2, Text("")),
        Delta(0, 2, "b", signature="c2ln"),
        PartEnded(0, 2),
        PartStarted(0, 3, Unknown("new", {})),
        PartEnded(0, 3),
        PartStarted(0, 4, Audio(id="a")),
        Delta(0, 4, "said", "AAAA"),
        PartEnded(0, 4),
        PartStarted(0, 5, Reasoning("whole", sealed="x")),
        PartEnded(0, 5),
        PartStarted(0, 6, ToolCall("h", "search", kind="hosted")),
        PartEnded(0, 6),
        Finished(0, "refusal"),
        Ended(),
    )
    assert lost == [
        "choices[0].parts[0].signature",
        "choices[0].parts[0].sealed",
        "choices[0].parts[1].citations",
        "choices[0].parts[1].citations",
        "choices[0].parts[1].signature",
        "choices[0].parts[2]",
        "choices[0].parts[3]",
        "choices[0].parts[4].transcript",
        "choices[0].parts[5].sealed",
        "choices[0].parts[6]",
        "choices[0].finish",
    ]
    assert b'"thoughtSignature":"c2ln"' in wire
    assert b'"groundingSupports"' in wire


def test_junk_where_a_stream_should_be() -> None:
    for junk, kind in ((b"[7, 8]", "malformed_events"), (b"[{}, x]", "malformed_events"), (b"\xef\xbb", "stream_cut")):
        decoder = gemini.StreamDecoder()
        last = (decoder.feed(junk) + decoder.close())[-1]
        assert isinstance(last, Failed)
        assert last.fault.kind == kind


def test_an_event_without_bound_is_refused() -> None:
    for start in (b'[{"candidates":[{"content":{"parts":[{"text":"', b'data: {"text":"'):
        decoder = gemini.StreamDecoder()
        events = decoder.feed(start)
        for _ in range(17):
            events += decoder.feed(b"a" * 1024 * 1024)
        last = (events + decoder.close())[-1]
        assert isinstance(last, Failed)
        assert last.fault.kind == "malformed_events"


def test_a_time_in_milliseconds_is_a_loss() -> None:
    body, losses = gemini.encode_answer(Answer("x", "i", "m", (), created=1753879075170))
    assert "createTime" not in json.loads(body)
    assert [loss.field for loss in losses] == ["created"]


def test_fields_of_another_dialects_chunks_are_announced() -> None:
    encoder = gemini.StreamEncoder()
    for event in (
        Started("openai-chat", "i", "m", 0, "default", {"system_fingerprint": "f"}),
        Extras(None, {"provider": "p"}),
        Extras(0, {"odd": 1}),
        Used(Usage(1, 2), {"x": 1}),
        PartStarted(0, 0, Reasoning("whole at once")),
    ):
        encoder.encode(event)
    assert [loss.field for loss in encoder.losses] == [
        "system_fingerprint",
        "service_tier",
        "provider",
        "choices[0].odd",
        "usage.x",
    ]


def test_fields_of_a_chunk_may_change_under_way() -> None:
    first = {"candidates": [{"content": turn({"text": "a"}, role="model")}], "responseId": "1", "modelStatus": {"a": 1}}
    last = {"candidates": [{"finishReason": "STOP"}], "responseId": "2", "newField": 1}
    wire = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in (first, last))
    decoder, encoder = gemini.StreamDecoder(), gemini.StreamEncoder()
    sent = b"".join(encoder.encode(event) for event in decoder.feed(wire) + decoder.close()).split(b"data: ")[1:]
    chunks = [json.loads(chunk) for chunk in sent]
    assert [chunk["responseId"] for chunk in chunks] == ["1", "2"]
    assert chunks[0]["modelStatus"] == {"a": 1}
    assert chunks[1]["newField"] == 1
