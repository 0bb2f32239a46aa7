"""What Gemini's bodies mean: spellings, ids, results, thoughts, citations, usage, and what is written for others."""

import contextlib
import json
from typing import Any

import msgspec
import pytest

from understudy.canon import (
    Audio,
    File,
    Image,
    Inline,
    Message,
    Reasoning,
    Request,
    Sampling,
    Stored,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Url,
)
from understudy.dialects import Malformed, gemini


def decoded(**body: Any) -> Request:
    return gemini.decode_request(json.dumps({"contents": [], **body}).encode())


def turn(*parts: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "parts": list(parts)}


def parts_of(*parts: Any, role: str = "user") -> tuple[Any, ...]:
    return decoded(contents=[turn(*parts, role=role)]).messages[0].parts


def again(body: dict[str, Any]) -> Any:
    encoded, losses = gemini.encode_request(gemini.decode_request(json.dumps(body).encode()))
    assert losses == ()
    return json.loads(encoded)


ROUND = [
    {"contents": [{"parts": [{"text": "hi"}]}]},
    {"contents": [turn({"text": "hi"}), turn({"text": ""}), turn({})], "generationConfig": {}},
    {
        "contents": [
            turn({"inline_data": {"mime_type": "image/png", "data": "AA=="}, "media_resolution": {"level": "X"}})
        ]
    },
    {"contents": [turn({"inlineData": {"mimeType": "application/pdf", "data": "AA==", "displayName": "a.pdf"}})]},
    {
        "contents": [
            turn({"inlineData": {"data": "AA==", "new": 1}}),
            turn({"inlineData": {"mimeType": "audio/wav", "data": "A"}}),
        ]
    },
    {
        "contents": [
            turn({"file_data": {"file_uri": "gs://b/a.mp4", "mime_type": "video/mp4"}, "videoMetadata": {"fps": 2}})
        ]
    },
    {"contents": [turn({"fileData": {"fileUri": "https://www.youtube.com/watch?v=1", "x": 1}}, {"newKind": {"a": 1}})]},
    {
        "contents": [
            turn(
                {"functionCall": {"name": "f"}},
                {"functionCall": {"name": "f", "args": {}, "id": "1", "y": 2}},
                role="model",
            )
        ]
    },
    {
        "contents": [
            turn(
                {"functionResponse": {"name": "f", "response": {"output": "1"}}},
                {"text": "and"},
                {"functionResponse": {"name": "f", "response": {"a": [1.0]}, "willContinue": False}},
            )
        ]
    },
    {"contents": [turn({"functionResponse": {"id": "1", "response": {"result": 5}, "parts": []}})]},
    {
        "contents": [
            turn(
                {
                    "functionResponse": {
                        "name": "f",
                        "response": {"error": "no"},
                        "parts": [{"inlineData": {"data": "A"}}],
                    }
                }
            )
        ]
    },
    {"contents": [turn({"functionResponse": {"name": "f"}}, role="function")]},
    {
        "contents": [
            turn(
                {"executableCode": {"code": "1", "language": "PYTHON"}, "thoughtSignature": "AA"},
                {"codeExecutionResult": {"outcome": "OUTCOME_FAILED", "output": "x"}},
                {"codeExecutionResult": {"id": "7"}},
                role="model",
            )
        ]
    },
    {"contents": [turn({"thought": True, "thoughtSignature": "AA"}, {"text": "", "thought": True}, role="model")]},
    {
        "contents": [],
        "systemInstruction": {"parts": [{"text": "a"}, {"text": "b"}], "role": "system"},
        "model": "models/m",
    },
    {"contents": [], "system_instruction": {"parts": []}, "cached_content": "c", "labels": {"a": "b"}, "store": False},
    {
        "contents": [],
        "tools": [
            {"googleSearch": {}, "function_declarations": [{"name": "f", "parameters": None}]},
            {"url_context": {}},
            {"functionDeclarations": []},
            {"functionDeclarations": [{"name": "g", "behavior": "BLOCKING"}]},
        ],
    },
    {
        "contents": [],
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": "f",
                        "parameters": {
                            "type": "OBJECT",
                            "nullable": True,
                            "properties": {"type": {"type": "STRING", "maxLength": "5"}},
                            "any_of": [{"items": {"type": "INTEGER"}}],
                            "property_ordering": ["type"],
                        },
                    },
                    {"name": "g", "parameters_json_schema": {"type": "object"}},
                ]
            }
        ],
    },
    {
        "contents": [],
        "toolConfig": {"functionCallingConfig": {"mode": "any", "allowedFunctionNames": ["f"]}, "retrievalConfig": {}},
    },
    {
        "contents": [],
        "tool_config": {"function_calling_config": {"mode": "VALIDATED", "allowed_function_names": ["f"]}},
    },
    {"contents": [], "toolConfig": {"functionCallingConfig": {"mode": "NEW", "x": 1}}},
    {"contents": [], "toolConfig": {"functionCallingConfig": {}, "includeServerSideToolInvocations": True}},
    {
        "contents": [],
        "generation_config": {
            "top_k": 40.0,
            "stop_sequences": [],
            "response_modalities": ["Image"],
            "speechConfig": {"a": 1},
        },
    },
    {"contents": [], "generationConfig": {"responseLogprobs": True, "logprobs": 3, "candidateCount": 2, "seed": -1}},
    {"contents": [], "generationConfig": {"responseLogprobs": False, "logprobs": 3, "responseModalities": []}},
    {
        "contents": [],
        "generationConfig": {"thinkingConfig": {"thinking_budget": -1, "includeThoughts": False, "new": 1}},
    },
    {"contents": [], "generationConfig": {"thinkingConfig": {"thinkingLevel": "low", "includeThoughts": True}}},
    {"contents": [], "generationConfig": {"thinkingConfig": {"thinkingBudget": 0}, "maxOutputTokens": 5}},
    {"contents": [], "generationConfig": {"thinkingConfig": {}, "responseMimeType": "text/plain"}},
    {
        "contents": [],
        "generationConfig": {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["a"]}},
    },
    {"contents": [], "generationConfig": {"responseSchema": {"type": "OBJECT"}}},
    {
        "contents": [],
        "generationConfig": {"responseMimeType": "application/json", "responseSchema": {"type": "object"}},
    },
    {
        "contents": [],
        "generationConfig": {"response_mime_type": "application/json", "response_json_schema": {"type": "object"}},
    },
    {
        "contents": [],
        "generationConfig": {"responseMimeType": "application/json"},
        "serviceTier": "flex",
        "safetySettings": [{"category": 1}],
    },
    {
        "contents": [],
        "generationConfig": {"responseSchema": {}, "responseJsonSchema": {}, "responseMimeType": "application/json"},
    },
    {"contents": [], "contents_": 1, "inline_data": 1, "inlineData": 2},
]


@pytest.mark.parametrize("body", ROUND, ids=range(len(ROUND)))
def test_a_request_of_this_dialect_comes_back_as_the_client_spelt_it(body: dict[str, Any]) -> None:
    assert again(body) == body


def test_model_and_stream_come_from_the_url() -> None:
    request = decoded()
    assert (request.model, request.stream) == ("", False)
    named = gemini.with_path(request, "models/gemini-3-flash", stream=True)
    assert (named.model, named.stream) == ("gemini-3-flash", True)
    assert json.loads(gemini.encode_request(named)[0]) == {"contents": []}
    moved = gemini.with_path(decoded(model="models/old"), "new", stream=False)
    assert json.loads(gemini.encode_request(moved)[0])["model"] == "models/new"


def test_kinds_of_parts() -> None:
    image, sound, film, held, page, code = parts_of(
        {"inlineData": {"mimeType": "image/png", "data": "AA"}},
        {"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": "AA"}},
        {"inlineData": {"mimeType": "video/mp4", "data": "AA"}},
        {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/1", "mimeType": "image/png"}},
        {"fileData": {"fileUri": "https://a.example/1.pdf", "mimeType": "application/pdf"}},
        {"executableCode": {"code": "1"}},
    )
    assert image == Image(Inline("AA", "image/png"))
    assert (type(sound), sound.format) == (Audio, "pcm16")
    assert film == File(Inline("AA", "video/mp4"))
    assert (type(held), type(held.source)) == (Image, Stored)
    assert page == File(Url("https://a.example/1.pdf", "application/pdf"))
    assert (code.kind, code.name, code.arguments) == ("hosted", "code_execution", '{"code":"1"}')


def test_any_part_may_be_signed() -> None:
    text, thought, call, image = parts_of(
        {"text": "a", "thoughtSignature": "AA=="},
        {"text": "b", "thought": True, "thoughtSignature": "BB=="},
        {"functionCall": {"name": "f"}, "thoughtSignature": "CC=="},
        {"inlineData": {"mimeType": "image/png", "data": "AA"}, "thoughtSignature": "DD=="},
        role="model",
    )
    assert text == Text("a", signature="AA==")
    assert thought == Reasoning("b", signature="BB==")
    assert call.signature == "CC=="
    assert image.extra == {"thoughtSignature": "DD=="}


def test_a_call_without_an_id_gets_a_steady_one_and_loses_it_on_the_way_back() -> None:
    body = {
        "contents": [
            turn(
                {"functionCall": {"name": "f", "args": {"a": 1}}},
                {"functionCall": {"name": "f", "args": {"a": 1}}},
                role="model",
            )
        ]
    }
    first, second = (gemini.decode_request(json.dumps(body).encode()).messages[0].parts for _ in range(2))
    assert [call.id for call in first] == [call.id for call in second]
    assert first[0].id != first[1].id
    assert again(body) == body
    elsewhere = Request(
        "openai-chat",
        "gemini-2.5-flash",
        (
            Message("user", (Text("x"),)),
            Message("assistant", (msgspec.structs.replace(first[0], extra={}),)),
            Message("tool", (ToolResult(first[0].id),)),
        ),
    )
    sent = json.loads(gemini.encode_request(elsewhere)[0])
    assert sent["contents"][1]["parts"] == [{"functionCall": {"name": "f", "args": {"a": 1}}}]


def test_a_result_finds_its_call_by_id_or_by_name_in_order() -> None:
    request = decoded(
        contents=[
            turn(
                {"functionCall": {"name": "f", "id": "1"}},
                {"functionCall": {"name": "g"}},
                {"functionCall": {"name": "g", "id": "3"}},
                role="model",
            ),
            turn(
                {"functionResponse": {"name": "g", "response": {"output": "x"}}},
                {"functionResponse": {"id": "1", "response": {"error": "bad"}}},
                {"functionResponse": {"name": "g", "response": {"result": 5}}},
                {"functionResponse": {"name": "lost", "response": {}}},
                {"text": "go on"},
            ),
        ]
    )
    calls = request.messages[0].parts
    tool, user = request.messages[1:]
    assert [result.call_id for result in tool.parts] == [calls[1].id, "1", "3", "lost"]
    assert [result.name for result in tool.parts] == ["g", "f", "g", "lost"]
    assert [result.failed for result in tool.parts] == [False, True, False, False]
    assert [result.parts[0].text for result in tool.parts] == ["x", "bad", '{"result":5}', "{}"]
    assert (tool.role, user.role, user.parts) == ("tool", "user", (Text("go on"),))


def test_settings_get_their_canonical_meaning() -> None:
    request = decoded(
        generationConfig={
            "topK": 40.0,
            "maxOutputTokens": 9,
            "stopSequences": ["x"],
            "responseModalities": ["TEXT"],
            "thinkingConfig": {"thinkingLevel": "HIGH", "includeThoughts": True},
            "responseSchema": {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True}}},
            "responseMimeType": "application/json",
        },
        toolConfig={"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
    )
    assert request.sampling == Sampling(top_k=40, max_tokens=9, stop=("x",))
    assert request.modalities == ("text",)
    assert request.reasoning is not None
    assert (request.reasoning.effort, request.reasoning.summary) == ("high", "auto")
    assert request.response_format is not None
    schema = {"type": "object", "properties": {"a": {"type": ["string", "null"]}}}
    assert request.response_format.schema == schema
    assert request.tool_choice == ToolChoice("required", ("f",))
    assert request.extra == {}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "contents"),
        ({"contents": None}, "contents"),
        ({"contents": [{"role": "assistant"}]}, "contents[0].role"),
        ({"contents": [turn({"text": 1})]}, "contents[0].parts[0].text"),
        ({"contents": [], "generationConfig": {"topK": 1.5}}, "generationConfig.topK"),
        ({"contents": [], "generationConfig": {"responseMimeType": 1}}, "generationConfig.responseMimeType"),
        ({"contents": [], "tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name"),
    ],
)
def test_a_mistake_is_named(body: dict[str, Any], field: str) -> None:
    with pytest.raises(Malformed) as found:
        gemini.decode_request(json.dumps(body).encode())
    assert found.value.field == field


def test_a_body_nested_too_deeply_is_refused() -> None:
    deep = b'{"items":' * 400 + b"{}" + b"}" * 400
    body = b'{"contents":[],"tools":[{"functionDeclarations":[{"name":"f","parameters":%b}]}]}' % deep
    with contextlib.suppress(Malformed):  # how deep is too deep is the interpreter's affair
        gemini.decode_request(body)
    with pytest.raises(Malformed):
        gemini.decode_answer(b'{"candidates":' + b"[" * 5000)


def test_a_tool_is_declared_with_its_json_schema() -> None:
    tool = Tool("f", parameters={"type": "object", "$schema": "x"}, description="does")
    body, losses = gemini.encode_request(
        Request("x", "m", (Message("user", (Text("a"),)),), (tool, Tool("g", parameters={})))
    )
    assert json.loads(body)["tools"] == [
        {
            "functionDeclarations": [
                {"name": "f", "description": "does", "parametersJsonSchema": {"type": "object", "$schema": "x"}},
                {"name": "g"},
            ]
        }
    ]
    assert losses == ()


def test_results_with_pictures_follow_the_model() -> None:
    call = Message("assistant", (ToolCall("1", "f", "{}"),))
    result = Message("tool", (ToolResult("1", (Text("see"), Image(Inline("AA==", "image/png")))),))

    def sent(model: str) -> Any:
        return json.loads(gemini.encode_request(Request("x", model, (Message("user", (Text("a"),)), call, result)))[0])[
            "contents"
        ]

    picture = {"inlineData": {"mimeType": "image/png", "data": "AA=="}}
    response = {"id": "1", "name": "f", "response": {"output": "see"}}
    assert sent("gemini-2.5-flash")[2]["parts"] == [{"functionResponse": response}, picture]
    assert sent("gemini-3-flash")[2]["parts"] == [{"functionResponse": {**response, "parts": [picture]}}]
    assert sent("gemini-3-flash")[1]["parts"][0]["thoughtSignature"] == "skip_thought_signature_validator"
    assert "thoughtSignature" not in sent("gemini-2.5-flash")[1]["parts"][0]
