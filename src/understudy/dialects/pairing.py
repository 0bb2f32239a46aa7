"""Calls and their results side by side, for a target that refuses a conversation in which one stands without the other.

OpenAI wants the results of a turn's calls right behind it, and answers 400 to a call without a result and to a result
without a call; Google alike. Other clients' conversations have both: a call of Gemini's answered by plain words, a
result whose call is held under an id by the provider (`item_reference`). Such a part becomes text in the place where it
stands, so that paths stay as they are. Results that name no call get the id of the first that waits.
"""

from __future__ import annotations

import msgspec

from understudy.canon import Loss, Message, Part, Text, ToolCall, ToolResult


def paired(messages: tuple[Message, ...], losses: list[Loss]) -> tuple[Message, ...]:
    """`messages`, each call of a function or custom tool answered by the tool's messages right behind it."""
    if not any(message.role == "tool" or (message.role == "assistant" and _calls(message)) for message in messages):
        return messages
    out = list(messages)
    i = 0
    while i < len(out):
        end = i + 1
        while end < len(out) and out[end].role == "tool":
            end += 1
        calls = _calls(out[i]) if out[i].role != "tool" else []
        start = i if out[i].role == "tool" else i + 1
        waiting = [call for _, call in calls]
        for at in range(start, end):
            out[at] = _answering(out[at], f"messages[{at}]", waiting, losses)
        if waiting:
            out[i] = _spoken(out[i], f"messages[{i}]", waiting, losses)
        i = end
    return tuple(out)


def _calls(message: Message) -> list[tuple[int, ToolCall]]:
    if message.role != "assistant":
        return []
    found = enumerate(message.parts)
    return [(j, part) for j, part in found if isinstance(part, ToolCall) and part.kind != "hosted"]


def _answering(message: Message, path: str, waiting: list[ToolCall], losses: list[Loss]) -> Message:
    """A tool's message with the results that answer `waiting`, whose calls are taken from it; or else a user's text."""
    parts: list[Part] = []
    lone: list[tuple[str, ToolResult]] = []
    for j, part in enumerate(message.parts):
        where = f"{path}.parts[{j}]"
        if not isinstance(part, ToolResult):
            parts.append(part)
        elif (call := _answered(part, waiting)) is None:
            lone.append((where, part))
        else:
            waiting.remove(call)
            parts.append(part if part.call_id == call.id else msgspec.structs.replace(part, call_id=call.id))
    if not lone:
        return message if tuple(parts) == message.parts else msgspec.structs.replace(message, parts=tuple(parts))
    if parts:  # what does not belong among results has nowhere else to stand
        losses.append(Loss(path, "a result without its call is left out, beside others that have theirs"))
        return msgspec.structs.replace(message, parts=tuple(parts))
    losses += [Loss(where, "a result without its call is a text here", "approximated") for where, _ in lone]
    said: list[Part] = []
    for _, part in lone:
        said += [Text(f"[result of {part.call_id or part.name or 'a tool'}]"), *part.parts]
    return msgspec.structs.replace(message, role="user", parts=tuple(said))


def _answered(result: ToolResult, waiting: list[ToolCall]) -> ToolCall | None:
    for call in waiting:
        if result.call_id == call.id if result.call_id else result.name in (None, call.name):
            return call
    return None


def _spoken(message: Message, path: str, waiting: list[ToolCall], losses: list[Loss]) -> Message:
    """A message with the calls that got no result as text."""
    parts: list[Part] = []
    left = {id(call) for call in waiting}
    for j, part in enumerate(message.parts):
        if isinstance(part, ToolCall) and id(part) in left:
            losses.append(Loss(f"{path}.parts[{j}]", "a call without a result is a text here", "approximated"))
            parts.append(Text(f"[called {part.name} with {part.arguments or '{}'}, and got no result]"))
        else:
            parts.append(part)
    return msgspec.structs.replace(message, parts=tuple(parts))
