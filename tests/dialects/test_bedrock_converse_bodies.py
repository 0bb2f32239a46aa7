"""Converse: bodies of its own come back as they were; those of other dialects are fitted, and every loss is told."""

import json
from typing import Any

import pytest

from tests.dialects.join import unjoin
from understudy.canon import (
    Answer,
    Audio,
    CacheHint,
    Choice,
    Citation,
    Delta,
    Ended,
    Event,
    Extras,
    File,
    Finished,
    Image,
    Inline,
    Loss,
    Message,
    Part,
    PartEnded,
    PartStarted,
    Reasoning,
    ReasoningEffort,
    Refusal,
    Request,
    ResponseFormat,
    Sampling,
    Started,
    Stored,
    Text,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Unknown,
    Url,
    Usage,
    Used,
)
from understudy.canon.join import join
from understudy.dialects import bedrock_converse
from understudy.dialects.wire import Malformed

NAME = "bedrock-converse"
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "us.amazon.nova-2-lite-v1:0"
HI = Message("user", (Text("Hi"),))
BLOCKS = [
    {"text": ""},
    {"text": "Hi"},
    {"cachePoint": {"type": "default"}},
    {"cachePoint": {"type": "default", "ttl": "1h"}},
    {"image": {"format": "png", "source": {"bytes": "iVBORw0="}}},
    {"cachePoint": {"type": "default", "ttl": "5m"}},
    {"image": {"format": "jpeg", "source": {"s3Location": {"uri": "s3://a/b.jpg", "bucketOwner": "123456789012"}}}},
    {"image": {"format": "jpeg", "source": {"s3Location": {"uri": "s3://a/b.jpg"}}}},
    {"image": {"format": "png", "source": {"other": 1}}},
    {"audio": {"format": "mp3", "source": {"bytes": "SUQz"}}},
    {"audio": {"format": "mp3", "source": {"text": "no sound"}}},
    {"video": {"format": "mp4", "source": {"bytes": "AAAA"}}},
    {"document": {"format": "pdf", "name": "a", "source": {"bytes": "JVBERi0"}, "citations": {"enabled": True}}},
    {"document": {"format": "md", "name": "a", "source": {"text": "# A"}, "citations": {"enabled": False}}},
    {"document": {"name": "b", "source": {"content": [{"text": "x"}, {"text": "y"}]}, "context": "c"}},
    {"document": {"format": "docx", "name": "c", "source": {"s3Location": {"uri": "s3://a/c.docx"}}}},
    {"document": {"format": "pdf", "name": "d", "source": {"content": [{"image": {}}]}}},
    {"guardContent": {"text": {"text": "guarded", "qualifiers": ["query"]}}},
    {"guardContent": {"image": {"format": "png", "source": {"bytes": "iVBORw0="}}}},
    {"searchResult": {"title": "t", "source": "s", "content": [{"text": "found"}], "citations": {"enabled": True}}},
    {"citationsContent": {"content": [{"text": "a"}], "citations": [{"title": "t", "source": "https://x.example/"}]}},
    {"citationsContent": {"content": [{"text": "a"}, {"text": "b"}], "citations": []}},
    {"citationsContent": {"content": [{"odd": 1}]}},
    {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": [1, 2.5, None]}}},
    {"toolUse": {"toolUseId": "t2", "name": "g", "input": "text", "type": "server_tool_use"}},
    {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}},
    {"reasoningContent": {"reasoningText": {"text": "hm"}}},
    {"reasoningContent": {"redactedContent": "c2VhbA=="}},
    {"reasoningContent": {"newKind": 1}},
    {"newBlock": {"a": 1}},
    {"type": "text", "text": "with its kind"},
]
RESULTS = [
    {"toolResult": {"toolUseId": "t1", "content": [{"json": {"a": 1}}, {"text": "x"}], "status": "success"}},
    {"toolResult": {"toolUseId": "t2", "content": [], "status": "error"}},
    {"toolResult": {"toolUseId": "t3", "content": [{"toolResult": {}}, {"video": {}}], "status": "odd"}},
]
WHOLE = {
    "messages": [
        {"role": "user", "content": [*BLOCKS, *RESULTS, {"text": "after"}]},
        {"role": "assistant", "content": []},
        {"role": "system", "content": [{"text": "inline"}]},
    ],
    "system": [{"text": "S"}, {"cachePoint": {"type": "default"}}, {"guardContent": {"text": {"text": "g"}}}],
    "inferenceConfig": {"maxTokens": 9, "temperature": 0.5, "topP": 1, "stopSequences": [], "later": 1},
    "toolConfig": {
        "tools": [
            {
                "toolSpec": {
                    "name": "f",
                    "description": "d",
                    "inputSchema": {"json": {"type": "object"}},
                    "strict": True,
                }
            },
            {"cachePoint": {"type": "default"}},
            {"cachePoint": {"type": "default"}},
            {"systemTool": {"name": "nova_grounding"}},
            {"newTool": {}},
        ],
        "toolChoice": {"tool": {"name": "f"}},
        "later": 2,
    },
    "additionalModelRequestFields": {"top_k": 5, "thinking": {"type": "enabled", "budget_tokens": 2000}, "x": 1},
    "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1", "trace": "enabled"},
    "performanceConfig": {"latency": "optimized"},
    "requestMetadata": {"team": "a"},
    "serviceTier": {"type": "flex"},
    "outputConfig": {
        "textFormat": {
            "type": "json_schema",
            "structure": {"jsonSchema": {"schema": '{"type": "object"}', "name": "n"}},
        }
    },
    "promptVariables": {"v": {"text": "x"}},
}


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def again(value: Any) -> Any:
    encoded, losses = bedrock_converse.encode_request(bedrock_converse.decode_request(body(value)))
    assert losses == ()
    return json.loads(encoded)


def foreign(*messages: Message, model: str = CLAUDE, **fields: Any) -> tuple[Any, dict[str, Loss]]:
    encoded, losses = bedrock_converse.encode_request(Request("openai-chat", model, messages, **fields))
    return json.loads(encoded), {loss.field: loss for loss in losses}


# --- its own ---------------------------------------------------------------------------------------------------------


def test_a_request_with_everything_comes_back_as_it_was() -> None:
    assert again(WHOLE) == WHOLE


@pytest.mark.parametrize(
    "more",
    [
        {"inferenceConfig": {"topK": 3}},
        {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}},
        {"reasoning_config": {"type": "disabled"}},
        {"thinking": {"type": "adaptive"}},
        {"top_k": "many"},
        {},
    ],
)
@pytest.mark.parametrize("choice", [{"auto": {}}, {"any": {}}])
def test_what_only_some_models_take_comes_back(more: Any, choice: Any) -> None:
    tools = {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {}}}}], "toolChoice": choice}
    wire = {"messages": [], "additionalModelRequestFields": more, "toolConfig": tools, "inferenceConfig": {}}
    assert again(wire) == wire


@pytest.mark.parametrize("schema", ["no json", "[]"])
def test_a_schema_that_is_none_comes_back(schema: str) -> None:
    inner = {"jsonSchema": {"schema": schema}}
    wire = {"messages": [], "outputConfig": {"textFormat": {"type": "json_schema", "structure": inner}}}
    assert again(wire) == wire


def test_model_and_stream_are_put_in_from_the_path() -> None:
    request = bedrock_converse.decode_request(body({"messages": []}))
    assert (request.model, request.stream) == ("", False)
    found = bedrock_converse.with_path(request, "amazon.nova-lite-v1%3A0", stream=True)
    assert (found.model, found.stream) == ("amazon.nova-lite-v1:0", True)


@pytest.mark.parametrize(
    ("wire", "field"),
    [
        ([], "body"),
        ({}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": [{"role": "bot", "content": []}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [3]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"text": 3}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"toolUse": {}}]}]}, "messages[0].content[0].toolUse.input"),
        ({"messages": [{"role": "user", "content": [{"image": {}}]}]}, "messages[0].content[0].image.source"),
        ({"messages": [{"role": "user", "content": [
            {"reasoningContent": {"reasoningText": {"text": "", "signature": 1}}}]}]},
         "messages[0].content[0].reasoningContent.reasoningText.signature"),
        ({"messages": [], "toolConfig": {"toolChoice": {"x": 1}}}, "toolConfig.toolChoice"),
        ({"messages": [], "inferenceConfig": {"maxTokens": "x"}}, "inferenceConfig.maxTokens"),
        ({"messages": [], "requestMetadata": {"a": 1}}, "requestMetadata.a"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_its_path(wire: Any, field: str) -> None:
    with pytest.raises(Malformed) as caught:
        bedrock_converse.decode_request(body(wire))
    assert caught.value.field == field


@pytest.mark.parametrize("wire", [{}, {"output": {}}, {"output": {"message": {}}}, {"message": "An error."}, []])
def test_what_is_no_answer_is_malformed(wire: Any) -> None:
    with pytest.raises(Malformed):
        bedrock_converse.decode_answer(body(wire))


def test_an_answer_with_everything_comes_back_as_it_was() -> None:
    wire = {
        "output": {"message": {"role": "assistant", "content": [*BLOCKS, *RESULTS]}, "later": 1},
        "stopReason": "new_reason",
        "usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 13, "cacheReadInputTokens": 10, "more": {"a": 1}},
        "metrics": {"latencyMs": 5},
        "trace": {"promptRouter": {"invokedModelId": "m"}},
        "serviceTier": {"type": "priority"},
    }
    answer = bedrock_converse.decode_answer(body(wire))
    assert answer.usage is not None
    assert (answer.usage.input, answer.choices[0].finish) == (11, "unknown")
    encoded, losses = bedrock_converse.encode_answer(answer)
    assert (json.loads(encoded), losses) == (wire, ())


# --- another dialect's request ---------------------------------------------------------------------------------------


def test_pictures_and_documents_of_every_format_go_along_and_are_named() -> None:
    pdf, text = Inline("JVBERi0xLjc="), Inline("SGk=", "text/x-python")
    sheet = Inline("UEsDBA==", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")
    parts = (
        Image(Inline("/9j/", "image/jpg"), cache=CacheHint(3600)),
        File(pdf, filename="my_report.v1.pdf"),
        File(pdf, title="my report", context="c", citations=True),
        File(text),
        File(sheet, filename="my_report.v1.pdf"),
    )
    out, losses = foreign(Message("user", parts))
    assert out["messages"][0]["content"] == [
        {"image": {"format": "jpeg", "source": {"bytes": "/9j/"}}},
        {"cachePoint": {"type": "default", "ttl": "1h"}},
        {"document": {"format": "pdf", "name": "my report v1 pdf", "source": {"bytes": "JVBERi0xLjc="}}},
        {"document": {"format": "pdf", "name": "my report", "source": {"bytes": "JVBERi0xLjc="}, "context": "c",
                      "citations": {"enabled": True}}},
        {"document": {"format": "txt", "name": "document", "source": {"bytes": "SGk="}}},
        {"document": {"format": "xlsx", "name": "my report v1 pdf 2", "source": {"bytes": "UEsDBA=="}}},
        {"text": "..."},
    ]  # fmt: skip
    assert "messages" in losses


def test_what_cannot_be_sent_along_is_a_loss_with_its_path() -> None:
    parts = (
        Text("See"),
        Image(Url("https://x.example/a.png")),
        File(Url("https://x.example/a.pdf")),
        Image(Stored("file-1")),
        Image(Inline("QUFB", "image/tiff")),
        File(Inline("QUFB", "application/zip")),
        Audio(Inline("QUFB"), "mp3"),
        Unknown("video", {}),
    )
    out, losses = foreign(Message("user", parts))
    assert out["messages"] == [{"role": "user", "content": [{"text": "See"}]}]
    assert {field.split("]")[1].strip(".") for field in losses} >= {"parts[1", "parts[2", "parts[3", "parts[4"}
    assert len(losses) == 7


def test_calls_and_results_match_within_the_rules_for_ids_and_names() -> None:
    long = "call_" + "x" * 80
    call, result = ToolCall(long, "f." * 50, '{"a":1}'), ToolResult(long, (Text("1"),), failed=True)
    out, losses = foreign(HI, Message("assistant", (call,)), Message("tool", (result,)), tools=(Tool("f." * 50),),
                          tool_choice=ToolChoice("required", ("f." * 50,)), parallel_tool_calls=False)  # fmt: skip
    use = out["messages"][1]["content"][0]["toolUse"]
    answer = out["messages"][2]["content"][0]["toolResult"]
    assert use["toolUseId"] == answer["toolUseId"]
    assert len(use["toolUseId"]) <= 64
    named = out["toolConfig"]["tools"][0]["toolSpec"]["name"]
    assert use["name"] == named == out["toolConfig"]["toolChoice"]["tool"]["name"]
    assert len(named) <= 64
    assert answer["status"] == "error"
    expected = {"messages[1].parts[0].id", "messages[1].parts[0].name", "tools[0].name", "parallel_tool_calls"}
    assert losses.keys() == expected


def test_tools_are_there_where_calls_are_and_gone_where_none_may_be_called() -> None:
    history = (HI, Message("assistant", (ToolCall("c", "f", "{}"),)), Message("tool", (ToolResult("c"),)))
    out, losses = foreign(*history)
    assert out["toolConfig"]["tools"] == [{"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}}}}]
    assert losses.keys() == {"tools"}
    assert out["messages"][2]["content"][0]["toolResult"]["content"] == [{"text": "..."}]
    out, losses = foreign(HI, tools=(Tool("f"),), tool_choice=ToolChoice("none"))
    assert "toolConfig" not in out
    assert losses["tool_choice"].kind == "approximated"
    out, losses = foreign(*history, tools=(Tool("f", cache=CacheHint()),), tool_choice=ToolChoice("none"))
    assert out["toolConfig"]["tools"][1] == {"cachePoint": {"type": "default"}}
    assert "toolChoice" not in out["toolConfig"]
    assert losses["tool_choice"].kind == "approximated"
    out, _ = foreign(HI, tools=(Tool("f"),), tool_choice=ToolChoice("auto"))
    assert out["toolConfig"]["toolChoice"] == {"auto": {}}


def test_sampling_and_thinking_are_as_the_model_takes_them() -> None:
    sampling = Sampling(temperature=1.5, top_k=5, stop=("x",), seed=3)
    out, losses = foreign(HI, sampling=sampling, model=NOVA, reasoning=ReasoningEffort("low", summary="auto"))
    assert out["inferenceConfig"] == {"temperature": 1, "stopSequences": ["x"]}
    assert out["additionalModelRequestFields"] == {
        "inferenceConfig": {"topK": 5},
        "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"},
    }
    assert losses.keys() == {"sampling.temperature", "sampling.seed", "reasoning.summary"}
    out, losses = foreign(HI, sampling=sampling, reasoning=ReasoningEffort(budget=2000))
    assert out["additionalModelRequestFields"]["thinking"] == {"type": "enabled", "budget_tokens": 2000}
    assert out["inferenceConfig"]["maxTokens"] > 2000
    for wanted in (ReasoningEffort("high"), ReasoningEffort(enabled=False)):
        out, losses = foreign(HI, sampling=sampling, reasoning=wanted, model="meta.llama3-8b-instruct-v1:0")
        assert "additionalModelRequestFields" not in out
        assert losses.keys() == {"sampling.temperature", "sampling.seed", "sampling.top_k", "reasoning"}


def test_effort_has_a_place_of_its_own_and_comes_back() -> None:
    out, losses = foreign(HI, model="us.anthropic.claude-opus-4-7-v1", reasoning=ReasoningEffort("low"))
    assert out["outputConfig"] == {"effort": "low"}
    assert losses.keys() == {"sampling.max_tokens"}  # filled in where the model thinks
    wire = {"messages": [], "outputConfig": {"effort": "low", "textFormat": {}}}
    assert again(wire) == wire


def test_a_schema_goes_as_text_and_settings_where_there_is_a_place() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "minLength": 2}}, "required": ["a"]}
    out, losses = foreign(HI, response_format=ResponseFormat("schema", "n", schema=schema), metadata={"a": "b"},
                          service_tier="priority", user="u")  # fmt: skip
    inner = out["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert inner["name"] == "n"
    assert json.loads(inner["schema"])["properties"]["a"]["type"] == "string"
    assert out["requestMetadata"] == {"a": "b"}
    assert out["serviceTier"] == {"type": "priority"}
    assert losses.keys() == {"response_format.schema.properties.a.minLength", "user"}
    _, losses = foreign(HI, metadata={"a": "ü"}, service_tier="scale")
    assert losses.keys() == {"metadata", "service_tier"}


def test_reasoning_goes_back_to_the_model_that_signed_it_alone() -> None:
    ours = Reasoning("hm", signature="c2ln", origin="bedrock-converse/")
    sealed = Reasoning(sealed="c2VhbA==", origin="anthropic-messages/")
    history = (HI, Message("assistant", (ours, sealed, Reasoning("x", origin="openai/"), Text("A"))), HI)
    out, losses = foreign(*history)
    assert out["messages"][1]["content"][:2] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": "c2VhbA=="}},
    ]
    assert losses.keys() == {"messages[1].parts[2]"}
    out, losses = foreign(*history, model=NOVA)
    assert out["messages"][1]["content"] == [{"text": "A"}]
    assert losses.keys() == {f"messages[1].parts[{i}]" for i in range(3)}


# --- answers and streams of other dialects ---------------------------------------------------------------------------


PARTS: tuple[Part, ...] = (
    Reasoning("sum", "short", sealed="x", id="rs_1", origin="openai/gpt"),
    Reasoning("plain"),
    Text("Hi", (Citation(url="https://x.example/", title="t", quote="q"),), (TokenLogprob("Hi", 0.0),), signature="s"),
    Refusal("No."),
    ToolCall("c.1", "f", '{"a":1}'),
    ToolCall("c2", "free", "text", "custom"),
    ToolCall("h", "search", "{}", "hosted"),
    Image(Inline("iVBORw0=", "image/png")),
    Audio(Inline("SUQz")),
)
LOST = {2: ("logprobs", "signature"), 4: ("id",), 5: ("arguments",)}


def test_a_foreign_answer_says_what_it_could_not_carry_and_reasoning_comes_back_whole() -> None:
    usage = Usage(20, 5, None, 10, 4, 3, estimated=True, extra={"odd": 1})
    answer = Answer("openai-chat", "i", "m", (Choice(0, PARTS, "refusal"), Choice(1, ())), usage, 3, "scale")
    encoded, losses = bedrock_converse.encode_answer(answer)
    wire = json.loads(encoded)
    assert wire["usage"] == {"inputTokens": 6, "outputTokens": 5, "totalTokens": 25, "cacheReadInputTokens": 10,
                             "cacheWriteInputTokens": 4}  # fmt: skip
    assert wire["stopReason"] == "content_filtered"
    assert {loss.field for loss in losses} == {
        *(f"choices[0].parts[{i}].{name}" for i, names in LOST.items() for name in names),
        *(f"choices[0].parts[{i}]" for i in (3, 6, 8)),
        *("choices[1]", "choices[0].finish", "usage.reasoning", "usage.estimated", "usage.odd", "service_tier"),
    }
    back = bedrock_converse.decode_answer(encoded).choices[0].parts
    assert back[0] == PARTS[0]
    assert isinstance(back[2], Text)
    assert (back[2].citations[0].url, back[2].citations[0].quote) == ("https://x.example/", "q")
    assert wire["output"]["message"]["content"][5]["toolUse"]["input"] == {"input": "text"}


def test_a_foreign_stream_says_the_same_and_its_blocks_come_one_after_the_other() -> None:
    texts = tuple(part for part in PARTS if not isinstance(part, Audio))
    answer = Answer("openai-chat", "i", "m", (Choice(0, texts, "tool_calls"), Choice(1, (Text("x"),), "stop")))
    encoder = bedrock_converse.StreamEncoder()
    decoder = bedrock_converse.StreamDecoder()
    found = decoder.feed(b"".join(encoder.encode(event) for event in [*unjoin(answer), Ended()]))
    assert isinstance(found[-1], Ended)
    parts = join(found).choices[0].parts
    kinds = [Reasoning, Reasoning, Text, Text, ToolCall, ToolCall, Image]
    assert [type(part) for part in parts] == kinds
    assert isinstance(parts[5], ToolCall)
    assert json.loads(parts[5].arguments) == {"input": "text"}
    fields = {loss.field for loss in encoder.losses}
    assert fields >= {"choices[1]", "usage", "choices[0].parts[3]", "choices[0].parts[6]", "choices[0].parts[4].id"}


def test_parts_that_alternate_wait_for_their_turn() -> None:
    events: list[Event] = [
        Started("openai-chat", service_tier="flex", extra={"odd": 1}),
        PartStarted(0, 0, ToolCall("a", "f")),
        PartStarted(0, 1, ToolCall("b", "g")),
        Delta(0, 1, '{"b"'),
        Delta(0, 0, "{not json"),
        Delta(0, 1, ":1}"),
        PartEnded(0, 1),
        PartEnded(0, 0),
        PartStarted(0, 2, Reasoning(origin="anthropic/c", sealed="zzz")),
        PartEnded(0, 2),
        PartStarted(0, 3, Reasoning(origin=NAME + "/", sealed="c2VhbA==")),
        PartEnded(0, 3),
        Extras(0, {"later": 1}),
        Used(Usage(1, 2), {"seen": 1}),
        Finished(0, "paused", extra={"why": 1}),
        Ended(),
    ]
    encoder, decoder = bedrock_converse.StreamEncoder(), bedrock_converse.StreamDecoder()
    found = decoder.feed(b"".join(encoder.encode(event) for event in events))
    calls = [p for p in join(found).choices[0].parts if isinstance(p, ToolCall)]
    assert [(call.id, call.arguments) for call in calls] == [("a", "{not json"), ("b", '{"b":1}')]
    assert [event.sealed for event in found if isinstance(event, Delta) and event.sealed] == ["c2VhbA=="]
    fields = {
        "odd",
        "choices[0].parts[0].arguments",
        "choices[0].later",
        "usage.seen",
        "choices[0].finish",
        "choices[0].why",
    }
    assert {loss.field for loss in encoder.losses} == fields


def test_a_part_without_a_form_in_a_stream_is_an_empty_text_and_told() -> None:
    encoder, decoder = bedrock_converse.StreamEncoder(), bedrock_converse.StreamDecoder()
    part = Unknown("newBlock", {"newBlock": {}})
    events: list[Event] = [Started(NAME), PartStarted(0, 0, part), Delta(0, 0, "x"), PartEnded(0, 0), PartEnded(0, 9)]
    found = decoder.feed(b"".join(encoder.encode(event) for event in [*events, Finished(0, "stop"), Ended()]))
    assert [event.part for event in found if isinstance(event, PartStarted)] == [Text("")]
    assert [loss.field for loss in encoder.losses] == ["choices[0].parts[0]"]
