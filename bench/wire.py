"""The bytes of the benchmark, prepared once: what the load asks and what the fake provider answers.

Every event of a stream has exactly one tilde in it and nothing else of a body has any. A single byte cannot be split
between two reads or two chunks, so counting tildes counts events, however a relay cuts the stream.
"""

from __future__ import annotations

import json

KINDS = ("plain", "burst", "paced")
"""What can be asked for, by model name: one JSON answer, a stream all at once, a stream in time."""

INTERVAL_MS = 20
"""Between two events of a paced stream: 50 events a second."""

TOKENS = 64
MARK = b"~"
KEY = "bench-key"

_TEXT = "The quick brown fox jumps over the lazy dog. " * 5
_ANSWER = {
    "id": "chatcmpl-bench",
    "object": "chat.completion",
    "created": 1741569952,
    "model": "bench",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": _TEXT, "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 400, "completion_tokens": TOKENS, "total_tokens": 400 + TOKENS},
    "service_tier": "default",
}


def _dumps(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def request(kind: str, port: int) -> bytes:
    """The whole request for one answer of `kind` (one of KINDS); about 2.2 kB when plain, 0.5 kB for a stream."""
    stream = kind != "plain"
    messages = [{"role": "user", "content": _TEXT}] * (1 if stream else 8)
    body: dict[str, object] = {"model": kind, "messages": messages, "temperature": 0.2, "max_tokens": 256}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    data = _dumps(body)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {KEY}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(choices: list[object], **more: object) -> bytes:
    event = {
        "id": "chatcmpl~bench",
        "object": "chat.completion.chunk",
        "created": 1741569952,
        "model": "bench",
        "service_tier": "default",
        "choices": choices,
        **more,
    }
    return b"data: %b\n\n" % _dumps(event)


def _choice(delta: dict[str, str], finish: str | None = None) -> object:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _events() -> list[bytes]:
    opening = _event([_choice({"role": "assistant", "content": " token"})])
    token = _event([_choice({"content": " token"})])
    usage = _event([], usage=_ANSWER["usage"])
    return [opening, *[token] * (TOKENS - 1), _event([_choice({}, "stop")]), usage]


_EVENTS = _events()
EVENTS = len(_EVENTS)
"""Events of a stream that count: the tokens, the finish and the usage, but not `[DONE]`."""

_BODY = _dumps(_ANSWER)
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"
_LAST = _chunk(_EVENTS[-1] + b"data: [DONE]\n\n") + LAST_CHUNK

PIECES = (_STREAM_HEAD + _chunk(_EVENTS[0]), *(_chunk(event) for event in _EVENTS[1:-1]), _LAST)
"""A stream as it is written when paced: one piece every INTERVAL_MS, EVENTS pieces."""

BURST = b"".join(PIECES)


def content_length(head: bytes) -> int | None:
    """What the head of a request or response says; None if it says nothing."""
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0]) if found else None
