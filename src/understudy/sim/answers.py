"""What the simulated model says: deterministic, and shaped as OpenAI shapes it, whole or in chunks.

The answer echoes the start of the last user message, so that a test can tell whose answer it got. It is worked out
from the request alone: the same request gives the same text, which is what lets a replay after a cut be compared.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Literal

import msgspec

from understudy.sim.asked import Asked, Refused, last_text, text_of
from understudy.sim.behaviour import Call
from understudy.sim.instance import instance

Field = Literal["content", "refusal"]

_ECHOED = 200
"""Characters of the user's message that are echoed: an answer stays small however large the question."""

_PIECE = 6
"""Characters of tool arguments in one chunk: small, so that a cut amid the arguments has somewhere to fall."""

_token = re.compile(r"\s*\S+|\s+")
_SOMETHING = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}


class Reply(msgspec.Struct, frozen=True):
    """One choice: `tokens` of text, or of a tool's arguments when `tool` names one. `finish` is the wire's word."""

    tokens: list[str]
    finish: str = "stop"
    tool: str | None = None
    custom: bool = False
    call_id: str = ""
    field: Field = "content"

    @property
    def text(self) -> str:
        return "".join(self.tokens)


def reply(call: Call, *, force_tool: bool = False, prefill: str = "") -> Reply:
    """The answer to `call`. `prefill` is a beginning not to repeat; `force_tool` calls a tool, made up if need be.

    Raises `Refused` when the request names a tool that it does not bring.
    """
    asked = call.asked
    tool = _chosen_tool(asked)
    if tool is None and force_tool:
        tool = (asked.tools or [_SOMETHING])[0]
    if tool is not None:
        return _tool_reply(asked, tool)
    text = _shaped(asked) or _said(asked)
    tokens = _token.findall(text.removeprefix(prefill))
    if wanted := call.count("tokens"):
        tokens = [tokens[i] if i < len(tokens) else f" more{i}" for i in range(wanted)]
    if asked.limit is not None and asked.limit < len(tokens):
        return Reply(tokens[: max(asked.limit, 0)], "length")
    return Reply(tokens)


def _said(asked: Asked) -> str:
    if asked.last_role == "tool":
        return f"This is a simulated answer. The tool said: {text_of(asked.messages[-1])[:_ECHOED]}"
    return f"This is a simulated answer, it only echoes what you said: {last_text(asked)[:_ECHOED]}"


def _shaped(asked: Asked) -> str | None:
    """JSON in the shape that `response_format` asks for, None if it asks for none."""
    shape = asked.response_format or {}
    if shape.get("type") == "json_object":
        return _json({"simulated": True, "echo": last_text(asked)[:_ECHOED]})
    if shape.get("type") != "json_schema":
        return None
    described = shape.get("json_schema")
    schema = described.get("schema") if isinstance(described, dict) else None
    if not isinstance(schema, dict):
        raise Refused(
            "Missing required parameter: 'response_format.json_schema.schema'.",
            "response_format.json_schema.schema",
            "missing_required_parameter",
        )
    return _json(instance(schema))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _named(tool: dict[str, Any]) -> dict[str, Any]:
    """The part of a tool that has its name: `function` or `custom`."""
    inner = tool.get(str(tool.get("type", "function")))
    return inner if isinstance(inner, dict) else {}


def _chosen_tool(asked: Asked) -> dict[str, Any] | None:
    """The tool that this request wants called: named, required, or spoken of by the user."""
    tools, choice = asked.tools or [], asked.tool_choice
    if isinstance(choice, dict):
        if choice.get("type") == "allowed_tools":
            allowed = choice.get("allowed_tools")
            choice = allowed.get("mode") if isinstance(allowed, dict) else None
        else:
            name = _named(choice).get("name")
            found = next((tool for tool in tools if _named(tool).get("name") == name), None)
            if found is None:
                raise Refused(f"Tool choice '{name}' not found in 'tools' parameter.", "tool_choice")
            return found
    if not tools or choice == "none":
        return None
    if choice == "required":
        return tools[0]
    if asked.last_role == "tool":
        return None  # its result has come: answer now, or a client would call it for ever
    said = last_text(asked).lower()
    spoken = (tool for tool in tools if (name := _named(tool).get("name")) and str(name).lower() in said)
    return next(spoken, tools[0] if "tool" in said.split() else None)


def _tool_reply(asked: Asked, tool: dict[str, Any]) -> Reply:
    inner = _named(tool)
    custom = tool.get("type") == "custom"
    text = f"simulated input for {inner.get('name')}" if custom else _json(instance(inner.get("parameters") or {}))
    if text in {"null", "{}"}:  # too short to be cut in two
        text = '{"simulated":true}'
    identity = hashlib.blake2b(f"{inner.get('name')} {last_text(asked)}".encode(), digest_size=12).hexdigest()
    tokens = [text[i : i + _PIECE] for i in range(0, len(text), _PIECE)]
    return Reply(tokens, "tool_calls", str(inner.get("name", "lookup")), custom, f"call_{identity}")


def usage(asked: Asked, said: Reply) -> dict[str, Any]:
    """Tokens as OpenAI reports them; a prompt token is four characters."""
    prompt = sum(len(text_of(message)) for message in asked.messages) // 4 + 3 * len(asked.messages)
    completion = len(said.tokens) * asked.choices
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _likelihoods(asked: Asked, said: Reply, tokens: list[str]) -> dict[str, Any] | None:
    if not asked.logprobs or said.tool:
        return None

    def one(token: str, logprob: float) -> dict[str, Any]:
        return {"token": token, "logprob": logprob, "bytes": list(token.encode())}

    def several(token: str) -> list[dict[str, Any]]:
        top = min(max(asked.top_logprobs or 0, 0), 20)
        return [one(token if i == 0 else f"{token}{i}", -0.125 * (i + 1)) for i in range(top)]

    entries = [{**one(token, -0.125), "top_logprobs": several(token)} for token in tokens]
    return {said.field: entries, "refusal" if said.field == "content" else "content": None}


def _tool_call(said: Reply, arguments: str) -> dict[str, Any]:
    kind, field = ("custom", "input") if said.custom else ("function", "arguments")
    return {"id": said.call_id, "type": kind, kind: {"name": said.tool, field: arguments}}


def answer(call: Call, said: Reply) -> dict[str, Any]:
    """The answer as one `chat.completion`."""
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None, "annotations": []}
    if said.tool:
        message["tool_calls"] = [_tool_call(said, said.text)]
    else:
        message[said.field] = said.text
    logprobs = _likelihoods(call.asked, said, said.tokens)
    return {
        **_common(call, "chat.completion"),
        "choices": [
            {"index": index, "message": message, "logprobs": logprobs, "finish_reason": said.finish}
            for index in range(call.asked.choices)
        ],
        "usage": usage(call.asked, said),
    }


def _common(call: Call, kind: str) -> dict[str, Any]:
    return {
        "id": call.id,
        "object": kind,
        "created": call.created,
        "model": call.asked.model,
        "service_tier": "default",
        "system_fingerprint": "simulated",
    }


class Chunks(msgspec.Struct, frozen=True):
    """A streamed answer in its three parts: chunks before the first content, with content, and after the last."""

    opening: list[dict[str, Any]]
    content: list[dict[str, Any]]
    closing: list[dict[str, Any]]

    def first(self, count: int) -> list[dict[str, Any]]:
        """The chunks up to the `count`-th with content; none at all for 0, not even the opening."""
        return [*self.opening, *self.content[:count]] if count else []

    def all(self) -> list[dict[str, Any]]:
        return [*self.opening, *self.content, *self.closing]


def chunks(call: Call, said: Reply) -> Chunks:
    """The answer as `chat.completion.chunk`s. With `include_usage` each has `usage`, null but for the last."""
    extra = {"usage": None} if call.asked.wants_usage else {}

    def made(index: int, delta: dict[str, Any], finish: str | None = None, logprobs: Any = None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return {**_common(call, "chat.completion.chunk"), "choices": [choice], **extra}

    every = range(call.asked.choices)
    opening: dict[str, Any] = {"role": "assistant", "content": None if said.tool else "", "refusal": None}
    if said.tool:
        opening["tool_calls"] = [{"index": 0, **_tool_call(said, "")}]
    closing = [made(index, {}, said.finish) for index in every]
    if call.asked.wants_usage:
        closing.append({**_common(call, "chat.completion.chunk"), "choices": [], "usage": usage(call.asked, said)})
    return Chunks(
        opening=[made(index, opening) for index in every],
        content=[
            made(index, _delta(said, token), logprobs=_likelihoods(call.asked, said, [token]))
            for index in every
            for token in said.tokens
        ],
        closing=closing,
    )


def _delta(said: Reply, token: str) -> dict[str, Any]:
    if said.tool is None:
        return {said.field: token}
    kind, field = ("custom", "input") if said.custom else ("function", "arguments")
    return {"tool_calls": [{"index": 0, kind: {field: token}}]}
