"""OpenAI's images, speech and transcripts: what the simulated model says, as pictures that are none and sound that is
none. The behaviours of the table hold here too, for each of these is a voice like any other.

Shapes: OpenAI's OpenAPI description and the types of its SDK. A binary answer is a "stream" of pieces to `play`, for it
goes out piece by piece and can be cut in the middle.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from understudy.sim import answers
from understudy.sim.answers import Reply
from understudy.sim.asked import Asked, Refused
from understudy.sim.behaviour import Call
from understudy.sim.voices import openai_completions
from understudy.sim.voices.voice import Frames, Json, Trouble, Voice, decode, event

PNG = b"\x89PNG\r\n\x1a\n"
SOUND = b"\xff\xf3"
"""What begins a frame of MPEG audio, and here each piece of speech."""

Media = Callable[[bytes, str], tuple[Voice, Asked]]
"""From a request's body and content type to who answers it, and what is asked."""

_boundary = re.compile(r"boundary=\"?([^\";]+)")
_parameter = re.compile(rb'\b(name|filename)="([^"]*)"')


class Part(NamedTuple):
    filename: str | None
    content: bytes


def form(body: bytes, content_type: str) -> dict[str, Part]:
    """The parts of a multipart body by name. Raises `Refused`."""
    named = _boundary.search(content_type)
    if not content_type.startswith("multipart/form-data") or named is None:
        raise Refused("Expected multipart/form-data with a boundary.", "body")
    pieces = (b"\r\n" + body).split(b"\r\n--" + named[1].encode("latin-1"))
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise Refused("The form does not end.", "body")
    found = {}
    for piece in pieces[1:-1]:
        head, _, content = piece.partition(b"\r\n\r\n")
        given = {match[1]: match[2].decode() for match in _parameter.finditer(head)}
        found[given.get(b"name", "")] = Part(given.get(b"filename"), content)
    return found


def _refuse(trouble: Trouble) -> tuple[int, Json, dict[str, str]]:
    return openai_completions.refuse(trouble)


def _error_events(trouble: Trouble) -> list[bytes]:
    return [b"event: error\ndata: " + msgspec.json.encode(_refuse(trouble)[1]) + b"\n\n"]


def _asked(model: str, text: str, *, stream: bool) -> Asked:
    return Asked(model=model, messages=[{"role": "user", "content": text}], stream=stream)


def _never(_body: bytes, _model: str, _stream: bool) -> Asked:
    raise Refused("This voice is not asked by path.")


def _voice(
    name: str,
    frames: Callable[[Call, Reply], Frames],
    answer: Callable[[Call, Reply], Json] = lambda _call, _said: {},
    kind: str = "text/event-stream",
) -> Voice:
    errors = _error_events if kind == "text/event-stream" else lambda _trouble: []
    return Voice(name, _never, answer, frames, _refuse, errors, kind)


def _tokens(call: Call, said: Reply) -> Json:
    used = answers.usage(call.asked, said)
    return {"input_tokens": used["prompt_tokens"], "output_tokens": used["completion_tokens"],
            "total_tokens": used["total_tokens"]}  # fmt: skip


# -- images: a "picture" is PNG's first bytes and the text


def _picture(text: str) -> str:
    return base64.b64encode(PNG + text.encode()).decode()


def _image_usage(call: Call, said: Reply) -> Json:
    return {**_tokens(call, said), "input_tokens_details": {"text_tokens": 1, "image_tokens": 0}}


def _images(call: Call, said: Reply) -> Json:
    made = {"b64_json": _picture(said.text)}
    return {"created": call.created, "data": [made], "size": "1024x1024", "usage": _image_usage(call, said)}


def _image_frames(what: str) -> Callable[[Call, Reply], Frames]:
    def frames(call: Call, said: Reply) -> Frames:
        shape = {"background": "opaque", "created_at": call.created, "output_format": "png", "quality": "low",
                 "size": "1024x1024"}  # fmt: skip
        partial = [
            event({"type": f"{what}.partial_image", "b64_json": _picture(token), "partial_image_index": n, **shape})
            for n, token in enumerate(said.tokens)
        ]
        last = {"type": f"{what}.completed", "b64_json": _picture(said.text), "usage": _image_usage(call, said)}
        return Frames([], partial, [event({**last, **shape})])

    return frames


_GENERATION = _voice("openai-images", _image_frames("image_generation"), _images)
_EDIT = _voice("openai-images", _image_frames("image_edit"), _images)


class _Image(msgspec.Struct):
    prompt: str
    model: str = "dall-e-2"
    stream: bool | None = None


def images(body: bytes, _content_type: str) -> tuple[Voice, Asked]:
    asked = decode(body, _Image)
    return _GENERATION, _asked(asked.model, asked.prompt, stream=bool(asked.stream))


def _text(parts: dict[str, Part], name: str, default: str = "") -> str:
    return parts[name].content.decode() if name in parts else default


def edits(body: bytes, content_type: str) -> tuple[Voice, Asked]:
    """Edits and variations: what was sent is echoed in the picture, as far as it is text."""
    if content_type.startswith("application/json"):
        asked = decode(body, _Image)
        return _EDIT, _asked(asked.model, asked.prompt, stream=bool(asked.stream))
    parts = form(body, content_type)
    image = parts.get("image") or parts.get("image[]")
    if image is None:
        raise Refused("Missing required parameter: 'image'.", "image")
    text = f"{_text(parts, 'prompt')} on {image.content.decode('latin-1')[:50]}"
    return _EDIT, _asked(_text(parts, "model", "dall-e-2"), text, stream=_text(parts, "stream") == "true")


# -- speech: a "sound" is two bytes of MPEG audio and the text


def _sound(text: str) -> bytes:
    return SOUND + text.encode()


def _speech_frames(_call: Call, said: Reply) -> Frames:
    return Frames([], [_sound(token) for token in said.tokens], [])


def _speech_events(call: Call, said: Reply) -> Frames:
    deltas = [
        event({"type": "speech.audio.delta", "audio": base64.b64encode(_sound(token)).decode()})
        for token in said.tokens
    ]
    return Frames([], deltas, [event({"type": "speech.audio.done", "usage": _tokens(call, said)})])


_SPEECH = _voice("openai-speech", _speech_frames, kind="audio/mpeg")
_SPEECH_EVENTS = _voice("openai-speech", _speech_events)


class _Speech(msgspec.Struct):
    model: str
    input: str
    voice: str | Json
    stream_format: str = "audio"


def speech(body: bytes, _content_type: str) -> tuple[Voice, Asked]:
    asked = decode(body, _Speech)
    voice = _SPEECH_EVENTS if asked.stream_format == "sse" else _SPEECH
    return voice, _asked(asked.model, asked.input, stream=True)


# -- transcripts: what the file has as text is what was "heard"


def _transcript(_call: Call, said: Reply) -> Json:
    return {"text": said.text, "usage": {"type": "duration", "seconds": 1}}


def _transcript_events(_call: Call, said: Reply) -> Frames:
    deltas = [event({"type": "transcript.text.delta", "delta": token}) for token in said.tokens]
    return Frames([], deltas, [event({"type": "transcript.text.done", "text": said.text})])


def _plain(_call: Call, said: Reply) -> Frames:
    return Frames([], [token.encode() for token in said.tokens], [b"\n"])


_TRANSCRIPT = _voice("openai-transcript", _transcript_events, _transcript)
_PLAIN = _voice("openai-transcript", _plain, kind="text/plain; charset=utf-8")


def transcripts(body: bytes, content_type: str) -> tuple[Voice, Asked]:
    """Transcriptions and translations."""
    parts = form(body, content_type)
    if "file" not in parts or "model" not in parts:
        raise Refused("Missing required parameter: 'file' or 'model'.", "file")
    heard = parts["file"].content.decode("latin-1")[:100]
    model = _text(parts, "model")
    if _text(parts, "response_format") in ("text", "srt", "vtt"):
        return _PLAIN, _asked(model, heard, stream=True)
    return _TRANSCRIPT, _asked(model, heard, stream=_text(parts, "stream") == "true")


PATHS: dict[str, Media] = {
    "/v1/images/generations": images,
    "/v1/images/edits": edits,
    "/v1/images/variations": edits,
    "/v1/audio/speech": speech,
    "/v1/audio/transcriptions": transcripts,
    "/v1/audio/translations": transcripts,
}
