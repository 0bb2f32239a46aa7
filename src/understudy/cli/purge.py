"""`understudy purge`: delete from the ledger, and prove it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from understudy.cli.opening import ConfigOption, JsonOption, fail

if TYPE_CHECKING:
    from understudy.ledger.purging import Proof, Which

_PATIENCE = 30.0
"""Seconds to wait for a gateway that is writing, and for who reads."""


class _Spool(NamedTuple):
    """What of the spool could not be brought into the database: bytes in others' hands, and damaged files."""

    waiting: int
    damaged: list[str]


def purge(
    *,
    config: ConfigOption = None,
    before: Annotated[str | None, typer.Option(help="Exchanges that began before then: 90d (ago), or a date.")] = None,
    key: Annotated[str | None, typer.Option(help="Exchanges of this key.")] = None,
    user: Annotated[str | None, typer.Option("--user", "--end-user", help="Exchanges of this end user.")] = None,
    session: Annotated[str | None, typer.Option(help="Exchanges of this session.")] = None,
    exchange: Annotated[list[str] | None, typer.Option(help="The exchange of this id; may be repeated.")] = None,
    bodies: Annotated[bool, typer.Option("--bodies", help="Only what was asked and answered.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    rewrite: Annotated[
        bool, typer.Option("--rewrite/--no-rewrite", help="SQLite: rewrite the file, so that no trace is left in it.")
    ] = True,
    proof: Annotated[str | None, typer.Option(help="Show the proof of this id, or `all`, and delete nothing.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: JsonOption = False,  # Typer's flags are booleans
) -> None:
    """Delete exchanges that match all that is given, with everything that belongs to them. Sums per hour stay.

    An audit entry stays as proof: rows by table, and the SHA-256 of the deleted ids. What waits in the spool is
    brought into the database first, so that it is found. SQLite's file is rewritten, and its log emptied.

    Exit code: 0 deleted, 1 not confirmed, or traces may be left, 2 there is no ledger, or nothing says what to delete.

    Example: understudy purge --user u-123
    """
    from understudy.cli.records import connected, moment
    from understudy.ledger import purging

    if proof is not None:
        _show(config, None if proof == "all" else proof, json=json)
        return
    which = purging.Which(
        before=moment(before, time.time()),
        key=key,
        end_user=() if user is None else _forms(user, config),
        session=session,
        exchanges=tuple(exchange or ()),
        bodies_only=bodies,
    )
    if not which.by:
        fail("Say what to delete: --before, --key, --user, --session or --exchange.")
    spool = _Spool(0, []) if dry_run else _ingested(config)
    with connected(config) as connection:
        ids = purging.meant(connection, which)
    if dry_run:
        _dry(ids, purging.digest(ids), json=json)
        return
    what = "the bodies of " if bodies else ""
    if not yes and not typer.confirm(f"Delete {what}{len(ids)} exchanges for good?"):
        raise typer.Exit(1)
    _delete(config, which, spool, rewrite=rewrite, json=json)


def _delete(config: Path | None, which: Which, spool: _Spool, *, rewrite: bool, json: bool) -> None:
    import msgspec

    from understudy.cli.records import connected, place
    from understudy.ledger import database, purging

    with connected(config, writing=True) as connection:
        done = purging.purge(connection, which, time.time())
    engine = database.open_engine(place(config), writing=True, patience=_PATIENCE)
    done = msgspec.structs.replace(done, erased=purging.erase(engine, done.id, rewrite=rewrite))
    with connected(config) as connection:
        left = purging.matching(connection, which)
    if json:
        facts = msgspec.structs.asdict(done) | {"left": left, **spool._asdict()}
        typer.echo(msgspec.json.encode(facts).decode())
    else:
        _print(done)
        typer.echo(f"Left of what was meant: {left}. Backups are your own matter.")
    if spool.waiting:
        fail(f"{spool.waiting} bytes wait in the spool of a running gateway: purge again when its database works.", 1)
    if spool.damaged:
        fail(f"Damaged files of the spool may hold some of it; look at them and delete: {', '.join(spool.damaged)}.", 1)
    if rewrite and done.erased is False:
        fail("SQLite's file could not be rewritten: it is in use, or its disk is full. Traces may be left: "
             "stop what reads it and run `understudy purge` again.", 1)  # fmt: skip


def _forms(user: str, config: Path | None) -> tuple[str, ...]:
    """Whatever may stand for the user in the ledger, whether names were hashed then or not."""
    import os

    from understudy.cli.opening import read
    from understudy.gateway.config import reveal
    from understudy.ledger import end_users

    return end_users.forms(user, reveal(read(config).config.ledger.end_user_key, os.environ))


def _ingested(config: Path | None) -> _Spool:
    """Bring what waits in the spool into the database, so that it can be found there."""
    import os

    from understudy.cli.opening import read
    from understudy.cli.records import place
    from understudy.gateway import recording
    from understudy.ledger import Settings, database
    from understudy.ledger.writer import Writer

    url = place(config)
    file, spool = database.file_of(url), recording.spool(read(config).config.ledger, os.environ)
    if file is not None and not file.exists():
        return _Spool(0, [])  # there is no ledger, which is said elsewhere
    writer = Writer(Settings(url=url, spool=str(spool), patience=_PATIENCE))
    try:
        while writer.spooled() and writer.turn():
            pass
        return _Spool(writer.spooled(), sorted(map(str, spool.glob("*.damaged"))))
    finally:
        writer.close()


def _dry(ids: list[str], sha256: str, *, json: bool) -> None:
    import msgspec

    if json:
        typer.echo(msgspec.json.encode({"exchanges": len(ids), "sha256": sha256}).decode())
    else:
        typer.echo(f"{len(ids)} exchanges would be deleted; sha256 of their ids: {sha256}")


def _show(config: Path | None, identity: str | None, *, json: bool) -> None:
    import msgspec

    from understudy.cli.records import connected
    from understudy.ledger import purging

    with connected(config) as connection:
        found = purging.proofs(connection, identity)
    if identity is not None and not found:
        fail(f"There is no proof {identity!r} in the ledger. `--proof all` shows those that are.", 1)
    for proof in found:
        if json:
            typer.echo(msgspec.json.encode(proof).decode())
        else:
            _print(proof)


def _print(proof: Proof) -> None:
    from understudy.cli.records import clock_of

    what = "the bodies of " if proof.bodies_only else ""
    typer.echo(f"{proof.id}  {clock_of(proof.wall)}  {proof.actor} deleted {what}{proof.exchanges} exchanges "
               f"by {', '.join(proof.by)}")  # fmt: skip
    typer.echo(f"  sha256 of their ids: {proof.sha256}")
    for table, rows in proof.deleted.items():
        typer.echo(f"  {table:<14} {rows:>8} deleted")
    if proof.erased is not None:
        typer.echo("  SQLite's file was rewritten, its log emptied." if proof.erased else "  Traces may be left.")
