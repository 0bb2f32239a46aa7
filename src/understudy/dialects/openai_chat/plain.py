"""The usual answer in one step: words or calls, an end, figures, and nothing else.

Typed, so that msgspec does the looking: an answer with a field that is not listed here, or with one of another type,
goes the long way (`answer.py`). Both ways give the very same value, to which a test holds them. This one takes a
quarter of the time, and the answers of most calls that are translated are of this kind.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from understudy.canon import Answer, Choice, Extra, Part, Text, ToolCall, Usage
from understudy.dialects.openai_chat.parts import NAME
from understudy.dialects.wire import BLANKS

_Said = Annotated[str, msgspec.Meta(min_length=1)]
_Null = None | UnsetType
_Empty = Annotated[list[Any], msgspec.Meta(max_length=0)]
_ABSENT: Any = None
"""The default of a field that may be absent, but not null."""


class _Wire(msgspec.Struct, forbid_unknown_fields=True, gc=False): ...


class _Input(_Wire):
    cached_tokens: int
    cache_write_tokens: int = _ABSENT
    audio_tokens: int = _ABSENT


class _Output(_Wire):
    reasoning_tokens: int
    audio_tokens: int = _ABSENT
    accepted_prediction_tokens: int = _ABSENT
    rejected_prediction_tokens: int = _ABSENT


class _Usage(_Wire):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: _Input | _Null = UNSET
    completion_tokens_details: _Output | _Null = UNSET


class _Function(_Wire):
    name: str
    arguments: str


class _Call(_Wire):
    id: _Said
    type: Literal["function"]
    function: _Function


class _Message(_Wire):
    role: Literal["assistant"]
    content: str | _Null = UNSET
    refusal: _Null = UNSET
    annotations: _Empty | UnsetType = UNSET
    tool_calls: list[_Call] | _Null = UNSET


class _Choice(_Wire):
    index: int
    message: _Message
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"]
    logprobs: _Null = UNSET


class _Answer(_Wire):
    id: _Said
    object: Literal["chat.completion"]
    created: int
    model: _Said
    choices: Annotated[list[_Choice], msgspec.Meta(min_length=1)]
    usage: _Usage | UnsetType = UNSET
    service_tier: _Said | _Null = UNSET
    system_fingerprint: _Said | _Null = UNSET


class _Told(msgspec.Struct, gc=False):
    """An answer of which only the figures are of interest: the rest is skipped, which is a good deal faster."""

    choices: msgspec.Raw
    model: _Said
    usage: _Usage | _Null = UNSET
    service_tier: _Said | _Null = UNSET


_ANSWER = msgspec.json.Decoder(_Answer)
_TOLD = msgspec.json.Decoder(_Told)


def decode(body: bytes) -> Answer | None:
    """A provider's body to canonical; None if it is not of the usual kind."""
    try:
        wire = _ANSWER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    blank: dict[str, Any] = {}
    if wire.service_tier is None:
        blank["service_tier"] = None
    if wire.system_fingerprint is None:
        blank["system_fingerprint"] = None
    extra: Extra = {BLANKS: blank} if blank else {}
    if wire.system_fingerprint:
        extra["system_fingerprint"] = wire.system_fingerprint
    return Answer(
        NAME,
        wire.id,
        wire.model,
        tuple([_choice(choice) for choice in wire.choices]),
        _usage(wire.usage) if wire.usage else None,
        wire.created,
        wire.service_tier or None,
        extra,
    )


def figures(body: bytes) -> tuple[Usage | None, str, str | None] | None:
    """What an answer says of its tokens, its model and service tier; None if it does not say it in the usual way."""
    try:
        wire = _TOLD.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return _usage(wire.usage) if wire.usage else None, wire.model, wire.service_tier or None


def _choice(wire: _Choice) -> Choice:
    word = wire.finish_reason
    message = wire.message
    parts: list[Part] = []
    blank: dict[str, Any] = {}
    if message.content:
        parts.append(Text(message.content))
    elif message.content is not UNSET:
        blank["content"] = message.content
    if message.refusal is None:
        blank["refusal"] = None
    if message.annotations is not UNSET:
        blank["annotations"] = message.annotations
    if message.tool_calls:
        parts += [ToolCall(call.id, call.function.name, call.function.arguments) for call in message.tool_calls]
    elif message.tool_calls is not UNSET:
        blank["tool_calls"] = message.tool_calls
    return Choice(
        wire.index,
        tuple(parts),
        "filtered" if word == "content_filter" else word,
        word,
        {BLANKS: {"logprobs": None}} if wire.logprobs is None else {},
        {BLANKS: blank} if blank else {},
    )


def _usage(wire: _Usage) -> Usage:
    given, made = wire.prompt_tokens_details, wire.completion_tokens_details
    blank: dict[str, Any] = {}
    if given is None:
        blank["prompt_tokens_details"] = None
    if made is None:
        blank["completion_tokens_details"] = None
    given, made = given or _NO_INPUT, made or _NO_OUTPUT
    return Usage(
        wire.prompt_tokens,
        wire.completion_tokens,
        wire.total_tokens,
        given.cached_tokens,
        given.cache_write_tokens,
        made.reasoning_tokens,
        given.audio_tokens,
        made.audio_tokens,
        made.accepted_prediction_tokens,
        made.rejected_prediction_tokens,
        extra={BLANKS: blank} if blank else {},
    )


_NO_INPUT, _NO_OUTPUT = _Input(_ABSENT), _Output(_ABSENT)
