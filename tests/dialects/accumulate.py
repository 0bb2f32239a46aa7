"""What a chat completion stream adds up to, worked out from its bytes without any code of the package."""

import json
from collections.abc import Iterator
from typing import Any

NAMES = ("content", "reasoning", "reasoning_content", "refusal")


def events(text: str) -> Iterator[tuple[str, str]]:
    for block in text.replace("\r\n", "\n").replace("\r", "\n").split("\n\n"):
        name, data = "", []
        for raw in block.split("\n"):
            line = raw.strip(" ")
            if line.startswith("data:"):
                data.append(line[5:].removeprefix(" "))
            elif line.startswith("error:"):
                name = "error"
                data.append(line[6:])
            elif line.startswith("event:"):
                name = line[6:].strip()
        if data:
            yield name, "\n".join(data)


def blank(value: Any) -> bool:
    return value is None or value in ("", [], {})


def accumulate(text: str, reasons: set[str]) -> dict[str, Any]:
    """Last value of every field of the chunks, joined texts, calls in order; `reasons` collects what was normalised."""
    total: dict[str, Any] = {"head": {}, "choices": {}, "usage": None, "done": False, "error": None}
    for name, data in events(text):
        if data.strip() == "[DONE]":
            total["done"] = True
            break
        chunk = json.loads(data)
        if name == "error" or chunk.get("error"):
            total["error"] = chunk["error"]
            break
        add(total, chunk, reasons)
        if total["error"]:
            return total
    total["head"].setdefault("object", "chat.completion.chunk")
    for choice in total["choices"].values():
        if "delta.role" not in choice["rest"]:
            reasons.add("role")
            choice["rest"]["delta.role"] = "assistant"
    return total


def add(total: dict[str, Any], chunk: dict[str, Any], reasons: set[str]) -> None:
    for key, value in chunk.items():
        if key in ("obfuscation", "p"):
            reasons.add("padding")
        elif key not in ("choices", "usage"):
            put(total["head"], key, value, reasons)
    total["usage"] = chunk.get("usage") or total["usage"]
    for place, wire in enumerate(chunk.get("choices") or []):
        fresh: dict[str, Any] = {"text": {}, "calls": [], "details": [], "rest": {}}
        if wire.get("error"):
            reasons.add("fault-in-choice")
            total["error"] = wire["error"]
            return
        gather(total["choices"].setdefault(wire.get("index", place), fresh), wire, reasons)


def gather(choice: dict[str, Any], wire: dict[str, Any], reasons: set[str]) -> None:
    for key, value in wire.items():
        if key == "message" and "delta" in wire:
            reasons.add("repeated-message")
        elif key == "logprobs" and isinstance(value, dict) and value.get("content"):
            choice["tokens"] = choice.get("tokens", []) + value["content"]
        elif key not in ("delta", "index"):
            put(choice["rest"], key, value, reasons)
    for key, value in (wire.get("delta") or {}).items():
        if blank(value):
            reasons.add("blank")
        else:
            grow(choice, key, value, reasons)


def grow(choice: dict[str, Any], key: str, value: Any, reasons: set[str]) -> None:
    if key == "content" and isinstance(value, list):
        typed(choice, value, reasons)
    elif key in NAMES:
        choice["text"][key] = choice["text"].get(key, "") + value
    elif key == "tool_calls":
        for call in value:
            tool(choice["calls"], call, reasons)
    elif key == "reasoning_details":
        for item in value:
            detail(choice["details"], item)
    else:
        put(choice["rest"], "delta." + key, value, reasons)


def put(where: dict[str, Any], key: str, value: Any, reasons: set[str]) -> None:
    if blank(value):
        reasons.add("blank")
    else:
        where[key] = value


def typed(choice: dict[str, Any], items: list[Any], reasons: set[str]) -> None:
    for item in items:
        rest = {key: value for key, value in item.items() if key not in ("type", "text", "thinking")}
        if item["type"] == "text":
            reasons.add("content-list")
            choice["text"]["content"] = choice["text"].get("content", "") + item["text"]
        else:
            text = "".join(piece["text"] for piece in item["thinking"])
            choice["text"]["thinking"] = choice["text"].get("thinking", "") + text
        if rest:
            choice["rest"]["thinking"] = rest


def tool(calls: list[dict[str, Any]], wire: dict[str, Any], reasons: set[str]) -> None:
    body = wire.get("function") or wire.get("custom") or {}
    known = [call for call in calls if call["wire"] == wire.get("index") and wire.get("index") is not None]
    call = known[-1] if known else None
    if call is not None and wire.get("id") and body.get("name") and wire["id"] != call["id"]:
        call = None
    if call is None:
        if wire.get("index") != len(calls):
            reasons.add("indexed")
        if "type" not in wire:
            reasons.add("untyped-call")
        call = {"wire": wire.get("index"), "id": wire.get("id") or "", "name": body.get("name") or "", "arguments": ""}
        calls.append(call)
    call["arguments"] += body.get("arguments") or body.get("input") or ""


def detail(details: list[dict[str, Any]], wire: dict[str, Any]) -> None:
    last = details[-1] if details else None
    if (
        last
        and wire["type"] != "reasoning.encrypted"
        and (last["type"], last.get("index")) == (wire["type"], wire.get("index"))
    ):
        for key, value in wire.items():
            last[key] = last.get(key, "") + value if key in ("text", "summary") else value
    else:
        details.append(dict(wire))
