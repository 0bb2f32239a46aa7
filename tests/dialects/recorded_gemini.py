"""Recorded exchanges, Google's OpenAPI document as a validator, and what a stream adds up to, for the gemini tests.

None of it shares code with the dialect. Everything skips where the material is absent.
"""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

MATERIAL = Path(__file__).parents[2].parent / "shared" / "material"
SPEC = MATERIAL / "specs" / "gemini-via-tryAGI" / "openapi.json"


def recorded(dialect: str) -> list[dict[str, Any]]:
    path = MATERIAL / "exchanges.jsonl.gz"
    if not path.exists():
        pytest.skip("recorded traffic is not here")
    with gzip.open(path) as lines:
        rows = (json.loads(line) for line in lines if dialect.encode() in line)
        return [row for row in rows if row["dialect"] == dialect]


# --- requests against the OpenAPI document ---------------------------------------------------------------------------

TYPES: dict[str, Any] = {"string": str, "boolean": bool, "object": dict, "array": list, "integer": int}


class Spec:
    """Google's parser refuses unknown fields and words, so this does too; its rules for turns are added."""

    def __init__(self) -> None:
        if not SPEC.exists():
            pytest.skip("Google's OpenAPI document is not here")
        self.schemas = json.loads(SPEC.read_text())["components"]["schemas"]

    def errors(self, body: dict[str, Any]) -> list[str]:
        return [*self.check(body, {"$ref": "/GenerateContentRequest"}, ""), *turns(body)]

    def check(self, value: Any, schema: dict[str, Any], path: str) -> list[str]:
        refs = [one["$ref"] for one in schema.get("allOf", ()) if "$ref" in one]
        ref = schema.get("$ref") or (refs[0] if refs else None)
        if ref is not None:
            schema = self.schemas[ref.rpartition("/")[2]]
        kind = schema.get("type")
        if kind == "number":
            return [] if type(value) in (int, float) else [f"{path}: no number"]
        if kind in TYPES and type(value) is not TYPES[kind]:
            return [f"{path}: no {kind}"]
        if "enum" in schema and value not in schema["enum"]:
            return [f"{path}: {value!r} is no word of {schema['enum'][:3]}"]
        if schema.get("format") == "int32" and not -(2**31) <= value < 2**31:
            return [f"{path}: beyond 32 bits"]
        if schema.get("format") == "byte" and not re.fullmatch(r"[A-Za-z0-9+/_\-]*=*", value):
            return [f"{path}: no base64"]
        if kind == "array":
            return [
                error for i, item in enumerate(value) for error in self.check(item, schema["items"], f"{path}[{i}]")
            ]
        properties = schema.get("properties")
        if not properties or not isinstance(value, dict):
            return []
        found = []
        for key, item in value.items():
            if key in properties:
                found += self.check(item, properties[key], f"{path}.{key}")
            else:
                found.append(f"{path}.{key}: unknown")
        return found


def turns(body: dict[str, Any]) -> list[str]:
    """What the API says of `contents` in its error messages and guides."""
    contents, found = body["contents"], []
    if not contents or contents[0].get("role") != "user":
        found.append("contents: has to begin with a user's turn")
    config = body.get("generationConfig", {})
    for name, low, high in (("temperature", 0, 2), ("presencePenalty", -2, 1.9999), ("frequencyPenalty", -2, 1.9999)):
        if not low <= config.get(name, 0) <= high:
            found.append(f"{name} is out of range")
    if len(config.get("stopSequences", ())) > 5:
        found.append("stopSequences: more than five")
    for i, content in enumerate(contents):
        parts = content.get("parts", [])
        if not parts:
            found.append(f"contents[{i}]: is empty")
        if i and content.get("role") == contents[i - 1].get("role"):
            found.append(f"contents[{i}]: roles alternate")
        calls = [part["functionCall"]["name"] for part in parts if "functionCall" in part]
        results = contents[i + 1].get("parts", []) if i + 1 < len(contents) else []
        answered = [part["functionResponse"]["name"] for part in results if "functionResponse" in part]
        if calls and i + 1 < len(contents) and sorted(calls) != sorted(answered):
            found.append(f"contents[{i + 1}]: results {answered} for calls {calls}")
        marks = {"thought", "thoughtSignature"}
        found += [f"contents[{i}]: a part with {list(part)}" for part in parts if len(part.keys() - marks) != 1]
    return found


# --- streams ---------------------------------------------------------------------------------------------------------


def chunks(row: dict[str, Any]) -> list[dict[str, Any]]:
    if row["wire"] == "json-array":
        return list(row["body"])
    return sse(row["body_text"])


def sse(text: str) -> list[dict[str, Any]]:
    blocks = text.replace("\r\n", "\n").split("\n\n")
    return [json.loads(block[5:]) for block in blocks if block.strip()]


def gemini_whole(prefix: bytes) -> bool:
    """Every candidate has a finish reason, and nothing torn follows; an array is closed too."""
    text = prefix.decode("utf-8-sig", "ignore").replace("\r\n", "\n").replace("\r", "\n")
    if text.startswith(("[", "{")):
        try:
            chunks = json.loads(text)
        except ValueError:
            return False
    else:
        blocks = text.split("\n\n")
        chunks = []
        for place, block in enumerate(blocks):
            lines = [line.removeprefix("data:") for line in block.split("\n") if line and not line.startswith(":")]
            try:
                chunks += [json.loads("\n".join(lines))] if lines else []
            except ValueError:
                if place == len(blocks) - 1:
                    return False
    reasons: dict[int, object] = {}
    for chunk in chunks if isinstance(chunks, list) else []:
        listed = chunk.get("candidates") if isinstance(chunk, dict) else None
        for each in listed if isinstance(listed, list) else []:
            reason = each.get("finishReason") or each.get("finish_reason")
            reasons[each.get("index", 0)] = reason or reasons.get(each.get("index", 0))
    return bool(reasons) and all(reasons.values())


def accumulate(listed: list[dict[str, Any]]) -> dict[str, Any]:
    """Last value of every field, joined texts, other parts in order; empty texts without a mark say nothing."""
    total: dict[str, Any] = {"head": {}, "choices": {}}
    for chunk in listed:
        total["head"] |= {key: item for key, item in chunk.items() if key != "candidates" and item}
        for candidate in chunk.get("candidates", ()):
            choice = total["choices"].setdefault(candidate.get("index", 0), {"parts": [], "rest": {}})
            fields = {key: item for key, item in candidate.items() if key not in ("content", "index") and item}
            choice["rest"] |= fields
            for part in (candidate.get("content") or {}).get("parts", ()):
                add(choice["parts"], dict(part))
    return total


def add(parts: list[dict[str, Any]], part: dict[str, Any]) -> None:
    if part == {"text": ""}:
        return
    last = parts[-1] if parts else {}
    plain = "text" in part and "text" in last and "thoughtSignature" not in last
    if plain and bool(part.get("thought")) == bool(last.get("thought")):
        part["text"] = last["text"] + part["text"]
        parts[-1] = last | part
    else:
        parts.append(part)
