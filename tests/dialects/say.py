"""Short words for what the tests of losses say, and what comes of it on the wire."""

import json
from typing import Any

from understudy.canon import Message, Part, Request, Text, ToolCall, ToolResult
from understudy.dialects import Dialect


def user(*parts: Part) -> Message:
    return Message("user", parts)


def assistant(*parts: Part) -> Message:
    return Message("assistant", parts)


def whole(*messages: Message) -> tuple[Message, ...]:
    """A conversation that no provider refuses for what is not in it: each call has a result, and a user speaks last."""
    parts = [part for message in messages if message.role in ("assistant", "tool") for part in message.parts]
    known = {part.call_id for part in parts if isinstance(part, ToolResult)}
    calls = [part for part in parts if isinstance(part, ToolCall) and part.kind != "hosted" and part.id not in known]
    results = [Message("tool", (ToolResult(call.id, (Text("done"),)),)) for call in calls]
    return (*messages, *results, user(Text("Go on.")))


def sent(dialect: Dialect, *messages: Message, **fields: Any) -> tuple[dict[str, Any], set[tuple[str, str]]]:
    """The body of another dialect's request, and the field and kind of each loss."""
    body, losses = dialect.encode_request(Request("anthropic-messages", "m", messages, **fields))
    assert all(loss.why for loss in losses)
    return json.loads(body), {(loss.field, loss.kind) for loss in losses}


def lost(dialect: Dialect, *messages: Message, **fields: Any) -> set[str]:
    return {field for field, _ in sent(dialect, *messages, **fields)[1]}
