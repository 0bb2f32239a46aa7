"""An export as Parquet: a file for each table in one folder, its rows in the order of the exchanges they belong to.

That order lets a reader put exchanges together again while holding no more than a row group of each file. Written
with pyarrow, the extra `parquet`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from understudy.moving import lines
from understudy.moving.lines import BadFileError, BadLineError, Digest, End, Header, Line, Read

_ROWS = 50_000
_BYTES = 16 * 1024 * 1024
"""Rows of a row group, and bytes of the bodies in one."""

_MOST = 1000
_MOST_BODIES = 16
"""Rows that are read at once."""

_HEADER, _END = b"understudy.header", b"understudy.end"

_S, _F, _I, _B = pa.string(), pa.float64(), pa.int64(), pa.bool_()
_USED = {"input": _I, "output": _I, "cached_read": _I, "cached_write": _I, "reasoning": _I, "estimated": _B}
_COST = {"cost_usd": _F, "price_version": _S}

TABLES: Mapping[str, Mapping[str, pa.DataType]] = {
    "exchanges": {
        "id": _S, "wall": _F, "route": _S, "dialect": _S, "model": _S, "outcome": _S, "stream": _B, "status": _I,
        "target": _S, "key": _S, "session": _S, "task": _S, "end_user": _S, "tags": pa.list_(_S),
        **_USED, **_COST, "first_content": _F, "total": _F,
        "seams": pa.list_(pa.struct([("characters", _I), ("attempt", _I), ("way", _S)])),
    },
    "attempts": {
        "exchange": _S, "number": _I, "target": _S, "started": _F, "ended": _F, "connected": _F, "head": _F,
        "first_content": _F, "reaction": _S, "fault": _S, "fault_phase": _S, "fault_status": _I, "fault_code": _S,
        "fault_message": _S, "retry_after": _F, "request_id": _S, "skipped": _I, "way": _S, **_USED, **_COST,
    },
    "losses": {"exchange": _S, "attempt": _I, "number": _I, "field": _S, "why": _S, "kind": _S},
    "bodies": {"exchange": _S, "side": _S, "content_type": _S, "size": _I, "data": pa.binary()},
    "feedback": {
        "id": _S, "exchange": _S, "wall": _F, "by": _S, "score": _F, "label": _S, "comment": _S, "corrected": _S,
    },
    "events": {"id": _S, "wall": _F, "kind": _S, "exchange": _S, "target": _S, "detail": _S},
    "audit": {"id": _S, "wall": _F, "actor": _S, "action": _S, "subject": _S, "outcome": _S, "detail": _S},
}  # fmt: skip


class _Table:
    """One file that grows by row groups."""

    def __init__(self, path: Path, name: str, header: Header) -> None:
        self._name = name
        schema = pa.schema(list(TABLES[name].items()), metadata={_HEADER: msgspec.json.encode(header)})
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._columns: dict[str, list[Any]] = {column: [] for column in TABLES[name]}
        self._rows = self._size = 0

    def add(self, row: Mapping[str, Any], size: int = 0) -> None:
        for name, column in self._columns.items():
            column.append(row[name])
        self._rows += 1
        self._size += size
        if self._rows >= _ROWS or self._size >= _BYTES:
            self._flush()

    def close(self, end: End) -> None:
        if self._rows:
            self._flush()
        if self._name == "exchanges":
            self._writer.add_key_value_metadata({_END: msgspec.json.encode(end)})
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(pa.table(self._columns, schema=self._schema))
        for column in self._columns.values():
            column.clear()
        self._rows = self._size = 0


class Writer:
    """Writes into a folder that is there and empty. `digest` knows the records so far."""

    def __init__(self, folder: Path, header: Header) -> None:
        self._tables = {name: _Table(folder / f"{name}.parquet", name, header) for name in TABLES}
        self.digest = Digest()

    def add(self, line: Line) -> None:
        self.digest.add(lines.encoded(line))
        row = msgspec.structs.asdict(line)
        match line:
            case lines.Exchange():
                self._exchange(line, row)
            case lines.Feedback():
                self._tables["feedback"].add(row)
            case lines.Event():
                self._tables["events"].add(row)
            case lines.Audit():
                self._tables["audit"].add(row)

    def close(self) -> None:
        for table in self._tables.values():
            table.close(self.digest.end())

    def _exchange(self, line: lines.Exchange, row: dict[str, Any]) -> None:
        row["seams"] = [msgspec.structs.asdict(seam) for seam in line.seams]
        self._tables["exchanges"].add(row | _flat(line.tokens, line.cost))
        for number, attempt in enumerate(line.attempts):
            tried = msgspec.structs.asdict(attempt) | _flat(attempt.tokens, attempt.cost)
            self._tables["attempts"].add(tried | {"exchange": line.id, "number": number})
            for place, loss in enumerate(attempt.losses):
                lost = {"exchange": line.id, "attempt": number, "number": place}
                self._tables["losses"].add(msgspec.structs.asdict(loss) | lost)
        for body in line.bodies:
            data = (body.text or "").encode() if body.data is None else body.data
            said = {"exchange": line.id, "side": body.side, "content_type": body.content_type, "size": body.size}
            self._tables["bodies"].add(said | {"data": data}, len(data))


def read(folder: Path) -> Iterator[Read]:
    """What stands in an export, as if it were lines. Raises BadFileError or OSError."""
    files = {name: _opened(folder / f"{name}.parquet", name) for name in TABLES}
    about = files["exchanges"].schema_arrow.metadata or {}
    yield from _said(about.get(_HEADER), "the header")
    belonging = {name: _Belonging(files[name], name) for name in ("attempts", "losses", "bodies")}
    for number, row in enumerate(_rows(files["exchanges"], "exchanges"), 1):
        yield _read(f"exchanges.parquet row {number}", lambda row=row: _whole(row, belonging))
    for name, rest in belonging.items():
        if left := rest.left():
            yield Read(f"{name}.parquet", None, f"{left} rows belong to no exchange, or stand in another order")
    for name, kind in (("feedback", lines.Feedback), ("events", lines.Event), ("audit", lines.Audit)):
        for number, row in enumerate(_rows(files[name], name), 1):
            tagged = {"type": kind.__struct_config__.tag, **row}
            yield _read(f"{name}.parquet row {number}", lambda tagged=tagged: tagged)
    yield from _said((files["exchanges"].metadata.metadata or {}).get(_END), "the end")


class _Belonging:
    """The rows of a file, exchange by exchange, for who asks in the order of the file."""

    def __init__(self, file: pq.ParquetFile, name: str) -> None:
        self._rows = _rows(file, name)
        self._next = next(self._rows, None)

    def of(self, exchange: Any) -> list[dict[str, Any]]:
        found = []
        while self._next is not None and self._next["exchange"] == exchange:
            found.append(self._next)
            self._next = next(self._rows, None)
        return found

    def left(self) -> int:
        return 0 if self._next is None else 1 + sum(1 for _ in self._rows)


def _opened(path: Path, name: str) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError:
        raise BadFileError(f"{path} is missing: an export has all of {', '.join(TABLES)}") from None
    except (pa.ArrowException, OSError) as error:
        raise BadFileError(f"{path} is no sound Parquet file: {error}") from None
    found = {field.name: field.type for field in file.schema_arrow}
    if found != dict(TABLES[name]):
        wrong = sorted(set(found.items()) ^ set(TABLES[name].items()), key=str)
        raise BadFileError(f"{path} has other columns than the format: {', '.join(f'{n} {t}' for n, t in wrong)}")
    return file


def _rows(file: pq.ParquetFile, name: str) -> Iterator[dict[str, Any]]:
    try:
        for batch in file.iter_batches(_MOST_BODIES if name == "bodies" else _MOST):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BadFileError(f"{name}.parquet cannot be read to its end: {error}") from None


def _said(value: bytes | None, what: str) -> Iterator[Read]:
    if value is not None:
        try:
            yield Read(what, lines.decoded(value))
        except BadLineError as error:
            yield Read(what, None, str(error))


def _read(where: str, of: Any) -> Read:
    try:
        line = msgspec.convert(of(), Line, builtin_types=(bytes,))
    except (msgspec.ValidationError, BadLineError) as error:
        return Read(where, None, str(error))
    size = sum(len(body.text or body.data or "") for body in getattr(line, "bodies", ()))
    return Read(where, line, size=1000 + size)


def _whole(row: dict[str, Any], belonging: Mapping[str, _Belonging]) -> dict[str, Any]:
    """An exchange with what belongs to it, as a line has it."""
    found = {name: rows.of(row["id"]) for name, rows in belonging.items()}
    attempts: list[dict[str, Any]] = []
    for place, attempt in enumerate(found["attempts"]):
        if attempt.pop("number") != place:
            raise BadLineError(f"attempt {place} is missing from attempts.parquet")
        attempts.append(_deep(attempt) | {"losses": []})
    for loss in found["losses"]:
        place, _ = loss.pop("attempt"), loss.pop("number")
        if not isinstance(place, int) or not 0 <= place < len(attempts):
            raise BadLineError(f"losses.parquet has a loss of attempt {place}, which is not there")
        attempts[place]["losses"].append(_own(loss))
    bodies = [lines.body_of(body["side"], body["content_type"], body["size"], body["data"] or b"")
              for body in found["bodies"]]  # fmt: skip
    return {
        "type": "exchange",
        **_deep(row),
        "attempts": attempts,
        "bodies": msgspec.to_builtins(bodies, builtin_types=(bytes,)),
    }


def _flat(tokens: lines.Tokens | None, cost: lines.Cost | None) -> dict[str, Any]:
    used = dict.fromkeys(_USED) if tokens is None else msgspec.structs.asdict(tokens)
    return used | {"cost_usd": cost and cost.usd, "price_version": cost and cost.price_version}


def _deep(row: dict[str, Any]) -> dict[str, Any]:
    """The row with tokens and cost as things of their own."""
    tokens = {name: row.pop(name) for name in _USED}
    usd, version = row.pop("cost_usd"), row.pop("price_version")
    row = _own(row)
    row["tokens"] = None if tokens["estimated"] is None else tokens
    row["cost"] = None if usd is None else {"usd": usd, "price_version": version}
    return row


def _own(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "exchange"}
