"""What the ledger is asked over HTTP. Each function runs in a thread, and brings SQLAlchemy along when it does.

Questions go to the database itself, through connections that cannot write: not to the process that does. They have
a bound in time, so that one cannot keep a thread.
"""

from __future__ import annotations

import base64
import contextlib
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from understudy import clock
from understudy.gateway.administration import answers, auditing, questions
from understudy.gateway.administration.endpoint import Answered, Asked, not_supported
from understudy.gateway.recording import Recorder
from understudy.gateway.refusing import RefusedError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from understudy.ledger.records import Body

PATIENCE = 10.0
"""Seconds that a question may take."""

PURGING = 600.0
"""Seconds that a purge may take: it goes on when who asked is gone, and is all or nothing."""

SUMS = 10_000
"""Rows of usage that are answered at most: they are in memory all at once."""

BUSY = 5.0
"""Seconds to wait for the database, or its lock."""


async def state(asked: Asked) -> Any:
    recorder = _recorder(asked)
    kind = "sqlite" if recorder.ledger.url.startswith("sqlite") else "postgresql"
    return {**msgspec.structs.asdict(recorder.ledger.state()), "database": kind}


def exchanges(asked: Asked) -> Any:
    from understudy.ledger import queries

    which = questions.given(asked.query)
    limit, after = which.pop("limit"), which.pop("after", None)
    if "end_user" in which:
        which["end_user"] = _recorder(asked).whose(which["end_user"])
        if which["end_user"] is None:
            why = "The ledger keeps no end users: `ledger.end_users` is `none`."
            raise RefusedError(400, "invalid_value", why, param="end_user")
    with _connected(asked) as connection:
        page = queries.page(connection, queries.Filter(**which), after=after, limit=limit)
    return {"exchanges": _told(page.lines, list[answers.Exchange]), "next": page.next}


def exchange(asked: Asked) -> Any:
    from understudy.ledger import queries

    place: questions.ExchangePlace = asked.place
    with _connected(asked) as connection:
        found = queries.one(connection, place.id)
    if found is None:
        raise _no_exchange(place.id)
    return {
        "exchange": _told(found.exchange, answers.Exchange),
        "attempts": _told(found.attempts, list[answers.Attempt]),
        "events": [
            {"id": one.id, "wall": one.wall, "kind": one.kind, "target": one.target, "detail": _detail(one.detail)}
            for one in found.events
        ],
        "feedback": _told(found.feedback, list[answers.Judgement]),
        "bodies": [_facts(body) for body in found.bodies],
    }


def body(asked: Asked) -> Any:
    """Whoever reads words leaves a record of it."""
    from understudy.ledger import queries

    place: questions.BodyPlace = asked.place
    with _connected(asked) as connection:
        found = queries.body(connection, place.id, place.side)
    if found is None:
        why = f"No {place.side} of {place.id} is kept: there is no such exchange, or `store` was not `bodies`."
        raise RefusedError(404, "body_not_found", why, param="id")
    auditing.note(asked, "read_body", place.id, side=place.side)
    try:
        return {**_facts(found), "encoding": "utf-8", "data": found.data.decode()}
    except UnicodeDecodeError:
        return {**_facts(found), "encoding": "base64", "data": base64.b64encode(found.data).decode()}


def usage(asked: Asked) -> Any:
    from understudy.ledger import queries, tables

    which = questions.given(asked.query)
    by = list(dict.fromkeys(which.pop("by") or ["route"]))
    try:
        with _connected(asked) as connection:
            found = queries.usage(connection, by, **which, most=SUMS)
    except queries.TooManyError as error:
        why = f"`by`: {error}. Narrow it down with `since`, `until` or a name, or ask for fewer dimensions at once."
        raise RefusedError(400, "invalid_value", why, param="by") from None
    if _prefers_csv(asked.accept):
        return Answered(tables.csv(found, by).encode(), media="text/csv; charset=utf-8")
    return {"usage": _told(found, list[answers.Usage])}


def feedback(asked: Asked) -> Any:
    from understudy.ledger import notes

    with _connected(asked) as connection:
        found = notes.feedback(connection, **questions.given(asked.query))
    return {"feedback": _told(found.rows, list[answers.FeedbackEntry]), "next": found.next}


def audit(asked: Asked) -> Any:
    from understudy.ledger import notes

    with _connected(asked) as connection:
        found = notes.audit(connection, **questions.given(asked.query))
    lines = [{**msgspec.structs.asdict(line), "detail": _detail(line.detail)} for line in found.rows]
    return {"audit": lines, "next": found.next}


def purge(asked: Asked) -> Any:
    from understudy.ledger import purging

    given = questions.given(asked.body)
    confirmed = given.pop("confirm")
    user = given.pop("end_user", None)
    which = purging.Which(**given, end_user=() if user is None else _recorder(asked).forms(user))
    if not which.by:
        why = f"Say what to delete: one of {', '.join(questions.NARROWED)}."
        raise RefusedError(400, "invalid_body", why, param="before")
    with _connected(asked, writing=confirmed) as connection:
        if confirmed:
            rows = purging.purge(connection, which, clock.wall(), asked.actor).deleted
        else:
            rows = purging.counted(connection, which)
        left = purging.matching(connection, which)
    return {"confirmed": confirmed, "rows": rows, "left": left}


# -- the way into the database -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _connected(asked: Asked, *, writing: bool = False) -> Iterator[Connection]:
    """A connection in a transaction. Raises RefusedError where there is no ledger, or it cannot be asked."""
    from sqlalchemy.exc import SQLAlchemyError

    from understudy.ledger import database

    url = _recorder(asked).ledger.url
    patience = PURGING if writing else PATIENCE
    end = clock.monotonic() + patience
    try:
        file = database.file_of(url)
        if file is not None and not file.exists():
            raise _unavailable("it is not there yet")
        with _engine(url, writing).begin() as connection:
            database.bound(connection, patience)
            yield connection
    except database.BadUrlError as error:
        raise _unavailable(str(error)) from None
    except SQLAlchemyError as error:
        if clock.monotonic() >= end:
            raise _unavailable(f"the question took more than {patience:g} s: ask for less at once") from None
        raise _unavailable(str(getattr(error, "orig", None) or type(error).__name__).splitlines()[0]) from None


@functools.lru_cache(maxsize=4)
def _engine(url: str, writing: bool) -> Engine:
    from understudy.ledger import database

    return database.open_engine(url, writing=writing, patience=BUSY)


def _recorder(asked: Asked) -> Recorder:
    recorder = asked.gateway.recorder
    if recorder is None:
        raise not_supported("There is no ledger: `understudy serve` keeps one, unless `ledger.url` is `off`.")
    return recorder


def _unavailable(why: str) -> RefusedError:
    return RefusedError(503, "ledger_unavailable", f"The ledger cannot be asked: {why}.", retry_after="1")


# -- the answers -------------------------------------------------------------------------------------------------------


def _told(found: Any, kind: Any) -> Any:
    """Records as the API names their fields."""
    return msgspec.convert(found, kind, from_attributes=True)


def _no_exchange(identity: str) -> RefusedError:
    why = f"There is no exchange {identity} in the ledger. What has just ended may need a moment to get there."
    return RefusedError(404, "exchange_not_found", why, param="id")


def _facts(body: Body) -> dict[str, Any]:
    kept = len(body.data)
    return {"side": body.side, "content_type": body.content_type, "size": body.size or kept, "kept": kept}


def _detail(text: str) -> Any:
    return msgspec.json.decode(text) if text else None


def _prefers_csv(accept: str) -> bool:
    """Whether `text/csv` stands before what JSON would do for. Weights are not looked at: no client needs them here."""
    kinds = [kind.partition(";")[0].strip().lower() for kind in accept.split(",")]
    return next((kind for kind in kinds if kind in ("text/csv", "application/json", "*/*")), "") == "text/csv"
