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

_ABSENT = msgspec.Raw()


class _Head(msgspec.Struct, gc=False):
    model: str
    stream: bool | None = None
    user: msgspec.Raw = _ABSENT
    safety_identifier: msgspec.Raw = _ABSENT
    metadata: msgspec.Raw = _ABSENT


class _Turns(_Head, gc=False, kw_only=True):
    messages: list[msgspec.Raw]


class BadCallError(Exception):
    """The body cannot be routed. `field` is the JSON path at fault, "" for the body as a whole."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


class _Metadata(msgspec.Struct, gc=False):
    user_id: str | None = None


LONGEST_USER = 256
"""Characters of a name for an end user: as many as Anthropic's API takes."""

_USER = b"x-understudy-user"
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

    __slots__ = ("_for", "_renamed", "_request", "_sent", "body", "door", "fetched", "headers", "model", "stream")

    def __init__(self, body: bytes, headers: Mapping[bytes, bytes], door: Door) -> None:
        """Raises BadCallError when the body is not a request of the door's dialect."""
        self.door = door
        self.body = body
        self.headers = headers
        self._renamed: tuple[str, bytes] | None = None
        self._request: Request | None = None
        self._sent: bytes | None = None
        self.fetched: dict[str, tuple[Request, tuple[Loss, ...]]] = {}
        self._for: tuple[msgspec.Raw, ...] = ()
        if door.model is not None:
            try:
                _MEMBERS.decode(body)
            except _UNREADABLE as error:
                raise _explain(error, body) from None
            self.model, self.stream = door.model, bool(door.stream)
            return
        decoder = _HEADS[door.dialect]
        try:
            head = decoder.decode(body)
        except _UNREADABLE as error:
            raise _explain(error, body) from None
        if not head.model:
            raise BadCallError("model", "`model` is empty: name a route or a target.")
        if decoder is _TURNS and not head.messages:
            raise BadCallError("messages", "`messages` is empty: send at least one message.")
        self.model = head.model
        self._for = (head.safety_identifier, head.user, head.metadata)
        # Ollama streams unless told otherwise.
        self.stream = head.stream is not False if door.dialect == surface.OLLAMA else bool(head.stream)

    def end_user(self) -> str | None:
        """Whom the client calls for, as it says in our header or where its own dialect has a place for it."""
        said = self.headers.get(_USER)
        if said:
            return said[:LONGEST_USER].decode("utf-8", "replace")
        if not self._for:
            return None
        identifier, user, metadata = self._for
        if self.door.dialect == surface.ANTHROPIC:
            return _text(metadata, _Metadata)
        return _text(identifier, str) or _text(user, str)

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

    def size(self) -> float:
        """Roughly the tokens of the prompt, as far as its bytes tell. Never much: a picture's bytes are no words."""
        return min(len(self.body) / _BYTES, _LARGEST)

    def tokens(self) -> float:
        """What the call takes from a limit on tokens: the prompt, or the answer if that may be longer."""
        asked = max(map(int, _MAX_TOKENS.findall(self.body[:_SEARCHED] + self.body[-_SEARCHED:])), default=0)
        return counted(self.size(), asked)

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


def _text(raw: msgspec.Raw, kind: type[str] | type[_Metadata]) -> str | None:
    """A short text that may stand there; what is something else is the provider's to refuse."""
    try:
        found = msgspec.json.decode(raw, type=kind) if raw else None
    except _UNREADABLE:
        return None
    text = found.user_id if isinstance(found, _Metadata) else found
    return text[:LONGEST_USER] if text else None


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
