"""Requests, both ways. `ConverseRequest` of the service model.

The model and whether to stream stand in the URL (`/model/{modelId}/converse-stream`), not in the body: a decoded
request has the model "" and does not stream, until `with_path` has put them in. What only some models take (`top_k`,
thinking) travels in `additionalModelRequestFields`, under names that differ by vendor. Guardrails, performance and
prompt variables stay in `Request.extra`.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import msgspec

from understudy.canon import Loss, ReasoningEffort, Request, ResponseFormat, Sampling
from understudy.dialects.bedrock_converse.blocks import NAME
from understudy.dialects.bedrock_converse.fitting import encode_foreign
from understudy.dialects.bedrock_converse.messages import decode_messages, decode_system, encode_conversation
from understudy.dialects.bedrock_converse.tools import decode_tool_config, encode_own
from understudy.dialects.wire import (
    DICT,
    FORM,
    INT,
    LIST,
    NUMBER,
    STR,
    Malformed,
    dump,
    expect,
    keep,
    parse,
    restore,
    split,
    take,
)

_MORE = "additionalModelRequestFields"
_SWITCHES = ("thinking", "reasoning_config")


def with_path(request: Request, model: str, *, stream: bool) -> Request:
    """`request` with what its URL said; `model` may be percent-encoded, as SDKs send a name with a colon."""
    return msgspec.structs.replace(request, model=unquote(model), stream=stream)


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_request(body: bytes) -> Request:
    """A client's body to canonical; see `with_path` for model and stream. Raises `Malformed`, naming the JSON path."""
    raw = expect(parse(body), DICT, "body")
    rest, blank = split(raw)
    if "messages" not in raw:
        raise Malformed("messages", "is required")
    messages = decode_messages(rest.pop("messages", raw["messages"]))
    blank.pop("messages", None)
    if "system" in rest:
        messages.insert(0, decode_system(rest.pop("system")))
    fields: dict[str, Any] = {}
    if "toolConfig" in rest:
        fields["tools"], fields["tool_choice"], others = decode_tool_config(rest.pop("toolConfig"))
        if others:
            rest["toolConfig"] = others
    form: dict[str, str] = {}
    top_k, reasoning = _decode_more(rest, form)
    metadata = take(rest, "requestMetadata", DICT)
    for name, text in (metadata or {}).items():
        expect(text, STR, f"requestMetadata.{name}")
    tier = rest.get("serviceTier")
    if isinstance(tier, dict) and tier.keys() == {"type"} and isinstance(tier["type"], str):
        fields["service_tier"] = rest.pop("serviceTier")["type"]
    return Request(
        dialect=NAME,
        model="",
        messages=tuple(messages),
        sampling=_decode_sampling(rest, blank, top_k),
        response_format=_decode_format(rest, blank),
        reasoning=reasoning,
        metadata=metadata,
        extra=keep(rest, blank, form),
        **fields,
    )


def _decode_sampling(rest: dict[str, Any], blank: dict[str, Any], top_k: int | None) -> Sampling:
    found = take(rest, "inferenceConfig", DICT)
    if found is None:
        return Sampling(top_k=top_k)
    config, empty = split(found)
    where = "inferenceConfig."
    stops = take(config, "stopSequences", LIST, where) or ()
    sampling = Sampling(
        temperature=take(config, "temperature", NUMBER, where),
        top_p=take(config, "topP", NUMBER, where),
        top_k=top_k,
        max_tokens=take(config, "maxTokens", INT, where),
        stop=tuple(expect(text, STR, f"{where}stopSequences[{i}]") for i, text in enumerate(stops)),
    )
    if config:
        rest["inferenceConfig"] = config
    if empty:
        blank["inferenceConfig"] = found
    return sampling


def _decode_format(rest: dict[str, Any], blank: dict[str, Any]) -> ResponseFormat | None:
    """A schema is text within the text here."""
    config = rest.get("outputConfig")
    if isinstance(config, dict) and len(config) != 1:
        return None  # kept as it came, and so a loss for every other dialect
    match config:
        case {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": str(text)} as inner}}}:
            try:
                schema = parse(text.encode("utf-8", "surrogatepass"))
            except Malformed:
                return None
            words = [inner.get(key) if isinstance(inner.get(key), str) else None for key in ("name", "description")]
            if isinstance(schema, dict):
                blank["outputConfig"] = rest.pop("outputConfig")
                return ResponseFormat("schema", words[0], words[1], schema)
    return None


def _decode_more(rest: dict[str, Any], form: dict[str, str]) -> tuple[int | None, ReasoningEffort | None]:
    """`top_k` and the thinking that Claude and Nova take; `form` says under which names they stood."""
    more = dict(take(rest, _MORE, DICT) or {})
    top_k = None
    nova = more.get("inferenceConfig")
    if type(more.get("top_k")) is int:
        top_k, form["top_k"] = more.pop("top_k"), "top_k"
    elif isinstance(nova, dict) and nova.keys() == {"topK"} and type(nova["topK"]) is int:
        top_k, form["top_k"] = more.pop("inferenceConfig")["topK"], "inferenceConfig"
    reasoning = None
    for key in _SWITCHES:
        match more.get(key):
            case {"type": "enabled", "budget_tokens": int(budget), **others} if not others:
                reasoning, form["reasoning"] = ReasoningEffort(budget=budget, enabled=True), key
            case {"type": "disabled", **others} if not others:
                reasoning, form["reasoning"] = ReasoningEffort(enabled=False), key
    match more.get("reasoningConfig"):
        case {"type": "enabled", "maxReasoningEffort": str(effort), **others} if not others and reasoning is None:
            reasoning, form["reasoning"] = ReasoningEffort(effort, enabled=True), "reasoningConfig"
    if "reasoning" in form:
        del more[form["reasoning"]]
    if more:
        rest[_MORE] = more
    return top_k, reasoning


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_request(request: Request) -> tuple[bytes, tuple[Loss, ...]]:
    """A canonical request as this dialect's body, without model and stream, and what it could not carry."""
    losses: list[Loss] = []
    out = _encode_own(request) if request.dialect == NAME else encode_foreign(request, losses)
    return dump(out), tuple(losses)


def _encode_own(request: Request) -> dict[str, Any]:
    out: dict[str, Any] = {}
    encode_conversation(request.messages, out)
    sampling = request.sampling
    config = {
        "maxTokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "topP": sampling.top_p,
        "stopSequences": list(sampling.stop) or None,
    }
    said = {key: value for key, value in config.items() if value is not None}
    if said:
        out["inferenceConfig"] = said
    tools = encode_own(request)
    if tools:
        out["toolConfig"] = tools
    if request.metadata:
        out["requestMetadata"] = request.metadata
    if request.service_tier is not None:
        out["serviceTier"] = {"type": request.service_tier}
    form = request.extra.get(FORM)
    more = _encode_more(request, form if isinstance(form, dict) else {})
    if more:
        out[_MORE] = more
    restored = restore(out, request.extra)
    blank = request.extra.get("~", {}).get("inferenceConfig")
    if isinstance(blank, dict):
        restored["inferenceConfig"] = {**blank, **restored["inferenceConfig"]}
    return restored


def _encode_more(request: Request, form: dict[str, str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    top_k, reasoning = request.sampling.top_k, request.reasoning
    if top_k is not None:
        out |= {"inferenceConfig": {"topK": top_k}} if form.get("top_k") == "inferenceConfig" else {"top_k": top_k}
    if reasoning is not None:
        key = form.get("reasoning", "thinking")
        if reasoning.effort is not None:
            out[key] = {"type": "enabled", "maxReasoningEffort": reasoning.effort}
        elif reasoning.budget is not None:
            out[key] = {"type": "enabled", "budget_tokens": reasoning.budget}
        else:
            out[key] = {"type": "disabled"}
    return out
