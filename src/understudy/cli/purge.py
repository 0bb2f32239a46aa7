"""`understudy purge`: delete from the ledger, and prove it."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from understudy.cli.opening import ConfigOption, JsonOption, fail


def purge(
    *,
    config: ConfigOption = None,
    before: Annotated[str | None, typer.Option(help="Exchanges that began before then: 90d (ago), or a date.")] = None,
    key: Annotated[str | None, typer.Option(help="Exchanges of this key.")] = None,
    end_user: Annotated[str | None, typer.Option(help="Exchanges of this end user.")] = None,
    session: Annotated[str | None, typer.Option(help="Exchanges of this session.")] = None,
    bodies: Annotated[bool, typer.Option("--bodies", help="Only what was asked and answered.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: JsonOption = False,  # Typer's flags are booleans
) -> None:
    """Delete exchanges that match all that is given, with everything that belongs to them. Sums per hour stay.

    What was deleted is counted table by table, and an audit entry keeps the figures, not the data.

    Exit code: 0 deleted, 1 not confirmed, 2 there is no ledger, or nothing says what to delete.

    Example: understudy purge --end-user u-123
    """
    from understudy.cli.records import connected, moment
    from understudy.ledger import purging

    which = purging.Which(
        before=moment(before, time.time()), key=key, end_user=end_user, session=session, bodies_only=bodies
    )
    if which.everything:
        fail("Say what to delete: --before, --key, --end-user or --session.")
    with connected(config) as connection:
        count = purging.matching(connection, which)
    what = "the bodies of " if bodies else ""
    if not yes and not typer.confirm(f"Delete {what}{count} exchanges for good?"):
        raise typer.Exit(1)
    with connected(config, writing=True) as connection:
        deleted = purging.purge(connection, which, time.time())
        left = purging.matching(connection, which) if not bodies else 0
    if json:
        import msgspec

        typer.echo(msgspec.json.encode({"deleted": deleted, "left": left}).decode())
        return
    for table, rows in deleted.items():
        typer.echo(f"  {table:<14} {rows:>8} deleted")
    typer.echo(f"Left of what was meant: {left}. SQLite overwrites what it deletes; backups are your own matter.")
