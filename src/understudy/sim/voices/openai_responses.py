"""OpenAI's Responses: `POST /v1/responses`, numbered and named server-sent events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from understudy.sim.answers import Reply
from understudy.sim.asked import Asked, Refused
from understudy.sim.behaviour import Call
from understudy.sim.voices.openai_completions import refuse
from understudy.sim.voices.voice import (
    Frames,
    Json,
    Trouble,
    Voice,
    decode,
    event,
    filled,
    function,
    named,
    schema,
    tokens,
)  # fmt: skip


class _Request(msgspec.Struct):
    model: str
    input: str | list[Json]
    stream: bool | None = False
    max_output_tokens: int | None = None
    tools: list[Json] | None = None
    tool_choice: str | Json | None = None
    text: Json | None = None


def _message(item: Json) -> Json:
    if item.get("type") == "function_call_output":
        return {"role": "tool", "content": item.get("output")}
    return item


def _choice(choice: str | Json | None) -> str | Json | None:
    return named(choice.get("name")) if isinstance(choice, dict) and choice.get("type") == "function" else choice


def _format(text: Json | None) -> Json | None:
    shape = (text or {}).get("format")
    kind = shape.get("type") if isinstance(shape, dict) else None
    if kind == "json_schema" and isinstance(shape, dict):
        if not isinstance(shape.get("schema"), dict):
            raise Refused("Missing required parameter: 'text.format.schema'.", "text.format.schema")
        return schema(shape["schema"])
    return schema(None) if kind == "json_object" else None


def _read(body: bytes, _model: str, _stream: bool) -> Asked:
    request = decode(body, _Request)
    given = [{"role": "user", "content": request.input}] if isinstance(request.input, str) else request.input
    return Asked(
        model=request.model,
        messages=[_message(item) for item in filled(given, "input")],
        stream=request.stream,
        max_tokens=request.max_output_tokens,
        tools=[
            function(tool.get("name"), tool.get("parameters"))
            for tool in request.tools or []
            if tool.get("type") == "function"
        ],
        tool_choice=_choice(request.tool_choice),
        response_format=_format(request.text),
    )


def _part(said: Reply, text: str) -> Json:
    if said.field == "refusal":
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _item(call: Call, said: Reply, status: str, text: str) -> Json:
    identity = call.id.removeprefix("chatcmpl-")
    if said.tool:
        return {"id": f"fc_{identity}", "type": "function_call", "status": status, "call_id": said.call_id,
                "name": said.tool, "arguments": text}  # fmt: skip
    content = [_part(said, text)] if status != "in_progress" else []
    return {"id": f"msg_{identity}", "type": "message", "status": status, "role": "assistant", "content": content}


def _reasoning(call: Call, text: str) -> Json:
    summary = [{"type": "summary_text", "text": text}] if text else []
    return {"id": f"rs_{call.id.removeprefix('chatcmpl-')}", "type": "reasoning", "summary": summary}


def _ended(said: Reply) -> str:
    if said.finish == "queued":
        return "queued"
    return "incomplete" if said.finish in {"length", "content_filter"} else "completed"


def _answer(call: Call, said: Reply) -> Json:
    prompt, completion = tokens(call, said)
    reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(said.finish)
    output = [_reasoning(call, "".join(said.thoughts))] if said.thoughts else []
    output += [_item(call, said, _ended(said), said.text)] if said.tokens else []
    used = {"input_tokens": prompt, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": completion,
            "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": prompt + completion}  # fmt: skip
    return {
        "id": f"resp_{call.id.removeprefix('chatcmpl-')}", "object": "response", "created_at": call.created,
        "status": _ended(said), "error": None, "incomplete_details": {"reason": reason} if reason else None,
        "instructions": None, "max_output_tokens": call.asked.limit, "metadata": {}, "model": call.asked.model,
        "output": output, "parallel_tool_calls": True,
        "previous_response_id": None, "store": False, "temperature": 1.0, "text": {"format": {"type": "text"}},
        "tool_choice": "auto", "tools": [], "top_p": 1.0, "truncation": "disabled",
        **({"usage": used} if said.counted else {}),
    }  # fmt: skip


Made = Callable[..., bytes]


def _thinking(call: Call, said: Reply, made: Made) -> list[bytes]:
    text = "".join(said.thoughts)
    place = {"item_id": _reasoning(call, "")["id"], "output_index": 0, "summary_index": 0}
    part = "response.reasoning_summary_part"
    words = "response.reasoning_summary_text"
    return [
        made("response.output_item.added", output_index=0, item=_reasoning(call, "")),
        made(f"{part}.added", **place, part={"type": "summary_text", "text": ""}),
        *(made(f"{words}.delta", **place, delta=one) for one in said.thoughts),
        made(f"{words}.done", **place, text=text),
        made(f"{part}.done", **place, part={"type": "summary_text", "text": text}),
        made("response.output_item.done", output_index=0, item=_reasoning(call, text)),
    ]


def _frames(call: Call, said: Reply) -> Frames:
    whole = _answer(call, said)
    number = iter(range(10**9))
    item = _item(call, said, "in_progress", "")
    index = int(bool(said.thoughts))
    place = {"item_id": item["id"], "output_index": index, **({} if said.tool else {"content_index": 0})}

    def made(kind: str, **fields: Any) -> bytes:
        return event({"type": kind, "sequence_number": next(number), **fields})

    begun = {**whole, "status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
    if said.finish == "queued":
        waiting = {**begun, "status": "queued"}
        return Frames([made("response.created", response=waiting), made("response.queued", response=waiting)], [], [])
    opening = [made("response.created", response=begun), made("response.in_progress", response=begun)]
    if said.thoughts:
        opening += _thinking(call, said, made)
    kind = "response.function_call_arguments" if said.tool else "response.output_text"
    extra: Json = {} if said.tool else {"logprobs": []}
    if said.field == "refusal":
        kind, extra = "response.refusal", {}
    if not said.tokens:
        return Frames(opening, [], [], [made(f"response.{whole['status']}", response=whole)])
    opening.append(made("response.output_item.added", output_index=index, item=item))
    if not said.tool:
        opening.append(made("response.content_part.added", **place, part=_part(said, "")))
    content = [made(f"{kind}.delta", **place, delta=token, **extra) for token in said.tokens]
    if said.tool:
        closing = [made(f"{kind}.done", **place, name=said.tool, arguments=said.text)]
    else:
        word = "refusal" if said.field == "refusal" else "text"
        closing = [
            made(f"{kind}.done", **place, **{word: said.text}, **extra),
            made("response.content_part.done", **place, part=_part(said, said.text)),
        ]
    closing.append(made("response.output_item.done", output_index=index, item=whole["output"][-1]))
    return Frames(opening, content, closing, [made(f"response.{whole['status']}", response=whole)])


def _error_frames(trouble: Trouble) -> list[bytes]:
    """Flat, as OpenAI's own document has it."""
    wrong = refuse(trouble)[1].get("error")
    said = wrong if isinstance(wrong, dict) else {}
    body: Json = {"type": "error", "code": said.get("code") or said.get("type"), "message": said.get("message")}
    return [event({**body, "param": said.get("param"), "sequence_number": 0})]


VOICE = Voice("openai-responses", _read, _answer, _frames, refuse, _error_frames)
