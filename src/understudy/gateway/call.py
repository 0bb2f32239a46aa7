"""A client's call as it came, read just far enough to route it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from understudy.gateway.routing import Target


class _Head(msgspec.Struct, gc=False):
    model: str
    messages: list[msgspec.Raw]
    stream: bool | None = None


class BadCallError(Exception):
    """The body cannot be routed. `field` is the JSON path at fault, "" for the body as a whole."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


_HEAD = msgspec.json.Decoder(_Head)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Call:
    """One request of a client: `model` is the name it asked for, `body` and `headers` are as they came."""

    __slots__ = ("_renamed", "body", "headers", "model", "stream")

    def __init__(self, body: bytes, headers: Mapping[bytes, bytes]) -> None:
        """Raises BadCallError when the body is not a chat completion request."""
        try:
            head = _HEAD.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _explain(error, body) from None
        if not head.model:
            raise BadCallError("model", "`model` is empty: name a route or a target.")
        if not head.messages:
            raise BadCallError("messages", "`messages` is empty: send at least one message.")
        self.model = head.model
        self.stream = bool(head.stream)
        self.body = body
        self.headers = headers
        self._renamed: tuple[str, bytes] | None = None

    def body_for(self, target: Target) -> bytes:
        """The body with the target's model name in it; the very bytes that the client sent if that is its own."""
        if target.model == self.model:
            return self.body
        if self._renamed is None or self._renamed[0] != target.model:
            members = _MEMBERS.decode(self.body)
            members["model"] = msgspec.Raw(msgspec.json.encode(target.model))
            self._renamed = (target.model, msgspec.json.encode(members))
        return self._renamed[1]

    def head_for(self, target: Target, length: int) -> bytes:
        """The request's head: the provider's prepared one, the client's headers that go along, the length."""
        assert target.link is not None
        forward = target.provider.forward
        if forward.isdisjoint(self.headers):
            return b"%bcontent-length: %d\r\n\r\n" % (target.link.head, length)
        lines = [b"%b: %b\r\n" % pair for pair in self.headers.items() if pair[0] in forward]
        return b"%b%bcontent-length: %d\r\n\r\n" % (target.link.head, b"".join(lines), length)


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
