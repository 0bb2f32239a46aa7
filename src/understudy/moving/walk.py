"""A ledger from its beginning to its end, in the order of an export: page by page, each exchange with what is its.

Exchanges by time and id, then feedback, events and audit entries likewise. Ids are compared byte by byte, so that both
databases give the same order. All within the caller's transaction, and of one moment: SQLite's readers see the
database as it was, and PostgreSQL is asked for the same by `snapshot`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, FromClause, Row, Select, and_, func, select, text, true

from understudy.ledger.bodies import unpacked
from understudy.ledger.schema import attempts, audit, bodies, events, exchanges, feedback, losses
from understudy.moving import lines

_PAGE = 500
_AT_ONCE = 32 * 1024 * 1024
"""Bytes of packed bodies that are fetched together."""

_TIMED = {"since", "until"}


class Which(msgspec.Struct, frozen=True):
    """What is taken along: all that matches whatever is given. Times are Unix seconds.

    `since` and `until` (the first that is too late) are about each record's own time; the others about exchanges, and
    what belongs to these. With one of those, what belongs to no exchange stays: audit entries, events of targets.
    """

    since: float | None = None
    until: float | None = None
    route: str | None = None
    key: str | None = None
    end_user: str | None = None
    session: str | None = None

    @property
    def given(self) -> dict[str, str | float]:
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}

    @property
    def _of_exchanges(self) -> list[ColumnElement[bool]]:
        return [exchanges.c[name] == value for name, value in self.given.items() if name not in _TIMED]

    def of(self, table: FromClause) -> ColumnElement[bool] | None:
        """The rows of a table of records that are meant; None for none at all."""
        wanted: list[ColumnElement[bool]] = []
        if self.since is not None:
            wanted.append(table.c.wall >= self.since)
        if self.until is not None:
            wanted.append(table.c.wall < self.until)
        whose = self._of_exchanges
        if table is exchanges:
            wanted += whose
        elif whose:
            if "exchange" not in table.c:
                return None
            wanted.append(table.c.exchange.in_(select(exchanges.c.id).where(*whose)))
        return and_(true(), *wanted)


class Walk:
    """`damaged` are the exchanges of which a body could not be unpacked, and was left out."""

    def __init__(self, connection: Connection, which: Which) -> None:
        self._connection = connection
        self._which = which
        self.damaged: list[str] = []

    def count(self) -> int:
        """How many records there are."""
        return sum(
            self._connection.scalar(select(func.count()).select_from(table).where(meant)) or 0
            for table in (exchanges, feedback, events, audit)
            if (meant := self._which.of(table)) is not None
        )

    def each(self) -> Iterator[lines.Line]:
        for page in self._pages(exchanges):
            yield from self._exchanges(page)
        for row in self._rows(feedback):
            yield lines.Feedback(
                row.id, row.exchange, row.wall, row.by, row.score, row.label, row.comment, row.corrected
            )
        for row in self._rows(events):
            yield lines.Event(row.id, row.wall, row.kind, row.exchange, row.target, row.detail)
        for row in self._rows(audit):
            yield lines.Audit(row.id, row.wall, row.actor, row.action, row.subject, row.outcome, row.detail)

    def _pages(self, table: Any) -> Iterator[Sequence[Row[Any]]]:
        meant = self._which.of(table)
        if meant is None:
            return
        identity = table.c.id
        if self._connection.dialect.name == "postgresql":
            identity = identity.collate("C")
        query: Select[Any] = select(table).where(meant).order_by(table.c.wall, identity)
        found = self._connection.execute(query, execution_options={"stream_results": True})
        yield from found.partitions(_PAGE)

    def _rows(self, table: Any) -> Iterator[Row[Any]]:
        for page in self._pages(table):
            yield from page

    def _exchanges(self, page: Sequence[Row[Any]]) -> Iterator[lines.Exchange]:
        ids = [row.id for row in page]
        tried, lost = self._belonging(attempts, ids), self._belonging(losses, ids)
        size = select(func.coalesce(func.sum(bodies.c.stored), 0)).where(bodies.c.exchange.in_(ids))
        few = (self._connection.scalar(size) or 0) <= _AT_ONCE
        said = self._belonging(bodies, ids) if few else {}
        for row in page:
            if not few:
                said = self._belonging(bodies, [row.id])
            by_attempt: dict[int, list[lines.Loss]] = defaultdict(list)
            for loss in sorted(lost[row.id], key=lambda loss: (loss.attempt, loss.number)):
                by_attempt[loss.attempt].append(lines.Loss(loss.field, loss.why, loss.kind))
            yield _exchange(
                row,
                tuple(
                    _attempt(one, tuple(by_attempt[one.number]))
                    for one in sorted(tried[row.id], key=lambda one: one.number)
                ),
                tuple(self._bodies(sorted(said[row.id], key=lambda body: body.side, reverse=True))),
            )

    def _belonging(self, table: Any, ids: Sequence[str]) -> dict[str, list[Row[Any]]]:
        found: dict[str, list[Row[Any]]] = defaultdict(list)
        for row in self._connection.execute(select(table).where(table.c.exchange.in_(ids))):
            found[row.exchange].append(row)
        return found

    def _bodies(self, rows: Sequence[Row[Any]]) -> Iterator[lines.Body]:
        for row in rows:
            try:
                data = unpacked(row.data, row.encoding)
            except ValueError:
                self.damaged.append(row.exchange)
                continue
            yield lines.body_of(row.side, row.content_type, row.size, data)


def snapshot(connection: Connection) -> None:
    """Everything that this transaction reads is of one moment. The first thing to be said in it."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))


def _tokens(row: Row[Any]) -> lines.Tokens | None:
    figures = (row.input, row.output, row.cached_read, row.cached_write, row.reasoning)
    if not row.usage_estimated and all(figure is None for figure in figures):
        return None
    return lines.Tokens(*figures, bool(row.usage_estimated))


def _cost(row: Row[Any]) -> lines.Cost | None:
    return None if row.cost_usd is None else lines.Cost(row.cost_usd, row.price_version or "")


def _exchange(row: Row[Any], tried: tuple[lines.Attempt, ...], said: tuple[lines.Body, ...]) -> lines.Exchange:
    return lines.Exchange(
        id=row.id,
        wall=row.wall,
        route=row.route,
        dialect=row.dialect,
        model=row.model,
        outcome=row.outcome,
        stream=row.stream,
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
        seams=tuple(lines.Seam(*seam) for seam in msgspec.json.decode(row.seams)) if row.seams else (),
        attempts=tried,
        bodies=said,
    )


def _attempt(row: Row[Any], lost: tuple[lines.Loss, ...]) -> lines.Attempt:
    return lines.Attempt(
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
        losses=lost,
    )
