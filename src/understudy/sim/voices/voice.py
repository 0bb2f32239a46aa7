"""What a voice is: how one dialect asks, answers, streams and refuses, in the fewest words that its SDK accepts.

The gateway's own readers and writers are not used here: two independent readings of a wire format check each other.
A voice turns a request into the `Asked` of `openai-chat`, so that one function decides what is said, and gives the
`Reply` its own shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from understudy.sim import answers
from understudy.sim.answers import Reply
from understudy.sim.asked import Asked, Refused, explain
from understudy.sim.behaviour import Call

Json = dict[str, Any]
T = TypeVar("T")


class Frames(msgspec.Struct, frozen=True):
    """A streamed answer as bytes: what comes before the first content, one entry per token, what comes after.

    `closing` closes what was open; `ends` says that the answer is whole: without it the stream was cut.
    """

    opening: list[bytes]
    content: list[bytes]
    closing: list[bytes]
    ends: list[bytes] = []

    def first(self, count: int) -> list[bytes]:
        """The stream up to the `count`-th piece of content; nothing at all for 0."""
        return [*self.opening, *self.content[:count]] if count else []

    def all(self) -> list[bytes]:
        return [*self.opening, *self.content, *self.closing, *self.ends]


Refusal = tuple[int, Json, dict[str, str]]
"""Status, body and headers of an error answer."""


class Trouble(msgspec.Struct, frozen=True):
    """An error to be told. `kind` is the behaviour's name, or "malformed"; `retry` is in whole seconds.

    `told` is the provider's documented answer, where there is one; else the voice makes one of the rest.
    """

    kind: str
    status: int
    message: str
    retry: str | None = None
    param: str | None = None
    code: str | None = None
    told: Refusal | None = None


def half_line(event: bytes) -> bytes:
    """A server-sent event whose JSON breaks off."""
    return event[: len(event) // 2].rstrip() + b"\n\n"


class Voice(msgspec.Struct, frozen=True):
    """One dialect. `read` takes body, model (from the path, "" if not there) and whether the path says to stream.

    `ping` is a sign of life without content, None where the dialect has none. `torn` makes of an event one that ends
    in order, but whose JSON breaks off.
    """

    name: str
    read: Callable[[bytes, str, bool], Asked]
    answer: Callable[[Call, Reply], Json]
    frames: Callable[[Call, Reply], Frames]
    refuse: Callable[[Trouble], Refusal]
    error_frames: Callable[[Trouble], list[bytes]]
    content_type: str = "text/event-stream"
    ping: bytes | None = b": ping\n\n"
    torn: Callable[[bytes], bytes] = half_line


def decode(body: bytes, kind: type[T]) -> T:
    """`body` as a `kind`, or `Refused` with the field that is wrong."""
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise explain(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"We could not parse the JSON body of your request: {error}") from error


def filled(messages: list[Json], field: str = "messages") -> list[Json]:
    if not messages:
        raise Refused(f"Invalid '{field}': at least one is required.", field)
    return messages


def function(name: Any, parameters: Any) -> Json:
    """A tool as `Asked` has it."""
    schema = parameters if isinstance(parameters, dict) else {"type": "object"}
    return {"type": "function", "function": {"name": str(name), "parameters": schema}}


def named(name: Any) -> Json:
    """The choice of one tool as `Asked` has it."""
    return {"type": "function", "function": {"name": str(name)}}


def schema(shape: Any) -> Json:
    """A demand for JSON as `Asked` has it: in the shape of a schema, or any object."""
    if isinstance(shape, dict):
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": shape}}
    return {"type": "json_object"}


def arguments(said: Reply) -> Any:
    """A tool's arguments as an object; a string where they are broken on purpose."""
    try:
        return msgspec.json.decode(said.text)
    except msgspec.DecodeError:
        return said.text


def tokens(call: Call, said: Reply) -> tuple[int, int]:
    """Tokens of prompt and answer."""
    used = answers.usage(call.asked, said)
    return int(used["prompt_tokens"]), int(used["completion_tokens"])


def event(data: Json) -> bytes:
    """A server-sent event whose name is the `type` of its data."""
    return b"event: " + str(data["type"]).encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"
