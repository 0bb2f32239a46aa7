"""What is done beside chat: asked once, answered once, and moved from target to target by the same rules as a chat.

`exchange.run` does all that concerns faults, with `attempt` of this module in the place of `relay.attempt`. An
`Operation` says how one kind of request is read, sent and answered; `operation_table.py` says at which paths. Where a
target speaks the client's dialect the very bytes pass, but for the model's name.

Not the hot path: it goes through ASGI, reads bodies whole, and holds answers until they are whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from typing import Any, Literal, ParamSpec, TypeVar

import msgspec

from understudy import clock, dialects
from understudy.canon import Fault, Loss
from understudy.dialects.wire import Malformed
from understudy.gateway import translate
from understudy.gateway.arriving import LARGEST_ANSWER, LARGEST_ERROR, transport_fault
from understudy.gateway.call import Call
from understudy.gateway.client import Client
from understudy.gateway.record import Exchange, Failure, Headers
from understudy.gateway.relay import passed_on
from understudy.gateway.routing import Route, Routing, Target
from understudy.gateway.surface import Door
from understudy.operations.embeddings import same_space
from understudy.providers import auth
from understudy.resilience import classify
from understudy.upstream import Client as Transport
from understudy.upstream import Response, TransportError

JSON = b"application/json"

P = ParamSpec("P")
T = TypeVar("T")

_LARGE = 256 * 1024
"""Bytes that are read in about a millisecond."""


class OperationCall(Call):
    """A request for something beside chat. `named` are the parts of its path that have names in the table's pattern.

    `known` is for the operation: what it has read of the body, so that it is read once, however many targets are tried.
    `media` is the content type as the client sent it, with its parameters.
    """

    __slots__ = ("known", "media", "named", "operation", "query")

    def __init__(
        self,
        body: bytes,
        headers: Mapping[bytes, bytes],
        operation: Operation,
        *,
        named: Mapping[str, str] = {},
        query: str = "",
    ) -> None:
        """Raises Malformed if the body does not say what it must for being routed."""
        self.door = Door(operation.dialect, stream=False)
        self.body, self.headers, self.query = body, headers, query
        self.operation, self.named = operation, named
        self.media = headers.get(b"content-type", JSON)
        self.known: dict[str, Any] = {}
        self.fetched = {}
        self._head = None
        self._renamed = self._request = self._sent = None
        self.stream = False
        self.model = operation.model(self)


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A request as a target takes it. `path` is whole, with the base URL's own path in front."""

    path: str
    body: bytes = b""
    method: str = "POST"
    media: bytes = JSON
    losses: Sequence[Loss] = ()


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as the client gets it."""

    headers: Headers
    body: bytes
    losses: Sequence[Loss] = ()


class UnfitError(Exception):
    """This target's dialect cannot say what is asked, and another's may. `field` is a path in the client's body."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of request beside chat, as clients of one dialect make it.

    `name` is for people ("embeddings"). `offered` are the provider dialects that have it in any form. `model` finds the
    name to be routed (Malformed: the client's mistake). `send` writes the request for a target (Malformed: the client's
    mistake; UnfitError: the target's). `answer` reads what came with a 2xx and writes it for the client (Malformed: no
    answer, which moves the call). `route` replaces the finding of a route by the model's name; it raises NoRouteError.
    `uses` is what it takes in tokens: an `unknown` answer beside the prompt, the `prompt` alone, `nothing`.
    `passing` takes the place of reading a 2xx whole, for what must flow. `vectors`: models do not stand in for others.
    `media` are the content types that clients may send. `others` are what clients of other dialects ask for at the same
    path and method, each with the header by which these clients are known.
    """

    name: str
    dialect: str
    offered: frozenset[str]
    model: Callable[[OperationCall], str]
    send: Callable[[OperationCall, Target], Sent]
    answer: Callable[[OperationCall, Target, Headers, bytes], Answered]
    route: Callable[[OperationCall, Routing], Route] | None = None
    passing: Callable[[Response, Headers, Target, Exchange, Client], Awaitable[Failure | None]] | None = None
    vectors: bool = False
    uses: Literal["unknown", "prompt", "nothing"] = "unknown"
    media: tuple[bytes, ...] = (JSON,)
    others: tuple[tuple[bytes, Operation], ...] = ()

    def asked_with(self, headers: Container[bytes]) -> Operation:
        """The operation that a client with these headers asks for."""
        return next((other for header, other in self.others if header in headers), self)


class NotOfferedError(Exception):
    """None of a route's targets has the operation. The message says which providers have."""


# -- where a call may go -----------------------------------------------------------------------------------------------


def narrowed(operation: Operation, route: Route, routing: Routing) -> tuple[Route, tuple[str, ...]]:
    """`route` without the targets that the call must not go to, and why not. Raises NotOfferedError."""
    kept: list[Target] = []
    left_out: list[str] = []
    for target in route.targets:
        if not _offers(operation, target):
            left_out.append(f"{target.name} ({_cannot(operation, target)})")
        elif operation.vectors and kept and not (route.other_vector_space or same_space(kept[0].model, target.model)):
            why = (
                f"its vectors share no space with {kept[0].name}'s; `other_vector_space = true` on the route allows it"
            )
            left_out.append(f"{target.name} ({why})")
        else:
            kept.append(target)
    if not kept:
        able = [
            name for name, it in routing.providers.items() if it.link is not None and it.dialect in operation.offered
        ]
        spoken = ", ".join(sorted(operation.offered))
        hint = (
            f"Providers here that may: {', '.join(able)}." if able else f"Add a provider that speaks one of: {spoken}."
        )
        raise NotOfferedError(f"No target of {route.name!r} does {operation.name}: {'; '.join(left_out)}. {hint}")
    if not left_out:
        return route, ()
    weights = [weight for target, weight in zip(route.targets, route.weights, strict=False) if target in kept]
    return msgspec.structs.replace(route, targets=tuple(kept), weights=tuple(weights)), tuple(left_out)


def _offers(operation: Operation, target: Target) -> bool:
    return target.engine is None and target.provider.dialect in operation.offered


def _cannot(operation: Operation, target: Target) -> str:
    if target.engine is not None:
        return "the embedded engine only chats"
    return f"{target.provider.dialect} has no {operation.name}"


# -- one attempt -------------------------------------------------------------------------------------------------------


async def attempt(target: Target, exchange: Exchange, client: Client, _transport: Transport) -> Failure | None:
    """Try `target` once. None: the client has its whole answer."""
    call = exchange.call
    assert isinstance(call, OperationCall)
    try:
        sent = await _apart(len(call.body), call.operation.send, call, target)
        exchange.attempts[-1].losses = translate.accepted(target, exchange.route, list(sent.losses))
    except Malformed as error:
        return Failure(Fault("malformed_request", status=400, param=error.field, message=str(error), phase="send"))
    except UnfitError as error:
        return Failure(Fault("unsupported", status=400, param=error.field, message=str(error), phase="send"))
    except translate.StrictError as error:
        return Failure(Fault("lossy", status=400, param=error.field, message=str(error), phase="send"))
    try:
        signed = await _signed(sent, target, exchange)
    except (auth.AuthError, TimeoutError) as error:
        why = str(error) or "Credentials did not come in time."
        return Failure(Fault("no_credentials", message=why, phase="send"))
    assert target.link is not None
    try:
        response = await target.link.origin.send(
            _head(sent, target, call, signed), sent.body, exchange.route.whole_clocks, exchange.deadline
        )
    except TransportError as error:
        return Failure(transport_fault(error, "send" if error.sent else "connect"))
    try:
        return await _answer(response, target, exchange, client)
    except TransportError as error:
        return Failure(transport_fault(error, "body"))
    finally:
        response.cancel()


async def _apart(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` gives. Where there is much to read it does so in a thread: running streams must not wait for it."""
    if size <= _LARGE:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


async def _signed(sent: Sent, target: Target, exchange: Exchange) -> bytes:
    """The header lines of a provider that signs each request. Raises AuthError, TimeoutError."""
    signer, link = target.provider.signer, target.link
    if signer is None or link is None:
        return b""
    async with asyncio.timeout(min(exchange.route.clocks.first_token, exchange.deadline - clock.monotonic())):
        pairs = await signer(sent.method, link.site + sent.path, ((b"content-type", sent.media),), sent.body)
    return b"".join([b"%b: %b\r\n" % pair for pair in pairs])


def _head(sent: Sent, target: Target, call: OperationCall, signed: bytes) -> bytes:
    assert target.link is not None
    start = f"{sent.method} {sent.path} HTTP/1.1\r\n".encode()
    length = b""
    if sent.body or sent.method not in ("GET", "DELETE"):
        length = b"content-type: %b\r\ncontent-length: %d\r\n" % (sent.media, len(sent.body))
    return b"".join((start, target.link.lines, call.lines_for(target), signed, length, b"\r\n"))


async def _answer(response: Response, target: Target, exchange: Exchange, client: Client) -> Failure | None:
    call, record, name = exchange.call, exchange.attempts[-1], target.provider.dialect
    assert isinstance(call, OperationCall)
    record.connected, record.head = response.connected, response.head_at
    exchange.health.heard(target, response.headers, record.mark, response.head_at, refused=response.status == 429)
    headers = passed_on(response.headers)
    status = response.status
    if not 200 <= status < 300:
        body = await response.body(LARGEST_ERROR)
        named = {key.decode("latin-1"): value.decode("latin-1") for key, value in response.headers}
        fault = classify(dialects.get(name).decode_fault(status, named, body), name)
        return Failure(_weighed(fault, own=name == call.door.dialect), status, headers, body, name)
    if call.operation.passing is not None:
        return await call.operation.passing(response, headers, target, exchange, client)
    body = await response.body(LARGEST_ANSWER)
    try:
        answered = await _apart(len(body), call.operation.answer, call, target, headers, body)
    except Malformed as error:
        # The status is left out: it was a success, and the client must not take it for one.
        return Failure(Fault("bad_answer", message=str(error), phase="body"), status, headers, body, name)
    record.losses += answered.losses
    record.first_content = clock.monotonic()
    await client.whole(status, answered.headers, answered.body)
    return None


def _weighed(fault: Fault, *, own: bool) -> Fault:
    """A fault of an operation says nothing against the chat of the same target.

    Many servers speak a dialect and have only its chat: their 404 or 405 is about the path, and a model that is cooled
    for it would be missed elsewhere. A request that we translated may be malformed by our own doing.
    """
    if fault.kind == "model_gone" or fault.status in (404, 405, 501):
        return msgspec.structs.replace(fault, kind="unsupported")
    if fault.kind == "malformed_request" and not own:
        return msgspec.structs.replace(fault, kind="translation_rejected")
    return fault


# -- what operations share ---------------------------------------------------------------------------------------------


def named_model(call: OperationCall) -> str:
    """The `model` of a JSON body, as most dialects have it. Raises Malformed."""
    try:
        head = _HEAD.decode(call.body)
    except msgspec.ValidationError as error:
        raise Malformed("model", f"must be a string in a JSON object: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("body", f"is not valid JSON: {error}") from None
    if not head.model:
        raise Malformed("model", "is empty or missing: name a route or a target")
    return head.model


class _Head(msgspec.Struct, gc=False):
    model: str = ""


_HEAD = msgspec.json.Decoder(_Head)


def below(target: Target, path: str) -> str:
    """`path` under the target's base URL."""
    assert target.link is not None  # embedded engines were left out
    return target.link.path.decode() + path


def as_json(body: bytes, losses: Sequence[Loss] = ()) -> Answered:
    return Answered(headers=[(b"content-type", JSON)], body=body, losses=losses)
