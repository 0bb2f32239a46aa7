"""Binary event streams for tests, when one is whole, and what Bedrock refuses; without any code of the package."""

import json
import re
import struct
from collections.abc import Iterator
from typing import Any
from zlib import crc32


def message(headers: dict[str, str], payload: bytes) -> bytes:
    """One message of AWS's event stream encoding."""
    block = b"".join(
        bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for key, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    body = prelude + struct.pack(">I", crc32(prelude)) + block + payload
    return body + struct.pack(">I", crc32(body))


def event(kind: str, payload: Any) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return message(headers, payload if isinstance(payload, bytes) else json.dumps(payload).encode())


def exception(kind: str, payload: Any) -> bytes:
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return message(headers, json.dumps(payload).encode())


def messages(data: bytes) -> Iterator[tuple[dict[str, str], bytes]]:
    """The whole messages of a stream, up to the first whose sum is wrong. All headers are strings here."""
    at = 0
    while len(data) - at >= 16:
        total, size = struct.unpack_from(">II", data, at)
        whole = data[at : at + total]
        if len(whole) < total or crc32(whole[:-4]) != struct.unpack(">I", whole[-4:])[0]:
            return
        headers, block = {}, whole[12 : 12 + size]
        while block:
            name, rest = block[1 : 1 + block[0]].decode(), block[2 + block[0] :]
            length = struct.unpack_from(">H", rest)[0]
            headers[name], block = rest[2 : 2 + length].decode(), rest[2 + length :]
        yield headers, whole[12 + size : -4]
        at += total


def bedrock_converse_whole(prefix: bytes) -> bool:
    """`messageStop` has come whole, and no failure before it."""
    for headers, payload in messages(prefix):
        if headers[":message-type"] == "exception":
            return False
        if headers.get(":event-type") == "messageStop" and b"stopReason" in payload:
            return True
    return False


# --- what Bedrock takes ----------------------------------------------------------------------------------------------


def turn_mistakes(wire: Any) -> set[str]:
    """What the service model, and the rules beside it, would refuse. Patterns and bounds as in botocore's model."""
    out: set[str] = set()
    tools = wire.get("toolConfig", {}).get("tools", [])
    if "toolConfig" in wire and not tools:
        out.add("toolConfig without tools")
    for tool in tools:
        spec = tool.get("toolSpec", {"name": "a", "inputSchema": {"json": {}}})
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", spec["name"]) or not isinstance(spec["inputSchema"]["json"], dict):
            out.add("tool")
        if spec.get("description") == "":
            out.add("empty description")
    for i, turn in enumerate(wire["messages"]):
        out |= {"turns"} if turn["role"] != ("user", "assistant")[i % 2] or not turn["content"] else set()
        called = {block["toolUse"]["toolUseId"] for block in turn["content"] if "toolUse" in block}
        if called and (not tools or i + 1 == len(wire["messages"])):
            out.add("calls without tools or results")
        elif called:
            answered = [block["toolResult"]["toolUseId"] for block in wire["messages"][i + 1]["content"]
                        if "toolResult" in block]  # fmt: skip
            out |= {"results"} if sorted(answered) != sorted(called) else set()
        for block in turn["content"]:
            out |= mistakes_of_block(block)
    config = wire.get("inferenceConfig", {})
    if not 0 <= config.get("temperature", 0) <= 1 or not 0 <= config.get("topP", 0) <= 1:
        out.add("sampling")
    return out


def mistakes_of_block(block: dict[str, Any]) -> set[str]:
    match block:
        case {"text": str(text)}:
            return set() if text.strip() else {"empty text"}
        case {"image": {"format": "png" | "jpeg" | "gif" | "webp", "source": {"bytes": str()}}}:
            return set()
        case {"document": {"format": str(), "name": str(name), "source": {"bytes": str()}}}:
            return set() if re.fullmatch(r"[A-Za-z0-9 ()\[\]-]{1,200}", name) and "  " not in name else {"name"}
        case {"toolUse": {"toolUseId": str(key), "name": str(name), "input": dict()}}:
            return set() if re.fullmatch(r"[\w.:-]{1,64}", key) and re.fullmatch(r"[\w-]{1,64}", name) else {"toolUse"}
        case {"toolResult": {"toolUseId": str(), "content": [*content]}}:
            return set().union(*(mistakes_of_block(inner) for inner in content)) if content else {"empty result"}
        case {"reasoningContent": {"reasoningText": {"text": str()}} | {"redactedContent": str()}}:
            return set()
        case {"cachePoint": {"type": "default"}}:
            return set()
    return {f"block {sorted(block)}"}
