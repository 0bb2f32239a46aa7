"""From an exchange that is over to its record in the ledger, and what a route lets be kept of it.

Made when the client has its answer, by an observer like any other. Figures that a provider did not tell are worked out
and marked; a cost that nobody knows is none, never 0.
"""

from __future__ import annotations

import functools
import itertools
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from understudy import clock, dialects, ledger
from understudy.access import Crossed
from understudy.canon import Usage
from understudy.dialects.wire import Malformed
from understudy.gateway import settings
from understudy.gateway.client import Client, Through
from understudy.gateway.config import reveal
from understudy.gateway.operate import OperationCall
from understudy.gateway.record import Attempt, Exchange, Headers, Hit
from understudy.ledger import end_users
from understudy.ledger.consent import Store, consent
from understudy.ledger.cost import Charge

log = logging.getLogger("understudy")

_PREFIX = f"ev_{int(clock.wall()):08x}{clock.token(6)}"
_FEEDBACK = f"fb_{int(clock.wall()):08x}{clock.token(6)}"
_COUNT = itertools.count(1)

_DAY = 86400.0

CACHE = "cache"
"""What stands where the target would, of an answer out of the cache. No target is called so: it has no slash."""

_STALLED = 60.0
"""Seconds of silence after which the process that writes is replaced. To read its rules takes it some, once."""

_SPOOL = "ledger-spool"
"""The folder of the spool, beside the ledger."""

_MESSAGE = 500
"""Characters of a provider's message that are kept: they may quote the prompt."""

_MARKS = frozenset((b"x-understudy-session", b"x-understudy-task", b"x-understudy-tags"))
"""Headers by which clients group their calls; most send none of them."""

_UNMARKED: Mapping[bytes, bytes] = {}

_BYTES = 4
"""Per token, roughly: OpenAI's rule of thumb for English."""


class Feedback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client says of an exchange. `score` is in [0, 1]; `corrected` is the answer that it should have been."""

    exchange: Annotated[str, Meta(min_length=1, max_length=100, description="The exchange's id.")]
    score: Annotated[Annotated[float, Meta(ge=0, le=1)] | None, Meta(description="From 0 to 1.")] = None
    label: Annotated[Annotated[str, Meta(max_length=200)] | None, Meta(description="A word to group by.")] = None
    comment: Annotated[Annotated[str, Meta(max_length=10_000)] | None, Meta(description="What there is to say.")] = None
    corrected: Annotated[
        Annotated[str, Meta(max_length=1_000_000)] | None, Meta(description="The answer that it should have been.")
    ] = None


class Seen(Through):
    """A client whose answer is remembered as it sees it, up to `most` bytes."""

    def __init__(self, client: Client, most: int) -> None:
        super().__init__(client)
        self._most = most
        self._pieces: list[bytes] = []
        self.size = 0
        self.kind = ""

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


def place(values: settings.Ledger, environ: Mapping[str, str]) -> tuple[str, Path] | None:
    """The URL of the ledger that `values` mean, and the folder of its spool; None if it is off."""
    if values.url == "off":
        return None
    folder = data_folder(environ)
    url = reveal(values.url, environ) or str(folder / "ledger.sqlite")
    if "://" in url:
        return url, folder
    path = Path(url).expanduser()
    return f"sqlite:///{path}", path.parent


def data_folder(environ: Mapping[str, str]) -> Path:
    """The user's folder for data of ours. https://specifications.freedesktop.org/basedir-spec/latest/"""
    data = Path(environ.get("XDG_DATA_HOME", ""))
    return (data if data.is_absolute() else Path.home() / ".local/share") / "understudy"


def spool(values: settings.Ledger, environ: Mapping[str, str]) -> Path:
    """The folder of the spool. Asked only where there is a ledger."""
    found = place(values, environ)
    return Path() if found is None else found[1] / _SPOOL


def opened(
    values: settings.Ledger, found: tuple[str, Path], redaction: ledger.Redaction | None = None
) -> ledger.Ledger:
    """The ledger at `found` (see `place`), started."""
    url, folder = found
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = ledger.Ledger(
        ledger.Settings(
            url=url,
            spool=str(folder / _SPOOL),
            body_bytes=values.largest_body,
            stalled=_STALLED,
            redaction=redaction,
            retention=ledger.Retention(
                bodies_seconds=values.bodies_days * _DAY,
                bodies_bytes=values.bodies_bytes,
                exchanges_seconds=None if values.exchanges_days is None else values.exchanges_days * _DAY,
            ),
        )
    )
    kept.start()
    return kept


class Recorder:
    """Writes down what is over, as far as its route, its key and its client let it be kept."""

    def __init__(self, kept: ledger.Ledger, values: settings.Ledger, environ: Mapping[str, str] | None = None) -> None:
        self.ledger = kept
        environ = os.environ if environ is None else environ
        self.whose = whose(values, environ)
        self.forms = functools.partial(end_users.forms, key=reveal(values.end_user_key, environ))
        self._values = values

    def seeing(self, exchange: Exchange, client: Client) -> Seen | None:
        """`client` as one whose answer is remembered; None where bodies are not kept."""
        if allowed(exchange) != "bodies" or clock.random() >= self._values.sample:
            return None
        return Seen(client, self._values.largest_body)

    def put(self, exchange: Exchange, seen: Seen | None, key: str | None = None) -> None:
        """Hand on the record of `exchange`, which has been priced. Never waits, and never costs a client its answer."""
        try:
            if allowed(exchange) != "none":
                self.ledger.put(recorded(exchange, key=key, seen=seen, end_user=self.whose(exchange.call.end_user())))
                if exchange.hit is not None:
                    self.ledger.put(_event_of(exchange, exchange.hit))
        except Exception:
            log.exception("an exchange could not be recorded")

    def feedback(self, given: Feedback, by: str | None) -> str:
        """Keep what somebody thought of an answer; returns its id."""
        name = f"{_FEEDBACK}{next(_COUNT):08x}"
        self.ledger.put(
            ledger.Feedback(
                name, given.exchange, clock.wall(), by, given.score, given.label, given.comment, given.corrected
            )
        )
        return name

    def used_up(self, key: str, crossed: Crossed) -> None:
        """A budget of a key is used up."""
        detail = {"key": key, "budget": str(crossed.budget), "spent": crossed.spent, "since": crossed.start}
        name = f"{_PREFIX}b{next(_COUNT):08x}"
        text = msgspec.json.encode(detail).decode()
        self.ledger.put(ledger.Event(name, clock.wall(), "budget used up", detail=text))

    def event(self, told: Mapping[str, Any]) -> None:
        """A change of a target's state."""
        name = f"{_PREFIX}{told['number']}"
        detail = msgspec.json.encode(told).decode()
        self.ledger.put(ledger.Event(name, told["at"], told["what"], target=told["target"], detail=detail))


def allowed(exchange: Exchange) -> Store:
    """What may be kept of `exchange`."""
    asked = exchange.call.headers.get(b"x-understudy-store")
    if asked is None and exchange.consent is None:
        return exchange.route.store
    return consent(exchange.route.store, exchange.consent, asked=None if asked is None else asked.decode("latin-1"))


def unkept(given: Feedback, store: Store | None) -> str | None:
    """Why feedback cannot be kept for a key of which `store` may be; None if it can."""
    if store == "none":
        return "Nothing may be kept of what is done with this key, so no feedback either."
    if store == "metadata" and (given.comment or given.corrected):
        return "No words may be kept of what is done with this key: send a score or a label alone."
    return None


def whose(values: settings.Ledger, environ: Mapping[str, str]) -> Callable[[str | None], str | None]:
    """What `values` let be kept of the name that an application gave its user."""
    return functools.partial(end_users.kept, how=values.end_users, key=reveal(values.end_user_key, environ))


def recorded(
    exchange: Exchange, *, key: str | None = None, seen: Seen | None = None, end_user: str | None = None
) -> ledger.Exchange:
    """The record of `exchange`. With `seen`, its bodies too, as they were: the process that writes packs them."""
    call, route = exchange.call, exchange.route
    attempts = tuple([_attempt(attempt, exchange) for attempt in exchange.attempts])
    last = attempts[-1] if attempts else None
    tokens, cost = last.tokens if last is not None else None, _sum(attempts)
    if exchange.hit is not None:  # nobody was called: that costs nothing, and is known
        tokens, cost = ledger.Tokens(0, 0), ledger.Cost(0.0, CACHE)
    seams = exchange.splice.seams if exchange.splice is not None else ()
    marks = _UNMARKED if _MARKS.isdisjoint(call.headers) else call.headers
    return ledger.Exchange(
        id=exchange.id,
        wall=exchange.wall,
        route=route.name,
        dialect=call.door.dialect,
        model=call.model,
        outcome=exchange.outcome or "failed",
        stream=call.stream,
        status=exchange.status,
        target=CACHE if exchange.hit is not None else last.target if last is not None else None,
        key=key,
        session=_text(marks.get(b"x-understudy-session")),
        task=_text(marks.get(b"x-understudy-task")),
        end_user=end_user,
        tags=_tags(marks.get(b"x-understudy-tags")),
        tokens=tokens,
        cost=cost,
        first_content=last.first_content if last is not None else None,
        total=None if exchange.ended is None else exchange.ended - exchange.started,
        seams=tuple([_seam(seam, exchange) for seam in seams]),
        attempts=attempts,
        bodies=_bodies(exchange, seen) if seen is not None else (),
    )


def _event_of(exchange: Exchange, hit: Hit) -> ledger.Event:
    """Whose answer was given again, and what that saved."""
    saved = None if hit.charge is None else float(hit.charge.usd)
    detail = {"exchange": hit.exchange, "age": round(hit.age, 3), "saved_usd": saved}
    name, said = f"{exchange.id}-cache", msgspec.json.encode(detail).decode()
    return ledger.Event(name, exchange.wall, "cache_hit", exchange.id, hit.target, said)


def usage_of(attempt: Attempt, exchange: Exchange) -> Usage | None:
    """What an attempt used, as its provider said; None if it did not."""
    if attempt.usage is None and attempt.answer is not None:
        try:
            figures = dialects.answer_figures(exchange.call.door.dialect, attempt.answer)
        except Malformed:
            return None
        attempt.usage, attempt.answered_by, attempt.tier = figures
    return attempt.usage


def _attempt(attempt: Attempt, exchange: Exchange) -> ledger.Attempt:
    fault, began = attempt.fault, exchange.started
    ended, connected, head, first = attempt.ended, attempt.connected, attempt.head, attempt.first_content
    return ledger.Attempt(
        target=attempt.target,
        started=attempt.started - began,
        ended=None if ended is None else ended - began,
        connected=None if connected is None else connected - began,
        head=None if head is None else head - began,
        first_content=None if first is None else first - began,
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
        tokens=tokens_of(attempt, exchange),
        cost=_cost(attempt.charge),
        losses=tuple(attempt.losses),
    )


def tokens_of(attempt: Attempt, exchange: Exchange) -> ledger.Tokens | None:
    """What was billed; where content came and no figure with it, an estimate that says so."""
    usage = usage_of(attempt, exchange)
    if usage is not None:
        return ledger.Tokens(
            usage.input, usage.output, usage.cached_read, usage.cached_write, usage.reasoning, usage.estimated
        )
    if attempt.first_content is None or uses_of(exchange) == "nothing":
        return None
    return ledger.Tokens(int(exchange.call.size()), _written(attempt, exchange), estimated=True)


def _cost(charge: Charge | None) -> ledger.Cost | None:
    return None if charge is None else ledger.Cost(float(charge.usd), charge.price_version)


def _sum(attempts: tuple[ledger.Attempt, ...]) -> ledger.Cost | None:
    """The cost of all attempts that may be billed: those that gave content. Unknown if that of one is."""
    if len(attempts) == 1:
        return attempts[0].cost
    billed = [attempt.cost for attempt in attempts if attempt.first_content is not None or attempt.cost is not None]
    known = [cost for cost in billed if cost is not None]
    if not known or len(known) < len(billed):
        return None
    return ledger.Cost(sum(cost.usd for cost in known), known[-1].price_version)


def uses_of(exchange: Exchange) -> str | None:
    """What something beside chat takes in tokens; None for a chat."""
    call = exchange.call
    return call.operation.uses if isinstance(call, OperationCall) else None


def _written(attempt: Attempt, exchange: Exchange) -> int | None:
    """Roughly the tokens that an attempt wrote: of a text that several wrote, from its seam to the next. None if nobody
    can tell.
    """
    trail = exchange.trail
    if trail is None:
        uses = uses_of(exchange)
        if uses is not None:
            return 0 if uses == "prompt" else None
        return None if attempt.answer is None else len(attempt.answer) // _BYTES
    if exchange.splice is None:
        return trail.tokens()
    bounds = [0, *(seam["at"] for seam in exchange.splice.seams), len(trail.fold().text)]
    spoke = [one for one in exchange.attempts if one.first_content is not None]
    place = spoke.index(attempt)
    return (bounds[place + 1] - bounds[place]) // _BYTES if place + 1 < len(bounds) else 0


def _seam(seam: dict[str, object], exchange: Exchange) -> ledger.Seam:
    names = [attempt.target for attempt in exchange.attempts]
    number = len(names) - 1 - names[::-1].index(str(seam["to"])) if seam["to"] in names else len(names) - 1
    return msgspec.convert((seam["at"], number, seam["how"]), ledger.Seam)


def _bodies(exchange: Exchange, seen: Seen) -> tuple[ledger.Body, ...]:
    request = ledger.Body("request", exchange.call.body, "application/json")
    answer = ledger.Body("answer", seen.data, seen.kind, seen.size if seen.size > len(seen.data) else 0)
    return (request, answer)


def _text(value: bytes | None) -> str | None:
    return None if not value else value[:200].decode("utf-8", "replace")


def _tags(value: bytes | None) -> tuple[str, ...]:
    if not value:
        return ()
    words = (_text(word.strip()) for word in value.split(b","))
    return tuple(word for word in words if word)[:20]
