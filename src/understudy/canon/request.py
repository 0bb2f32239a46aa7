"""What a client asks for, in words that belong to no provider.

A request is messages of parts. Every dialect decodes into these structs and encodes from them, so that N dialects
cost N translations instead of N times N. Fields nobody here knows travel in `extra` and are written back only by the
dialect they came from (`Request.dialect`); any other dialect reports each of them as a `Loss`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Extra = dict[str, Any]
"""Unknown fields, by name, as plain JSON values."""


class CacheHint(msgspec.Struct, frozen=True, omit_defaults=True):
    """Marks the end of a prefix that the provider should cache. `ttl` is in seconds; None is the provider's default."""

    ttl: int | None = None


class Inline(msgspec.Struct, frozen=True, tag="inline"):
    """Bytes sent along. `data` stays base64 text, as every wire format has it: decoding would only copy it twice."""

    data: str
    media_type: str | None = None


class Url(msgspec.Struct, frozen=True, tag="url"):
    """Bytes that the provider fetches. Never a `data:` URL: dialects turn those into `Inline`."""

    url: str
    media_type: str | None = None


class Stored(msgspec.Struct, frozen=True, tag="stored", omit_defaults=True):
    """Bytes that one provider holds under an id of its own. Means nothing to any other provider.

    `here` says that the provider which the request goes to is that one, whatever dialect it was asked in.
    """

    id: str
    here: bool = False


Source = Inline | Url | Stored


class Citation(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a stretch of an answer comes from. `start` and `end` count characters of the text part they stand in."""

    kind: str = "url"
    url: str | None = None
    title: str | None = None
    quote: str | None = None
    start: int | None = None
    end: int | None = None
    source: Stored | None = None
    extra: Extra = {}


class TokenLogprob(msgspec.Struct, frozen=True, omit_defaults=True):
    """The natural logarithm of one token's probability, and of the likeliest alternatives'."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top: tuple[TokenLogprob, ...] | None = None
    extra: Extra = {}


class Text(msgspec.Struct, frozen=True, tag="text", omit_defaults=True):
    """Words. `signature` is opaque to all but the model that wrote them, which wants it back as it was."""

    text: str
    citations: tuple[Citation, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    cache: CacheHint | None = None
    extra: Extra = {}
    signature: str | None = None


class Image(msgspec.Struct, frozen=True, tag="image", omit_defaults=True):
    source: Source
    detail: str | None = None
    cache: CacheHint | None = None
    extra: Extra = {}


class Audio(msgspec.Struct, frozen=True, tag="audio", omit_defaults=True):
    """Sound in or out. In an answer `transcript` is what is said; `source` lives until `expires_at` (Unix seconds)."""

    source: Source | None = None
    format: str | None = None
    transcript: str | None = None
    id: str | None = None
    expires_at: int | None = None
    extra: Extra = {}


class File(msgspec.Struct, frozen=True, tag="file", omit_defaults=True):
    """A document: PDF, text, office file. `citations` asks the model to cite it; `context` is not to be cited."""

    source: Source
    filename: str | None = None
    title: str | None = None
    context: str | None = None
    citations: bool = False
    cache: CacheHint | None = None
    extra: Extra = {}


class ToolCall(msgspec.Struct, frozen=True, tag="tool_call", omit_defaults=True):
    """The model wants a tool run.

    `arguments` is the text the model wrote, which for a `function` is meant to be JSON and may not be: it is never
    repaired here. `custom` tools take free text. `hosted` calls were run by the provider itself.
    """

    id: str
    name: str
    arguments: str = ""
    kind: Literal["function", "custom", "hosted"] = "function"
    signature: str | None = None
    cache: CacheHint | None = None
    extra: Extra = {}


class Reasoning(msgspec.Struct, frozen=True, tag="reasoning", omit_defaults=True):
    """What the model thought. `signature` and `sealed` are opaque to all but `origin` (`provider/model`, or "")."""

    text: str = ""
    summary: str | None = None
    signature: str | None = None
    sealed: str | None = None
    id: str | None = None
    origin: str = ""
    extra: Extra = {}


class Refusal(msgspec.Struct, frozen=True, tag="refusal", omit_defaults=True):
    text: str
    extra: Extra = {}


class Unknown(msgspec.Struct, frozen=True, tag="unknown"):
    """A part of a kind that this version does not know: kept whole for its own dialect, a loss for every other."""

    kind: str
    body: Any


class ToolResult(msgspec.Struct, frozen=True, tag="tool_result", omit_defaults=True):
    """What running a tool gave, for the model to read."""

    call_id: str
    parts: tuple[Part, ...] = ()
    name: str | None = None
    failed: bool = False
    cache: CacheHint | None = None
    extra: Extra = {}


Part = Text | Image | Audio | File | ToolCall | ToolResult | Reasoning | Refusal | Unknown

Role = Literal["system", "developer", "user", "assistant", "tool"]


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn. A `tool` message holds `ToolResult` parts and nothing else."""

    role: Role
    parts: tuple[Part, ...] = ()
    name: str | None = None
    extra: Extra = {}


class Tool(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something the model may call.

    `function` tools have a JSON schema in `parameters`; `custom` tools take text, held to `grammar` if there is one;
    `hosted` tools are the provider's own (web search, code execution): `name` is its type, `extra` its settings.
    """

    name: str
    kind: Literal["function", "custom", "hosted"] = "function"
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    grammar: dict[str, Any] | None = None
    cache: CacheHint | None = None
    extra: Extra = {}


class ToolChoice(msgspec.Struct, frozen=True, omit_defaults=True):
    """`auto`: may call. `none`: must not. `required`: must call. `names`, where there are any: these tools only."""

    mode: Literal["auto", "none", "required"]
    names: tuple[str, ...] = ()
    extra: Extra = {}


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """How tokens are drawn. None means that the provider's default holds."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


class ResponseFormat(msgspec.Struct, frozen=True, omit_defaults=True):
    """The shape the answer must have: any text, any JSON object, or JSON valid against `schema`."""

    kind: Literal["text", "json", "schema"]
    name: str | None = None
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    extra: Extra = {}


class ReasoningEffort(msgspec.Struct, frozen=True, omit_defaults=True):
    """How much the model may think: a level (`none` … `xhigh`), a budget in tokens, or both; and whether to show it."""

    effort: str | None = None
    budget: int | None = None
    enabled: bool | None = None
    summary: str | None = None
    extra: Extra = {}


class Caching(msgspec.Struct, frozen=True, omit_defaults=True):
    """Prompt caching for the whole request: `key` groups requests, `retention` is how long in the provider's words."""

    key: str | None = None
    retention: str | None = None


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything one client asked for in one call.

    `logprobs` is the number of alternatives per token, 0 for the chosen token alone, None for off. `previous` names
    state that the provider holds (a response id). `include_usage` asks for usage at a stream's end.
    """

    dialect: str
    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    sampling: Sampling = Sampling()
    response_format: ResponseFormat | None = None
    reasoning: ReasoningEffort | None = None
    verbosity: str | None = None
    logprobs: int | None = None
    choices: int | None = None
    modalities: tuple[str, ...] = ()
    stream: bool = False
    include_usage: bool | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    caching: Caching | None = None
    service_tier: str | None = None
    store: bool | None = None
    previous: str | None = None
    extra: Extra = {}
