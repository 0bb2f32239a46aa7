"""Images, speech and transcripts with OpenAI's official SDK, unchanged but for the base URL."""

import asyncio
import base64

import httpx2
import openai
import pytest

from tests.running import Running
from understudy.inprocess import InProcess
from understudy.sim import Sim
from understudy.sim.voices.media import PNG, SOUND

CONFIG = """
[providers.first]
dialect = "openai-chat"
base_url = "{a}"
cooldown = false
[providers.second]
dialect = "openai-chat"
base_url = "{b}"
[defaults]
retries = 0
[routes.moves]
targets = ["first/overloaded", "second/ok"]
[routes.moves-in-stream]
targets = ["first/error-event", "second/ok"]
[routes.breaks]
targets = ["first/cut:after=3", "second/ok"]
[routes.errs]
targets = ["first/error-event-late", "second/ok"]
"""
SAID = "This is a simulated answer, it only echoes what you said: "


class Paused(Sim):
    """Takes breath after each piece of a stream, so that the gateway has passed it on before the stream breaks."""

    def script(self, request, *keys, reused):
        for step in super().script(request, *keys, reused=reused):
            yield step
            if b"error-event-late" in request.body:
                yield 0.02


@pytest.fixture(scope="module")
def running():
    running = Running(CONFIG)
    running.a = Paused()
    with running:
        yield running


@pytest.fixture(scope="module", params=["http", "in-process"])
def sdk(request, running, tmp_path_factory):
    if request.param == "http":
        with httpx2.Client(trust_env=False, timeout=60) as http:
            yield openai.OpenAI(base_url=f"{running.url}/v1", api_key="any", max_retries=0, http_client=http)
        return
    path = tmp_path_factory.mktemp("config") / "understudy.toml"
    path.write_text(CONFIG.replace("{a}", running.a.url).replace("{b}", running.b.url))
    with InProcess(path, environ={}) as transport, httpx2.Client(transport=transport) as http:
        yield openai.OpenAI(base_url="http://understudy/v1", api_key="any", max_retries=0, http_client=http)


def pictured(encoded):
    return base64.b64decode(encoded).removeprefix(PNG).decode()


def test_an_image_is_generated(sdk):
    made = sdk.images.generate(model="moves", prompt="A cat")
    assert pictured(made.data[0].b64_json) == f"{SAID}A cat"


def test_images_are_edited_and_varied(sdk):
    edited = sdk.images.edit(model="moves", image=("a.png", b"a picture"), prompt="A cat")
    assert pictured(edited.data[0].b64_json).endswith("A cat on a picture")
    edited = sdk.images.edit(model="moves", image=[("a.png", b"a picture"), ("b.png", b"another")], prompt="A cat")
    assert pictured(edited.data[0].b64_json).startswith(SAID)
    with pytest.warns(DeprecationWarning, match="deprecated"):
        varied = sdk.images.create_variation(model="moves", image=("a.png", b"a picture"))
    assert pictured(varied.data[0].b64_json).endswith("on a picture")


@pytest.mark.parametrize("model", ["first/ok", "moves", "moves-in-stream"])
def test_an_image_comes_in_parts(sdk, model):
    for what, stream in (
        ("generation", sdk.images.generate(model=model, prompt="A cat", stream=True, partial_images=2)),
        ("edit", sdk.images.edit(model=model, image=b"a picture", prompt="A cat", stream=True)),
    ):
        events = list(stream)
        assert events[0].type == f"image_{what}.partial_image"
        assert events[-1].type == f"image_{what}.completed"
        assert pictured(events[-1].b64_json).startswith(SAID)


@pytest.mark.parametrize("model", ["breaks", "errs"])
def test_an_image_that_breaks_off_in_parts_is_an_exception(sdk, model):
    with pytest.raises(openai.APIError):
        list(sdk.images.generate(model=model, prompt="A cat", stream=True))


@pytest.mark.parametrize("model", ["first/ok", "moves"])
def test_speech_is_heard_whole_or_as_it_comes(sdk, tmp_path, model):
    asked = {"model": model, "voice": "alloy", "input": "Hello"}
    whole = sdk.audio.speech.create(**asked).content
    assert whole.startswith(SOUND)
    assert whole.replace(SOUND, b"").decode() == f"{SAID}Hello"
    with sdk.audio.speech.with_streaming_response.create(**asked) as response:
        assert response.headers["content-type"] == "audio/mpeg"
        response.stream_to_file(tmp_path / "said.mp3")
    assert (tmp_path / "said.mp3").read_bytes() == whole


def test_speech_that_breaks_off_is_an_exception_and_never_a_short_sound(sdk):
    asked = {"model": "breaks", "voice": "alloy", "input": "Hello"}
    with pytest.raises((openai.APIConnectionError, httpx2.TransportError)):
        sdk.audio.speech.create(**asked)
    heard = []
    with sdk.audio.speech.with_streaming_response.create(**asked) as response, pytest.raises(httpx2.TransportError):
        heard.extend(response.iter_bytes())
    assert b"".join(heard).startswith(SOUND + b"This")


def test_speech_comes_as_events_where_asked_for(sdk):
    asked = {"model": "moves", "voice": "alloy", "input": "Hello", "stream_format": "sse"}
    with sdk.audio.speech.with_streaming_response.create(**asked) as response:
        lines = [line for line in response.iter_lines() if line.startswith("data: ")]
    assert '"speech.audio.done"' in lines[-1]


def test_sound_is_transcribed_and_translated(sdk):
    heard = sdk.audio.transcriptions.create(model="moves", file=("a.mp3", b"spoken words"))
    assert heard.text == f"{SAID}spoken words"
    text = sdk.audio.transcriptions.create(model="moves", file=("a.mp3", b"spoken words"), response_format="text")
    assert text.strip() == f"{SAID}spoken words"
    with pytest.warns(DeprecationWarning, match="deprecated"):
        translated = sdk.audio.translations.create(model="moves", file=("a.mp3", b"spoken words"))
    assert translated.text == f"{SAID}spoken words"


def test_a_transcript_comes_as_it_is_heard(sdk):
    events = list(sdk.audio.transcriptions.create(model="moves-in-stream", file=("a.mp3", b"spoken"), stream=True))
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == f"{SAID}spoken"
    with pytest.raises(openai.APIError):
        list(sdk.audio.transcriptions.create(model="errs", file=("a.mp3", b"spoken"), stream=True))


def test_mistakes_are_the_sdks_own_exceptions(sdk):
    with pytest.raises(openai.NotFoundError, match="not served here"):
        sdk.audio.speech.create(model="nothing", voice="alloy", input="Hello")
    with pytest.raises(openai.BadRequestError, match="model"):
        sdk.images.generate(prompt="A cat")
    with pytest.raises(openai.InternalServerError):
        sdk.images.generate(model="first/overloaded", prompt="A cat")


def test_the_asynchronous_sdk_works_as_well(running):
    async def talk():
        async with (
            httpx2.AsyncClient(trust_env=False, timeout=60) as http,
            openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="any", max_retries=0, http_client=http) as sdk,
        ):
            made = await sdk.images.generate(model="moves", prompt="A cat")
            sound = await sdk.audio.speech.create(model="moves", voice="alloy", input="Hello")
            stream = await sdk.audio.transcriptions.create(model="moves", file=b"spoken", stream=True)
            return made, sound.content, [event async for event in stream]

    made, sound, events = asyncio.run(talk())
    assert pictured(made.data[0].b64_json) == f"{SAID}A cat"
    assert sound.startswith(SOUND)
    assert events[-1].type == "transcript.text.done"
