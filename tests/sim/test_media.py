"""Files, batches, images, speech and transcripts as the providers' own SDKs find them at the simulated one."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest

from understudy.sim import Sim
from understudy.sim.voices.media import PNG, SOUND

SAID = "This is a simulated answer, it only echoes what you said: "


def heard(listen: Callable[[openai.OpenAI], Any]) -> Any:
    async def main() -> Any:
        async with Sim() as sim:
            return await asyncio.to_thread(listen, openai.OpenAI(base_url=sim.url, api_key="k", max_retries=0))

    return asyncio.run(main())


def test_an_image_is_the_prompt_said_back() -> None:
    made = heard(lambda sdk: sdk.images.generate(model="ok", prompt="A cat"))
    assert base64.b64decode(made.data[0].b64_json) == PNG + f"{SAID}A cat".encode()


def test_speech_is_sound_piece_by_piece_and_can_break_off() -> None:
    asked: dict[str, Any] = {"voice": "alloy", "input": "Hello"}
    sound = heard(lambda sdk: sdk.audio.speech.create(model="ok", **asked).content)
    assert sound.replace(SOUND, b"").decode() == f"{SAID}Hello"
    with pytest.raises(openai.APIConnectionError):
        heard(lambda sdk: sdk.audio.speech.create(model="cut", **asked))


def test_a_transcript_is_the_file_said_back_whole_or_in_parts() -> None:
    file = ("a.mp3", b"a\r\nb--c")
    assert heard(lambda sdk: sdk.audio.transcriptions.create(model="ok", file=file)).text == f"{SAID}a\r\nb--c"
    events = heard(lambda sdk: list(sdk.audio.transcriptions.create(model="ok", file=file, stream=True)))
    assert events[-1].text == f"{SAID}a\r\nb--c"


def test_behaviours_hold_beside_chat() -> None:
    with pytest.raises(openai.RateLimitError):
        heard(lambda sdk: sdk.images.generate(model="rate-limit", prompt="A cat"))
    with pytest.raises(openai.NotFoundError):
        heard(lambda sdk: sdk.images.generate(model="nothing", prompt="A cat"))


def test_a_file_is_kept_byte_for_byte_until_it_is_deleted() -> None:
    def talk(sdk: openai.OpenAI) -> None:
        content = bytes(range(256)) + b"\r\n--\r\n"
        made = sdk.files.create(file=("a.bin", content), purpose="user_data")
        assert sdk.files.content(made.id).read() == content
        assert [file.id for file in sdk.files.list()] == [made.id]
        sdk.files.delete(made.id)
        with pytest.raises(openai.NotFoundError):
            sdk.files.retrieve(made.id)

    heard(talk)


def test_a_batch_is_done_when_it_is_asked_about_unless_it_was_cancelled() -> None:
    def talk(sdk: openai.OpenAI) -> None:
        line = json.dumps({"custom_id": "1", "body": {"model": "ok"}}).encode()
        held = sdk.files.create(file=("a.jsonl", line), purpose="batch")
        ask: dict[str, Any] = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
        done = sdk.batches.retrieve(sdk.batches.create(input_file_id=held.id, **ask).id)
        assert done.output_file_id is not None
        assert json.loads(sdk.files.content(done.output_file_id).text)["custom_id"] == "1"
        stopped = sdk.batches.cancel(sdk.batches.create(input_file_id=held.id, **ask).id)
        assert sdk.batches.retrieve(stopped.id).status == "cancelling"
        with pytest.raises(openai.BadRequestError):
            sdk.batches.create(input_file_id="file-none", **ask)

    heard(talk)


def test_anthropics_files_and_batches_have_their_own_shape() -> None:
    async def main() -> None:
        async with Sim() as sim:
            await asyncio.to_thread(talk, anthropic.Anthropic(base_url=sim.root, api_key="k", max_retries=0))

    def talk(sdk: anthropic.Anthropic) -> None:
        held = sdk.beta.files.upload(file=("a.txt", b"hello"))
        assert held.size_bytes == 5
        params: Any = {"model": "ok", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}
        made = sdk.messages.batches.create(requests=[{"custom_id": "1", "params": params}])
        done = sdk.messages.batches.retrieve(made.id)
        assert done.request_counts.succeeded == 1
        assert done.results_url == f"https://api.anthropic.com/v1/messages/batches/{made.id}/results"
        with pytest.raises(anthropic.NotFoundError):
            sdk.messages.batches.retrieve("msgbatch_none")

    asyncio.run(main())
