"""What a client sees in an answer, read without any code of ours: one small reader for each dialect.

The dialects' own readers would share the mistakes of their writers; here only JSON, lines and AWS's own frames are
known.
"""

import dataclasses
import json

from botocore.eventstream import EventStreamBuffer


@dataclasses.dataclass
class Seen:
    """`ends` counts what ends an answer in order, `errors` what says that it failed, `finishes` the finish reasons."""

    text: str = ""
    ends: int = 0
    errors: int = 0
    finishes: list = dataclasses.field(default_factory=list)
    last: str = ""

    def note(self, kind, text=""):
        if kind == "text":
            self.text += text
        elif kind == "finish":
            self.finishes.append(text)
        elif kind == "end":
            self.ends += 1
        elif kind == "error":
            self.errors += 1
        self.last = kind


def events(body):
    """The data of server-sent events."""
    for block in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        data = [line[5:].strip() for line in block.split(b"\n") if line.startswith(b"data:")]
        if data:
            yield b"\n".join(data)


def _openai(body, text_of):
    for data in events(body):
        if data == b"[DONE]":
            yield "end", ""
            continue
        chunk = json.loads(data)
        if chunk.get("error") or chunk.get("object") == "error":
            yield "error", ""
        for choice in chunk.get("choices", ()):
            yield "text", text_of(choice)
            if choice.get("finish_reason"):
                yield "finish", choice["finish_reason"]


def _chat(body):
    return _openai(body, lambda choice: choice["delta"].get("content") or "")


def _completions(body):
    return _openai(body, lambda choice: choice.get("text") or "")


def _responses(body):
    for data in events(body):
        event = json.loads(data)
        if event["type"] == "response.output_text.delta":
            yield "text", event["delta"]
        elif event["type"] in ("response.completed", "response.incomplete"):
            yield "finish", event["response"]["status"]
            yield "end", ""
        elif event["type"] == "response.failed" or (event["type"] == "error" and b"response.failed" not in body):
            yield "error", ""  # OpenAI says why in one event, and that it is over in another


def _anthropic(body):
    for data in events(body):
        event = json.loads(data)
        if event["type"] == "content_block_delta":
            yield "text", event["delta"].get("text", "")
        elif event["type"] == "message_delta" and event["delta"].get("stop_reason"):
            yield "finish", event["delta"]["stop_reason"]
        elif event["type"] == "message_stop":
            yield "end", ""
        elif event["type"] == "error":
            yield "error", ""


def _gemini(body):
    """Nothing ends such a stream but its last finish."""
    for data in events(body):
        chunk = json.loads(data)
        if "error" in chunk:
            yield "error", ""
        for candidate in chunk.get("candidates", ()):
            for part in candidate.get("content", {}).get("parts", ()):
                if not part.get("thought"):
                    yield "text", part.get("text", "")
            if candidate.get("finishReason"):
                yield "finish", candidate["finishReason"]


def _cohere(body):
    for data in events(body):
        event = json.loads(data)
        if event["type"] == "content-delta":
            yield "text", event["delta"]["message"]["content"].get("text", "")
        elif event["type"] == "message-end" and event["delta"]["finish_reason"] in ("ERROR", "TIMEOUT"):
            yield "error", ""
        elif event["type"] == "message-end":
            yield "finish", event["delta"]["finish_reason"]
            yield "end", ""


def _ollama(body):
    for line in body.splitlines():
        chunk = json.loads(line)
        if "error" in chunk:
            yield "error", ""
            continue
        yield "text", chunk["message"]["content"]
        if chunk["done"]:
            if chunk.get("done_reason"):
                yield "finish", chunk["done_reason"]
            yield "end", ""


def _bedrock(body):
    frames = EventStreamBuffer()
    frames.add_data(body)
    for frame in frames:
        if frame.headers[":message-type"] != "event":
            yield "error", ""
            continue
        event = json.loads(frame.payload)
        kind = frame.headers[":event-type"]
        if kind == "contentBlockDelta":
            yield "text", event["delta"].get("text", "")
        elif kind == "messageStop":
            yield "finish", event["stopReason"]
            yield "end", ""


_READERS = {
    "openai-chat": _chat, "openai-completions": _completions, "openai-responses": _responses,
    "anthropic-messages": _anthropic, "gemini": _gemini, "cohere-chat": _cohere, "ollama": _ollama,
    "bedrock-converse": _bedrock,
}  # fmt: skip


def stream(dialect, body):
    """What a client of `dialect` sees in a stream."""
    seen = Seen()
    for kind, text in _READERS[dialect](body):
        if kind != "text" or text:
            seen.note(kind, text)
    if dialect == "gemini":
        seen.ends = int(seen.last == "finish")
    return seen


def _texts(blocks):
    return "".join(block.get("text") or "" for block in blocks or () if not block.get("thought"))


_WHOLES = {
    "openai-chat": lambda a: (a["choices"][0]["message"]["content"], a["choices"][0]["finish_reason"]),
    "openai-completions": lambda a: (a["choices"][0]["text"], a["choices"][0]["finish_reason"]),
    "openai-responses": lambda a: (
        "".join(_texts(item["content"]) for item in a["output"] if item["type"] == "message"), a["status"]),
    "anthropic-messages": lambda a: (_texts(a["content"]), a["stop_reason"]),
    "gemini": lambda a: (_texts(a["candidates"][0].get("content", {}).get("parts")),
                         a["candidates"][0]["finishReason"]),
    "cohere-chat": lambda a: (_texts(a["message"].get("content")), a["finish_reason"]),
    "ollama": lambda a: (a["message"]["content"], a["done"] and a["done_reason"]),
    "bedrock-converse": lambda a: (_texts(a["output"]["message"]["content"]), a["stopReason"]),
}  # fmt: skip


def whole(dialect, body):
    """What a client of `dialect` sees in an answer that is not streamed."""
    text, finish = _WHOLES[dialect](json.loads(body))
    return Seen(text or "", 1, 0, [finish] if finish else [])
