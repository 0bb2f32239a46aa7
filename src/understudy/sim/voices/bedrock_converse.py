"""Bedrock's Converse: `POST /model/{model}/converse`, and `/converse-stream` in AWS's binary event stream."""

from __future__ import annotations

import struct
import zlib

import msgspec

from understudy.sim.answers import Reply
from understudy.sim.asked import Asked
from understudy.sim.behaviour import Call
from understudy.sim.voices.voice import (
    Frames,
    Json,
    Refusal,
    Trouble,
    Voice,
    arguments,
    decode,
    filled,
    function,
    named,
    tokens,
)  # fmt: skip

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use",
          "content_filter": "content_filtered", "blocked": "guardrail_intervened"}  # fmt: skip
_KINDS = {400: "ValidationException", 401: "UnrecognizedClientException", 403: "AccessDeniedException",
          404: "ResourceNotFoundException", 408: "ModelTimeoutException", 424: "ModelErrorException",
          429: "ThrottlingException", 500: "InternalServerException", 503: "ServiceUnavailableException"}  # fmt: skip
_SEAL = "c2ltdWxhdGVk"
"""The signature of a thought."""

_STRING = 7
"""The type of a header whose value is a string."""


class _Limits(msgspec.Struct, rename="camel"):
    max_tokens: int | None = None


class _ToolConfig(msgspec.Struct, rename="camel"):
    tools: list[Json] = []
    tool_choice: Json = {}


class _Request(msgspec.Struct, rename="camel"):
    messages: list[Json]
    inference_config: _Limits = msgspec.field(default_factory=_Limits)
    tool_config: _ToolConfig = msgspec.field(default_factory=_ToolConfig)


def _message(message: Json) -> Json:
    parts = message.get("content")
    results = (
        [p["toolResult"] for p in parts if isinstance(p, dict) and "toolResult" in p] if type(parts) is list else []
    )
    last = results[-1] if results else None
    return {"role": "tool", "content": last.get("content")} if isinstance(last, dict) else message


def _read(body: bytes, model: str, stream: bool) -> Asked:
    request = decode(body, _Request)
    specs = [spec for tool in request.tool_config.tools if isinstance(spec := tool.get("toolSpec"), dict)]
    choice = request.tool_config.tool_choice
    one = choice.get("tool")
    return Asked(
        model=model,
        messages=[_message(message) for message in filled(request.messages)],
        stream=stream,
        max_tokens=request.inference_config.max_tokens,
        tools=[function(spec.get("name"), (spec.get("inputSchema") or {}).get("json")) for spec in specs],
        tool_choice=named(one.get("name")) if isinstance(one, dict) else "required" if "any" in choice else None,
    )


def _end(call: Call, said: Reply) -> Json:
    prompt, completion = tokens(call, said)
    usage = {"inputTokens": prompt, "outputTokens": completion, "totalTokens": prompt + completion}
    return {**({"usage": usage} if said.counted else {}), "metrics": {"latencyMs": 1}}


def _stop(said: Reply) -> str:
    return "malformed_tool_use" if said.broken and said.finish == "tool_calls" else _STOPS[said.finish]


def _answer(call: Call, said: Reply) -> Json:
    block: Json = {"text": said.text}
    if said.tool:
        block = {"toolUse": {"toolUseId": said.call_id, "name": said.tool, "input": arguments(said)}}
    thinking = {"reasoningContent": {"reasoningText": {"text": "".join(said.thoughts), "signature": _SEAL}}}
    content = [*([thinking] if said.thoughts else []), *([block] if said.tokens else [])]
    message = {"role": "assistant", "content": content}
    return {"output": {"message": message}, "stopReason": _stop(said), **_end(call, said)}


def framed(headers: dict[str, str], data: Json) -> bytes:
    """One message: lengths, their CRC, headers, payload, the CRC of it all."""
    return _packed(headers, msgspec.json.encode(data))


def _packed(headers: dict[str, str], payload: bytes) -> bytes:
    packed = b"".join(
        struct.pack(f"!B{len(name)}sBH", len(name), name.encode(), _STRING, len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack("!II", len(packed) + len(payload) + 16, len(packed))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + packed + payload
    return message + struct.pack("!I", zlib.crc32(message))


def _event(kind: str, data: Json) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return framed(headers, data)


def torn(message: bytes) -> bytes:
    """`message`, sound as such, but the JSON in it breaks off."""
    size, of_headers = struct.unpack("!II", message[:8])
    start = 12 + of_headers
    payload = message[start : start + (size - of_headers - 16) // 2]
    prelude = struct.pack("!II", of_headers + len(payload) + 16, of_headers)
    whole = prelude + struct.pack("!I", zlib.crc32(prelude)) + message[12:start] + payload
    return whole + struct.pack("!I", zlib.crc32(whole))


def _frames(call: Call, said: Reply) -> Frames:
    def delta(index: int, what: Json) -> bytes:
        return _event("contentBlockDelta", {"contentBlockIndex": index, "delta": what})

    opening = [_event("messageStart", {"role": "assistant"})]
    closing = []
    index = 0
    if said.thoughts:
        opening += [delta(0, {"reasoningContent": {"text": text}}) for text in said.thoughts]
        opening += [delta(0, {"reasoningContent": {"signature": _SEAL}})]
        opening.append(_event("contentBlockStop", {"contentBlockIndex": 0}))
        index = 1
    if said.tool:
        start = {"toolUse": {"toolUseId": said.call_id, "name": said.tool}}
        opening.append(_event("contentBlockStart", {"contentBlockIndex": index, "start": start}))
    if said.tokens:
        closing.append(_event("contentBlockStop", {"contentBlockIndex": index}))
    deltas = [{"toolUse": {"input": token}} if said.tool else {"text": token} for token in said.tokens]
    return Frames(
        opening,
        [delta(index, what) for what in deltas],
        closing,
        [_event("messageStop", {"stopReason": _stop(said)}), _event("metadata", _end(call, said))],
    )


def _kind(status: int) -> str:
    return _KINDS.get(status, "InternalServerException" if status >= 500 else "ValidationException")


def _refuse(trouble: Trouble) -> Refusal:
    if trouble.told is not None:
        return trouble.told
    kind = _kind(trouble.status)
    status = 403 if trouble.status == 401 else trouble.status  # AWS answers a wrong key so
    return status, {"message": trouble.message}, {"x-amzn-errortype": kind}


def _error_frames(trouble: Trouble) -> list[bytes]:
    told = trouble.told
    kind = _kind(trouble.status) if told is None else told[2]["x-amzn-errortype"]
    headers = {":exception-type": kind[0].lower() + kind[1:], ":content-type": "application/json",
               ":message-type": "exception"}  # fmt: skip
    return [framed(headers, {"message": trouble.message} if told is None else told[1])]


VOICE = Voice(
    "bedrock-converse", _read, _answer, _frames, _refuse, _error_frames, "application/vnd.amazon.eventstream",
    ping=None, torn=torn,
)  # fmt: skip
