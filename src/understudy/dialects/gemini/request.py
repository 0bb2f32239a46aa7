"""Requests, both ways: `GenerateContentRequest` of Google's OpenAPI document, and Vertex AI's `labels`.

The model and whether to stream stand in the URL (`/models/{model}:streamGenerateContent`), not in the body: a decoded
request has the model "" (unless the body names it too) and does not stream, until `with_path` has put them in.
"""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.canon import Caching, Loss, Request, Sampling
from understudy.dialects.gemini.config import decode_config, encode_config
from understudy.dialects.gemini.contents import decode_contents, decode_system, encode_contents
from understudy.dialects.gemini.parts import NAME
from understudy.dialects.gemini.spelling import form_of, note, own, read
from understudy.dialects.gemini.tools import decode_choice, decode_tools, encode_tools
from understudy.dialects.wire import BOOL, STR, Malformed, dump, foreign, parse, take

_TIERS = {"default": "standard", "standard": "standard", "flex": "flex", "priority": "priority"}
_PREFIX = "models/"


def with_path(request: Request, model: str, *, stream: bool) -> Request:
    """`request` with what its URL said; `model` without `models/`."""
    return msgspec.structs.replace(request, model=model.removeprefix(_PREFIX), stream=stream)


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_request(body: bytes) -> Request:
    """A client's body to canonical; see `with_path` for model and stream. Raises `Malformed`, naming the JSON path."""
    try:
        return _decode(parse(body))
    except RecursionError:
        raise Malformed("body", "is nested too deeply") from None


def _decode(raw: Any) -> Request:
    rest, blank, spelt = read(raw, "body")
    if "contents" not in rest and "contents" not in blank:
        raise Malformed("contents", "is required")
    messages = decode_contents(rest.pop("contents", blank.pop("contents", None)))
    if "systemInstruction" in rest:
        messages.insert(0, decode_system(rest.pop("systemInstruction")))
    fields: dict[str, Any] = {"sampling": Sampling()}
    if "generationConfig" in rest:
        fields, others = decode_config(rest.pop("generationConfig"), spelt)
        if others:
            rest["generationConfig"] = others
    if "tools" in rest:
        fields["tools"] = decode_tools(rest.pop("tools"))
    if "toolConfig" in rest:
        fields["tool_choice"], others = decode_choice(rest.pop("toolConfig"), spelt)
        if others:
            rest["toolConfig"] = others
    model = take(rest, "model", STR)
    return Request(
        dialect=NAME,
        model=(model or "").removeprefix(_PREFIX),
        messages=tuple(messages),
        service_tier=take(rest, "serviceTier", STR),
        store=take(rest, "store", BOOL),
        extra=note(rest, blank, spelt, model=model or False),
        **fields,
    )


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_request(request: Request) -> tuple[bytes, tuple[Loss, ...]]:
    """A canonical request as this dialect's body, without model and stream, and what it could not carry."""
    mine = request.dialect == NAME
    losses: list[Loss] = []
    out: dict[str, Any] = {}
    system, out["contents"] = encode_contents(request, losses, own=mine)
    if not mine and not out["contents"]:
        raise Malformed("messages", "hold nothing that can be said in this dialect; send the conversation itself")
    if system is not None:
        out["systemInstruction"] = system
    config = encode_config(request, losses, mine=mine)
    if config:
        out["generationConfig"] = config
    encode_tools(request, out, losses, mine=mine)
    if mine:
        return dump(_own(request, out)), tuple(losses)
    _settings(request, out, losses)
    losses += foreign(request.extra, "")
    return dump(out), tuple(losses)


def _own(request: Request, out: dict[str, Any]) -> dict[str, Any]:
    settings = {"serviceTier": request.service_tier, "store": request.store}
    out.update((key, value) for key, value in settings.items() if value is not None)
    written = form_of(request.extra).get("model")
    if written is not None:
        same = written.removeprefix(_PREFIX) == request.model
        out["model"] = written if same else _PREFIX + request.model
    return own(out, request.extra)


def _settings(request: Request, out: dict[str, Any], losses: list[Loss]) -> None:
    if request.service_tier in _TIERS:
        out["serviceTier"] = _TIERS[request.service_tier]
    elif request.service_tier not in (None, "auto"):
        losses.append(Loss("service_tier", f"no tier is called {request.service_tier!r} here"))
    caching = request.caching or Caching()
    lost = (
        ("verbosity", request.verbosity, "there is no such setting here"),
        ("metadata", request.metadata, "requests carry no labels here"),
        ("user", request.user, "requests name no user here"),
        ("caching.key", caching.key, "prefixes are cached without keys here"),
        ("caching.retention", caching.retention, "is in another provider's words"),
        ("store", request.store, "is about another provider's storage"),
        ("previous", request.previous, "this dialect holds no state: the history has to be sent along"),
    )
    losses += [Loss(field, why) for field, value, why in lost if value is not None]
