"""Records that were read somewhere, into a ledger: each once, however often they come.

Those that are there already are left as they are. What the database will not have is tried once more without what
databases refuse, such as NUL characters, and counted as changed; what it still refuses is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from understudy.ledger import records
from understudy.ledger.bodies import packed
from understudy.ledger.rows import cleaned
from understudy.ledger.schema import audit, events, exchanges, feedback
from understudy.ledger.store import RefusedError, Store
from understudy.moving import lines
from understudy.moving.lines import BadLineError, Digest, End, Header, Read

Prepare = Callable[[records.Record], records.Record]

_BATCH = 400
_BYTES = 16 * 1024 * 1024
_LEVEL = 3
_TOLD = 100
"""Refusals that are told one by one; the others are only counted."""

_TABLES: dict[type, Any] = {
    records.Exchange: exchanges, records.Feedback: feedback, records.Event: events, records.Audit: audit,
}  # fmt: skip


class Refused(msgspec.Struct, frozen=True):
    where: str
    why: str


class Brought(msgspec.Struct):
    """What became of the records. `changed` are those of the new ones that went in without what the database refused.

    `complete`: the end of each export was there and what came before it was what had been written; None where what was
    read was no export of ours.
    """

    new: int = 0
    known: int = 0
    changed: int = 0
    refused: int = 0
    refusals: list[Refused] = []
    complete: bool | None = None

    def refuse(self, where: str, why: str) -> None:
        self.refused += 1
        if len(self.refusals) < _TOLD:
            self.refusals.append(Refused(where, why))


def bring(reads: Iterable[Read], store: Store, brought: Brought, prepare: Prepare | None = None) -> Iterator[int]:
    """Write what was read, batch by batch; yields the lines done so far. Raises UnavailableError.

    `prepare` makes of a record from a log of others what may be stored. Our own exports were made of such.
    """
    for batch, done in _batches(reads, brought, prepare):
        connection = store.connection()
        with connection.begin():
            fresh = _fresh(connection, batch, brought)
        _write(store, fresh, brought)
        yield done


def rehearse(reads: Iterable[Read], connection: Connection | None, brought: Brought) -> Iterator[int]:
    """Only count what would become of it, in a ledger that is open for reading; None is an empty one.

    What stands twice in the same files is counted as new twice, unless it is close together.
    """
    for batch, done in _batches(reads, brought):
        fresh = _fresh(connection, batch, brought)
        brought.new += len(fresh)
        yield done


def _batches(
    reads: Iterable[Read], brought: Brought, prepare: Prepare | None = None
) -> Iterator[tuple[list[tuple[str, records.Record]], int]]:
    batch: list[tuple[str, records.Record]] = []
    size = done = 0
    for where, record, length in _checked(reads, brought, prepare):
        done += 1
        batch.append((where, record))
        size += length
        if len(batch) >= _BATCH or size >= _BYTES:
            yield batch, done
            batch, size = [], 0
    yield batch, done


def _checked(
    reads: Iterable[Read], brought: Brought, prepare: Prepare | None
) -> Iterator[tuple[str, records.Record, int]]:
    """The records that are sound; what is not is refused. Header and end are looked at."""
    digest: Digest | None = None
    for read in reads:
        line = read.line
        try:
            if line is None:
                brought.refuse(read.where, read.problem)
            elif isinstance(line, Header):
                _end(digest, None, brought)
                lines.checked(line)
                digest = Digest()
            elif isinstance(line, End):
                _end(digest or Digest(), line, brought)
                digest = None
            else:
                record = lines.record_of(line)
                if digest is not None:
                    digest.add(lines.encoded(line))
                elif prepare is not None:
                    record = prepare(record)
                yield read.where, _stored(record), read.size
        except BadLineError as error:
            brought.refuse(read.where, str(error))
            if isinstance(line, Header):
                return  # what follows may mean something else
    _end(digest, None, brought)


def _end(digest: Digest | None, end: End | None, brought: Brought) -> None:
    """Note whether an export was whole."""
    if digest is not None:
        brought.complete = brought.complete is not False and digest.end() == end


def _stored(record: records.Record) -> records.Record:
    if not isinstance(record, records.Exchange) or not record.bodies:
        return record
    bodies = tuple(packed(body, limit=len(body.data), level=_LEVEL) for body in record.bodies)
    return msgspec.structs.replace(record, bodies=bodies)


def _fresh(
    connection: Connection | None, batch: Sequence[tuple[str, records.Record]], brought: Brought
) -> list[tuple[str, records.Record]]:
    """What of the batch is not in the ledger, and comes for the first time."""
    known: set[tuple[type, str]] = set()
    for kind, table in _TABLES.items():
        ids = [record.id for _, record in batch if type(record) is kind]
        if ids and connection is not None:
            known.update((kind, found) for found in connection.scalars(select(table.c.id).where(table.c.id.in_(ids))))
    fresh = []
    for where, record in batch:
        name = (type(record), record.id)
        if name in known:
            brought.known += 1
            continue
        known.add(name)
        fresh.append((where, record))
    return fresh


def _write(store: Store, fresh: Sequence[tuple[str, records.Record]], brought: Brought) -> None:
    try:
        store.write([record for _, record in fresh])
    except RefusedError:
        for where, record in fresh:
            _alone(store, where, record, brought)
    else:
        brought.new += len(fresh)


def _alone(store: Store, where: str, record: records.Record, brought: Brought) -> None:
    try:
        store.write([record])
    except RefusedError:
        try:
            store.write([cleaned(record)])
        except (RefusedError, msgspec.ValidationError) as error:
            brought.refuse(where, str(error))
            return
        brought.changed += 1
    brought.new += 1
