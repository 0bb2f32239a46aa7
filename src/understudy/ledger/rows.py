"""Records as rows: a tuple per row, in the order of the table's columns. Pure.

Tuples, because the writer hands them to the driver as they are: a row costs microseconds, and there are many.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

import msgspec

from understudy.ledger.records import Attempt, Audit, Cost, Event, Exchange, Feedback, Record, Tokens
from understudy.ledger.schema import DIMENSIONS

_WIDTH = 1 + len(DIMENSIONS)

Row = tuple[Any, ...]
Rows = dict[str, list[Row]]
"""Rows by the name of their table."""

_NOTHING = (None,) * 5
_UNPRICED = (None, None)
_BIGGEST = 2**31 - 1
_MOST_TOKENS = 10**12
"""More than any exchange can have: a provider that says more is not believed, lest it ruin a whole hour's sums."""

_encoder = msgspec.json.Encoder()


def rows_of(records: Iterable[Record]) -> Rows:
    """Every row that the records mean, but for the sums per hour."""
    rows: Rows = {
        name: []
        for name in (
            "exchanges", "exchange_tags", "attempts", "losses", "bodies", "feedback", "events", "audit",
        )
    }  # fmt: skip
    for record in records:
        match record:
            case Exchange():
                _exchange(record, rows)
            case Feedback():
                rows["feedback"].append(
                    (record.id, record.exchange, record.wall, record.by, record.score, record.label, record.comment,
                     record.corrected)
                )  # fmt: skip
            case Event():
                rows["events"].append(
                    (record.id, record.wall, record.kind, record.exchange, record.target, record.detail)
                )
            case Audit():
                rows["audit"].append(
                    (record.id, record.wall, record.actor, record.action, record.subject, record.outcome,
                     record.detail)
                )  # fmt: skip
    return rows


def sums_of(records: Iterable[Record]) -> list[Row]:
    """What the exchanges add to the table of hours. Sorted, so that two writers never wait for each other in a ring."""
    sums: dict[Row, Row] = {}
    for record in records:
        if not isinstance(record, Exchange):
            continue
        figures = _figures(record.tokens)
        usd, _ = _priced(record.cost)
        key = (int(record.wall // 3600), record.route, record.target or "", record.key or "", record.task or "")
        added = (
            1,
            int(record.outcome == "answered"),
            len(record.attempts),
            *[figure or 0 for figure in figures],
            int(_estimated(record.tokens)),
            int(figures[0] is None and figures[1] is None),
            usd or 0.0,
            int(usd is None),
            record.total or 0.0,
        )
        so_far = sums.get(key)
        sums[key] = added if so_far is None else tuple(map(operator.add, so_far, added))
    return [(*key, *values) for key, values in sorted(sums.items())]


def apart(sums: Iterable[Row]) -> list[Row]:
    """The same sums for each dimension by itself: rows of `hours_by`. Sorted, likewise."""
    found: dict[Row, Row] = {}
    for row in sums:
        added = row[_WIDTH:]
        for name, value in zip(DIMENSIONS, row[1:_WIDTH], strict=True):
            key = (name, row[0], value)
            so_far = found.get(key)
            found[key] = added if so_far is None else tuple(map(operator.add, so_far, added))
    return [(*key, *values) for key, values in sorted(found.items())]


def cleaned(record: Record) -> Record:
    """The record without what a database refuses: NUL characters, integers beyond 64 bits, numbers that are none.

    Only for records that were refused: what peers send is hostile, and one of them must not hold up the others.
    """
    plain = _cleaned(msgspec.to_builtins(record, builtin_types=(bytes,)))
    return msgspec.convert(plain, Record, builtin_types=(bytes,))  # type: ignore[no-any-return]  # a union is no type


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-_BIGGEST, min(value, _BIGGEST))
    if isinstance(value, float) and not math.isfinite(value):
        return 0.0
    if isinstance(value, (list, tuple)):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {key: _cleaned(item) for key, item in value.items()}
    return value


def _figures(tokens: Tokens | None) -> tuple[int | None, ...]:
    if tokens is None:
        return _NOTHING
    figures = (tokens.input, tokens.output, tokens.cached_read, tokens.cached_write, tokens.reasoning)
    return tuple([figure if figure is None or 0 <= figure <= _MOST_TOKENS else None for figure in figures])


def _estimated(tokens: Tokens | None) -> bool:
    return tokens is not None and tokens.estimated


def _priced(cost: Cost | None) -> tuple[float | None, str | None]:
    return _UNPRICED if cost is None or not math.isfinite(cost.usd) else (cost.usd, cost.price_version)


def _exchange(record: Exchange, rows: Rows) -> None:
    identity, wall = record.id, record.wall
    rows["exchanges"].append(
        (
            identity, wall, record.route, record.dialect, record.model, record.stream, record.outcome, record.status,
            record.target, record.key, record.session, record.task, record.end_user,
            _encoder.encode(record.tags).decode() if record.tags else None,
            *_figures(record.tokens), _estimated(record.tokens),
            *_priced(record.cost), record.first_content, record.total,
            _encoder.encode(record.seams).decode() if record.seams else None, len(record.attempts),
        )
    )  # fmt: skip
    for tag in set(record.tags):
        rows["exchange_tags"].append((tag, wall, identity))
    for number, attempt in enumerate(record.attempts):
        _attempt(identity, number, attempt, rows)
    for body in record.bodies:
        size = body.size or len(body.data)
        kept = body.kept if body.encoding else len(body.data)
        rows["bodies"].append(
            (identity, body.side, wall, body.content_type, size, kept, len(body.data), body.encoding, body.data)
        )


def _attempt(identity: str, number: int, attempt: Attempt, rows: Rows) -> None:
    rows["attempts"].append(
        (
            identity, number, attempt.target, attempt.started, attempt.ended, attempt.connected, attempt.head,
            attempt.first_content, attempt.reaction, attempt.fault, attempt.fault_phase, attempt.fault_status,
            attempt.fault_code, attempt.fault_message or None, attempt.retry_after, attempt.request_id,
            attempt.skipped, attempt.way,
            *_figures(attempt.tokens), _estimated(attempt.tokens),
            *_priced(attempt.cost),
        )
    )  # fmt: skip
    for place, loss in enumerate(attempt.losses):
        rows["losses"].append((identity, number, place, loss.field, loss.why, loss.kind))
