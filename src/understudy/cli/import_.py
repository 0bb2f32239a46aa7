"""`understudy import`: exports of a ledger back into one, and the logs of others."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli.opening import ConfigOption, JsonOption, fail

if TYPE_CHECKING:
    from understudy.moving.bring import Brought, Prepare
    from understudy.moving.foreign import Reader
    from understudy.moving.lines import Read

_PATIENCE = 30.0
"""Seconds to wait for a gateway that is writing."""


def import_(
    files: Annotated[list[Path], typer.Argument(help="Exports (.jsonl, .jsonl.zst, a Parquet folder), or logs.")],
    *,
    config: ConfigOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would become of it.")] = False,
    provider: Annotated[
        str, typer.Option(help="Who answered the requests of a log, for prices. An export says it itself.")
    ] = "imported",
    bodies: Annotated[bool, typer.Option("--bodies/--no-bodies", help="Keep what a log says was asked.")] = True,
    json: JsonOption = False,  # Typer's flags are booleans
) -> None:
    """Read exports of `understudy export` back into the ledger, each record once, however often it comes.

    Logs are read likewise: lines of {"request": ..., "response": ...} in OpenAI's dialects, stored completions and
    batch results of OpenAI, LiteLLM's standard logging payload. See docs/reference/export.md.

    Exit code: 0 all of it is in, 1 something was refused or an export is cut short, 2 there is no ledger or no file.

    Example: understudy import ledger.jsonl.zst --dry-run
    """
    from understudy.cli.records import place, progressing
    from understudy.ledger.store import UnavailableError
    from understudy.moving.bring import Brought
    from understudy.moving.lines import BadFileError

    for file in files:
        if not file.exists():
            fail(f"There is no file {file}: nothing was imported.")
    url, brought = place(config), Brought()
    try:
        with progressing("records", None) as progress:
            reads = _reads(files, _reader(config, provider, bodies=bodies))
            for done in _steps(reads, url, brought, _prepare(config), dry_run=dry_run):
                progress(done)
    except UnavailableError as error:
        _tell(brought, json=json, dry_run=dry_run)
        fail(f"The ledger takes no more: {error}. What is in stays; run it again for the rest.", 1)
    except (BadFileError, OSError) as error:
        _tell(brought, json=json, dry_run=dry_run)
        fail(f"{error}", 1)
    _tell(brought, json=json, dry_run=dry_run)
    if brought.refused or brought.complete is False:
        raise typer.Exit(1)


def _steps(
    reads: Iterable[Read], url: str, brought: Brought, prepare: Prepare | None, *, dry_run: bool
) -> Iterator[int]:
    """Bring what was read to the ledger at `url`, which is made where there is none."""
    from sqlalchemy.exc import SQLAlchemyError

    from understudy.ledger import database
    from understudy.ledger.store import Store
    from understudy.moving import bring

    file = database.file_of(url)
    if not dry_run:
        if file is not None:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.closing(Store(url, patience=_PATIENCE)) as store:
            yield from bring.bring(reads, store, brought, prepare)
    elif file is not None and not file.exists():
        yield from bring.rehearse(reads, None, brought)
    else:
        try:
            with database.open_engine(url).begin() as connection:
                yield from bring.rehearse(reads, connection, brought)
        except SQLAlchemyError as error:
            fail(f"The ledger cannot be read: {getattr(error, 'orig', None) or type(error).__name__}.", 2)


def _prepare(config: Path | None) -> Prepare | None:
    """What takes out of foreign logs what the ledger does not keep; None where `[redaction]` is off."""
    import os

    from understudy.cli.opening import read
    from understudy.gateway import recording, redacting
    from understudy.ledger.record_redaction import RecordRedactor

    loaded = read(config)
    found = recording.place(loaded.config.ledger, os.environ)
    if found is None:
        return None
    meant = redacting.meant(loaded.config.redaction, os.environ, found[1] / redacting.RULES)
    return None if meant is None else RecordRedactor(meant).record


def _reader(config: Path | None, provider: str, *, bodies: bool) -> Reader:
    import os

    from understudy.cli.opening import read
    from understudy.gateway import recording
    from understudy.moving.foreign import Reader

    return Reader(provider, recording.whose(read(config).config.ledger, os.environ), bodies=bodies)


def _reads(files: Sequence[Path], logs: Reader) -> Iterator[Read]:
    """What stands in the files, one after another; where there are several, each place says in which."""
    import msgspec

    for file in files:
        for read in _one(file, logs):
            yield read if len(files) == 1 else msgspec.structs.replace(read, where=f"{file}, {read.where}")


def _one(file: Path, logs: Reader) -> Iterator[Read]:
    from understudy.moving import jsonl

    if file.is_dir() or file.suffix == ".parquet":
        if importlib.util.find_spec("pyarrow") is None:
            fail("Parquet needs a package that is not installed: pip install 'understudy[parquet]'.")
        from understudy.moving import parquet

        return parquet.read(file)
    _, first = next(jsonl.raw(file), (0, None))
    return jsonl.read(file) if first is None or jsonl.ours(first) else logs.read(file)


def _tell(brought: Brought, *, json: bool, dry_run: bool) -> None:
    import msgspec

    if json:
        typer.echo(msgspec.json.encode(brought).decode())
        return
    would = "would be " if dry_run else ""
    typer.echo(f"{brought.new} {would}new, {brought.known} known already, {brought.refused} refused.")
    if brought.changed:
        typer.echo(f"{brought.changed} of the new went in without what the database does not take, such as NUL.")
    for refused in brought.refusals:
        typer.echo(f"  {refused.where}: {refused.why}", err=True)
    if brought.refused > len(brought.refusals):
        typer.echo(f"  and {brought.refused - len(brought.refusals)} more", err=True)
    if brought.complete is False:
        typer.echo("An export is not what was written: it is cut short, or was changed.", err=True)
