"""From an exchange that is over to its record in the ledger, and what a route lets be kept of it.

Made when the client has its answer, by an observer like any other. Figures that a provider did not tell are worked out
and marked; a cost that nobody knows is none, never 0.
"""

from __future__ import annotations

import msgspec

from understudy import dialects, ledger
from understudy.canon import Usage
from understudy.dialects.wire import Malformed
from understudy.gateway.client import Client
from understudy.gateway.record import Attempt, Exchange, Headers

_MESSAGE = 500
"""Characters of a provider's message that are kept: they may quote the prompt."""

_BYTES = 4
"""Per token, roughly: OpenAI's rule of thumb for English."""


class Seen:
    """A client whose answer is remembered as it sees it, up to `most` bytes. Behaves as the client that it wraps."""

    def __init__(self, client: Client, most: int) -> None:
        self._client = client
        self._most = most
        self._pieces: list[bytes] = []
        self.size = 0
        self.kind = ""

    @property
    def committed(self) -> bool:
        return self._client.committed

    @property
    def exchange(self) -> Exchange | None:
        return self._client.exchange

    @exchange.setter
    def exchange(self, exchange: Exchange | None) -> None:
        self._client.exchange = exchange

    @property
    def data(self) -> bytes:
        """What the client was sent, cut at `most` bytes."""
        return b"".join(self._pieces)[: self._most]

    async def start(self, status: int, headers: Headers) -> None:
        self._note(headers)
        await self._client.start(status, headers)

    async def write(self, data: bytes) -> None:
        self._keep(data)
        await self._client.write(data)

    async def end(self, data: bytes = b"") -> None:
        self._keep(data)
        await self._client.end(data)

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        self._note(headers)
        self._keep(body)
        await self._client.whole(status, headers, body)

    def _keep(self, data: bytes) -> None:
        if self.size < self._most:
            self._pieces.append(data)
        self.size += len(data)

    def _note(self, headers: Headers) -> None:
        self.kind = next((value.decode("latin-1") for name, value in headers if name == b"content-type"), "")


def recorded(exchange: Exchange, *, key: str | None = None, seen: Seen | None = None) -> ledger.Exchange:
    """The record of `exchange`. With `seen`, its bodies too. Plain bytes: whoever stores them redacts and packs."""
    call, route, last = exchange.call, exchange.route, exchange.attempts[-1] if exchange.attempts else None
    attempts = tuple(_attempt(attempt, exchange) for attempt in exchange.attempts)
    tokens = attempts[-1].tokens if attempts else None
    seams = exchange.splice.seams if exchange.splice is not None else ()
    return ledger.Exchange(
        id=exchange.id,
        wall=exchange.wall,
        route=route.name,
        dialect=call.door.dialect,
        model=call.model,
        outcome=exchange.outcome or "failed",
        stream=call.stream,
        status=exchange.status,
        target=last.target if last is not None else None,
        key=key,
        session=_text(call.headers.get(b"x-understudy-session")),
        task=_text(call.headers.get(b"x-understudy-task")),
        tags=_tags(call.headers.get(b"x-understudy-tags")),
        tokens=tokens,
        first_content=_since(exchange, last.first_content if last is not None else None),
        total=_since(exchange, exchange.ended),
        seams=tuple(_seam(seam, exchange) for seam in seams),
        attempts=attempts,
        bodies=_bodies(exchange, seen) if seen is not None else (),
    )


def usage_of(attempt: Attempt, exchange: Exchange) -> Usage | None:
    """What an attempt used, as its provider said; None if it did not."""
    if attempt.usage is None and attempt.answer is not None:
        try:
            attempt.usage = dialects.get(exchange.call.door.dialect).decode_answer(attempt.answer).usage
        except Malformed:
            return None
    return attempt.usage


def _attempt(attempt: Attempt, exchange: Exchange) -> ledger.Attempt:
    fault = attempt.fault
    return ledger.Attempt(
        target=attempt.target,
        started=attempt.started - exchange.started,
        ended=_since(exchange, attempt.ended),
        connected=_since(exchange, attempt.connected),
        head=_since(exchange, attempt.head),
        first_content=_since(exchange, attempt.first_content),
        reaction=attempt.action,
        fault=fault.kind if fault is not None else None,
        fault_phase=fault.phase if fault is not None else None,
        fault_status=fault.status if fault is not None else None,
        fault_code=fault.code if fault is not None else None,
        fault_message=fault.message[:_MESSAGE] if fault is not None else "",
        retry_after=fault.retry_after if fault is not None else None,
        request_id=fault.request_id if fault is not None else None,
        skipped=attempt.skipped,
        way=attempt.way,
        tokens=_tokens(attempt, exchange),
        losses=tuple(attempt.losses),
    )


def _tokens(attempt: Attempt, exchange: Exchange) -> ledger.Tokens | None:
    """What was billed; where content came and no figure with it, an estimate that says so."""
    usage = usage_of(attempt, exchange)
    if usage is not None:
        return ledger.Tokens(
            usage.input, usage.output, usage.cached_read, usage.cached_write, usage.reasoning, usage.estimated
        )
    if attempt.first_content is None:
        return None
    said = exchange.trail.fold().text if exchange.trail is not None else ""
    return ledger.Tokens(int(exchange.call.size()), len(said) // _BYTES, estimated=True)


def _seam(seam: dict[str, object], exchange: Exchange) -> ledger.Seam:
    names = [attempt.target for attempt in exchange.attempts]
    number = len(names) - 1 - names[::-1].index(str(seam["to"])) if seam["to"] in names else len(names) - 1
    return msgspec.convert((seam["at"], number, seam["how"]), ledger.Seam)


def _bodies(exchange: Exchange, seen: Seen) -> tuple[ledger.Body, ...]:
    request = ledger.Body("request", exchange.call.body, "application/json")
    answer = ledger.Body("answer", seen.data, seen.kind, seen.size if seen.size > len(seen.data) else 0)
    return (request, answer)


def _since(exchange: Exchange, moment: float | None) -> float | None:
    return None if moment is None else moment - exchange.started


def _text(value: bytes | None) -> str | None:
    return None if not value else value[:200].decode("utf-8", "replace")


def _tags(value: bytes | None) -> tuple[str, ...]:
    words = (_text(word.strip()) for word in (value or b"").split(b","))
    return tuple(word for word in words if word)[:20]
