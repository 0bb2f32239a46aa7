"""Recorded exchanges, the APIs' rules as a small checker, and what makes a stream whole, for cohere-chat and ollama.

None of it shares code with the dialects. There is no OpenAPI document of either, so the rules are those of Cohere's API
reference and SDK types, and of Ollama's `api/types.go`. Recorded traffic skips where the material is absent.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

MATERIAL = Path(__file__).parents[2].parent / "shared" / "material"


def recorded(dialect: str) -> list[dict[str, Any]]:
    path = MATERIAL / "exchanges.jsonl.gz"
    if not path.exists():
        pytest.skip("recorded traffic is not here")
    with gzip.open(path) as lines:
        rows = (json.loads(line) for line in lines if dialect.encode() in line)
        return [row for row in rows if row["dialect"] == dialect]


# --- whole streams ---------------------------------------------------------------------------------------------------


def cohere_chat_whole(prefix: bytes) -> bool:
    """A `message-end` has come, and no failure with it."""
    for block in prefix.decode("utf-8-sig", "ignore").replace("\r\n", "\n").split("\n\n"):
        lines = [line.removeprefix("data:") for line in block.split("\n") if line.startswith("data:")]
        try:
            event = json.loads("\n".join(lines))
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("type") == "message-end":
            return event["delta"]["finish_reason"] not in ("ERROR", "TIMEOUT")
    return False


def ollama_whole(prefix: bytes) -> bool:
    """A line says that it is done."""
    for line in prefix.decode("utf-8-sig", "ignore").split("\n"):
        try:
            chunk = json.loads(line)
        except ValueError:
            continue
        if isinstance(chunk, dict) and chunk.get("done") is True:
            return True
    return False


# --- requests against the APIs' rules --------------------------------------------------------------------------------

COHERE: dict[str, Any] = {
    "model": str,
    "messages": list,
    "stream": bool,
    "tools": list,
    "strict_tools": bool,
    "documents": list,
    "citation_options": dict,
    "response_format": dict,
    "safety_mode": ("CONTEXTUAL", "STRICT", "OFF"),
    "max_tokens": (1, 2**31),
    "stop_sequences": list,
    "temperature": (0, 1),
    "seed": (0, 2**64),
    "frequency_penalty": (0, 1),
    "presence_penalty": (0, 1),
    "k": (0, 500),
    "p": (0.01, 0.99),
    "logprobs": bool,
    "tool_choice": ("REQUIRED", "NONE"),
    "thinking": dict,
    "priority": int,
}
OLLAMA: dict[str, Any] = {
    "model": str,
    "messages": list,
    "stream": bool,
    "format": (dict, str),
    "keep_alive": (str, int, float),
    "tools": list,
    "options": dict,
    "think": (bool, str),
    "logprobs": bool,
    "top_logprobs": int,
}


def fields(body: dict[str, Any], rules: dict[str, Any]) -> list[str]:
    found = []
    for key, value in body.items():
        rule = rules.get(key)
        if rule is None:
            found.append(f"{key}: unknown")
        elif isinstance(rule, type):
            found += [] if type(value) is rule else [f"{key}: {type(value).__name__}"]
        elif isinstance(rule[0], str):
            found += [] if value in rule else [f"{key}: {value!r}"]
        elif isinstance(rule[0], type):
            found += [] if type(value) in rule else [f"{key}: {type(value).__name__}"]
        elif type(value) not in (int, float) or not rule[0] <= value <= rule[1]:
            found.append(f"{key}: {value!r} is out of range")
    return found


def functions(body: dict[str, Any]) -> list[str]:
    return [
        f"tools: {tool}"
        for tool in body.get("tools", ())
        if tool.get("type") != "function"
        or not isinstance(tool["function"].get("name"), str)
        or not isinstance(tool["function"].get("parameters"), dict)
    ]


def cohere_errors(body: dict[str, Any]) -> list[str]:
    found = [*fields(body, COHERE), *functions(body)]
    if not body["messages"] or body["messages"][-1]["role"] not in ("user", "tool"):
        found.append("messages: the last has to be a user's or a tool's")
    if len(body.get("stop_sequences", ())) > 5:
        found.append("stop_sequences: more than five")
    if "tool_choice" in body and not body.get("tools"):
        found.append("tool_choice: without tools")
    if body.get("response_format", {}).get("type") == "json_object" and ("tools" in body or "documents" in body):
        found.append("response_format: not with tools or documents")
    called: set[str] = set()
    for i, message in enumerate(body["messages"]):
        path = f"messages[{i}]"
        content = message.get("content")
        if message["role"] == "tool":
            if message["tool_call_id"] not in called:
                found.append(f"{path}: no call has this id")
            called.discard(message["tool_call_id"])
        elif called:
            found.append(f"{path}: calls wait for results")
        if not content and not message.get("tool_calls"):
            found.append(f"{path}: is empty")
        kinds = {
            "user": {"text", "image_url"},
            "system": {"text"},
            "tool": {"text", "document"},
            "assistant": {"text", "thinking"},
        }[message["role"]]
        listed = content if isinstance(content, list) else []
        wrong = [item["type"] for item in listed if item["type"] not in kinds or not item[item["type"]]]
        found += [f"{path}: a part of type {kind}" for kind in wrong]
        called |= {call["id"] for call in message.get("tool_calls", ())}
    return found


def ollama_errors(body: dict[str, Any]) -> list[str]:
    found = [*fields(body, OLLAMA), *functions(body)]
    for i, message in enumerate(body["messages"]):
        if message["role"] not in ("user", "system", "assistant", "tool") or not isinstance(message["content"], str):
            found.append(f"messages[{i}]: {message['role']}")
        if not all(isinstance(image, str) and "," not in image for image in message.get("images", ())):
            found.append(f"messages[{i}].images: bare base64 only")
        if not all(isinstance(call["function"]["arguments"], dict) for call in message.get("tool_calls", ())):
            found.append(f"messages[{i}].tool_calls: arguments are objects")
    return found
