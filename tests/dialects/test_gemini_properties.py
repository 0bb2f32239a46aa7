"""What goes out comes back: canonical values, encoded and decoded, wherever no loss was announced. And fuzz."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.dialects.join import unjoin
from tests.dialects.recorded_gemini import turns
from tests.dialects.strategies import maybe, mutations, names, objects, plain, quick, words, wrong_types
from understudy.canon import (
    Answer,
    Audio,
    Choice,
    Ended,
    File,
    Image,
    Inline,
    Message,
    Reasoning,
    ReasoningEffort,
    Request,
    ResponseFormat,
    Sampling,
    Text,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Url,
    Usage,
)
from understudy.canon.join import join
from understudy.dialects import Malformed, gemini

small = st.integers(1, 10**6)
own = st.sampled_from(["gemini", "another"])
signatures = st.none() | st.sampled_from(["c2lnbmVk", "AA=="])
values = st.recursive(
    st.none() | st.booleans() | small | words, lambda inner: st.lists(inner, max_size=2), max_leaves=4
)
arguments = st.dictionaries(names, values, max_size=2).map(lambda value: msgspec.json.encode(value).decode())

texts = st.builds(lambda text, mark: Text(text, signature=mark), words, signatures)
images = st.builds(Image, st.builds(Inline, st.just("iVBO"), st.just("image/png")))
linked = st.builds(Image, st.builds(Url, st.just("https://a.example/1.png"), st.just("image/png")))
files = st.builds(File, st.builds(Inline, st.just("JVBE"), st.sampled_from(["application/pdf", "video/mp4"])))
sounds = st.builds(Audio, st.builds(Inline, st.just("UklG"), st.just("audio/wav")), st.just("wav"))
calls = st.builds(ToolCall, names, names, arguments, st.just("function"), signatures)
thoughts = st.builds(lambda text, mark: Reasoning(text, signature=mark), words, signatures)


@st.composite
def histories(draw: st.DrawFn) -> tuple[Message, ...]:
    """Turns as any client sends them: instructions, then users, assistants and the results of their calls."""
    out = [Message("system", (draw(texts),))] if draw(st.booleans()) else []
    for number in range(draw(st.integers(1, 3))):
        out.append(
            Message("user", tuple(draw(st.lists(texts | images | linked | files | sounds, min_size=1, max_size=3))))
        )
        parts = draw(st.lists(thoughts, max_size=1)) + draw(st.lists(texts, max_size=2))
        asked = [
            msgspec.structs.replace(call, id=f"{number}.{i}")
            for i, call in enumerate(draw(st.lists(calls, max_size=2)))
        ]
        if parts or asked:
            out.append(Message("assistant", (*parts, *asked)))
        answers = [ToolResult(call.id, (Text(draw(words)),), call.name, draw(st.booleans())) for call in asked]
        if answers:
            out.append(Message("tool", tuple(answers)))
    return tuple(out)


tools = st.builds(Tool, names, st.just("function"), maybe(words), maybe(objects))
sampling = st.builds(
    Sampling,
    temperature=maybe(st.floats(0, 2)),
    top_p=maybe(st.floats(0, 1)),
    top_k=maybe(small),
    seed=maybe(small),
    frequency_penalty=maybe(st.floats(-2, 1.5)),
    max_tokens=maybe(small),
    stop=st.lists(words, max_size=6).map(tuple),
)
formats = st.builds(ResponseFormat, st.sampled_from(["text", "json"])) | st.builds(
    lambda schema: ResponseFormat("schema", schema=schema), objects
)
requests = st.builds(
    Request,
    dialect=own,
    model=st.just(""),
    messages=histories(),
    tools=st.lists(tools, max_size=2).map(tuple),
    tool_choice=maybe(st.builds(ToolChoice, st.sampled_from(["auto", "none", "required"]))),
    sampling=sampling,
    response_format=maybe(formats),
    reasoning=maybe(st.builds(ReasoningEffort, budget=small, enabled=st.just(True), summary=maybe(st.just("auto")))),
    logprobs=maybe(st.integers(0, 20)),
    choices=maybe(st.integers(1, 8)),
    modalities=st.lists(st.sampled_from(["text", "image"]), max_size=2).map(tuple),
    service_tier=maybe(st.sampled_from(["standard", "flex"])),
)

tokens = st.builds(TokenLogprob, words, st.floats(-10, 0), st.none(), st.none())
usages = st.builds(
    lambda into, out, thought, cached: Usage(into, out + thought, into + out + thought, cached, reasoning=thought),
    small, small, small, maybe(small),
)  # fmt: skip
endings = [("length", "MAX_TOKENS"), ("filtered", "SAFETY"), ("filtered", "SPII"), ("error", "LANGUAGE")]


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    choices = []
    for index in range(draw(st.integers(1, 2))):
        said = (
            draw(st.lists(thoughts, max_size=1))
            + draw(st.lists(texts, max_size=1))
            + draw(st.lists(images, max_size=1))
        )
        asked = draw(st.lists(calls, max_size=2))
        plain = ("tool_calls", "STOP") if asked else ("stop", "STOP")
        finish, native = draw(st.sampled_from([plain, *endings]))
        if len(said) == 1 and not asked and isinstance(said[0], Text):
            said = [msgspec.structs.replace(said[0], logprobs=tuple(draw(st.lists(tokens, max_size=2))))]
        choices.append(Choice(index, (*said, *asked), finish, native))
    return Answer(draw(own), draw(words), draw(words), tuple(choices), draw(maybe(usages)), draw(maybe(small)))


@quick
@given(requests)
def test_a_request_without_losses_survives(request: Request) -> None:
    body, losses = gemini.encode_request(request)
    if request.dialect != "gemini":
        assert turns(json.loads(body)) == []
    assume(not losses)
    assert plain(gemini.decode_request(body)) == plain(request)


@quick
@given(answers())
def test_an_answer_without_losses_survives(answer: Answer) -> None:
    body, losses = gemini.encode_answer(answer)
    assume(not losses)
    assert plain(gemini.decode_answer(body)) == plain(answer)


@quick
@given(answers(), st.booleans())
def test_a_stream_without_losses_survives(answer: Answer, array: bool) -> None:
    bare = tuple(
        msgspec.structs.replace(
            choice,
            parts=tuple(
                msgspec.structs.replace(p, logprobs=(), signature=None) if isinstance(p, Text) else p
                for p in choice.parts
            ),
        )
        for choice in answer.choices
    )
    answer = msgspec.structs.replace(answer, choices=bare)
    encoder, decoder = gemini.StreamEncoder(array=array), gemini.StreamDecoder()
    wire = b"".join(encoder.encode(event) for event in [*unjoin(answer), Ended()])
    assume(not encoder.losses)
    assert plain(join(decoder.feed(wire) + decoder.close())) == plain(answer)


REQUEST = {
    "contents": [
        {
            "role": "user",
            "parts": [
                {"text": "hi", "thoughtSignature": "AA"},
                {"inline_data": {"mime_type": "image/png", "data": "AA=="}},
                {"fileData": {"fileUri": "u", "mimeType": "a/b"}},
                {"functionResponse": {"name": "f", "id": "i", "response": {"output": "1"}, "parts": [{"text": "x"}]}},
                {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "x", "id": "i"}},
            ],
        },
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}, {"executableCode": {"code": "1"}}]},
    ],
    "systemInstruction": {"role": "system", "parts": [{"text": "s"}]},
    "tools": [
        {
            "functionDeclarations": [{"name": "f", "description": "d", "parameters": {"type": "OBJECT"}}],
            "googleSearch": {},
        }
    ],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
    "generationConfig": {
        "topK": 1,
        "stopSequences": ["x"],
        "responseLogprobs": True,
        "logprobs": 2,
        "responseModalities": ["TEXT"],
        "responseMimeType": "application/json",
        "responseSchema": {"type": "OBJECT"},
        "thinkingConfig": {"thinkingBudget": 1, "thinkingLevel": "LOW", "includeThoughts": True},
    },
    "model": "m",
    "store": True,
    "serviceTier": "flex",
}
ANSWER = {
    "candidates": [
        {
            "content": {"role": "model", "parts": [{"text": "hi"}, {"functionCall": {"name": "f", "id": "1"}}]},
            "finishReason": "STOP",
            "index": 0,
            "logprobsResult": {
                "chosenCandidates": [{"token": "a", "logProbability": -1}],
                "topCandidates": [{"candidates": []}],
            },
            "groundingMetadata": {
                "groundingChunks": [{"web": {"uri": "u", "title": "t"}}],
                "groundingSupports": [
                    {"segment": {"startIndex": 0, "endIndex": 2, "partIndex": 0}, "groundingChunkIndices": [0]}
                ],
            },
            "citationMetadata": {"citationSources": [{"uri": "u", "startIndex": 1, "endIndex": 2}]},
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 1,
        "candidatesTokenCount": 2,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 1}],
    },
    "modelVersion": "m",
    "responseId": "r",
    "createTime": "2026-01-01T00:00:00Z",
    "promptFeedback": {"blockReason": "SAFETY"},
}
ERROR = {
    "error": {
        "code": 429,
        "message": "m",
        "status": "RESOURCE_EXHAUSTED",
        "details": [
            {"@type": "x.ErrorInfo", "reason": "r", "domain": "understudy", "metadata": {"type": "t"}},
            {"@type": "x.RetryInfo", "retryDelay": "1s"},
            {"@type": "x.QuotaFailure", "violations": [{"quotaId": "q"}]},
            {"@type": "x.BadRequest", "fieldViolations": [{"field": "f"}]},
            {"@type": "x.RequestInfo", "requestId": "q"},
        ],
    }
}
BODIES = [json.dumps(body).encode() for body in (REQUEST, ANSWER, ERROR)]
SEEDS = [
    *BODIES,
    b"data: " + BODIES[1] + b"\r\n\r\ndata: " + BODIES[2] + b"\r\n\r\n",
    b"[" + BODIES[1] + b",\n" + BODIES[1] + b"]",
]
VALUES = [
    "null",
    "true",
    "1",
    "-1e3",
    "1e300",
    '""',
    '"x"',
    "[]",
    "{}",
    "[null]",
    '[{"text":1}]',
    '{"type":"x"}',
    "[[1]]",
]


def all_decoders(data: bytes) -> None:
    for decode, encode in (
        (gemini.decode_request, gemini.encode_request),
        (gemini.decode_answer, gemini.encode_answer),
    ):
        try:
            found: Any = decode(data)
        except Malformed as error:
            assert error.field  # noqa: PT017  every mistake is named
        else:
            encode(found)  # type: ignore[operator]  # the pair belongs together
            encode(msgspec.structs.replace(found, dialect="another"))  # type: ignore[operator]  # likewise
    gemini.decode_fault(429, {"retry-after": data.decode("latin-1")}, data)
    for before in (b"", b"data: "):
        decoder, encoder = gemini.StreamDecoder(), gemini.StreamEncoder()
        for event in decoder.feed(before + data) + decoder.feed(b"\n\n" + before + data + b"\n\n") + decoder.close():
            encoder.encode(event)


@quick
@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_malformed(data: bytes) -> None:
    all_decoders(data)


@settings(quick, max_examples=400)
@given(mutations(SEEDS))
def test_mutated_bytes_raise_nothing_but_malformed(data: bytes) -> None:
    all_decoders(data)


@pytest.mark.parametrize("body", BODIES, ids=["request", "answer", "error"])
def test_any_field_of_any_wrong_type_raises_nothing_but_malformed(body: bytes) -> None:
    for data in wrong_types(json.loads(body), VALUES):
        all_decoders(data)
