"""Every voice as its provider's own SDK hears it, over a socket: the SDK is the independent check."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

import anthropic
import boto3
import cohere
import cohere.core
import google.genai
import httpx
import ollama
import openai
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from google.genai import types

from understudy.sim import Sim

SAID = "This is a simulated answer, it only echoes what you said: naïve question"
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ARGUMENTS = {"city": "simulated"}
ASKED = [{"role": "user", "content": "naïve question"}]
TOOLED = [{"role": "user", "content": "use the tool weather"}]
FUNCTION = {"type": "function", "function": {"name": "weather", "description": "w", "parameters": SCHEMA}}


def heard(listen: Callable[[Sim], Any]) -> Any:
    async def main() -> Any:
        async with Sim() as sim:
            return await asyncio.to_thread(listen, sim)

    return asyncio.run(main())


def claude(sim: Sim) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=sim.root, api_key="k", max_retries=0)


def gpt(sim: Sim) -> openai.OpenAI:
    return openai.OpenAI(base_url=sim.url, api_key="k", max_retries=0)


def google_client(sim: Sim) -> google.genai.Client:
    return google.genai.Client(api_key="k", http_options=types.HttpOptions(base_url=sim.root))


def bedrock(sim: Sim) -> Any:
    return boto3.client(
        "bedrock-runtime", endpoint_url=sim.root, region_name="us-east-1", aws_access_key_id="k",
        aws_secret_access_key="s", config=Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip


def anthropic_said(sim: Sim, model: str, stream: bool, tool: bool) -> Any:
    fields: Any = {"model": model, "max_tokens": 100, "messages": TOOLED if tool else ASKED}
    if tool:
        fields["tools"] = [{"name": "weather", "input_schema": SCHEMA}]
    with claude(sim) as client:
        if stream:
            with client.messages.stream(**fields) as events:
                message = events.get_final_message()
        else:
            message = client.messages.create(**fields)
    assert message.usage.output_tokens > 1
    assert message.stop_reason == ("tool_use" if tool else "end_turn")
    return message.content[0].input if tool else message.content[0].text


def responses_said(sim: Sim, model: str, stream: bool, tool: bool) -> Any:
    fields: Any = {"model": model, "input": TOOLED if tool else "naïve question"}
    if tool:
        fields["tools"] = [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}]
    with gpt(sim) as client:
        if stream:
            with client.responses.stream(**fields) as events:
                response = events.get_final_response()
        else:
            response = client.responses.create(**fields)
    assert response.status == "completed"
    assert response.usage.output_tokens > 1
    if tool:
        assert response.output[0].type == "function_call"
        return json.loads(response.output[0].arguments)
    return response.output_text


def completions_said(sim: Sim, model: str, stream: bool, tool: bool) -> Any:
    if tool:
        pytest.skip("completions have no tools")
    with gpt(sim) as client:
        if stream:
            return "".join(
                c.choices[0].text for c in client.completions.create(model=model, prompt="naïve question", stream=True)
            )
        return client.completions.create(model=model, prompt="naïve question").choices[0].text


def gemini_said(sim: Sim, model: str, stream: bool, tool: bool) -> Any:
    config = types.GenerateContentConfig()
    if tool:
        declared = types.FunctionDeclaration(name="weather", parameters_json_schema=SCHEMA)
        config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declared])])
    fields: Any = {"model": model, "contents": (TOOLED if tool else ASKED)[0]["content"], "config": config}
    with google_client(sim) as client:
        if stream:
            got = list(client.models.generate_content_stream(**fields))
        else:
            got = [client.models.generate_content(**fields)]
    assert got[-1].usage_metadata.candidates_token_count > 1
    assert got[-1].candidates[0].finish_reason == "STOP"
    if tool:
        return next(one.function_calls[0].args for one in got if one.function_calls)
    return "".join(one.text or "" for one in got)


def cohere_said(sim: Sim, model: str, stream: bool, tool: bool) -> Any:
    fields: Any = {"model": model, "messages": TOOLED if tool else ASKED}
    if tool:
        fields["tools"] = [FUNCTION]
    with httpx.Client() as http:
        return cohere_heard(cohere.ClientV2(api_key="k", base_url=sim.root, httpx_client=http), fields, stream, tool)


def cohere_heard(client: cohere.ClientV2, fields: Any, stream: bool, tool: bool) -> Any:
    if not stream:
        answer = client.chat(**fields)
        assert answer.finish_reason == ("TOOL_CALL" if tool else "COMPLETE")
        return json.loads(answer.message.tool_calls[0].function.arguments) if tool else answer.message.content[0].text
    events = list(client.chat_stream(**fields))
    assert (events[0].type, events[-1].type) == ("message-start", "message-end")
    assert events[-1].delta.usage.tokens.output_tokens > 1
    if tool:
        return json.loads(
            "".join(e.delta.message.tool_calls.function.arguments for e in events if e.type == "tool-call-delta")
        )
    return "".join(e.delta.message.content.text for e in events if e.type == "content-delta")


def ollama_said(sim: Sim, model: str, stream: bool, tool: bool) -> Any:
    client = ollama.Client(host=sim.root)
    fields: Any = {"model": model, "messages": TOOLED if tool else ASKED, "tools": [FUNCTION] if tool else None}
    try:
        got = list(client.chat(**fields, stream=True)) if stream else [client.chat(**fields)]
    finally:
        client._client.close()
    assert got[-1].done
    assert got[-1].eval_count > 1
    if tool:
        return got[0].message.tool_calls[0].function.arguments
    return "".join(one.message.content for one in got)


def bedrock_said(sim: Sim, model: str, stream: bool, tool: bool) -> Any:
    text = (TOOLED if tool else ASKED)[0]["content"]
    fields: Any = {"modelId": model, "messages": [{"role": "user", "content": [{"text": text}]}]}
    if tool:
        fields["toolConfig"] = {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": SCHEMA}}}]}
    client = bedrock(sim)
    try:
        if not stream:
            answer = client.converse(**fields)
            assert answer["usage"]["outputTokens"] > 1
            block = answer["output"]["message"]["content"][0]
            return block["toolUse"]["input"] if tool else block["text"]
        with contextlib.closing(client.converse_stream(**fields)["stream"]) as stream_of_events:
            events = list(stream_of_events)
    finally:
        client.close()
    assert events[-1]["metadata"]["usage"]["outputTokens"] > 1
    deltas = [e["contentBlockDelta"]["delta"] for e in events if "contentBlockDelta" in e]
    if tool:
        return json.loads("".join(d["toolUse"]["input"] for d in deltas))
    return "".join(d["text"] for d in deltas)


VOICES = {
    "anthropic-messages": anthropic_said, "openai-responses": responses_said, "openai-completions": completions_said,
    "gemini": gemini_said, "cohere-chat": cohere_said, "ollama": ollama_said, "bedrock-converse": bedrock_said,
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("said", VOICES.values(), ids=VOICES)
def test_an_sdk_hears_the_same_answer_in_every_dialect(said: Any, stream: bool) -> None:
    assert heard(lambda sim: said(sim, "ok", stream, False)) == SAID


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("said", VOICES.values(), ids=VOICES)
def test_an_sdk_hears_a_tool_call_with_arguments_of_its_schema(said: Any, stream: bool) -> None:
    assert heard(lambda sim: said(sim, "ok", stream, True)) == ARGUMENTS


@pytest.mark.parametrize("model", ["overloaded", "rate-limit", "not-found", "error-event:after=3"])
@pytest.mark.parametrize("said", [v for k, v in VOICES.items() if k != "openai-completions"],
                         ids=[k for k in VOICES if k != "openai-completions"])  # fmt: skip
def test_an_sdk_raises_its_own_error(said: Any, model: str) -> None:
    errors = {
        "anthropic_said": anthropic.APIError, "cohere_said": cohere.core.ApiError,
        "responses_said": (openai.APIError, RuntimeError),  # the latter: its helper passes an `error` event over
        "gemini_said": google.genai.errors.APIError, "ollama_said": ollama.ResponseError,
    }  # fmt: skip
    in_band = model.startswith("error-event")
    if in_band and said is cohere_said:
        pytest.skip("Cohere's SDK gives an error within a stream as an event")
    if said is bedrock_said:
        errors["bedrock_said"] = ClientError
    with pytest.raises(errors[said.__name__]):
        heard(lambda sim: said(sim, model, in_band, False))
