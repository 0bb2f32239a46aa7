"""What the simulated model says: deterministic, and the same in every dialect; the voices give it its shape.

The answer echoes the start of the last user message, so that a test can tell whose answer it got. It is worked out
from the request alone: the same request gives the same text, which is what lets an answer be compared that was cut and
is continued by another model. A model is asked to continue by a trailing assistant turn, or by a user turn that says
the answer was interrupted and how it ended (as Anthropic documents it for models that take no assistant turn).
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

Finish = Literal["stop", "length", "tool_calls", "content_filter", "paused", "blocked", "queued"]

Manner = Literal["continues", "restarts", "differs"]
"""What is made of a request to continue: the rest of the answer, the same from the start, or another one."""

_ECHOED = 200
"""Characters of the user's message that are echoed: an answer stays small however large the question."""

_PIECE = 6
"""Characters of tool arguments in one chunk: small, so that a cut amid the arguments has somewhere to fall."""

_SEAM = 20
"""Characters of an answer's end by which its place is found again."""

_token = re.compile(r"\s*\S+|\s+")
_interrupted = re.compile(
    r"(?i)\b(?:your|the) (?:previous|last|earlier) \w+ (?:was|has been|got) (?:interrupted|cut off)"
)
_SOMETHING = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}


class Reply(msgspec.Struct, frozen=True):
    """One choice: `tokens` of text, or of a tool's arguments when `tool` names one.

    `thoughts` come before them. `early` is the token that claims to be the last and is not. Without `counted` no usage
    is told.
    """

    tokens: list[str]
    finish: Finish = "stop"
    tool: str | None = None
    custom: bool = False
    call_id: str = ""
    field: Field = "content"
    thoughts: list[str] = []
    early: int | None = None
    counted: bool = True

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def broken(self) -> bool:
        """Whether a tool's arguments are no JSON."""
        if self.tool is None or self.custom:
            return False
        try:
            msgspec.json.decode(self.text)
        except msgspec.DecodeError:
            return True
        return False


def reply(call: Call, *, force_tool: bool = False, manner: Manner = "continues") -> Reply:
    """The answer to `call`. `force_tool` calls a tool, made up if need be.

    Raises `Refused` when the request names a tool that it does not bring.
    """
    asked = call.asked
    question, partial, notice = _continued(asked)
    tool = _chosen_tool(asked)
    if tool is None and force_tool:
        tool = (asked.tools or [_SOMETHING])[0]
    if tool is not None:
        return _tool_reply(asked, tool)
    text = _shaped(asked, question) or _said(asked, question, manner)
    tokens = _token.findall(text)
    if wanted := call.count("tokens"):
        more = " other" if manner == "differs" else " more"
        tokens = [tokens[i] if i < len(tokens) else f"{more}{i}" for i in range(wanted)]
    if manner == "continues" and (partial or notice):
        tokens = _token.findall(_rest("".join(tokens), partial, notice))
    if asked.limit is not None and asked.limit < len(tokens):
        return Reply(tokens[: max(asked.limit, 0)], "length")
    return Reply(tokens)


def cut_at(said: Reply, characters: int) -> tuple[Reply, int]:
    """`said` with a piece that ends after so many characters, and the number of pieces until there."""
    text = said.text
    before, after = _token.findall(text[:characters]), _token.findall(text[characters:])
    return msgspec.structs.replace(said, tokens=[*before, *after]), len(before)


def _continued(asked: Asked) -> tuple[str, str, str]:
    """The question, how its answer began, and the words in which a continuation is asked for; "" for what is not."""
    questions = [text_of(message) for message in asked.messages if message.get("role") == "user"]
    last = questions[-1] if questions else ""
    partial = text_of(asked.messages[-1]) if asked.last_role == "assistant" else ""
    found = _interrupted.search(last)
    if partial or found is None:
        return last, partial, ""
    if len(asked.messages) > 1 and asked.messages[-2].get("role") == "assistant":
        partial = text_of(asked.messages[-2])
    before = last[: found.start()].strip()
    return before or (questions[-2] if len(questions) > 1 else ""), partial, last[found.start() :]


def _rest(text: str, partial: str, notice: str) -> str:
    """What of `text` comes after `partial`, or after what `notice` quotes; all of it if neither is its beginning."""
    if partial and text.startswith(partial):
        return text[len(partial) :]
    for end in range(len(text), 0, -1) if notice else ():
        seam = text[max(0, end - _SEAM) : end]
        if len(seam.strip()) >= min(_SEAM // 2, len(text)) and seam in notice:
            return text[end:]
    return text


def _said(asked: Asked, question: str, manner: Manner) -> str:
    if asked.last_role == "tool":
        return f"This is a simulated answer. The tool said: {text_of(asked.messages[-1])[:_ECHOED]}"
    if manner == "differs":
        return f"Another model would put it otherwise, and hears from you: {question[:_ECHOED]}"
    return f"This is a simulated answer, it only echoes what you said: {question[:_ECHOED]}"


def _shaped(asked: Asked, question: str) -> str | None:
    """JSON in the shape that `response_format` asks for, None if it asks for none."""
    shape = asked.response_format or {}
    if shape.get("type") == "json_object":
        return _json({"simulated": True, "echo": question[:_ECHOED]})
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
