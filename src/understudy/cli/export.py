"""`understudy export`: the whole ledger as lines of JSON. Leaving is as easy as coming."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli.opening import ConfigOption, fail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from sqlalchemy import Connection

    from understudy.ledger.queries import Filter

_PAGE = 500


def export(
    file: Annotated[Path, typer.Argument(help="Where to write; `-` is standard output.")],
    *,
    config: ConfigOption = None,
    since: Annotated[str | None, typer.Option(help="From then on: 24h, 7d, or a date. Default: everything.")] = None,
    until: Annotated[str | None, typer.Option(help="Until then.")] = None,
) -> None:
    """Write every exchange with attempts, losses, bodies and feedback as one line of JSON, newest first.

    Exit code: 0 written, 1 the file cannot be written, 2 there is no ledger, or a wrong option.

    Example: understudy export ledger.jsonl --since 30d
    """
    import sys

    from rich.console import Console
    from rich.progress import Progress

    from understudy.cli.records import connected, moment
    from understudy.ledger import queries

    now = time.time()
    which = queries.Filter(since=moment(since, now), until=moment(until, now))
    written = 0
    with connected(config) as connection, Progress(console=Console(stderr=True)) as progress:
        total = sum(row.exchanges for row in queries.usage(connection, since=which.since, until=which.until))
        task = progress.add_task("exchanges", total=total)
        try:
            with sys.stdout.buffer if str(file) == "-" else file.open("wb") as out:
                for line in _lines(connection, which):
                    _write(out, line)
                    written += 1
                    progress.update(task, completed=written)
        except OSError as error:
            fail(f"{file} cannot be written: {error.strerror or error}.", 1)
    typer.echo(f"{written} exchanges written to {file}.", err=True)


def _lines(connection: Connection, which: Filter) -> Iterator[bytes]:
    import msgspec

    from understudy.cli.log import shown
    from understudy.ledger import queries

    after = None
    while True:
        page = queries.page(connection, which, after=after, limit=_PAGE)
        for line in page.lines:
            found = queries.one(connection, line.id)
            if found is not None:
                yield msgspec.json.encode(shown(found))
        after = page.next
        if after is None:
            return


def _write(out: BinaryIO, line: bytes) -> None:
    out.write(line + b"\n")
