"""`understudy usage`: what was used, by whom, of whom, and what it cost."""

from __future__ import annotations

import time
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.opening import ConfigOption, JsonOption, fail

if TYPE_CHECKING:
    from understudy.ledger.queries import Usage


class By(str, Enum):  # noqa: UP042  # Typer's choices
    route = "route"
    target = "target"
    key = "key"
    task = "task"
    day = "day"
    hour = "hour"


def usage(
    *,
    config: ConfigOption = None,
    by: Annotated[
        list[By], typer.Option("--by", "-b", help="Sums by this; more than once: by both. Default: route.")
    ] = [],  # noqa: B006  # Typer copies it
    since: Annotated[str | None, typer.Option(help="From then on: 24h, 7d, or a date. Default: everything.")] = None,
    until: Annotated[str | None, typer.Option(help="Until then.")] = None,
    route: Annotated[str | None, typer.Option(help="Only this route.")] = None,
    target: Annotated[str | None, typer.Option(help="Only this target.")] = None,
    key: Annotated[str | None, typer.Option(help="Only this key.")] = None,
    task: Annotated[str | None, typer.Option(help="Only this task.")] = None,
    json: JsonOption = False,  # Typer's flags are booleans
    csv: Annotated[bool, typer.Option("--csv", help="Print as CSV.")] = False,
) -> None:
    """Show sums of exchanges, tokens and cost. What nobody knows is counted as unknown, never as 0.

    Exit code: 0 shown, 2 there is no ledger, or a wrong option.

    Example: understudy usage --by day --by target --since 7d
    """
    from understudy.cli.records import connected, moment
    from understudy.ledger import queries

    if json and csv:
        fail("Choose --json or --csv.")
    names: list[Any] = [one.value for one in dict.fromkeys(by or [By.route])]
    now = time.time()
    with connected(config) as connection:
        found = queries.usage(
            connection, names, since=moment(since, now), until=moment(until, now),
            route=route, target=target, key=key, task=task,
        )  # fmt: skip
    if json:
        import msgspec

        typer.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    elif csv:
        from understudy.ledger import tables

        typer.echo(tables.csv(found, names), nl=False)
    else:
        _table(found, names)


def _table(found: list[Usage], names: list[str]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    from understudy.cli.records import dollars

    groups = [Column(name, overflow="fold") for name in names]
    table = Table(*groups, "exchanges", "answered", "tokens in", "tokens out", "cost", "unknown")
    for row in found:
        unknown = [f"{row.usage_unknown} usage"] if row.usage_unknown else []
        unknown += [f"{row.cost_unknown} cost"] if row.cost_unknown else []
        table.add_row(
            *(row.group[name] or "-" for name in names), f"{row.exchanges:,}",
            f"{row.answered / row.exchanges:.2%}" if row.exchanges else "-", f"{row.input:,}", f"{row.output:,}",
            dollars(row.cost_usd), ", ".join(unknown) or "-",
        )  # fmt: skip
    console = Console()
    console.print(table if found else "Nothing was used in that time.")
