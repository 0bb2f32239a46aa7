"""`understudy events`: what has changed at the targets of the running gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli.asking import UrlOption
from understudy.cli.opening import ConfigOption, JsonOption, fail

if TYPE_CHECKING:
    from understudy.cli.asking import Way


def events(
    config: ConfigOption = None,
    url: UrlOption = None,
    json: JsonOption = False,  # Typer's flags are booleans
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    since: Annotated[int, typer.Option(min=0, max=10**18 - 1, help="Only those after the event of this number.")] = 0,
) -> None:
    """Show what has changed at the running gateway's targets: cooldowns, breakers, limits, commands. It keeps 1000.

    With --follow --json, each is a line of JSON. The key is that of `understudy targets`.

    Exit code: 0 they were shown (or --follow was ended), 2 the gateway cannot be asked.

    Example: understudy events --follow
    """
    import uvloop

    from understudy.cli.asking import CannotAskError, find

    try:
        way = find(url, config)
        uvloop.run(_follow(way, since, json=json) if follow else _show(way, since, json=json))
    except CannotAskError as error:
        fail(str(error))
    except KeyboardInterrupt:
        return


async def _show(way: Way, since: int, *, json: bool) -> None:
    import msgspec

    from understudy.cli.asking import ask, told
    from understudy.cli.live import Events, line

    facts = await ask(way, "/admin/events", since=since)
    found = told(way, facts, Events).events
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(facts)).decode())
        return
    for event in found:
        typer.echo(line(event))
    if not found:
        typer.echo(f"Nothing has changed since {f'event {since}' if since else 'the gateway was started'}.")


async def _follow(way: Way, since: int, *, json: bool) -> None:
    """Tell each change as it comes. A gateway that stops answering is waited for; it may come back."""
    import msgspec

    from understudy import clock
    from understudy.cli.asking import EVERY, NotThereError
    from understudy.cli.live import Follower, line

    follower = Follower(way, since)
    found = await follower.news()
    lost = False
    while True:
        for event in found:
            typer.echo(msgspec.json.encode(event).decode() if json else line(event))
        await clock.sleep(EVERY)
        try:
            found = await follower.news()
            lost = False
        except NotThereError as error:
            if not lost:
                typer.echo(f"{error} Still trying.", err=True)
            found, lost = [], True
