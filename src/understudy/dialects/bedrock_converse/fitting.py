"""Another dialect's request in the shape that Converse takes.

Converse took its rules from Anthropic's API: system prompts apart, turns that alternate, calls answered in the next
turn, no empty text, marks of cached prefixes. So a request is first fitted to that dialect, whose losses hold here
too, and its blocks are then written in this one's words. What differs is dealt with before (ids and names of 64
characters, documents of nine formats, no bytes by URL, no user, tiers) and after (tools must be there where calls are,
and cannot be forbidden). Pictures and documents go through as tickets, so that their bytes are not copied on the way.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from understudy.canon import (
    File,
    Image,
    Inline,
    Loss,
    Message,
    Part,
    Reasoning,
    Request,
    Text,
    ToolCall,
    ToolResult,
    Url,
)
from understudy.dialects import anthropic_messages
from understudy.dialects.anthropic_messages.parts import tidy
from understudy.dialects.bedrock_converse.blocks import DOCUMENTS, IMAGES, NAME
from understudy.dialects.wire import dump, parse

_LIMIT = 64
_ID_LIMIT = 56
"""Characters of an id, less those of a number behind one that came twice."""

_PLAIN = "claude-3-5-sonnet"
"""Stands for a model that is not Anthropic's: a generation whose sampling has no rules of its own, nor thinking."""

_TIERS = ("priority", "default", "flex", "reserved")
_METADATA = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,-.]{0,256}")
_MOST_METADATA = 16
_ODD = re.compile(r"[^A-Za-z0-9()\[\]-]+")
_OURS = (NAME + "/", "bedrock/", "amazon-bedrock/")
_NOVA_EFFORTS = ("low", "medium", "high")


def is_claude(model: str) -> bool:
    return "anthropic." in model or "claude" in model


def is_ours(part: Reasoning, *, own: bool) -> bool:
    """Whether Bedrock gave `part`: said by its origin, or, without one, by the dialect that it came in."""
    return part.origin.startswith(_OURS) if part.origin else own


class _Tickets:
    """Stand-ins for bytes, by the word that is sent through in their place."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[str, tuple[str, str]] = {}

    def take(self, word: str, data: str) -> Inline:
        ticket = f"JVBERi0{len(self._held)}"  # as a PDF begins, so that no picture's name is guessed from it
        self._held[ticket] = (word, data)
        return Inline(ticket, "image/png" if word in IMAGES else DOCUMENTS["pdf"])

    def give(self, ticket: str) -> dict[str, Any]:
        word, data = self._held[ticket]
        return {"format": word, "source": {"bytes": data}}


# --- before ----------------------------------------------------------------------------------------------------------


def encode_foreign(request: Request, losses: list[Loss]) -> dict[str, Any]:
    """The body, and what it could not carry in `losses`."""
    claude = is_claude(request.model)
    tickets = _Tickets()
    messages = tuple(_message(m, f"messages[{i}]", tickets, losses, claude=claude) for i, m in
                     enumerate(request.messages))  # fmt: skip
    fitted = msgspec.structs.replace(
        request,
        model=request.model if claude else _PLAIN,
        dialect="" if request.dialect == anthropic_messages.NAME else request.dialect,
        messages=messages,
        tools=tuple(msgspec.structs.replace(tool, name=tidy(tool.name, _LIMIT)) for tool in request.tools),
        tool_choice=_choice(request, losses),
        parallel_tool_calls=None,
        user=None,
        metadata=None,
        service_tier=None,
    )
    if request.parallel_tool_calls is not None and request.tools:
        losses.append(Loss("parallel_tool_calls", "cannot be chosen here"))
    if not claude:
        fitted = msgspec.structs.replace(
            fitted, reasoning=None, sampling=msgspec.structs.replace(fitted.sampling, top_k=None)
        )
    body, found = anthropic_messages.encode_request(fitted)
    wire = parse(body)
    limit = request.sampling.max_tokens
    free = (limit is None or limit < 0) and "thinking" not in wire
    losses += [loss for loss in found if not (free and loss.field == "sampling.max_tokens")]
    if free:
        del wire["max_tokens"]
    elif limit == 0:
        wire["max_tokens"] = 1
        losses.append(Loss("sampling.max_tokens", "is out of range: 1 is sent", "approximated"))
    out = _body(wire, request, tickets, losses)
    if not claude:
        _encode_others(request, out, losses)
    _encode_settings(request, out, losses)
    return out


def _choice(request: Request, losses: list[Loss]) -> Any:
    for i, tool in enumerate(request.tools):
        if tool.kind != "hosted" and len(tool.name) > _LIMIT:
            losses.append(Loss(f"tools[{i}].name", f"was cut: a name has {_LIMIT} characters here", "approximated"))
    choice = request.tool_choice
    if choice is None or not choice.names:
        return choice
    return msgspec.structs.replace(choice, names=tuple(tidy(name, _LIMIT) for name in choice.names))


def _message(message: Message, path: str, tickets: _Tickets, losses: list[Loss], *, claude: bool) -> Message:
    parts = _parts(message.parts, path, tickets, losses, claude=claude)
    return msgspec.structs.replace(message, parts=parts)


def _parts(
    parts: tuple[Part, ...], path: str, tickets: _Tickets, losses: list[Loss], *, claude: bool
) -> tuple[Part, ...]:
    return tuple(_part(p, f"{path}.parts[{i}]", tickets, losses, claude=claude) for i, p in enumerate(parts))


def _part(part: Part, path: str, tickets: _Tickets, losses: list[Loss], *, claude: bool) -> Part:
    """`part` as the other dialect may take it; an empty text, which it leaves out, for what has been lost here."""
    change = msgspec.structs.replace
    if isinstance(part, Image | File) and isinstance(part.source, Url):
        losses.append(Loss(path + ".source", "nothing is fetched here: the bytes have to be sent along"))
        return Text("")
    if isinstance(part, Image | File) and isinstance(part.source, Inline):
        word = _word(part, part.source)
        return part if word is None else change(part, source=tickets.take(word, part.source.data))
    if isinstance(part, ToolCall):
        name, call_id = tidy(part.name, _LIMIT), _id(part.id)
        if part.kind != "hosted" and len(part.name) > _LIMIT:
            losses.append(Loss(path + ".name", f"became {name}, as the tool did", "approximated"))
        if len(part.id) > _ID_LIMIT:
            losses.append(Loss(path + ".id", f"became {call_id}, here and in its result", "approximated"))
        return change(part, name=name if len(part.name) > _LIMIT else part.name, id=call_id)
    if isinstance(part, ToolResult):
        inner = _parts(part.parts, path, tickets, losses, claude=claude)
        return change(part, call_id=_id(part.call_id), parts=inner)
    if isinstance(part, Reasoning):
        return _thought(part, claude=claude)
    return part


def _id(text: str) -> str:
    return tidy(text, _ID_LIMIT) if len(text) > _ID_LIMIT else text


def _word(part: Image | File, source: Inline) -> str | None:
    """The format's word; None for what is not taken, which the other dialect then says."""
    media = source.media_type or ""
    if isinstance(part, Image):
        word = media.removeprefix("image/").replace("jpg", "jpeg")
        return word if word in IMAGES else None
    if not media and source.data.startswith("JVBERi0"):
        return "pdf"
    found = next((word for word, known in DOCUMENTS.items() if known == media), None)
    return "txt" if found is None and media.startswith("text/") else found


def _thought(part: Reasoning, *, claude: bool) -> Part:
    """A Claude takes what Bedrock or Anthropic signed for one; nobody else takes anything back from another dialect."""
    if not claude:
        return msgspec.structs.replace(part, origin="", signature=None, sealed=None)
    ours = is_ours(part, own=False)
    return msgspec.structs.replace(part, origin=f"{anthropic_messages.NAME}/") if ours else part


# --- after -----------------------------------------------------------------------------------------------------------


def _body(wire: dict[str, Any], request: Request, tickets: _Tickets, losses: list[Loss]) -> dict[str, Any]:
    """Anthropic's body in Converse's words."""
    names = _Names()
    out: dict[str, Any] = {}
    if "system" in wire:
        out["system"] = _blocks(wire["system"], tickets, names)
    out["messages"] = [
        {"role": turn["role"], "content": _blocks(turn["content"], tickets, names)} for turn in wire["messages"]
    ]
    for turn in out["messages"]:
        kinds = {key for block in turn["content"] for key in block}
        if "document" in kinds and not kinds & {"text", "toolResult"}:
            turn["content"].append({"text": "..."})
            losses.append(Loss("messages", "three dots go with a document: a text has to be there", "approximated"))
    config = {
        "maxTokens": wire.get("max_tokens"),
        "temperature": wire.get("temperature"),
        "topP": wire.get("top_p"),
        "stopSequences": wire.get("stop_sequences"),
    }
    said = {key: value for key, value in config.items() if value is not None}
    if said:
        out["inferenceConfig"] = said
    more: dict[str, Any] = {key: wire[key] for key in ("top_k", "thinking") if key in wire}
    output = dict(wire.get("output_config", {}))
    shape = output.pop("format", None)
    if more:
        out["additionalModelRequestFields"] = more
    if shape is not None:
        output["textFormat"] = _format(shape["schema"], request)
    if output:  # beside the format: how much effort
        out["outputConfig"] = output
    _tools(wire, out, losses)
    return out


def _format(schema: dict[str, Any], request: Request) -> dict[str, Any]:
    named = request.response_format.name if request.response_format is not None else None
    inner = {"schema": dump(schema).decode(), **({} if not named else {"name": tidy(named, _LIMIT)})}
    return {"type": "json_schema", "structure": {"jsonSchema": inner}}


class _Names:
    """Names of documents: of few characters, and no two alike."""

    __slots__ = ("_used",)

    def __init__(self) -> None:
        self._used: set[str] = set()

    def give(self, title: str) -> str:
        wanted = _ODD.sub(" ", title).strip()[:180] or "document"
        name, count = wanted, 1
        while name in self._used:
            count += 1
            name = f"{wanted} {count}"
        self._used.add(name)
        return name


def _blocks(blocks: list[dict[str, Any]], tickets: _Tickets, names: _Names) -> list[dict[str, Any]]:
    out = []
    for block in blocks:
        out.append(_block(block, tickets, names))
        mark = block.get("cache_control")
        if mark is not None:
            out.append(_point(mark))
    return out


def _point(mark: dict[str, Any]) -> dict[str, Any]:
    return {"cachePoint": {"type": "default", **({"ttl": mark["ttl"]} if "ttl" in mark else {})}}


def _block(block: dict[str, Any], tickets: _Tickets, names: _Names) -> dict[str, Any]:
    kind = block["type"]
    if kind == "image":
        return {"image": tickets.give(block["source"]["data"])}
    if kind == "document":
        fields = {**tickets.give(block["source"]["data"]), "name": names.give(block.get("title", ""))}
        return {"document": {**fields, **{key: block[key] for key in ("context", "citations") if key in block}}}
    if kind == "tool_use":
        return {"toolUse": {"toolUseId": block["id"], "name": block["name"], "input": block["input"]}}
    if kind == "tool_result":
        content = _blocks(block.get("content", []), tickets, names)
        status = {"status": "error"} if block.get("is_error") else {}
        return {"toolResult": {"toolUseId": block["tool_use_id"], "content": content or [{"text": "..."}], **status}}
    if kind == "thinking":
        text = {"text": block["thinking"], "signature": block["signature"]}
        return {"reasoningContent": {"reasoningText": text}}
    if kind == "redacted_thinking":
        return {"reasoningContent": {"redactedContent": block["data"]}}
    return {"text": block["text"]}


def _tools(wire: dict[str, Any], out: dict[str, Any], losses: list[Loss]) -> None:
    """`toolConfig`: required where calls are, and there is no choice called none."""
    tools: list[dict[str, Any]] = []
    for tool in wire.get("tools", ()):
        fields = {key: tool[key] for key in ("name", "description", "strict") if key in tool}
        tools.append({"toolSpec": {**fields, "inputSchema": {"json": tool["input_schema"]}}})
        if "cache_control" in tool:
            tools.append(_point(tool["cache_control"]))
    blocks = [block for turn in out["messages"] for block in turn["content"]]
    called = dict.fromkeys(block["toolUse"]["name"] for block in blocks if "toolUse" in block)
    choice = wire.get("tool_choice", {"type": "auto"})
    if choice["type"] == "none":
        if called:
            losses.append(Loss("tool_choice", "tools cannot be forbidden once one has been called", "approximated"))
        else:
            tools.clear()
            losses.append(Loss("tool_choice", "no tools are sent, so that none is called", "approximated"))
    if called and not tools:
        tools = [{"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}} for name in called]
        losses.append(Loss("tools", "those called before are named: they have to be here", "approximated"))
    if tools:
        out["toolConfig"] = {"tools": tools}
        if choice["type"] in ("any", "tool"):
            named = {"name": choice["name"]} if choice["type"] == "tool" else {}
            out["toolConfig"]["toolChoice"] = {choice["type"]: named}
        elif "tool_choice" in wire and choice["type"] == "auto":
            out["toolConfig"]["toolChoice"] = {"auto": {}}


def _encode_others(request: Request, out: dict[str, Any], losses: list[Loss]) -> None:
    """`top_k` and thinking of a model that is not Anthropic's: Amazon's Nova has both, under names of its own."""
    nova = "amazon.nova" in request.model
    more: dict[str, Any] = {}
    top_k, wanted = request.sampling.top_k, request.reasoning
    if top_k is not None:
        if nova:
            more["inferenceConfig"] = {"topK": top_k}
        else:
            losses.append(Loss("sampling.top_k", "there is no such setting for every model here"))
    if wanted is not None and wanted.enabled is not False and wanted.effort != "none":
        if "nova-2" in request.model and wanted.effort in _NOVA_EFFORTS and wanted.budget is None:
            more["reasoningConfig"] = {"type": "enabled", "maxReasoningEffort": wanted.effort}
            if wanted.summary is not None:
                losses.append(Loss("reasoning.summary", "whether reasoning is shown cannot be chosen here"))
        else:
            losses.append(Loss("reasoning", "how this model thinks cannot be said here"))
    elif wanted is not None:
        losses.append(Loss("reasoning", "thinking is the model's default here", "approximated"))
    if more:
        out["additionalModelRequestFields"] = more


def _encode_settings(request: Request, out: dict[str, Any], losses: list[Loss]) -> None:
    if request.user is not None:
        losses.append(Loss("user", "requests name no user here"))
    if request.metadata:
        fits = len(request.metadata) <= _MOST_METADATA and all(
            key and _METADATA.fullmatch(key) and _METADATA.fullmatch(value) for key, value in request.metadata.items()
        )
        if fits:
            out["requestMetadata"] = request.metadata
        else:
            losses.append(Loss("metadata", f"up to {_MOST_METADATA} short plain texts are taken here"))
    if request.service_tier in _TIERS:
        out["serviceTier"] = {"type": request.service_tier}
    elif request.service_tier not in (None, "auto"):
        losses.append(Loss("service_tier", f"no tier is called {request.service_tier!r} here"))
