"""What the ledger is asked: sums of usage, lists of exchanges newest first, one exchange with all that belongs to it.

Sums come from the tables of hours, and only the parts of an hour at either end of a span are counted from exchanges;
so a span is exact, as long as retention has left those. Lists page by where the last page ended (keyset), since an
offset costs as much as all the pages before it, and shows rows twice while new ones come in.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Literal, get_args

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, case, func, literal, select, tuple_

from understudy.canon import Loss
from understudy.ledger import schema
from understudy.ledger.bodies import unpacked
from understudy.ledger.records import Attempt, Body, Cost, Event, Feedback, Seam, Side, Tokens
from understudy.ledger.schema import DIMENSIONS, FAILED, ODD, SUMS, exchange_tags, exchanges, hours, hours_by

By = Literal["route", "target", "key", "task", "day", "hour"]
_HOUR = 3600
_NULLABLE = frozenset(("target", "key", "task"))


class BadCursorError(ValueError):
    """What was given as the place to go on from is no such place."""


class TooManyError(ValueError):
    """An answer would have more rows than was said to be too many."""


class Usage(msgspec.Struct, frozen=True):
    """Sums over exchanges that have `group` in common; None there is "not given".

    Tokens and US dollars are sums of what is known: `usage_unknown` and `cost_unknown` count the exchanges about which
    nothing is, and `cost_usd` is None where that is all of them. `usage_estimated` counts estimates within the sums.
    """

    group: dict[str, str | None]
    exchanges: int
    answered: int
    attempts: int
    input: int
    output: int
    cached_read: int
    cached_write: int
    reasoning: int
    usage_estimated: int
    usage_unknown: int
    cost_usd: float | None
    cost_unknown: int
    seconds: float


class Filter(msgspec.Struct, frozen=True):
    """Which exchanges are meant: those that match all that is given. `failed` means every outcome but "answered".

    `since` is the earliest start (Unix seconds), `until` the first that is too late.
    """

    since: float | None = None
    until: float | None = None
    route: str | None = None
    target: str | None = None
    key: str | None = None
    task: str | None = None
    session: str | None = None
    end_user: str | None = None
    tag: str | None = None
    model: str | None = None
    outcome: str | None = None
    status: int | None = None
    failed: bool = False


class Listed(msgspec.Struct, frozen=True):
    """One line of a list. Fields as in `records.Exchange`; `attempts` is their number."""

    id: str
    wall: float
    route: str
    dialect: str
    model: str
    stream: bool
    outcome: str
    status: int | None
    target: str | None
    key: str | None
    session: str | None
    task: str | None
    end_user: str | None
    tags: tuple[str, ...]
    tokens: Tokens | None
    cost: Cost | None
    first_content: float | None
    total: float | None
    seams: tuple[Seam, ...]
    attempts: int


class Page(msgspec.Struct, frozen=True):
    """Some lines, newest first. `next` is where the following page begins, None if there is none."""

    lines: list[Listed]
    next: str | None


class Found(msgspec.Struct, frozen=True):
    """One exchange with all that belongs to it. The bodies are as they were, but cut to what was kept."""

    exchange: Listed
    attempts: list[Attempt]
    events: list[Event]
    feedback: list[Feedback]
    bodies: list[Body]


def usage(
    connection: Connection,
    by: Sequence[By] = (),
    *,
    since: float | None = None,
    until: float | None = None,
    route: str | None = None,
    target: str | None = None,
    key: str | None = None,
    task: str | None = None,
    most: int | None = None,
) -> list[Usage]:
    """Sums from `since` until before `until` (Unix seconds), by what is named, most exchanges first. Days are UTC's.

    Raises TooManyError where there would be more than `most`.
    """
    if unknown := set(by) - set(get_args(By)):
        raise ValueError(f"usage cannot be grouped by {', '.join(sorted(unknown))}: use {', '.join(get_args(By))}")
    given = {"route": route, "target": target, "key": key, "task": task}
    wanted = {name: value for name, value in given.items() if value is not None}
    sums: dict[tuple[Any, ...], list[Any]] = {}
    for query in _parts(by, since, until, wanted):
        for row in connection.execute(query if most is None else query.limit(most + 1)):
            # The tables of hours have "" for what was not given; to say so in SQL takes a tenth more of their time.
            group = tuple([value or None if name in _NULLABLE else value for name, value in zip(by, row, strict=False)])
            values = list(row[len(by) :])
            if not values[0]:
                continue  # sums over nothing at all
            so_far = sums.get(group)
            sums[group] = values if so_far is None else [a + b for a, b in zip(so_far, values, strict=True)]
    if most is not None and len(sums) > most:
        raise TooManyError(f"there would be more than {most} sums")
    found = [_usage(by, group, dict(zip(SUMS, values, strict=True))) for group, values in sums.items()]
    return sorted(found, key=lambda row: (-row.exchanges, [value or "" for value in row.group.values()]))


def page(connection: Connection, which: Filter, *, after: str | None = None, limit: int = 50) -> Page:
    """A page of the exchanges that match, newest first. `after` is the `next` of the page before."""
    wall: ColumnElement[float] = exchanges.c.wall
    query = select(exchanges)
    if which.tag is not None:
        query = query.join(exchange_tags, exchange_tags.c.exchange == exchanges.c.id)
        query = query.where(exchange_tags.c.tag == which.tag)
        wall = exchange_tags.c.wall  # the same time, but in the index of the tag
    for name in ("route", "target", "key", "task", "session", "end_user", "model", "outcome", "status"):
        value = getattr(which, name)
        if value is not None:
            query = query.where(exchanges.c[name] == value)
    if which.failed or which.outcome not in (None, "answered"):
        query = query.where(FAILED)  # in the very words of an index, which is used only then
    if which.status not in (None, 200):
        query = query.where(ODD)
    if which.since is not None:
        query = query.where(wall >= which.since)
    if which.until is not None:
        query = query.where(wall < which.until)
    if after is not None:
        query = query.where(tuple_(wall, exchanges.c.id) < tuple_(*place(after)))
    query = query.order_by(wall.desc(), exchanges.c.id.desc()).limit(limit + 1)
    rows = connection.execute(query).all()
    lines = [_listed(row) for row in rows[:limit]]
    more = len(rows) > limit
    return Page(lines, f"{lines[-1].wall!r}~{lines[-1].id}" if more else None)


def one(connection: Connection, identity: str) -> Found | None:
    """The exchange of this id with all that belongs to it, None if there is none."""
    row = connection.execute(select(exchanges).where(exchanges.c.id == identity)).one_or_none()
    if row is None:
        return None

    def belonging(table: Any, *order: Any) -> Sequence[Row[Any]]:
        return connection.execute(select(table).where(table.c.exchange == identity).order_by(*order)).all()

    losses: dict[int, list[Loss]] = {}
    for loss in belonging(schema.losses, schema.losses.c.attempt, schema.losses.c.number):
        losses.setdefault(loss.attempt, []).append(Loss(loss.field, loss.why, loss.kind))
    return Found(
        _listed(row),
        [_attempt(found, losses) for found in belonging(schema.attempts, schema.attempts.c.number)],
        [_event(found) for found in belonging(schema.events, schema.events.c.wall, schema.events.c.id)],
        [_feedback(found) for found in belonging(schema.feedback, schema.feedback.c.wall, schema.feedback.c.id)],
        [_body(found) for found in belonging(schema.bodies, schema.bodies.c.side.desc())],
    )


def body(connection: Connection, identity: str, side: Side) -> Body | None:
    """One body of an exchange, None if none was kept."""
    table = schema.bodies
    row = connection.execute(select(table).where(table.c.exchange == identity, table.c.side == side)).one_or_none()
    return None if row is None else _body(row)


def _parts(by: Sequence[By], since: float | None, until: float | None, wanted: dict[str, str]) -> list[Select[Any]]:
    """The questions whose answers add up to the span: whole hours, and what sticks out at either end."""
    first = None if since is None else -int(-since // _HOUR)
    last = None if until is None else int(until // _HOUR)
    if since is not None and until is not None and first is not None and last is not None and first > last:
        return [_from_exchanges(by, since, until, wanted)]  # all within one hour
    parts = [_from_hours(by, first, last, wanted)]
    if since is not None and first is not None and since < first * _HOUR:
        parts.append(_from_exchanges(by, since, first * _HOUR, wanted))
    if until is not None and last is not None and until > last * _HOUR:
        parts.append(_from_exchanges(by, last * _HOUR, until, wanted))
    return parts


def _from_hours(by: Sequence[By], first: int | None, last: int | None, wanted: dict[str, str]) -> Select[Any]:
    """Sums over whole hours: from the small table where one dimension is all that matters."""
    named = [name for name in DIMENSIONS if name in by or name in wanted] or [DIMENSIONS[0]]
    table = hours if len(named) > 1 else hours_by
    of = {name: hours.c[name] if table is hours else hours_by.c.value for name in named}
    groups: list[ColumnElement[Any]] = []
    for name in by:
        if name == "day":
            groups.append(table.c.hour // 24)
        elif name == "hour":
            groups.append(table.c.hour)
        else:
            groups.append(of[name])
    query = select(*groups, *(func.sum(table.c[name]) for name in SUMS))
    if table is hours_by:
        query = query.where(hours_by.c.dimension == named[0])
    if first is not None:
        query = query.where(table.c.hour >= first)
    if last is not None:
        query = query.where(table.c.hour < last)
    for dimension, value in wanted.items():
        query = query.where(of[dimension] == value)
    return query.group_by(*groups)


def _from_exchanges(by: Sequence[By], since: float, until: float, wanted: dict[str, str]) -> Select[Any]:
    """Sums over exchanges of one hour, of which `since` is a part."""
    c = exchanges.c
    hour = int(since // _HOUR)
    constant = {"hour": hour, "day": hour // 24}
    columns = [c[name] for name in by if name not in constant]

    def count(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return func.sum(case((condition, 1), else_=0))

    sums = {
        "exchanges": func.count(),
        "answered": count(c.outcome == "answered"),
        "usage_estimated": count(c.usage_estimated),
        "usage_unknown": count(c.input.is_(None) & c.output.is_(None)),
        "cost_unknown": count(c.cost_usd.is_(None)),
        "seconds": func.sum(func.coalesce(c.total, 0.0)),
        "cost_usd": func.sum(func.coalesce(c.cost_usd, 0.0)),
    }
    groups = [literal(constant[name]) if name in constant else c[name] for name in by]
    query = select(*groups, *(sums[name] if name in sums else func.sum(func.coalesce(c[name], 0)) for name in SUMS))
    query = query.where(c.wall >= since, c.wall < until)
    for dimension, value in wanted.items():
        query = query.where(c[dimension] == value)
    return query.group_by(*columns)


def _usage(by: Sequence[By], group: tuple[Any, ...], sums: dict[str, Any]) -> Usage:
    names: dict[str, str | None] = {}
    for name, value in zip(by, group, strict=True):
        if name == "day":
            names[name] = _stamp(int(value) * 24).date().isoformat()
        elif name == "hour":
            names[name] = _stamp(int(value)).strftime("%Y-%m-%dT%H:00Z")
        else:
            names[name] = value
    numbers = {name: value if name in ("cost_usd", "seconds") else int(value) for name, value in sums.items()}
    if numbers["cost_unknown"] == numbers["exchanges"]:
        numbers["cost_usd"] = None
    return Usage(names, **numbers)


def _stamp(hour: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(hour * _HOUR, dt.UTC)


def place(after: str) -> tuple[float, str]:
    """Where a page ended: time and id of its last row. Raises BadCursorError."""
    wall, divided, identity = after.partition("~")
    try:
        if divided:
            return float(wall), identity
    except ValueError:
        pass
    raise BadCursorError(f"{after!r} is not where a page ended: give the `next` of the page before, as it was")


def _tokens(row: Row[Any]) -> Tokens | None:
    figures = (row.input, row.output, row.cached_read, row.cached_write, row.reasoning)
    if not row.usage_estimated and all(figure is None for figure in figures):
        return None
    return Tokens(*figures, bool(row.usage_estimated))


def _cost(row: Row[Any]) -> Cost | None:
    return None if row.cost_usd is None else Cost(row.cost_usd, row.price_version or "")


def _listed(row: Row[Any]) -> Listed:
    return Listed(
        id=row.id,
        wall=row.wall,
        route=row.route,
        dialect=row.dialect,
        model=row.model,
        stream=row.stream,
        outcome=row.outcome,
        status=row.status,
        target=row.target,
        key=row.key,
        session=row.session,
        task=row.task,
        end_user=row.end_user,
        tags=msgspec.json.decode(row.tags, type=tuple[str, ...]) if row.tags else (),
        tokens=_tokens(row),
        cost=_cost(row),
        first_content=row.first_content,
        total=row.total,
        seams=msgspec.json.decode(row.seams, type=tuple[Seam, ...]) if row.seams else (),
        attempts=row.attempts,
    )


def _attempt(row: Row[Any], losses: dict[int, list[Loss]]) -> Attempt:
    return Attempt(
        target=row.target,
        started=row.started,
        ended=row.ended,
        connected=row.connected,
        head=row.head,
        first_content=row.first_content,
        reaction=row.reaction,
        fault=row.fault,
        fault_phase=row.fault_phase,
        fault_status=row.fault_status,
        fault_code=row.fault_code,
        fault_message=row.fault_message or "",
        retry_after=row.retry_after,
        request_id=row.request_id,
        skipped=row.skipped,
        way=row.way,
        tokens=_tokens(row),
        cost=_cost(row),
        losses=tuple(losses.get(row.number, ())),
    )


def _event(row: Row[Any]) -> Event:
    return Event(row.id, row.wall, row.kind, row.exchange, row.target, row.detail)


def _feedback(row: Row[Any]) -> Feedback:
    return Feedback(row.id, row.exchange, row.wall, row.by, row.score, row.label, row.comment, row.corrected)


def _body(row: Row[Any]) -> Body:
    return Body(row.side, unpacked(row.data, row.encoding), row.content_type, row.size)
