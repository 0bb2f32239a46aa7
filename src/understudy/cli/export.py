"""`understudy export`: the whole ledger, to read or to take elsewhere. Leaving is as easy as coming."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from understudy.cli.opening import ConfigOption, JsonOption, fail

if TYPE_CHECKING:
    from understudy.moving.take import Form, Taken


def export(
    file: Annotated[Path, typer.Argument(help="Where to write; `-` is standard output.")],
    *,
    config: ConfigOption = None,
    form: Annotated[
        Literal["jsonl", "jsonl.zst", "parquet"] | None,
        typer.Option("--format", help="Default: as the name ends; `parquet` makes a folder. Else jsonl."),
    ] = None,
    since: Annotated[str | None, typer.Option(help="From then on: 24h, 7d, or a date. Default: everything.")] = None,
    until: Annotated[str | None, typer.Option(help="Until then.")] = None,
    route: Annotated[str | None, typer.Option(help="Only exchanges of this route, and what belongs to them.")] = None,
    key: Annotated[str | None, typer.Option(help="Only those of this key.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="Only those of this end user.")] = None,
    session: Annotated[str | None, typer.Option(help="Only those of this session.")] = None,
    json: JsonOption = False,  # Typer's flags are booleans
) -> None:
    """Write the ledger: exchanges with attempts, losses and bodies, feedback, events, audit entries. Oldest first.

    The format is described in docs/reference/export.md; `understudy import` reads it. --json prints counts, bytes
    and the digest by which an export is known, whatever its form.

    Exit code: 0 written, 1 it cannot be written, or not all of it, 2 there is no ledger, or a wrong option.

    Example: understudy export ledger.jsonl.zst --since 30d
    """
    from sqlalchemy.exc import SQLAlchemyError

    from understudy.cli.records import connected, end_user, moment, progressing
    from understudy.moving.take import stream, take
    from understudy.moving.walk import Walk, Which, snapshot

    now = time.time()
    which = Which(moment(since, now), moment(until, now), route, key, end_user(user, config), session)
    form = form or _form(file)
    if form == "parquet" and importlib.util.find_spec("pyarrow") is None:
        fail("Parquet needs a package that is not installed: pip install 'understudy[parquet]'.")
    import sys

    standard = str(file) == "-"
    if standard and form != "jsonl":
        fail("Standard output takes lines of JSON only: name a file.")
    with connected(config) as connection:
        snapshot(connection)
        walk = Walk(connection, which)
        try:
            with progressing("records", walk.count()) as progress:
                if standard:
                    taken = stream(walk, which, sys.stdout.buffer, progress)
                else:
                    taken = take(walk, which, file, form, progress)
        except OSError as error:
            fail(f"{file} cannot be written: {error.strerror or error}.", 1)
        except SQLAlchemyError as error:
            fail(f"The ledger cannot be read to its end: {getattr(error, 'orig', None) or type(error).__name__}.", 1)
    _tell(taken, file, json=json, standard=standard)


def _form(file: Path) -> Form:
    if file.name.endswith(".parquet"):
        return "parquet"
    return "jsonl.zst" if file.name.endswith(".zst") else "jsonl"


def _tell(taken: Taken, file: Path, *, json: bool, standard: bool) -> None:
    import msgspec

    if json:
        typer.echo(msgspec.json.encode(taken).decode(), err=standard)
    else:
        counts = ", ".join(f"{count} {kind}" for kind, count in taken.kinds.items())
        typer.echo(
            f"{taken.records} records written to {file} ({counts}).\nsha256 of the records: {taken.sha256}", err=True
        )
    if taken.damaged:
        some = ", ".join(taken.damaged[:5])
        fail(f"{len(taken.damaged)} stored bodies could not be unpacked and were left out, of {some}.", 1)
