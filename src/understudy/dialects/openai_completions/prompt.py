"""Prompts and conversations. A prompt is one user's message; a conversation becomes the text of a play.

Several prompts in one request are independent of each other, and a list of numbers is text in one model's tokens:
neither is a conversation, so they stay whole in an `Unknown` part, a loss for every other dialect.
"""

from __future__ import annotations

from typing import Any

from understudy.canon import Loss, Message, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from understudy.dialects.wire import FORM, Malformed, foreign

_SPEAKERS = {"user": "User", "assistant": "Assistant", "tool": "Tool"}
PROMPTS = "prompts"
TOKENS = "tokens"


# --- this dialect's own ----------------------------------------------------------------------------------------------


def decode_prompt(value: Any) -> Message:
    """`prompt` to a message. Raises `Malformed` on what is neither text, nor tokens, nor a list of either."""
    if isinstance(value, str):
        return Message("user", (Text(value),))
    if not isinstance(value, list) or not value:
        raise Malformed("prompt", "must be a string, an array of strings or tokens, and not empty")
    if all(type(item) is int for item in value):
        return Message("user", (Unknown(TOKENS, value),))
    if not all(isinstance(item, str) for item in value) and not all(_are_tokens(item) for item in value):
        raise Malformed("prompt", "must hold strings alone, integers alone, or arrays of integers alone")
    if len(value) == 1 and isinstance(value[0], str):
        return Message("user", (Text(value[0]),), extra={FORM: "list"})
    return Message("user", (Unknown(PROMPTS if isinstance(value[0], str) else TOKENS, value),))


def _are_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) is int for item in value)


def encode_own(messages: tuple[Message, ...]) -> Any:
    """The prompt of a request of this dialect, as it came; None if it has another shape than `decode_prompt` gives."""
    match messages:
        case (Message(parts=(Text(text=text),), extra=extra),):
            return [text] if extra.get(FORM) == "list" else text
        case (Message(parts=(Unknown(body=body),)),):
            return body
    return None


# --- another dialect's -----------------------------------------------------------------------------------------------


def flatten(messages: tuple[Message, ...], losses: list[Loss]) -> str:
    """A conversation as one text. A lone user's text stays as it is; otherwise each turn bears its speaker's name.

    The play ends with the speaker whose turn it is: the model goes on from there.
    """
    said: list[tuple[str, str]] = []
    for i, message in enumerate(messages):
        path = f"messages[{i}]"
        losses += foreign(message.extra, path + ".")
        if message.name is not None:
            losses.append(Loss(path + ".name", "speakers bear no names here"))
        text = _words(message.parts, path, losses)
        if text:
            said.append((message.role, text))
    if [role for role, _ in said] == ["user"]:
        return said[0][1]
    if not said:
        losses.append(Loss("messages", "there is no text to go on from: the prompt is empty", "approximated"))
        return ""
    losses.append(Loss("messages", "turns became one text, with the speakers' names before them", "approximated"))
    lines = [f"{_SPEAKERS[role]}: {text}" if role in _SPEAKERS else text for role, text in said]
    if said[-1][0] != "assistant":
        lines.append("Assistant:")
    return "\n\n".join(lines)


def _words(parts: tuple[Part, ...], path: str, losses: list[Loss]) -> str:
    words = [_spoken(part, f"{path}.parts[{i}]", losses) for i, part in enumerate(parts)]
    return "\n".join(word for word in words if word)


def _spoken(part: Part, path: str, losses: list[Loss]) -> str:
    losses += foreign(getattr(part, "extra", {}), path + ".")
    if getattr(part, "cache", None) is not None:
        losses.append(Loss(path + ".cache", "prefixes are cached without marks here"))
    if isinstance(part, Text):
        notes = (("citations", part.citations), ("logprobs", part.logprobs), ("signature", part.signature))
        losses += [Loss(f"{path}.{name}", "a plain text has none here") for name, value in notes if value]
        return part.text
    if isinstance(part, Refusal):
        losses.append(Loss(path, "a refusal is a text here", "approximated"))
        return part.text
    if isinstance(part, ToolCall):
        losses.append(Loss(path, "a tool call is told in words here", "approximated"))
        return f"[called {part.name} with {part.arguments or '{}'}]"
    if isinstance(part, ToolResult):
        losses.append(Loss(path, "a tool's result is told in words here", "approximated"))
        return _words(part.parts, path, losses)
    if isinstance(part, Reasoning):
        losses.append(Loss(path, "reasoning is not taken here"))
    elif isinstance(part, Unknown):
        losses.append(Loss(path, f"a part of kind {part.kind!r} that only its own dialect knows"))
    else:
        losses.append(Loss(path, f"a prompt is text: it takes no {type(part).__name__.lower()}"))
    return ""
