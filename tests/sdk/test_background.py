"""The official OpenAI SDK's background responses, from providers that have never heard of such a thing."""

import contextlib
import socket

import openai
import pytest

from tests.gateway.test_dialects import ANSWER, KEY, config
from tests.running import Running

PROVIDERS = ["sim-anthropic-messages", "sim-gemini", "sim-openai-responses"]


@pytest.fixture(scope="module")
def gateway():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Running(config(port), port=port) as running:
        yield running


@pytest.fixture(scope="module")
def client(gateway):
    with contextlib.closing(openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0)) as made:
        yield made


def finished(gateway):
    return gateway.until(lambda: gateway.gateway.background.running == 0)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_response_is_created_and_polled(gateway, client, provider):
    created = client.responses.create(model=f"{provider}/ok", input="Hello there", background=True)
    assert (created.status, created.background, created.output_text) == ("queued", True, "")
    assert finished(gateway)
    done = client.responses.retrieve(created.id)
    assert (done.id, done.status, done.error) == (created.id, "completed", None)
    assert done.output_text.startswith(ANSWER)
    assert done.usage.output_tokens
    again = client.responses.create(model="first/ok", input="And more", previous_response_id=created.id)
    assert again.status == "completed"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_stream_that_was_left_is_resumed_where_it_was_left(gateway, client, provider):
    seen = []
    with client.responses.create(
        model=f"{provider}/drip:between=0.01", input="Hello there", background=True, stream=True
    ) as stream:
        for event in stream:
            seen.append(event)
            if event.type == "response.output_text.delta":
                break
    name = seen[0].response.id
    assert [event.type for event in seen[:3]] == ["response.created", "response.queued", "response.in_progress"]
    with client.responses.retrieve(name, stream=True, starting_after=seen[-1].sequence_number) as stream:
        seen += stream
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    assert seen[-1].type == "response.completed"
    text = "".join(event.delta for event in seen if event.type == "response.output_text.delta")
    assert text.startswith(ANSWER)
    assert client.responses.retrieve(name).output_text == text
    assert finished(gateway)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_stream_helper_takes_up_a_background_response(client, provider):
    with client.responses.stream(model=f"{provider}/ok", input="Hello there", background=True) as stream:
        final = stream.get_final_response()
    assert final.status == "completed"
    with client.responses.stream(response_id=final.id, starting_after=3) as stream:
        assert stream.get_final_response().output_text == final.output_text


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_response_is_cancelled(gateway, client, provider):
    created = client.responses.create(model=f"{provider}/silent", input="Hello there", background=True)
    cancelled = client.responses.cancel(created.id)
    assert (cancelled.id, cancelled.status) == (created.id, "cancelled")
    assert client.responses.cancel(created.id) == cancelled
    assert client.responses.retrieve(created.id).status == "cancelled"
    assert finished(gateway)


def test_what_is_refused_raises_the_sdks_own_exceptions(gateway, client):
    with pytest.raises(openai.BadRequestError, match="store"):
        client.responses.create(model="first/ok", input="Hello there", background=True, store=False)
    plain = client.responses.create(model="first/ok", input="Hello there")
    with pytest.raises(openai.BadRequestError, match="synchronous"):
        client.responses.cancel(plain.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.cancel("resp_none")
    with pytest.raises(openai.BadRequestError, match="background=true"):
        client.responses.retrieve(plain.id, stream=True)
    with pytest.raises(openai.BadRequestError, match=r"message\.output_text\.logprobs is not in this response"):
        client.responses.retrieve(plain.id, include=["message.output_text.logprobs"])
    same = client.responses.retrieve(plain.id, include=["reasoning.encrypted_content", "code_interpreter_call.outputs"])
    assert same.output_text == plain.output_text


def test_a_failure_is_told_by_status_and_error(gateway, client):
    created = client.responses.create(model="sim-gemini/overloaded", input="Hello there", background=True)
    assert finished(gateway)
    failed = client.responses.retrieve(created.id)
    assert failed.status == "failed"
    assert failed.error.message
