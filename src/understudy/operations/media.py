"""What a stream of images, speech or a transcript says, as far as passing it on takes: content, an error, the end.

Each event has its kind in `type` (`image_generation.partial_image`, `speech.audio.delta`, `transcript.text.done`); the
last one's ends in `.completed` or `.done`, several times where several images were asked for. Compatible servers that
know no such kinds close with `[DONE]`. Sources: OpenAI's and Mistral's OpenAPI descriptions; vLLM's transcriptions.
"""

from __future__ import annotations

import msgspec

from understudy.canon import Delta, Ended, Event, Failed, Fault, Finished, Skipped
from understudy.dialects.openai_chat.fault import fault_in
from understudy.dialects.sse import COMMENT, STRAY, SseDecoder
from understudy.dialects.wire import Malformed, parse

_LAST = (".completed", ".done")
_UNSAID = "The provider told of an error without saying which."


class StreamDecoder:
    """Bytes in, events out, for `dialects.watch.Watch`."""

    def __init__(self) -> None:
        self._sse = SseDecoder()
        self._finished = False
        self._over = False

    @property
    def whole(self) -> bool:
        return False  # where the finish is the end

    def feed(self, data: bytes) -> list[Event]:
        return self._read(self._sse.feed(data))

    def close(self) -> list[Event]:
        events = self._read(self._sse.close())
        if self._over:
            return events
        if self._finished:
            return [*events, Ended()]
        cut = Fault("stream_cut", message="The stream ended before the answer did.", phase="stream")
        return [*events, Failed(cut)]

    def _read(self, pairs: list[tuple[str, bytes]]) -> list[Event]:
        events: list[Event] = []
        for name, data in pairs:
            if self._over:
                break
            if name in (COMMENT, STRAY):
                continue
            if data == b"[DONE]":
                events.append(Ended())
                self._over = True
            else:
                events += self._event(name, data)
        return events

    def _event(self, name: str, data: bytes) -> list[Event]:
        try:
            value = parse(data)
        except Malformed:
            return [Skipped(data[:200].decode("utf-8", "replace"))]
        kind = value.get("type") if isinstance(value, dict) else None
        fault = fault_in(value, "stream") if isinstance(value, dict) and value.get("error") else None
        if name == "error" or kind == "error" or fault is not None:
            self._over = True
            if fault is None and isinstance(value, dict):
                fault = fault_in({"error": value}, "stream")
            return [Failed(fault or Fault(message=_UNSAID, phase="stream"))]
        content: Event = Delta(0, 0, data="?")  # that there is some is all that counts
        if isinstance(kind, str) and kind.endswith(_LAST):
            self._finished = True
            return [content, Finished(0, "stop")]
        return [content]


def whole_fault(body: bytes) -> Fault | None:
    """What is wrong with an answer of JSON that came with a 200; None if nothing is."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Fault("bad_answer", status=200, message=f"The answer is not valid JSON: {error}", phase="body")
    if isinstance(value, dict) and value.get("error"):
        return fault_in(value, "body") or Fault(message=_UNSAID, phase="body")
    return None
