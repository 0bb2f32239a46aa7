"""A client's call as it came, read just far enough to route it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from understudy.canon import Loss, Request
from understudy.gateway import surface
from understudy.gateway.routing import Target
from understudy.gateway.surface import Door
from understudy.resilience import counted

_ABSENT = msgspec.Raw(b"null")


class _Head(msgspec.Struct, gc=False):
    """`user`, `safety_identifier` and `metadata` may say whose call it is, and are nobody's fault if they are wrong."""

    model: str
    stream: bool | None = None
    user: msgspec.Raw = _ABSENT
    safety_identifier: msgspec.Raw = _ABSENT
    metadata: msgspec.Raw = _ABSENT


class _Turns(_Head, gc=False, kw_only=True):
    messages: list[msgspec.Raw]


class _Metadata(msgspec.Struct, gc=False):
    """Anthropic's. OpenAI's of that name is something else."""

    user_id: str | None = None


class BadCallError(Exception):
    """The body cannot be routed. `field` is the JSON path at fault, "" for the body as a whole."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


_HEAD = msgspec.json.Decoder(_Head)
_TURNS = msgspec.json.Decoder(_Turns)
_HEADS: Mapping[str, msgspec.json.Decoder[Any]] = {
    surface.CHAT: _TURNS,
    surface.ANTHROPIC: _TURNS,
    surface.COHERE: _TURNS,
    surface.RESPONSES: _HEAD,
    surface.OLLAMA: _HEAD,
    surface.COMPLETIONS: _HEAD,
}
_NAMES_USERS = frozenset({surface.CHAT, surface.RESPONSES, surface.COMPLETIONS})
"""Dialects with `safety_identifier`, and `user` before it (OpenAI API reference, "Create chat completion")."""

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_BYTES = 4
"""Per token, roughly: OpenAI's rule of thumb for English."""

_LARGEST = 50_000.0
_SEARCHED = 16 * 1024
_MAX_TOKENS = re.compile(
    rb'"(?:max_(?:completion_|output_)?tokens|maxOutputTokens|maxTokens|num_predict)"\s*:\s*(\d{1,9})'
)

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Call:
    """One request of a client: `model` is the name it asked for, `body` and `headers` are as they came.

    `door` is what its URL said; `request` is the whole of it in canonical form, once somebody needed that. `fetched` is
    the same with what URLs name put in its place, by the dialect that wants it so, and what could not be had.
    """

    __slots__ = ("_head", "_renamed", "_request", "_sent", "body", "door", "fetched", "headers", "model", "stream")

    def __init__(self, body: bytes, headers: Mapping[bytes, bytes], door: Door) -> None:
        """Raises BadCallError when the body is not a request of the door's dialect."""
        self.door = door
        self.body = body
        self.headers = headers
        self._renamed: tuple[str, bytes] | None = None
        self._request: Request | None = None
        self._sent: bytes | None = None
        self._head: _Head | None = None
        self.fetched: dict[str, tuple[Request, tuple[Loss, ...]]] = {}
        if door.model is not None:
            try:
                _MEMBERS.decode(body)
            except _UNREADABLE as error:
                raise _explain(error, body) from None
            self.model, self.stream = door.model, bool(door.stream)
            return
        decoder = _HEADS[door.dialect]
        try:
            head = self._head = decoder.decode(body)
        except _UNREADABLE as error:
            raise _explain(error, body) from None
        if not head.model:
            raise BadCallError("model", "`model` is empty: name a route or a target.")
        if decoder is _TURNS and not head.messages:
            raise BadCallError("messages", "`messages` is empty: send at least one message.")
        self.model = head.model
        # Ollama streams unless told otherwise.
        self.stream = head.stream is not False if door.dialect == surface.OLLAMA else bool(head.stream)

    def request(self) -> Request:
        """The call in canonical form. Raises Malformed."""
        if self._request is None:
            self._request = surface.decode_request(self.body, self.door, self.model, stream=self.stream)
        return self._request

    def body_for(self, target: Target) -> bytes:
        """The body for a target of the same dialect: with its model name, and without what only we can read.

        The very bytes that the client sent, where that is the same. Raises Malformed.
        """
        if self._sent is None:
            self._sent = surface.without_seals(self.body, self.door.dialect)
        if target.model == self.model or surface.names_model(self.door.dialect):
            return self._sent
        if self._renamed is None or self._renamed[0] != target.model:
            members = _MEMBERS.decode(self._sent)
            members["model"] = msgspec.Raw(msgspec.json.encode(target.model))
            self._renamed = (target.model, msgspec.json.encode(members))
        return self._renamed[1]

    def end_user(self) -> str | None:
        """Whose call it is, by the name that the application gave: in our header, or where the dialect has it."""
        given = self.headers.get(b"x-understudy-user")
        if given:
            return given.decode("utf-8", "replace")
        head = self._head
        if head is None:
            return None
        if self.door.dialect == surface.ANTHROPIC:
            return _name(head.metadata, _Metadata)
        if self.door.dialect in _NAMES_USERS:
            return _name(head.safety_identifier, str) or _name(head.user, str)
        return None

    def size(self) -> float:
        """Roughly the tokens of the prompt, as far as its bytes tell. Never much: a picture's bytes are no words."""
        return min(len(self.body) / _BYTES, _LARGEST)

    def bound(self) -> int:
        """The most tokens that the answer may have, as the call says; 0 if it does not."""
        return max(map(int, _MAX_TOKENS.findall(self.body[:_SEARCHED] + self.body[-_SEARCHED:])), default=0)

    def tokens(self) -> float:
        """What the call takes from a limit on tokens: the prompt, or the answer if that may be longer."""
        return counted(self.size(), self.bound())

    @property
    def unsealed(self) -> bool:
        """Whether `body_for` left something out that only we could have read."""
        return self._sent is not None and self._sent is not self.body

    def lines_for(self, target: Target) -> bytes:
        """The client's header lines that go along to a provider."""
        provider = target.provider
        own = provider.dialect == self.door.dialect
        forward = provider.forward if own else provider.forward_foreign
        if forward.isdisjoint(self.headers):
            return b""
        return b"".join([b"%b: %b\r\n" % pair for pair in self.headers.items() if pair[0] in forward])


def _name(raw: msgspec.Raw, kind: Any) -> str | None:
    if raw is _ABSENT:
        return None  # as in most calls, and sooner than to read and refuse it
    try:
        found = msgspec.json.decode(raw, type=kind)
    except _UNREADABLE:
        return None
    return found.user_id if isinstance(found, _Metadata) else str(found) or None


def _explain(error: Exception, body: bytes) -> BadCallError:
    message = str(error)
    what, _, where = message.partition(" - at `$")
    if not isinstance(error, msgspec.ValidationError):
        return BadCallError("", f"The body is not valid JSON: {message}." if body else "The body is empty: send JSON.")
    if "missing required field" in what:
        field = what.split("`")[1]
        return BadCallError(field, f"`{field}` is missing.")
    field = where.rstrip("`").lstrip(".")
    wrong = what[0].lower() + what[1:]
    return BadCallError(field, f"`{field}`: {wrong}." if field else f"The body must be a JSON object: {wrong}.")
