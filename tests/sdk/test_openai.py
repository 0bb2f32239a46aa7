"""The official SDK sees nothing but OpenAI, whatever the gateway has to do for it."""

import asyncio
import json
from typing import Literal

import httpx
import openai
import pydantic
import pytest

from tests.sdk.conftest import KEY, WAYS

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}

BROKEN_LATE = ["first/error-event-late", "first/error-event-vllm", "first/error-event-groq", "first/error-line",
               "first/error-event-openrouter", "first/cut", "first/cut-clean", "first/cut-reset", "first/bad-chunk",
               "first/malformed-twice", "falls-silent"]  # fmt: skip


HELLO = [{"role": "user", "content": "Hello there"}]


class City(pydantic.BaseModel):
    name: str
    inhabitants: int
    kind: Literal["town", "metropolis"]


def text(chunks):
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def finishes(chunks):
    return [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]


# -- answers -----------------------------------------------------------------------------------------------------------


def test_an_answer(sdk):
    completion = sdk.create("plain")
    assert completion.object == "chat.completion"
    assert completion.choices[0].message.content.endswith("Hello there")
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens


def test_a_streamed_answer_is_the_same(sdk):
    chunks = sdk.all(sdk.create("plain", stream=True))
    assert text(chunks) == sdk.create("plain").choices[0].message.content
    assert finishes(chunks) == ["stop"]
    assert len(chunks) > 3
    assert all(chunk.usage is None for chunk in chunks)


def test_usage_comes_last_when_it_is_asked_for(sdk):
    chunks = sdk.all(sdk.create("plain", stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].usage.completion_tokens > 0
    assert chunks[-1].choices == []
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_the_gateways_headers_can_be_read(sdk):
    raw = sdk.result(
        sdk.client.chat.completions.with_raw_response.create(
            model="moves", messages=[{"role": "user", "content": "Hello there"}]
        )
    )
    assert raw.headers["x-understudy-target"] == "second/ok"
    assert raw.headers["x-understudy-attempts"] == "2"
    assert raw.headers["x-understudy-exchange"].startswith("ex_")
    assert raw.request_id
    assert raw.parse().choices[0].message.content.endswith("Hello there")


def test_several_choices(sdk):
    completion = sdk.create("plain", n=3)
    assert [choice.index for choice in completion.choices] == [0, 1, 2]
    chunks = sdk.all(sdk.create("plain", n=3, stream=True))
    assert finishes(chunks) == ["stop"] * 3
    _, final = sdk.events("plain", n=3)
    assert [choice.message.content for choice in final.choices] == [
        choice.message.content for choice in completion.choices
    ]


def test_log_probabilities(sdk):
    whole = sdk.create("plain", logprobs=True, top_logprobs=2).choices[0].logprobs.content
    chunks = sdk.all(sdk.create("plain", logprobs=True, top_logprobs=2, stream=True))
    pieces = [choice.logprobs.content for chunk in chunks for choice in chunk.choices if choice.logprobs]
    assert [entry for piece in pieces for entry in piece] == whole
    assert len(whole[0].top_logprobs) == 2


def test_reasoning_that_compatible_servers_add_is_kept(sdk):
    assert sdk.create("first/thinks").choices[0].message.reasoning_content.startswith("thought 0")
    chunks = sdk.all(sdk.create("first/thinks", stream=True))
    assert any(getattr(chunk.choices[0].delta, "reasoning_content", None) for chunk in chunks if chunk.choices)


def test_models_are_listed_and_described(sdk):
    listed = sdk.all(sdk.client.models.list())
    assert {"plain", "moves", "first/ok", "second/ok"} <= {model.id for model in listed}
    assert sdk.result(sdk.client.models.retrieve("plain")).id == "plain"
    assert sdk.result(sdk.client.models.retrieve("first/ok")).owned_by == "first"
    with pytest.raises(openai.NotFoundError, match="Did you mean 'plain'"):
        sdk.result(sdk.client.models.retrieve("plainn"))


# -- tools and shapes --------------------------------------------------------------------------------------------------


def test_a_tool_is_called_and_its_result_read(sdk):
    choice = sdk.create("plain", "Use get_weather for Paris", tools=[WEATHER]).choices[0]
    call = choice.message.tool_calls[0]
    assert choice.finish_reason == "tool_calls"
    assert set(json.loads(call.function.arguments)) == {"city", "days"}
    answer = sdk.result(
        sdk.client.chat.completions.create(
            model="plain",
            tools=[WEATHER],
            messages=[
                {"role": "user", "content": "Use get_weather for Paris"},
                choice.message.model_dump(exclude_none=True),
                {"role": "tool", "tool_call_id": call.id, "content": "Sunny, 21 degrees"},
            ],
        )
    )
    assert "Sunny" in answer.choices[0].message.content


@pytest.mark.parametrize("model", ["plain", "moves", "moves-in-stream"])
def test_a_streamed_tool_call_is_whole(sdk, model):
    events, final = sdk.events(model, "Use get_weather for Paris", tools=[WEATHER])
    call = final.choices[0].message.tool_calls[0]
    deltas = [event for event in events if event.type == "tool_calls.function.arguments.delta"]
    done = next(event for event in events if event.type == "tool_calls.function.arguments.done")
    assert "".join(event.arguments_delta for event in deltas) == call.function.arguments == done.arguments
    assert call.function.parsed_arguments == json.loads(call.function.arguments)
    assert call.id.startswith("call_")
    assert final.choices[0].finish_reason == "tool_calls"


def test_a_tool_can_be_required_and_forbidden(sdk):
    assert sdk.create("plain", tools=[WEATHER], tool_choice="required").choices[0].message.tool_calls
    assert not sdk.create("plain", "get_weather", tools=[WEATHER], tool_choice="none").choices[0].message.tool_calls


def test_an_answer_is_parsed_into_a_model(sdk):
    completion = sdk.result(
        sdk.client.chat.completions.parse(
            model="moves", messages=[{"role": "user", "content": "Paris?"}], response_format=City
        )
    )
    assert completion.choices[0].message.parsed == City(name="simulated", inhabitants=1, kind="town")


def test_a_streamed_answer_is_parsed_into_a_model(sdk):
    events, final = sdk.events("moves-in-stream", response_format=City)
    done = next(event for event in events if event.type == "content.done")
    assert done.parsed == final.choices[0].message.parsed == City(name="simulated", inhabitants=1, kind="town")


def test_an_answer_cut_by_its_token_limit_is_not_parsed(sdk):
    with pytest.raises(openai.LengthFinishReasonError):
        sdk.result(
            sdk.client.chat.completions.parse(
                model="plain", messages=[{"role": "user", "content": "Paris?"}], response_format=City, max_tokens=0
            )
        )


# -- the helper --------------------------------------------------------------------------------------------------------


def test_the_helper_tells_of_every_step_and_gives_the_whole(sdk):
    events, final = sdk.events("plain", stream_options={"include_usage": True}, logprobs=True)
    kinds = [event.type for event in events]
    assert {"chunk", "content.delta", "content.done", "logprobs.content.delta"} <= set(kinds)
    assert kinds.count("content.done") == 1
    content = "".join(event.delta for event in events if event.type == "content.delta")
    assert content == final.choices[0].message.content == sdk.create("plain").choices[0].message.content
    assert final.usage.total_tokens > 0
    assert final.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("model", ["first/error-event-late", "first/cut", "falls-silent"])
def test_a_stream_broken_after_commit_raises_in_the_helper_and_is_never_whole(sdk, model):
    stream, leave = sdk.helper(model)
    items, error = sdk.until_error(stream)
    leave()
    assert isinstance(error, openai.APIError)
    assert not any(event.type == "content.done" for event in items)
    assert any(event.type == "content.delta" for event in items)
    # the SDK's own accumulation has no finish either
    assert all(choice.finish_reason is None for choice in stream.current_completion_snapshot.choices)


# -- fail-over ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["moves", "moves-in-stream"])
def test_fail_over_before_commit_is_invisible(sdk, model):
    chunks = sdk.all(sdk.create(model, stream=True))
    assert text(chunks) == text(sdk.all(sdk.create("plain", stream=True)))
    assert finishes(chunks) == ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert sdk.create(model).choices[0].message.content.endswith("Hello there")


@pytest.mark.parametrize("model", BROKEN_LATE)
def test_a_stream_broken_after_commit_raises_and_never_looks_finished(sdk, model):
    chunks, error = sdk.until_error(sdk.create(model, stream=True))
    assert isinstance(error, openai.APIError)
    assert error.message
    assert text(chunks)
    assert finishes(chunks) == []
    assert sdk.idle()
    assert sdk.exchanges[-1].outcome == "broken"


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "kind", "status"),
    [
        ("first/malformed", openai.BadRequestError, 400),
        ("first/context-length", openai.BadRequestError, 400),
        ("first/content-policy", openai.BadRequestError, 400),
        ("first/no-access", openai.PermissionDeniedError, 403),
        ("first/not-found", openai.NotFoundError, 404),
        ("first/conflict", openai.ConflictError, 409),
        ("first/body-too-large", openai.APIStatusError, 413),
        ("first/unprocessable", openai.UnprocessableEntityError, 422),
        ("first/rate-limit", openai.RateLimitError, 429),
        ("first/internal", openai.InternalServerError, 500),
        ("first/overloaded", openai.InternalServerError, 503),
        ("all-broken", openai.InternalServerError, 503),
        ("slow-to-start", openai.InternalServerError, 504),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_each_error_has_the_sdks_own_type(sdk, model, kind, status, stream):
    with pytest.raises(kind) as raised:
        sdk.create(model, stream=stream)
    assert raised.value.status_code == status
    assert type(raised.value) is kind
    assert isinstance(raised.value.body, dict)
    assert raised.value.body["message"]
    assert raised.value.response.headers["x-understudy-attempts"] == ("2" if model == "all-broken" else "1")


def test_the_errors_fields_are_where_the_sdk_looks(sdk):
    with pytest.raises(openai.BadRequestError, match="Missing required parameter") as raised:
        sdk.create("first/malformed")
    assert raised.value.code == "missing_required_parameter"
    assert raised.value.param == "messages[1].content[0].type"
    assert raised.value.type == "invalid_request_error"
    with pytest.raises(openai.RateLimitError) as raised:
        sdk.create("first/rate-limit")
    assert int(raised.value.response.headers["retry-after"]) == 20


def test_a_wrong_key_is_refused(sdk):
    wrong = sdk.as_("wrong")
    with pytest.raises(openai.AuthenticationError, match="Incorrect API key") as raised:
        sdk.result(wrong.chat.completions.create(model="plain", messages=[{"role": "user", "content": "Hi"}]))
    assert raised.value.code == "invalid_api_key"
    with pytest.raises(openai.AuthenticationError):
        sdk.result(wrong.models.retrieve("plain"))
    with pytest.raises(openai.AuthenticationError):
        sdk.all(wrong.models.list())


def test_an_unknown_model_names_near_ones(sdk):
    with pytest.raises(openai.NotFoundError, match="Did you mean 'plain'") as raised:
        sdk.create("plian")
    assert raised.value.code == "model_not_found"
    assert raised.value.param == "model"


def test_a_bad_request_names_the_field(sdk):
    with pytest.raises(openai.BadRequestError, match="messages") as raised:
        sdk.result(sdk.client.chat.completions.create(model="plain", messages=[]))
    assert raised.value.param == "messages"


def test_a_body_above_the_limit_is_refused(sdk):
    with pytest.raises(openai.APIStatusError, match=r"server\.max_body") as raised:
        sdk.create("plain", "x" * 70_000)
    assert raised.value.status_code == 413


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_clients_own_timeout(sdk, stream):
    with pytest.raises(openai.APITimeoutError):
        sdk.create("first/silent", stream=stream, timeout=0.1)
    assert sdk.idle()
    assert sdk.exchanges[-1].outcome == "client_left"


def test_the_clients_own_timeout_in_mid_stream(sdk):
    chunks, error = sdk.until_error(sdk.create("first/hang:after=3", stream=True, timeout=1))
    assert isinstance(error, openai.APITimeoutError)
    assert text(chunks)
    assert sdk.idle()


def test_the_sdks_own_retries_work(sdk):
    patient = sdk.client.with_options(max_retries=2)
    name = "first/fail-first:n=1,like=internal"
    completion = sdk.result(
        patient.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hello there"}])
    )
    assert completion.choices[0].message.content.endswith("Hello there")


# -- leaving -----------------------------------------------------------------------------------------------------------


def test_a_client_that_closes_a_stream_frees_the_gateway(sdk):
    stream = sdk.create("first/drip:between=0.2", stream=True)
    assert sdk.first(stream)
    assert sdk.gateway.open == 1
    sdk.result(stream.close())
    assert sdk.idle()
    assert sdk.exchanges[-1].outcome == "client_left"


def test_leaving_the_helper_frees_the_gateway(sdk):
    stream, leave = sdk.helper("first/drip:between=0.2")
    sdk.first(stream)
    leave()
    assert sdk.idle()
    assert sdk.exchanges[-1].outcome == "client_left"


def test_a_stream_read_to_its_end_counts_as_answered(sdk):
    for _ in range(5):
        sdk.all(sdk.create("plain", stream=True))
        assert sdk.idle()
        assert sdk.exchanges[-1].outcome == "answered"


# -- legacy httpx ------------------------------------------------------------------------------------------------------


def test_the_sdk_takes_an_older_httpx_with_the_transport_in_it(in_process):
    client = openai.OpenAI(
        api_key=KEY, base_url="http://understudy/v1", http_client=httpx.Client(transport=in_process), max_retries=0
    )
    assert client.chat.completions.create(model="moves", messages=HELLO).choices[0].message.content
    assert finishes(client.chat.completions.create(model="moves", messages=HELLO, stream=True)) == ["stop"]
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="first/rate-limit", messages=HELLO)
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="first/silent", messages=HELLO, timeout=0.1)

    async def main():
        http = httpx.AsyncClient(transport=in_process)
        client = openai.AsyncOpenAI(api_key=KEY, base_url="http://understudy/v1", http_client=http, max_retries=0)
        stream = await client.chat.completions.create(model="moves", messages=HELLO, stream=True)
        assert finishes([chunk async for chunk in stream]) == ["stop"]
        with pytest.raises(openai.APITimeoutError):
            await client.chat.completions.create(model="first/silent", messages=HELLO, timeout=0.1)

    asyncio.run(main())


# -- the embedded open model -------------------------------------------------------------------------------------------


EACH_ONCE = pytest.mark.parametrize("sdk", [WAYS[0], WAYS[3]], indirect=True, ids=["blocking-http", "async-in_process"])
"""A real model takes real time: two of the four ways have every kind of client and of connection among them."""


@EACH_ONCE
def test_the_open_model_answers(sdk, local):
    completion = sdk.create(local, "Say hello.", max_tokens=8, temperature=0)
    assert completion.choices[0].message.content.strip()
    assert completion.choices[0].finish_reason in ("stop", "length")
    assert 0 < completion.usage.completion_tokens <= 8


@EACH_ONCE
def test_the_open_model_streams(sdk, local):
    chunks = sdk.all(
        sdk.create(
            local, "Say hello.", max_tokens=8, temperature=0, stream=True, stream_options={"include_usage": True}
        )
    )
    whole = sdk.create(local, "Say hello.", max_tokens=8, temperature=0)
    assert text(chunks) == whole.choices[0].message.content
    assert finishes(chunks) == [whole.choices[0].finish_reason]
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


@EACH_ONCE
def test_the_open_models_log_probabilities(sdk, local):
    content = sdk.create(local, "Hi", max_tokens=2, logprobs=True, top_logprobs=2).choices[0].logprobs.content
    assert len(content) == 2
    assert len(content[0].top_logprobs) == 2
    assert content[0].logprob <= 0


@EACH_ONCE
def test_the_open_model_keeps_to_a_schema(sdk, local):
    class Size(pydantic.BaseModel):
        size: Literal["small", "large"]

    completion = sdk.result(
        sdk.client.chat.completions.parse(
            model=local, messages=[{"role": "user", "content": "How large is an elephant?"}],
            response_format=Size, max_tokens=24, temperature=0,
        )
    )  # fmt: skip
    assert completion.choices[0].message.parsed.size in ("small", "large")
    events, final = sdk.events(local, "How large is a mouse?", response_format=Size, max_tokens=24, temperature=0)
    assert final.choices[0].message.parsed.size in ("small", "large")
    assert any(event.type == "content.done" for event in events)


@EACH_ONCE
@pytest.mark.parametrize("model", ["to-local", "to-local-in-stream"])
def test_a_broken_provider_is_replaced_by_the_open_model(sdk, local, model):
    raw = sdk.result(
        sdk.client.chat.completions.with_raw_response.create(
            model=model, messages=[{"role": "user", "content": "Say hello."}], max_tokens=6
        )
    )
    assert raw.headers["x-understudy-target"] == local
    assert raw.parse().choices[0].message.content.strip()
    chunks = sdk.all(sdk.create(model, "Say hello.", max_tokens=6, stream=True))
    assert text(chunks).strip()
    assert finishes(chunks)[0] in ("stop", "length")


@EACH_ONCE
def test_closing_a_stream_frees_the_open_model(sdk, local):
    for _ in range(3):  # one more than it serves at once
        stream = sdk.create(local, "Tell me a very long story about a fox.", max_tokens=400, stream=True)
        assert sdk.first(stream)
        sdk.result(stream.close())
    assert sdk.idle()
    assert sdk.exchanges[-1].outcome == "client_left"
    assert sdk.create(local, "Hi", max_tokens=1).choices
