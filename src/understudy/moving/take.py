"""A ledger into a file or a folder: under a temporary name until it is whole, so that half of one never looks done."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

import msgspec

from understudy import clock
from understudy.moving import jsonl, lines
from understudy.moving.walk import Walk, Which

if TYPE_CHECKING:
    from understudy.moving.parquet import Writer as ParquetWriter

Form = Literal["jsonl", "jsonl.zst", "parquet"]

_STEP = 200


class Taken(msgspec.Struct, frozen=True):
    """What was written. `damaged` are exchanges of which a stored body could not be read and was left out."""

    records: int
    sha256: str
    kinds: dict[str, int]
    bytes: int
    damaged: tuple[str, ...] = ()


def take(walk: Walk, which: Which, path: Path, form: Form, progress: Callable[[int], None]) -> Taken:
    """Write what the walk gives to `path`, which is replaced if it is a file. Raises OSError."""
    if form == "parquet" and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(17, "it exists and is not an empty folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with _opened(temporary, form, which) as writer:
            kinds = _filled(walk, writer, progress)
        size = _synced(temporary)
        temporary.replace(path)
    except BaseException:
        _removed(temporary)
        raise
    return _taken(writer, kinds, size, walk)


def stream(walk: Walk, which: Which, out: IO[bytes], progress: Callable[[int], None]) -> Taken:
    """Write lines to `out`, where nothing can be renamed. Raises OSError."""
    writer = jsonl.Writer(out, _header(which))
    kinds = _filled(walk, writer, progress)
    writer.close()
    return _taken(writer, kinds, 0, walk)


@contextlib.contextmanager
def _opened(path: Path, form: Form, which: Which) -> Iterator[jsonl.Writer | ParquetWriter]:
    if form == "parquet":
        from understudy.moving import parquet  # noqa: PLC0415  an extra

        path.mkdir(mode=0o700)
        folder = parquet.Writer(path, _header(which))
        yield folder
        folder.close()
        return
    with jsonl.created(path, packed=form == "jsonl.zst") as out:
        writer = jsonl.Writer(out, _header(which))
        yield writer
        writer.close()


def _header(which: Which) -> lines.Header:
    return lines.Header(lines.NAME, lines.VERSION, clock.wall(), which.given)


def _filled(walk: Walk, writer: jsonl.Writer | ParquetWriter, progress: Callable[[int], None]) -> dict[str, int]:
    kinds = dict.fromkeys(("exchange", "feedback", "event", "audit"), 0)
    done = 0
    for line in walk.each():
        writer.add(line)
        kinds[str(line.__struct_config__.tag)] += 1
        done += 1
        if done % _STEP == 0:
            progress(done)
    progress(done)
    return kinds


def _synced(path: Path) -> int:
    """Force what was written to the disk; returns its bytes."""
    size = 0
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        with file.open("rb") as one:
            os.fsync(one.fileno())
        size += file.stat().st_size
    return size


def _removed(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _taken(writer: jsonl.Writer | ParquetWriter, kinds: dict[str, int], size: int, walk: Walk) -> Taken:
    end = writer.digest.end()
    return Taken(end.records, end.sha256, kinds, size, tuple(walk.damaged))
