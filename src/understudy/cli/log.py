"""`understudy log`: the exchanges, newest last as in any log, or one of them as a time line."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.opening import ConfigOption, JsonOption, fail, read

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from understudy.ledger import Event
    from understudy.ledger.queries import Filter, Found, Listed

EVERY = 1.0
"""Seconds between two looks with --follow."""


def log(
    exchange: Annotated[str | None, typer.Argument(help="An exchange's id: show it as a time line.")] = None,
    *,
    config: ConfigOption = None,
    json: JsonOption = False,  # Typer's flags are booleans
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new ones, until Ctrl-C.")] = False,
    failed: Annotated[bool, typer.Option(help="Only those whose client did not get its answer.")] = False,
    route: Annotated[str | None, typer.Option(help="Only those for this route.")] = None,
    target: Annotated[str | None, typer.Option(help="Only those that this target answered last.")] = None,
    key: Annotated[str | None, typer.Option(help="Only those of this key.")] = None,
    task: Annotated[str | None, typer.Option(help="Only those with this x-understudy-task.")] = None,
    session: Annotated[str | None, typer.Option(help="Only those with this x-understudy-session.")] = None,
    user: Annotated[str | None, typer.Option(help="Only those of this end user.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only those with this tag.")] = None,
    since: Annotated[str | None, typer.Option(help="From then on: 30m, 2h, 7d, or a date.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    reveal: Annotated[
        bool,
        typer.Option(
            "--reveal", help="Of one exchange: with its bodies, and real values in the place of pseudonyms. Is audited."
        ),
    ] = False,
) -> None:
    """Show the exchanges that the ledger has, or one with all its attempts.

    Exit code: 0 shown, 1 there is no such exchange, 2 there is no ledger, or a wrong option.

    Example: understudy log --failed --since 2h
    """
    from rich.console import Console

    from understudy.cli.records import connected, end_user, moment
    from understudy.ledger import queries

    console = Console(highlight=False)
    if reveal and exchange is None:
        fail("--reveal shows one exchange: say its id.")
    if exchange is not None:
        found = _revealed(config, exchange) if reveal else _one(config, exchange)
        if json:
            _print_json(shown(found))
            return
        _time_line(console, found)
        for body in found.bodies if reveal else ():
            console.print(f"[bold]{body.side}[/]")
            console.print(body.data.decode("utf-8", "replace"), markup=False, soft_wrap=True)
        return
    which = queries.Filter(
        since=moment(since, time.time()), route=route, target=target, key=key, task=task, session=session, tag=tag,
        end_user=end_user(user, config), failed=failed,
    )  # fmt: skip
    with connected(config) as connection:
        lines = queries.page(connection, which, limit=limit).lines[::-1]
    _print(console, lines, json=json)
    if follow:
        try:
            _follow(console, config, which, lines, json=json)
        except KeyboardInterrupt:
            return


def _one(config: Path | None, exchange: str) -> Found:
    from understudy.cli.records import connected
    from understudy.ledger import queries

    with connected(config) as connection:
        found = queries.one(connection, exchange)
    if found is None:
        fail(f"There is no exchange {exchange!r} in the ledger.", 1)
    return found


def _revealed(config: Path | None, exchange: str) -> Found:
    """The exchange with real values in the place of pseudonyms, once the ledger has it that somebody looked."""
    import os

    from understudy.cli.records import connected
    from understudy.gateway.config import reveal
    from understudy.ledger import auditing, revealing
    from understudy.ledger.pseudonyms import PseudonymError, Pseudonyms

    key = read(config).config.redaction.pseudonym_key
    if key is None:
        fail(
            "There is nothing to turn back: `redaction.pseudonym_key` is not set, so numbers stand for what was found."
        )
    try:
        pseudonyms = Pseudonyms(reveal(key, os.environ))
    except PseudonymError as error:
        fail(str(error))
    found = revealing.revealed(_one(config, exchange), pseudonyms)
    with connected(config, writing=True) as connection:
        auditing.note(connection, "reveal", exchange, {}, time.time())
    return found


def _follow(console: Console, config: Any, which: Filter, lines: list[Listed], *, json: bool) -> None:
    import msgspec

    from understudy.cli.records import connected
    from understudy.ledger import queries

    seen = {line.id for line in lines}
    since = lines[-1].wall if lines else time.time()
    while True:
        time.sleep(EVERY)
        # Long answers are written when they end: look back a little, and leave out what was shown.
        recent = msgspec.structs.replace(which, since=max(which.since or 0.0, since - 600))
        with connected(config) as connection:
            fresh = [line for line in queries.page(connection, recent, limit=1000).lines[::-1] if line.id not in seen]
        seen |= {line.id for line in fresh}
        since = max([since, *(line.wall for line in fresh)])
        _print(console, fresh, json=json)


def _print(console: Console, lines: list[Listed], *, json: bool) -> None:
    from understudy.cli.records import clock_of, dollars, seconds

    for line in lines:
        if json:
            _print_json(line, indent=0)
            continue
        good = "green" if line.outcome == "answered" else "red"
        tokens = "-" if line.tokens is None else f"{line.tokens.input or 0}+{line.tokens.output or 0} tokens"
        moved = f" after {line.attempts} attempts" if line.attempts > 1 else ""
        console.print(
            f"{clock_of(line.wall)}  [{good}]{line.outcome:<11}[/] {line.route} -> {line.target or 'nobody'}{moved}  "
            f"{seconds(line.total)}  {tokens}  {dollars(line.cost.usd if line.cost else None)}  [dim]{line.id}[/]",
            soft_wrap=True,
        )


def shown(found: Found) -> Any:
    """Facts for programs: bodies as text where they are."""
    import msgspec

    facts = msgspec.to_builtins(found, builtin_types=(bytes,))
    for body in facts["bodies"]:
        data = body[1] if isinstance(body, list) else body["data"]
        text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
        if isinstance(body, list):
            body[1] = text
        else:
            body["data"] = text
    return facts


def _print_json(value: Any, indent: int = 2) -> None:
    import msgspec

    encoded = msgspec.json.encode(value)
    typer.echo((msgspec.json.format(encoded, indent=indent) if indent else encoded).decode())


def _given_again(event: Event) -> str:
    import msgspec

    from understudy.cli.records import dollars, seconds

    said = msgspec.json.decode(event.detail)
    saved = dollars(said["saved_usd"])
    return f"gave what {event.target} answered {seconds(said['age'])} before ({said['exchange']}); saved {saved}"


def _time_line(console: Console, found: Found) -> None:
    from rich.table import Table

    from understudy.cli.records import clock_of, dollars, seconds

    line = found.exchange
    console.print(
        f"[bold]{line.id}[/]  {clock_of(line.wall)}  {line.dialect}, asked for {line.model!r}, route {line.route}"
    )
    table = Table("after", "target", "what happened")
    for event in found.events:
        if event.kind == "cache_hit":
            table.add_row(seconds(0.0), line.target, _given_again(event))
    for attempt in found.attempts:
        asked = "asked" if attempt.way is None else f"asked to go on ({attempt.way})"
        table.add_row(seconds(attempt.started), attempt.target, asked)
        if attempt.first_content is not None:
            table.add_row(seconds(attempt.first_content), attempt.target, "first content")
        if attempt.fault is not None:
            status = f" (HTTP {attempt.fault_status})" if attempt.fault_status else ""
            reaction = (attempt.reaction or "").replace("_", " ")
            table.add_row(seconds(attempt.ended), attempt.target, f"[red]{attempt.fault}{status}[/], {reaction}")
        else:
            table.add_row(seconds(attempt.ended), attempt.target, (attempt.reaction or "ended").replace("_", " "))
        for loss in attempt.losses:
            table.add_row("", attempt.target, f"[dim]{loss.kind}: {loss.field}, {loss.why}[/]")
    console.print(table)
    tokens = line.tokens
    used = "tokens unknown"
    if tokens is not None:
        used = f"{tokens.input} tokens in, {tokens.output} out{' (estimated)' if tokens.estimated else ''}"
    console.print(
        f"{line.outcome} with HTTP {line.status}; {used}; cost {dollars(line.cost.usd if line.cost else None)}"
    )
    for feedback in found.feedback:
        console.print(f"feedback: {feedback.label or ''} {feedback.score if feedback.score is not None else ''} "
                      f"{feedback.comment or ''}")  # fmt: skip
