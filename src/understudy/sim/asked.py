"""What a client asks the simulated provider for: the few fields of a chat request that change the answer.

The dialect package could read more, but a provider that shares its reader with the gateway would share its mistakes:
two independent readings check each other.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

MOST_CHOICES = 16


class Asked(msgspec.Struct, frozen=True):
    """A chat request. Fields that are not here are accepted and ignored, as most compatible servers do."""

    model: str
    messages: list[dict[str, Any]]
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None

    @property
    def choices(self) -> int:
        return self.n or 1

    @property
    def limit(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def wants_usage(self) -> bool:
        return not self.stream or bool((self.stream_options or {}).get("include_usage"))

    @property
    def last_role(self) -> str:
        return str(self.messages[-1].get("role"))


class Refused(Exception):  # noqa: N818 - it is what the provider does, and "error" is the wire's word for the body
    """The request itself is bad. Becomes an OpenAI-shaped 400 that names the field."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


_decoder = msgspec.json.Decoder(Asked)
_missing = re.compile(r"missing required field `(\w+)`")
_where = re.compile(r" - at `\$\.?(.*)`$")


def read(body: bytes) -> Asked:
    """The request in `body`, or `Refused` with the field that is wrong, in OpenAI's words where it has them."""
    try:
        asked = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise explain(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"We could not parse the JSON body of your request: {error}") from error
    if not asked.messages:
        raise Refused(
            "Invalid 'messages': empty array. Expected an array with minimum length 1.", "messages", "empty_array"
        )
    if not 1 <= asked.choices <= MOST_CHOICES:
        raise Refused(f"Invalid 'n': expected a value from 1 to {MOST_CHOICES}.", "n", "invalid_value")
    return asked


def explain(problem: str) -> Refused:
    """OpenAI's error for what msgspec found wrong."""
    if missing := _missing.search(problem):
        field = missing[1]
        if field == "model":
            return Refused("you must provide a model parameter", "model")
        return Refused(f"Missing required parameter: '{field}'.", field, "missing_required_parameter")
    where = _where.search(problem)
    field = where[1] if where else ""
    what = problem[: where.start()] if where else problem
    return Refused(f"Invalid type for '{field or 'body'}': {what}.", field or None, "invalid_type")


def text_of(message: dict[str, Any]) -> str:
    """The text of a message, whether its content is a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part.get("text") for part in content if isinstance(part, dict))
    return " ".join(text for text in texts if isinstance(text, str))


def last_text(asked: Asked, role: str = "user") -> str:
    """The text of the last message of `role`, "" if there is none."""
    return next((text_of(m) for m in reversed(asked.messages) if m.get("role") == role), "")
