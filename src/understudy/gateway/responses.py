"""The body of the Responses API where the gateway itself keeps the conversation: pure functions on its JSON.

With `previous_response_id` a client sends only what is new and leaves the rest to the provider. Another provider has
never heard of that id, so the gateway puts the rest back: what went in before, then what came out, then what is new.
Shapes are those of OpenAI's own specification (`CreateResponse.input`, `ResponseItemList`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec

if TYPE_CHECKING:
    from understudy.gateway.stored import Entry

Item = dict[str, Any]
"""One input or output item, as it stands on the wire."""

DEFAULT_LIMIT, MAX_LIMIT = 20, 100
"""Items on one page, when the client does not say and at most: the API's own figures."""

_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "function_call_output": "fco",
    "custom_tool_call_output": "ctco",
}
"""What the ids of items begin with, for those that came without one."""


class BadQueryError(ValueError):
    """A query asks for what cannot be given. `param` is the parameter at fault."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


class BadPageError(BadQueryError):
    """A page of items was asked for that does not exist."""


class Retrieval(msgspec.Struct, frozen=True):
    """What the query of `GET /v1/responses/{id}` asks for; `after` is the number of the last event that is known."""

    stream: bool = False
    after: int = -1
    include: tuple[str, ...] = ()


_INCLUDES: dict[str, tuple[str, str]] = {
    "file_search_call.results": ("file_search_call", "results"),
    "web_search_call.results": ("web_search_call", "results"),
    "web_search_call.action.sources": ("web_search_call", "action.sources"),
    "code_interpreter_call.outputs": ("code_interpreter_call", "outputs"),
    "reasoning.encrypted_content": ("reasoning", "encrypted_content"),
    "message.output_text.logprobs": ("message", "content.logprobs"),
    # Of the input, which no response has in it: nothing of theirs can be missing.
    "message.input_image.image_url": ("", ""),
    "computer_call_output.output.image_url": ("", ""),
}
"""`IncludeEnum` of the API: the type of an output item, and the field of it that a response has only if asked to."""


def retrieval(query: bytes) -> Retrieval:
    """Read the query of a retrieval. `include_obfuscation` is let through: events are as the provider made them.

    Raises:
        BadQueryError: a value that the parameter cannot have.
    """
    said = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    stream, after = said.get("stream", ["false"])[-1], said.get("starting_after", [None])[-1]
    if stream not in ("true", "false"):
        raise BadQueryError("stream", "stream has to be true or false")
    if after is not None:
        if not after.isascii() or not after.isdigit() or len(after) > 9:
            raise BadQueryError("starting_after", "starting_after has to be the number of an event")
        if stream == "false":
            raise BadQueryError("starting_after", "starting_after needs stream=true")
    include = (*said.get("include", ()), *said.get("include[]", ()))
    for value in include:
        if value not in _INCLUDES:
            raise BadQueryError("include", f"{value[:100]!r} cannot be included; known are {', '.join(_INCLUDES)}")
    return Retrieval(stream == "true", -1 if after is None else int(after), include)


def check_includes(answer: dict[str, Any], include: Iterable[str]) -> None:
    """Make sure that `answer`, as it was kept, has all that it is to include: a provider is not asked again.

    Raises:
        BadQueryError: an item lacks the field.
    """
    output = answer.get("output")
    for value in include:
        kind, path = _INCLUDES[value]
        for item in output if isinstance(output, list) else ():
            if isinstance(item, dict) and item.get("type") == kind != "" and not _has(item, path.split(".")):
                why = f"{value} is not in this response: it has to be asked for when a response is created"
                raise BadQueryError("include", why)


def _has(value: Any, path: list[str]) -> bool:
    """Whether `path` leads to something, in each element of what is a list."""
    if isinstance(value, list):
        return all(_has(each, path) for each in value)
    if not path or not isinstance(value, dict):
        return value is not None
    if path == ["logprobs"]:  # not null but empty where nobody asked; a refusal has none
        return bool(value.get("logprobs")) or not value.get("text")
    return _has(value.get(path[0]), path[1:])


def input_items_of(body: bytes) -> list[Item]:
    """The `input` of a request as items; a text is one message of the user's. No `input` is no items.

    Raises:
        ValueError: not a JSON object, or an `input` that is neither text nor a list of objects.
    """
    return _items(_object(body).get("input"))


def expand(body: bytes, items: list[Item]) -> bytes:
    """The request with `items` in front of its `input`, and no `previous_response_id`; all else as it was.

    Raises:
        ValueError: as `input_items_of`.
    """
    request = _object(body)
    request.pop("previous_response_id", None)
    request["input"] = [*items, *_items(request.get("input"))]
    return msgspec.json.encode(request)


def input_items(
    entry: Entry, limit: int = DEFAULT_LIMIT, order: str = "desc", after: str | None = None
) -> dict[str, Any]:
    """A page of what went into a response, as `GET /v1/responses/{id}/input_items` gives it.

    Every item there has an id and mostly a status, and a message's content is a list. Clients need send none of them,
    so they are added here; an id made up is made of the response's id and the item's place: the next page has the same.

    Raises:
        BadPageError: a limit outside 1 to 100, an unknown order, or an `after` that is no item of this response.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise BadPageError("limit", f"limit is {limit}; it has to be from 1 to {MAX_LIMIT}")
    if order not in ("asc", "desc"):
        raise BadPageError("order", f"order is {order!r}; it has to be 'asc' or 'desc'")
    shown = [_shown(item, entry.id, place) for place, item in enumerate(entry.input)]
    if order == "desc":
        shown.reverse()
    start = 0
    if after is not None:
        places = [place for place, item in enumerate(shown) if item["id"] == after]
        if not places:
            raise BadPageError("after", f"after is {after!r}, which is no input item of {entry.id}")
        start = places[0] + 1
    page = shown[start : start + limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else "",  # the API's type for both is a string, never null
        "last_id": page[-1]["id"] if page else "",
        "has_more": start + limit < len(shown),
    }


def _object(body: bytes) -> dict[str, Any]:
    request = msgspec.json.decode(body)
    if not isinstance(request, dict):
        raise ValueError("the body is not a JSON object")  # noqa: TRY004  # a value of the client's, not our type
    return request


def _items(given: Any) -> list[Item]:
    if given is None:
        return []
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]}]
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise ValueError("input is neither a text nor a list of items")
    return given


def _shown(item: Item, response: str, place: int) -> Item:
    kind = item.get("type") or "message"  # a message may come without its type
    kind = kind if isinstance(kind, str) else "message"
    shown: Item = {**item, "type": kind}
    if not isinstance(item.get("id"), str) or not item["id"]:
        made = hashlib.sha256(f"{response}/{place}".encode()).hexdigest()[:32]
        shown["id"] = f"{_PREFIXES.get(kind, 'item')}_{made}"
    if kind in _PREFIXES and kind != "reasoning" and item.get("status") is None:
        shown["status"] = "completed"
    if kind == "message" and isinstance(item.get("content"), str):
        word = "output_text" if item.get("role") == "assistant" else "input_text"
        content: Item = {"type": word, "text": item["content"]}
        shown["content"] = [content if word == "input_text" else {**content, "annotations": []}]
    return shown
