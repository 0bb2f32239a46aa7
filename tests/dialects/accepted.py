"""Every recorded request in every other dialect, held against what the provider of that dialect says it takes.

`python -m tests.dialects.accepted [--show N]` prints a table: accepted, refused by us beforehand with a clear error
(`Malformed`), or rejected, which must not be. Sources: the providers' OpenAPI documents for Anthropic, Google and
OpenAI; the service model in botocore for Bedrock; the request types of the official clients for Cohere and Ollama, with
the rules of their reference pages. What documents do not say (whose turn it is, which results belong to which calls) is
checked by the `recorded_*` modules and below.
"""

from __future__ import annotations

import functools
import json
import re
import sys
import typing
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import msgspec
import pydantic
import pytest

from tests.dialects.document import Document, schemas
from tests.dialects.pairs import read, recorded
from tests.dialects.recorded_anthropic_messages import request_rejections, turn_rejections
from tests.dialects.recorded_bedrock_converse import turn_mistakes
from tests.dialects.recorded_cohere_ollama import cohere_errors, ollama_errors
from tests.dialects.recorded_gemini import Spec
from understudy import dialects
from understudy.canon import Request
from understudy.dialects import Malformed
from understudy.dialects.probes import MODELS

Body = dict[str, Any]


# --- OpenAI ----------------------------------------------------------------------------------------------------------


@functools.cache
def openai() -> Document:
    return Document(schemas("openai"))


def chat_rejections(body: Body) -> list[str]:
    return openai().refusals(body, "CreateChatCompletionRequest") + chat_turns(body)


def chat_turns(body: Body) -> list[str]:
    """Each call has its result in the messages right behind it, and no result is without a call."""
    found: list[str] = []
    waiting: set[str] = set()
    for i, message in enumerate(body["messages"]):
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                found.append(f"messages[{i}]: no call waits for {message['tool_call_id']!r}")
            waiting.discard(message["tool_call_id"])
            continue
        if waiting:
            found.append(f"messages[{i}]: calls wait for results")
        waiting = {call["id"] for call in message.get("tool_calls") or ()}
        if message["role"] == "assistant" and not (message.get("content") or waiting or message.get("refusal")):
            found += [] if "audio" in message or "function_call" in message else [f"messages[{i}]: says nothing"]
    names = [tool.get(tool["type"], {}).get("name") for tool in body.get("tools", ())]
    found += [f"tools: {name!r}" for name in names if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", str(name))]
    chosen = body.get("tool_choice")
    if chosen is not None and not names:
        found.append("tool_choice: without tools")
    if isinstance(chosen, dict) and "function" in chosen and chosen["function"]["name"] not in names:
        found.append("tool_choice: names no tool")
    return found


def responses_rejections(body: Body) -> list[str]:
    found = openai().refusals(body, "CreateResponse")
    listed = body["input"] if isinstance(body.get("input"), list) else []
    calls = Counter(item["call_id"] for item in listed if item.get("type") in ("function_call", "custom_tool_call"))
    results = Counter(item["call_id"] for item in listed if str(item.get("type")).endswith("call_output"))
    if "previous_response_id" not in body and calls != results:
        found.append(f"input: calls {dict(calls)} have results {dict(results)}")
    return found


def completions_rejections(body: Body) -> list[str]:
    return openai().refusals(body, "CreateCompletionRequest")


# --- Bedrock ---------------------------------------------------------------------------------------------------------


@functools.cache
def converse_shape() -> Any:
    session = pytest.importorskip("botocore.session")
    loader = pytest.importorskip("botocore.loaders").create_loader()
    model = pytest.importorskip("botocore.model").ServiceModel(
        loader.load_service_model("bedrock-runtime", "service-2"), "bedrock-runtime"
    )
    assert session
    return model.operation_model("Converse").input_shape


def bedrock_rejections(body: Body) -> list[str]:
    from botocore.validate import ParamValidator

    report = ParamValidator().validate({"modelId": "m", **body}, converse_shape())
    found = report.generate_report().splitlines() if report.has_errors() else []
    return [*found, *patterns(body, converse_shape(), ""), *sorted(turn_mistakes(body))]


def patterns(value: Any, shape: Any, path: str) -> list[str]:
    """The patterns, words and lengths of the model, which botocore leaves to the server; unions have one member."""
    if shape.type_name == "structure" and isinstance(value, dict):
        found = [f"{path}: {sorted(value)} is no one member"] if shape.is_tagged_union and len(value) != 1 else []
        members = shape.members
        return found + [
            why for key in value if key in members for why in patterns(value[key], members[key], f"{path}.{key}")
        ]
    if shape.type_name == "list" and isinstance(value, list):
        found = bounds(len(value), shape, path)
        return found + [why for i, item in enumerate(value) for why in patterns(item, shape.member, f"{path}[{i}]")]
    if shape.type_name == "map" and isinstance(value, dict):
        return [why for key in value for why in patterns(value[key], shape.value, f"{path}.{key}")]
    if shape.type_name == "string" and isinstance(value, str):
        found = bounds(len(value), shape, path)
        if shape.enum and value not in shape.enum:
            found.append(f"{path}: {value!r} is none of {shape.enum}")
        if "pattern" in shape.metadata and not re.fullmatch(shape.metadata["pattern"], value):
            found.append(f"{path}: {value[:60]!r} does not match {shape.metadata['pattern']}")
        return found
    return bounds(value, shape, path) if type(value) in (int, float) else []


def bounds(value: float, shape: Any, path: str) -> list[str]:
    low, high = shape.metadata.get("min", value), shape.metadata.get("max", value)
    return [] if low <= value <= high else [f"{path}: {value} is not from {low} to {high}"]


# --- Cohere and Ollama: the types of their clients -------------------------------------------------------------------


@functools.cache
def cohere_types() -> dict[str, pydantic.TypeAdapter[Any]]:
    client = pytest.importorskip("cohere.v2.raw_client")
    hints = typing.get_type_hints(client.RawV2Client.chat, include_extras=True)
    own = {
        name: pydantic.TypeAdapter(hint) for name, hint in hints.items() if name not in ("return", "request_options")
    }
    return {**own, "stream": pydantic.TypeAdapter(bool)}


def cohere_rejections(body: Body) -> list[str]:
    found = []
    for key, value in body.items():
        if key not in cohere_types():
            found.append(f"{key}: is unknown")
        else:
            found += typed(cohere_types()[key], value, key)
    return found + cohere_errors(body)


@functools.cache
def ollama_type() -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(pytest.importorskip("ollama._types").ChatRequest)


NEWER = {"min_p", "tool_call_id"}
"""What Ollama's server takes and its client does not know: `api/types.go` has both."""


def ollama_rejections(body: Body) -> list[str]:
    bare = [{key: value for key, value in message.items() if key != "images"} for message in body["messages"]]
    found = typed(ollama_type(), {**body, "messages": bare}, "")  # images: the client takes paths and bytes there
    return [why for why in found if why.rpartition(".")[2].partition(":")[0] not in NEWER] + ollama_errors(body)


def typed(adapter: pydantic.TypeAdapter[Any], value: Any, path: str) -> list[str]:
    """What a type does not allow, and fields that it has no name for."""
    try:
        model = adapter.validate_json(json.dumps(value), strict=True)
    except pydantic.ValidationError as error:
        return [f"{path}.{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    return unnamed(value, model, path)


def unnamed(value: Any, model: Any, path: str) -> list[str]:
    """Fields that the model has no name for; a tool's parameters are a schema, of which it knows only a part."""
    if isinstance(value, list) and isinstance(model, list | tuple):
        pairs = zip(value, model, strict=True)
        return [why for i, pair in enumerate(pairs) for why in unnamed(*pair, f"{path}[{i}]")]
    if not isinstance(value, dict) or not isinstance(model, pydantic.BaseModel) or path.endswith(".parameters"):
        return []
    names = {field.alias or name: name for name, field in type(model).model_fields.items()}
    found = [f"{path}.{key}: is unknown" for key in value if key not in names]
    for key in names.keys() & value.keys():
        found += unnamed(value[key], getattr(model, names[key]), f"{path}.{key}")
    return found


# --- all of them -----------------------------------------------------------------------------------------------------


def anthropic_rejections(body: Body) -> list[str]:
    return request_rejections(body) + turn_rejections(body)


@functools.cache
def google() -> Spec:
    return Spec()


def gemini_rejections(body: Body) -> list[str]:
    return google().errors(body)


REJECTIONS: dict[str, Callable[[Body], list[str]]] = {
    "anthropic-messages": anthropic_rejections,
    "bedrock-converse": bedrock_rejections,
    "cohere-chat": cohere_rejections,
    "gemini": gemini_rejections,
    "ollama": ollama_rejections,
    "openai-chat": chat_rejections,
    "openai-completions": completions_rejections,
    "openai-responses": responses_rejections,
}


def verdict(request: Request, name: str) -> tuple[str, list[str]]:
    """`accepted`, `refused` by us, or `rejected`; and why."""
    try:
        body, _ = dialects.get(name).encode_request(msgspec.structs.replace(request, model=MODELS[name]))
    except Malformed as error:
        return "refused", [str(error)]
    found = REJECTIONS[name](json.loads(body))
    return ("rejected" if found else "accepted"), found


def main(show: int) -> int:
    if not recorded():
        sys.stderr.write("The recorded traffic is not here: nothing was checked.\n")
        return 2
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    refused: Counter[str] = Counter()
    shown: Counter[tuple[str, str]] = Counter()
    for name, wires in sorted(recorded().items()):
        for wire in wires:
            request = read(name, wire) if wire.kind == "request" else None
            for other in REJECTIONS if isinstance(request, Request) else ():
                if other == name:
                    continue
                assert isinstance(request, Request)
                word, why = verdict(request, other)
                counts[name, other][word] += 1
                if word == "refused":
                    refused[f"{other}: " + re.sub(r"\d+", "0", why[0])[:160]] += 1
                elif word == "rejected" and (shown[name, other] < show):
                    shown[name, other] += 1
                    sys.stderr.write(f"{wire.id} {name} -> {other}: {'; '.join(why)[:500]}\n")
    words = ("accepted", "refused", "rejected")
    sys.stdout.write("| from | to | requests | accepted | refused by us | rejected |\n|---|---|--:|--:|--:|--:|\n")
    for (name, other), count in sorted(counts.items()):
        sys.stdout.write(f"| {name} | {other} | {count.total()} | " + " | ".join(str(count[w]) for w in words) + " |\n")
    total = sum(counts.values(), Counter[str]())
    sys.stdout.write(f"| all | | {total.total()} | " + " | ".join(str(total[word]) for word in words) + " |\n\n")
    sys.stdout.writelines(f"refused {count} x {why}\n" for why, count in refused.most_common())
    return 1 if total["rejected"] else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[2]) if sys.argv[1:2] == ["--show"] else 3))
