"""`understudy targets`: how every target of the running gateway is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.asking import UrlOption
from understudy.cli.opening import ConfigOption, JsonOption, fail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

    from understudy.cli.asking import Way
    from understudy.cli.live import Event, Target

LATEST = 8
"""Events shown below the table."""


def targets(
    config: ConfigOption = None,
    url: UrlOption = None,
    json: JsonOption = False,  # Typer's flags are booleans
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again each second, until Ctrl-C.")] = False,
) -> None:
    """Show how every target of the running gateway is: who may be called, who not, why, and for how long.

    The key is $UNDERSTUDY_ADMIN_KEY, else the first of server.admin_keys.

    Exit code: 0 all are ready (or --watch was ended), 1 one is not, 2 the gateway cannot be asked.

    Example: understudy targets --watch
    """
    import uvloop

    from understudy.cli.asking import CannotAskError, find

    if watch and json:
        fail("--watch is for people. Programs call `understudy targets --json` as often as they like.")
    try:
        way = find(url, config)
        if watch:
            uvloop.run(_watch(way))
        facts, found = uvloop.run(_ask(way))
    except CannotAskError as error:
        fail(str(error))
    except KeyboardInterrupt:
        return
    if json:
        import msgspec

        typer.echo(msgspec.json.format(msgspec.json.encode(facts)).decode())
    else:
        from rich.console import Console

        Console().print(_table(found))
    if any(target.state != "ready" for target in found):
        raise typer.Exit(1)


async def _ask(way: Way) -> tuple[dict[str, Any], list[Target]]:
    from understudy.cli.asking import ask, told
    from understudy.cli.live import Targets

    facts = await ask(way, "/admin/targets")
    return facts, told(way, facts, Targets).targets


async def _watch(way: Way) -> None:
    """Show it anew each second. One that stops answering is waited for; it may come back."""
    from collections import deque

    from rich.console import Console
    from rich.live import Live

    from understudy import clock
    from understudy.cli.asking import EVERY, NotThereError
    from understudy.cli.live import Follower

    follower = Follower(way)
    latest: deque[Event] = deque(maxlen=LATEST)
    console = Console()
    _, found = await _ask(way)  # for its complaint, before anything is drawn
    trouble = ""
    with Live(console=console, auto_refresh=False) as live:
        while True:
            try:
                _, found = await _ask(way)
                latest.extend(await follower.news())
                trouble = ""
            except NotThereError as error:
                trouble = str(error)
            live.update(_page(console, found, latest, trouble), refresh=True)
            await clock.sleep(EVERY)


def _page(console: Console, found: Sequence[Target], latest: Sequence[Event], trouble: str) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from understudy.cli.live import line

    lines = [Text(line(event), no_wrap=True, overflow="ellipsis") for event in latest]
    if trouble:
        lines.append(Text(f"As it was. {trouble}", "red"))
    return Group(_table(found, expand=console.is_terminal), *lines)


def _table(found: Sequence[Target], *, expand: bool = False) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    from understudy.cli import live
    from understudy.cli.asking import plain

    if not found:
        return Text("No target yet: no route names one, and no call has gone to any.")
    keyed = len({target.target for target in found}) < len(found)
    table = Table(
        "target", *(["key"] if keyed else []), "state", "why", "breaker", "quota left", "in flight", "p95",
        expand=expand, caption="p95: 95 of 100 answers began within this time", caption_justify="left",
    )  # fmt: skip
    table.columns[0].overflow = "fold"  # a name cut short is no name
    for target in found:
        p95 = target.first_content.p95
        cells = [plain(target.target), *([plain(target.key or "-")] if keyed else [])]
        more = [live.reason(target), live.breaker(target), live.quota(target.quota), live.in_flight(target),
                "" if p95 is None else live.latency(p95)]  # fmt: skip
        state = Text(plain(target.state), live.COLOURS.get(target.state, "red"))
        table.add_row(*(Text(cell) for cell in cells), state, *(Text(cell or "-") for cell in more))
    return table
