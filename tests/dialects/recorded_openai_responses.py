"""What the tests of recorded Responses traffic share: the material, facts of a conversation, and a check against the
provider's OpenAPI document. Shares no code with the dialect."""

import functools
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.dialects import document
from tests.dialects.accumulate import events
from understudy.canon import (
    Answer,
    File,
    Image,
    Message,
    Request,
    Stored,
    Text,
    ToolCall,
    ToolResult,
    Url,
)

SHARED = Path(__file__).parents[2].parent / "shared" / "material"
ENDS = ("response.completed", "response.incomplete", "response.failed")
GROWN = {
    "response.output_text": "text",
    "response.refusal": "refusal",
    "response.reasoning_text": "text",
    "response.reasoning_summary_text": "text",
    "response.function_call_arguments": "arguments",
    "response.custom_tool_call_input": "input",
}
"""Events that grow a text, and the field in which the last of them repeats it."""

Difference = tuple[str, Any, Any]


@functools.cache
def recorded(name: str) -> list[dict[str, Any]]:
    path = SHARED / "exchanges.jsonl.gz"
    if not path.exists():
        pytest.skip("recorded traffic is not here")
    with gzip.open(path) as lines:
        rows = (json.loads(line) for line in lines if name.encode() in line)
        return [row for row in rows if row["dialect"] == name]


def wire_events(text: str) -> list[dict[str, Any]]:
    """The events of a stream's bytes, up to the first that ends a response."""
    out = []
    for _, data in events(text):
        if data.strip() == "[DONE]":
            break
        out.append(json.loads(data))
        if out[-1]["type"] in ENDS:
            break
    return out


def openai_responses_whole(prefix: bytes) -> bool:
    """A whole event says that the response is completed or incomplete."""
    text = prefix.decode("utf-8", "ignore").replace("\r\n", "\n").replace("\r", "\n")
    for block in text.split("\n\n"):
        data = "\n".join(line.removeprefix("data:") for line in block.split("\n") if line.startswith("data:"))
        try:
            kind = json.loads(data)["type"]
        except ValueError:
            continue
        if kind in ("response.completed", "response.incomplete"):
            return True
    return False


# --- facts -----------------------------------------------------------------------------------------------------------


def facts_of_request(request: Request) -> Counter[Any]:
    """What a conversation says, however it is cut into messages."""
    out: Counter[Any] = Counter()
    for message in request.messages:
        out.update(facts_of_message(message))
    out.update(
        ("tool", tool.name, tool.description, str(tool.parameters)) for tool in request.tools if tool.kind != "hosted"
    )
    return out


def facts_of_message(message: Message) -> list[Any]:
    out: list[Any] = []
    text = "".join(part.text for part in message.parts if isinstance(part, Text))
    if text:
        out.append(("text", message.role, text))
    for part in message.parts:
        match part:
            case ToolCall(kind="function" | "custom" as kind):
                out.append(("call", kind, part.id, part.name, part.arguments))
            case ToolResult():
                out.append(("result", part.call_id, "".join(p.text for p in part.parts if isinstance(p, Text))))
            case Image(source=source) if not isinstance(source, Stored) and message.role == "user":
                out.append(("image", msgspec.json.encode(source), part.detail or "auto"))
            case File(source=source) if not isinstance(source, Stored | Url) and message.role == "user":
                out.append(("file", msgspec.json.encode(source), part.filename))
    return out


def facts_of_answer(answer: Answer) -> Any:
    choice = answer.choices[0]
    usage = answer.usage
    figures = ("input", "output", "total", "cached_read", "reasoning")
    return (
        "".join(part.text for part in choice.parts if isinstance(part, Text)),
        [(p.kind, p.id, p.name, p.arguments) for p in choice.parts if isinstance(p, ToolCall) and p.kind != "hosted"],
        [msgspec.json.encode(part.source) for part in choice.parts if isinstance(part, Image)],
        choice.finish,
        None if usage is None else tuple(getattr(usage, name) or 0 for name in figures),
    )


# --- the provider's own document -------------------------------------------------------------------------------------


def schemas() -> dict[str, Any]:
    return document.schemas("openai")


_TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def errors(schema: dict[str, Any], value: Any, path: str = "") -> list[str]:
    """What is wrong with `value`: types, enumerations, required fields, bounds. `oneOf` is read as `anyOf`."""
    if "$ref" in schema:
        schema = schemas()[schema["$ref"].rpartition("/")[2]]
        return errors(schema, value, path)
    out = [error for part in schema.get("allOf", ()) for error in errors(part, value, path)]
    for key in ("anyOf", "oneOf"):
        if key in schema:
            found = [errors(option, value, path) for option in schema[key] if may_be(option, value)]
            if not found or all(found):
                out += min(found, key=len, default=[f"{path}: {str(value)[:80]!r} is none of the kinds known"])
    out += plain_errors(schema, value, path)
    if isinstance(value, dict):
        out += [f"{path}.{key} is required" for key in schema.get("required", ()) if key not in value]
        for key, part in schema.get("properties", {}).items():
            if key in value:
                out += errors(part, value[key], f"{path}.{key}")
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        out += [error for i, item in enumerate(value) for error in errors(schema["items"], item, f"{path}[{i}]")]
    return out


def plain_errors(schema: dict[str, Any], value: Any, path: str) -> list[str]:
    kind = schema.get("type")
    if kind in ("integer", "number"):
        right = type(value) is int or (kind == "number" and type(value) is float)
    else:
        right = kind is None or isinstance(value, _TYPES[kind])
    if not right:
        return [f"{path}: {str(value)[:60]!r} is no {kind}"]
    bounds = (
        value < schema.get("minimum", value) or value > schema.get("maximum", value)
        if type(value) in (int, float)
        else isinstance(value, str) and len(value) > schema.get("maxLength", len(value))
    )
    if bounds:
        return [f"{path}: {str(value)[:60]!r} is out of bounds"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{path}: {str(value)[:60]!r} is none of {schema['enum']}"]
    return []


def may_be(schema: dict[str, Any], value: Any) -> bool:
    """False for an alternative whose `type` field rules it out: its errors would say nothing."""
    if "$ref" in schema:
        return may_be(schemas()[schema["$ref"].rpartition("/")[2]], value)
    wanted = schema.get("properties", {}).get("type", {}).get("enum")
    return not (isinstance(value, dict) and wanted and "type" in value and value["type"] not in wanted)


def names(schema: dict[str, Any]) -> set[str]:
    """All property names of a schema made of parts."""
    if "$ref" in schema:
        return names(schemas()[schema["$ref"].rpartition("/")[2]])
    return set(schema.get("properties", ())).union(*(names(part) for part in schema.get("allOf", ())))


def event_schemas() -> dict[str, dict[str, Any]]:
    out = {}
    for option in schemas()["ResponseStreamEvent"]["anyOf"]:
        schema = schemas()[option["$ref"].rpartition("/")[2]]
        out[schema["properties"]["type"]["enum"][0]] = schema
    return out


def assert_a_stream(wire: list[dict[str, Any]]) -> None:
    """Numbers rise by one, items are added once and done once, deltas add up to what is said to be done."""
    assert [event["sequence_number"] for event in wire] == list(range(len(wire)))
    assert wire[0]["type"] == "response.created"
    assert [event["type"] in (*ENDS, "error") for event in wire].index(True) >= len(wire) - 2
    added: dict[int, dict[str, Any]] = {}
    done: dict[int, dict[str, Any]] = {}
    grown: dict[tuple[Any, ...], str] = {}
    for event in wire:
        kind, place = event["type"], event.get("output_index")
        if kind == "response.output_item.added":
            assert place == len(added), "indices rise by one"
            added[place] = event["item"]
        elif kind == "response.output_item.done":
            assert place in added
            assert place not in done
            done[place] = event["item"]
        elif place is not None:
            assert place in added
            assert place not in done
            if "item_id" in event:
                assert event["item_id"] == added[place]["id"]
            channel = kind.rpartition(".")[0]
            index = (channel, place, event.get("content_index"), event.get("summary_index"))
            if channel in GROWN and kind.endswith(".delta"):
                grown[index] = grown.get(index, "") + event["delta"]
            elif channel in GROWN and kind.endswith(".done"):
                assert grown.get(index, "") == event[GROWN[channel]]
    if wire[-1]["type"] in ("response.completed", "response.incomplete"):
        assert wire[-1]["response"]["output"] == [done[place] for place in sorted(added)]
