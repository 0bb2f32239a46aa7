"""The official SDKs of every dialect, unchanged but for the base URL, onto providers of every dialect.

Providers of other dialects than `openai-chat` are the gateway itself once more, as in `tests/gateway/test_dialects.py`.
Each SDK reads what it gets with its own types and raises its own exceptions.
"""

import base64
import contextlib
import json
import socket

import anthropic
import boto3
import botocore.config
import botocore.exceptions
import cohere
import cohere.core
import httpx
import httpx2
import ollama
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors

from tests.gateway.test_dialects import ANSWER, KEY, NAMES, TALKS, config
from tests.running import Running

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
USE_IT = "Use the tool"
CHAT_TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}
ANTHROPIC_TOOL = {"name": "get_weather", "description": "The weather", "input_schema": SCHEMA}
RESPONSES_TOOL = {"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": False}
BEDROCK_TOOLS = {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": SCHEMA}}}]}


@pytest.fixture(scope="module")
def gateway():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Running(config(port), port=port) as running:
        yield running


class Anthropic:
    error = anthropic.APIStatusError
    missing = anthropic.NotFoundError
    refused = anthropic.AuthenticationError

    def __init__(self, url, key=KEY):
        self.client = anthropic.Anthropic(base_url=url, api_key=key, max_retries=0)

    def ask(self, model, text="Hello there", **more):
        message = self.client.messages.create(
            model=model, max_tokens=200, messages=[{"role": "user", "content": text}], **more
        )
        assert message.type == "message"
        assert message.usage.output_tokens
        return message

    def text(self, model):
        return "".join(block.text for block in self.ask(model).content if block.type == "text")

    def stream(self, model):
        with self.client.messages.stream(
            model=model, max_tokens=200, messages=[{"role": "user", "content": "Hello there"}]
        ) as stream:
            pieces = list(stream.text_stream)
            assert stream.get_final_message().stop_reason == "end_turn"
        return "".join(pieces)

    def call(self, model):
        message = self.ask(model, USE_IT, tools=[ANTHROPIC_TOOL])
        assert message.stop_reason == "tool_use"
        (block,) = [block for block in message.content if block.type == "tool_use"]
        again = self.client.messages.create(
            model=model, max_tokens=200, tools=[ANTHROPIC_TOOL],
            messages=[
                {"role": "user", "content": USE_IT},
                {"role": "assistant", "content": [part.model_dump(exclude_none=True) for part in message.content]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": block.id, "content": "Sunny"}]},
            ],
        )  # fmt: skip
        assert again.content
        return block.name, block.input

    def close(self):
        self.client.close()


class Responses:
    error = openai.APIStatusError
    missing = openai.NotFoundError
    refused = openai.AuthenticationError

    def __init__(self, url, key=KEY):
        self.http = httpx2.Client(trust_env=False, timeout=60)
        self.client = openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0, http_client=self.http)

    def text(self, model):
        response = self.client.responses.create(model=model, input="Hello there")
        assert response.status == "completed"
        assert response.usage.output_tokens
        return response.output_text

    def stream(self, model):
        with self.client.responses.stream(model=model, input="Hello there") as stream:
            text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
            assert stream.get_final_response().output_text == text
        return text

    def call(self, model):
        response = self.client.responses.create(model=model, input=USE_IT, tools=[RESPONSES_TOOL])
        (item,) = [item for item in response.output if item.type == "function_call"]
        again = self.client.responses.create(
            model=model, tools=[RESPONSES_TOOL],
            input=[
                {"role": "user", "content": USE_IT},
                item.model_dump(exclude_none=True),
                {"type": "function_call_output", "call_id": item.call_id, "output": "Sunny"},
            ],
        )  # fmt: skip
        assert again.output
        return item.name, json.loads(item.arguments)

    def close(self):
        self.client.close()


class Completions(Responses):
    def text(self, model):
        return self.client.completions.create(model=model, prompt="Hello there").choices[0].text

    def stream(self, model):
        stream = self.client.completions.create(model=model, prompt="Hello there", stream=True)
        return "".join(chunk.choices[0].text for chunk in stream if chunk.choices)


class Chat(Responses):
    def text(self, model):
        messages = [{"role": "user", "content": "Hello there"}]
        return self.client.chat.completions.create(model=model, messages=messages).choices[0].message.content

    def stream(self, model):
        messages = [{"role": "user", "content": "Hello there"}]
        with self.client.chat.completions.stream(model=model, messages=messages) as stream:
            for _ in stream:
                pass
            return stream.get_final_completion().choices[0].message.content

    def call(self, model):
        messages = [{"role": "user", "content": USE_IT}]
        made = self.client.chat.completions.create(model=model, messages=messages, tools=[CHAT_TOOL])
        (call,) = made.choices[0].message.tool_calls
        messages += [
            made.choices[0].message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "Sunny"},
        ]
        assert self.client.chat.completions.create(model=model, messages=messages, tools=[CHAT_TOOL]).choices
        return call.function.name, json.loads(call.function.arguments)


class Gemini:
    error = genai_errors.APIError
    missing = genai_errors.ClientError
    refused = genai_errors.ClientError

    def __init__(self, url, key=KEY):
        self.client = genai.Client(api_key=key, http_options={"base_url": url})
        declaration = {"name": "get_weather", "description": "The weather", "parameters_json_schema": SCHEMA}
        self.settings = {
            "tools": [{"function_declarations": [declaration]}],
            "automatic_function_calling": {"disable": True},
        }

    def text(self, model):
        answer = self.client.models.generate_content(model=model, contents="Hello there")
        assert answer.candidates[0].finish_reason.name == "STOP"
        assert answer.usage_metadata.candidates_token_count
        return answer.text

    def stream(self, model):
        stream = self.client.models.generate_content_stream(model=model, contents="Hello there")
        return "".join(chunk.text or "" for chunk in stream)

    def call(self, model):
        answer = self.client.models.generate_content(model=model, contents=USE_IT, config=self.settings)
        (call,) = answer.function_calls
        result = {"function_response": {"name": call.name, "id": call.id, "response": {"weather": "Sunny"}}}
        contents = [
            {"role": "user", "parts": [{"text": USE_IT}]},
            answer.candidates[0].content,
            {"role": "user", "parts": [result]},
        ]
        assert self.client.models.generate_content(model=model, contents=contents, config=self.settings).candidates
        return call.name, call.args

    def close(self):
        self.client.close()


class Cohere:
    error = cohere.core.ApiError
    missing = cohere.NotFoundError
    refused = cohere.UnauthorizedError

    def __init__(self, url, key=KEY):
        self.http = httpx.Client(trust_env=False, timeout=60)
        self.client = cohere.ClientV2(api_key=key, base_url=url, httpx_client=self.http)

    def text(self, model):
        answer = self.client.chat(model=model, messages=[{"role": "user", "content": "Hello there"}])
        assert answer.finish_reason == "COMPLETE"
        return answer.message.content[0].text

    def stream(self, model):
        stream = self.client.chat_stream(model=model, messages=[{"role": "user", "content": "Hello there"}])
        return "".join(event.delta.message.content.text for event in stream if event.type == "content-delta")

    def call(self, model):
        messages = [{"role": "user", "content": USE_IT}]
        answer = self.client.chat(model=model, messages=messages, tools=[CHAT_TOOL])
        (call,) = answer.message.tool_calls
        messages += [
            {"role": "assistant", "tool_calls": answer.message.tool_calls},
            {"role": "tool", "tool_call_id": call.id, "content": "Sunny"},
        ]
        assert self.client.chat(model=model, messages=messages, tools=[CHAT_TOOL]).message
        return call.function.name, json.loads(call.function.arguments)

    def close(self):
        self.http.close()


class Ollama:
    error = missing = refused = ollama.ResponseError

    def __init__(self, url, key=KEY):
        self.client = ollama.Client(host=url, headers={"authorization": f"Bearer {key}"}, trust_env=False)

    def text(self, model):
        answer = self.client.chat(model=model, messages=[{"role": "user", "content": "Hello there"}])
        assert answer.done
        return answer.message.content

    def stream(self, model):
        stream = self.client.chat(model=model, messages=[{"role": "user", "content": "Hello there"}], stream=True)
        chunks = list(stream)
        assert chunks[-1].done
        return "".join(chunk.message.content for chunk in chunks)

    def call(self, model):
        messages = [{"role": "user", "content": USE_IT}]
        answer = self.client.chat(model=model, messages=messages, tools=[CHAT_TOOL])
        (call,) = answer.message.tool_calls
        messages += [answer.message, {"role": "tool", "tool_name": call.function.name, "content": "Sunny"}]
        assert self.client.chat(model=model, messages=messages, tools=[CHAT_TOOL]).done
        return call.function.name, call.function.arguments

    def close(self):
        self.client._client.close()


class Bedrock:
    error = missing = refused = botocore.exceptions.ClientError

    def __init__(self, url, key=KEY):
        self.client = boto3.client(
            "bedrock-runtime", region_name="eu-west-1", endpoint_url=url, aws_access_key_id=key,
            aws_secret_access_key="anything", config=botocore.config.Config(retries={"total_max_attempts": 1}),
        )  # fmt: skip

    def text(self, model):
        answer = self.client.converse(modelId=model, messages=[{"role": "user", "content": [{"text": "Hello there"}]}])
        assert answer["stopReason"] == "end_turn"
        assert answer["usage"]["outputTokens"]
        return answer["output"]["message"]["content"][0]["text"]

    def stream(self, model):
        messages = [{"role": "user", "content": [{"text": "Hello there"}]}]
        with contextlib.closing(self.client.converse_stream(modelId=model, messages=messages)["stream"]) as stream:
            events = list(stream)
        assert any("messageStop" in event for event in events)
        deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
        return "".join(delta.get("text", "") for delta in deltas)

    def call(self, model):
        messages = [{"role": "user", "content": [{"text": USE_IT}]}]
        answer = self.client.converse(modelId=model, messages=messages, toolConfig=BEDROCK_TOOLS)
        message = answer["output"]["message"]
        (use,) = [block["toolUse"] for block in message["content"] if "toolUse" in block]
        result = {"toolResult": {"toolUseId": use["toolUseId"], "content": [{"text": "Sunny"}]}}
        messages += [message, {"role": "user", "content": [result]}]
        assert self.client.converse(modelId=model, messages=messages, toolConfig=BEDROCK_TOOLS)["output"]
        return use["name"], use["input"]

    def close(self):
        self.client.close()


SDKS = [Anthropic, Responses, Chat, Completions, Gemini, Cohere, Ollama, Bedrock]
WITH_TOOLS = [kind for kind in SDKS if kind is not Completions]


@pytest.fixture(scope="module")
def clients(gateway):
    made = {kind: kind(gateway.url) for kind in SDKS}
    yield made
    for client in made.values():
        client.close()


@pytest.mark.parametrize("provider", NAMES)
@pytest.mark.parametrize("kind", SDKS)
def test_a_call_is_answered(clients, kind, provider):
    assert clients[kind].text(f"via-{provider}/first/ok").startswith(ANSWER)


@pytest.mark.parametrize("provider", NAMES)
@pytest.mark.parametrize("kind", SDKS)
def test_a_stream_is_read_to_its_end(clients, kind, provider):
    assert clients[kind].stream(f"via-{provider}/first/ok").startswith(ANSWER)


@pytest.mark.parametrize("provider", TALKS)
@pytest.mark.parametrize("kind", WITH_TOOLS)
def test_a_tool_is_called_and_its_result_goes_back(clients, kind, provider):
    assert clients[kind].call(f"via-{provider}/first/ok") == ("get_weather", {"city": "simulated"})


@pytest.mark.parametrize("kind", SDKS)
def test_a_failure_moves_the_call_unseen(clients, kind):
    assert clients[kind].text("moves-openai-chat").startswith(ANSWER)
    assert clients[kind].stream("moves-openai-chat").startswith(ANSWER)


@pytest.mark.parametrize("kind", SDKS)
def test_errors_are_the_sdks_own_exceptions(gateway, clients, kind):
    with pytest.raises(kind.missing) as missing:
        clients[kind].text("no-such-model")
    assert "no-such-model" in str(missing.value)
    with pytest.raises(kind.error):
        clients[kind].text("first/context-length")
    with pytest.raises(kind.error):
        clients[kind].text("first/internal")
    wrong = kind(gateway.url, "wrong")
    with pytest.raises(kind.refused):
        wrong.text("first/ok")
    wrong.close()


PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()


def test_models_are_listed_for_every_sdk(clients):
    assert "strict-gemini" in [model.id for model in clients[Chat].client.models.list()]
    assert "strict-gemini" in [model.id for model in clients[Anthropic].client.models.list()]
    assert "models/strict-gemini" in [model.name for model in clients[Gemini].client.models.list()]
    assert "strict-gemini" in [model.name for model in clients[Cohere].client.models.list().models]
    assert "strict-gemini" in [model.model for model in clients[Ollama].client.list().models]
    assert clients[Anthropic].client.models.retrieve("strict-gemini").id == "strict-gemini"
    assert clients[Gemini].client.models.get(model="strict-gemini").name == "models/strict-gemini"
    assert clients[Ollama].client.show("strict-gemini").capabilities == ["completion"]


def test_tokens_are_counted_for_every_sdk_that_asks(clients):
    message = {"role": "user", "content": "one two three four"}
    assert clients[Anthropic].client.messages.count_tokens(model="first/ok", messages=[message]).input_tokens > 4
    assert clients[Gemini].client.models.count_tokens(model="first/ok", contents="one two three four").total_tokens > 4
    counted = clients[Responses].client.responses.input_tokens.count(model="first/ok", input="one two three four")
    assert counted.input_tokens > 4


def test_an_image_reaches_a_provider_of_another_dialect(gateway, clients):
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What is it?"}]
    model = "via-gemini/first/ok"
    message = clients[Anthropic].client.messages.create(
        model=model, max_tokens=100, messages=[{"role": "user", "content": content}]
    )
    assert message.content
    assert PIXEL in gateway.call(lambda: gateway.a.requests)[-1].body.decode()


@pytest.mark.parametrize("provider", ["openai-chat", "openai-responses", "anthropic-messages"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_conversation_goes_on_from_a_stored_response_at_any_provider(gateway, clients, provider, stream):
    client = clients[Responses].client
    if stream:
        with client.responses.stream(model=f"via-{provider}/first/ok", input="The first words") as events:
            for _ in events:
                pass
            first = events.get_final_response()
    else:
        first = client.responses.create(model=f"via-{provider}/first/ok", input="The first words")
    client.responses.create(model="first/ok", input="And more", previous_response_id=first.id)
    sent = json.loads(gateway.call(lambda: gateway.a.requests)[-1].body)["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    assert "The first words" in json.dumps(sent[0])
    assert ANSWER in json.dumps(sent[1])
    assert client.responses.retrieve(first.id).output_text == first.output_text
    assert len(client.responses.input_items.list(first.id).data) == 1
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)


def test_a_response_that_is_not_to_be_stored_is_not(clients):
    client = clients[Responses].client
    made = client.responses.create(model="first/ok", input="Hello there", store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)
