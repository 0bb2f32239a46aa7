"""What the tests of recorded Anthropic traffic share: the exchanges, a stream's sum, and a check against the document.

None of it uses the package, so that it can disagree with it.
"""

import functools
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.dialects import document

SHARED = Path(__file__).parents[2].parent / "shared" / "material"
NAME = "anthropic-messages"


@functools.cache
def exchanges(dialect: str) -> list[dict[str, Any]]:
    path = SHARED / "exchanges.jsonl.gz"
    if not path.exists():
        pytest.skip("recorded traffic is not here")
    with gzip.open(path) as lines:
        rows = (json.loads(line) for line in lines if dialect.encode() in line)
        return [row for row in rows if row["dialect"] == dialect]


def anthropic_messages_whole(prefix: bytes) -> bool:
    """A stop reason has come, and a whole `message_stop` after it."""
    reason = None
    for line in prefix.decode("utf-8-sig", "ignore").replace("\r\n", "\n").split("\n"):
        try:
            event = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
        except ValueError:
            continue
        match event:
            case {"type": "message_start", "message": {"stop_reason": said}}:
                reason = said
            case {"type": "message_delta", "delta": {"stop_reason": said}}:
                reason = said
            case {"type": "message_stop"}:
                return reason is not None
    return False


# --- streams ---------------------------------------------------------------------------------------------------------


def first_message(text: str) -> str:
    """A transcript up to its first `message_stop`: some hold several answers, one behind the other."""
    end = text.find('"message_stop"')
    return text if end < 0 else text[: text.index("\n", end)] + "\n\n" if "\n" in text[end:] else text


def total(text: str, reasons: set[str]) -> dict[str, Any]:
    """The message that a stream adds up to, as Anthropic's SDK sums it. `reasons` collects what was normalised."""
    message: dict[str, Any] = {"done": False}
    blocks: dict[int, dict[str, Any]] = {}
    for line in text.replace("\r\n", "\n").split("\n"):
        if not line.startswith("data:"):
            continue
        event = json.loads(line[5:])
        kind = event["type"]
        if kind == "message_start":
            if "id" in message:
                reasons.add("start-twice")
                continue
            message |= event["message"]
            if message["content"]:
                reasons.add("whole-at-start")
            for i, block in enumerate(message["content"]):
                blocks[i] = {"stopped": True, **block}
        elif kind == "content_block_start":
            blocks[event["index"]] = {"stopped": False, **event["content_block"]}
        elif kind == "content_block_stop":
            blocks[event["index"]]["stopped"] = True
        elif kind == "content_block_delta":
            add(blocks[event["index"]], event["delta"])
        elif kind == "message_delta":
            message |= event["delta"] | {k: v for k, v in event.items() if k not in ("type", "delta", "usage")}
            message["usage"] = message["usage"] | {k: v for k, v in event["usage"].items() if v is not None}
        elif kind == "message_stop":
            message["done"] = True
    message["content"] = [settle(block, reasons) for _, block in sorted(blocks.items())]
    return message


def add(block: dict[str, Any], delta: dict[str, Any]) -> None:
    match delta:
        case {"type": "text_delta", "text": text}:
            block["text"] += text
        case {"type": "thinking_delta", "thinking": text}:
            block["thinking"] += text
        case {"type": "signature_delta", "signature": text}:
            block["signature"] = text
        case {"type": "input_json_delta", "partial_json": text}:
            block["json"] = block.get("json", "") + text
        case {"type": "citations_delta", "citation": citation}:
            block["citations"] = [*(block.get("citations") or ()), citation]
        case _:
            block |= {key: value for key, value in delta.items() if key != "type"}


def settle(block: dict[str, Any], reasons: set[str]) -> dict[str, Any]:
    if not block.pop("stopped"):
        reasons.add("never-stopped")
    if block["type"] == "thinking" and "signature" not in block:
        reasons.add("signature-required")
        block["signature"] = ""
    words = block.pop("json", "")
    if words:
        try:
            block["input"] = json.loads(words)
        except ValueError:
            block["input"] = words
    return block


# --- the document ----------------------------------------------------------------------------------------------------


def schemas() -> dict[str, Any]:
    return document.schemas("anthropic-via-tryAGI")


def rejections(value: Any, schema: Any, path: str = "") -> list[str]:
    """What of `value` the schema does not allow, by path; the keywords that the document uses, no others."""
    if "$ref" in schema:
        return rejections(value, schemas()[schema["$ref"].rpartition("/")[2]], path)
    for key in ("oneOf", "anyOf"):
        if key in schema:
            tried = [rejections(value, option, path) for option in schema[key]]
            return min(tried, key=lambda found: (len(found), -max(map(depth, found), default=0)))
    if "type" in schema and type(value) not in document.TYPES[schema["type"]]:
        return [f"{path}: {type(value).__name__} is no {schema['type']}"]
    found = []
    if ("const" in schema and value != schema["const"]) or ("enum" in schema and value not in schema["enum"]):
        found.append(f"{path}: {value!r} is not {schema.get('const', schema.get('enum'))}")
    if isinstance(value, str):
        found += text_rejections(value, schema, path)
    if type(value) in (int, float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        found.append(f"{path}: {value} is out of range")
    if isinstance(value, list):
        for i, item in enumerate(value):
            found += rejections(item, schema.get("items", {}), f"{path}[{i}]")
    if isinstance(value, dict):
        found += object_rejections(value, schema, path)
    return found


def depth(found: str) -> int:
    return found.count(".")


def text_rejections(value: str, schema: dict[str, Any], path: str) -> list[str]:
    found = []
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        found.append(f"{path}: {len(value)} characters")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{path}: {value!r} does not match {schema['pattern']}")
    return found


def object_rejections(value: dict[str, Any], schema: dict[str, Any], path: str) -> list[str]:
    properties = schema.get("properties", {})
    found = [f"{path}.{key}: is required" for key in schema.get("required", ()) if key not in value]
    for key, item in value.items():
        if key in properties:
            found += rejections(item, properties[key], f"{path}.{key}")
        elif schema.get("additionalProperties") is False:
            found.append(f"{path}.{key}: is unknown")
    return found


def request_rejections(body: dict[str, Any]) -> list[str]:
    return rejections(body, {"$ref": "#/components/schemas/BetaCreateMessageParams"}, "body")


def turn_rejections(body: dict[str, Any]) -> list[str]:
    """What of a conversation Anthropic refuses although the document has no word for it."""
    turns = body["messages"]
    found = [] if turns and turns[0]["role"] == "user" else ["does not begin with a user"]
    seen: set[str] = set()
    for before, turn in zip([None, *turns], [*turns, None], strict=True):
        blocks = {} if turn is None else turn["content"]
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        calls = [] if before is None else [block["id"] for block in before["content"] if block["type"] == "tool_use"]
        if sorted(results) != sorted(calls):
            found.append(f"calls {calls} are answered by {results}")
        if any(block["type"] == "tool_result" for block in list(blocks)[len(results) :]):
            found.append("a result stands behind something else")
        if seen & set(calls):
            found.append(f"calls {seen & set(calls)} come twice")
        seen |= set(calls)
        if before is not None and turn is not None and before["role"] == turn["role"]:
            found.append("two turns of one role")
        if any(block["type"] == "text" and not block["text"].strip() for block in blocks):
            found.append("an empty text")
    if turns and turns[-1]["role"] == "assistant" and turns[-1]["content"][-1].get("text", "x")[-1:].isspace():
        found.append("white space at the end")
    budget = body.get("thinking", {}).get("budget_tokens")
    return found if budget is None or budget < body["max_tokens"] else [*found, "a budget above max_tokens"]
