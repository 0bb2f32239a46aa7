"""`understudy target cool|drain|reopen NAME`: an operator's word on one target."""

from __future__ import annotations

from typing import Annotated

import typer

from understudy.cli.asking import UrlOption
from understudy.cli.opening import ConfigOption, JsonOption, fail

LONGEST = 30 * 86400
"""Seconds that a cooldown may last. Longer is for `drain`."""

app = typer.Typer(
    help="Take a target of the running gateway out of service, and put it back.",
    epilog="Example: understudy target drain openai/gpt-5",
    no_args_is_help=True,
    rich_markup_mode=None,
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The target: provider/model.")]


@app.command()
def cool(
    name: NameArgument,
    seconds: Annotated[float | None, typer.Option(help="For how long. Default: until it is reopened.")] = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    json: JsonOption = False,  # Typer's flags are booleans
) -> None:
    """Leave a target alone for a while, with all its keys. Calls go to it only if they have nowhere else to go.

    Exit code: 0 it is done, 1 there is no such target, 2 the gateway cannot be asked.

    Example: understudy target cool openai/gpt-5 --seconds 300
    """
    if seconds is not None and not 0 < seconds <= LONGEST:  # not a number is neither
        fail(f"--seconds must be above 0 and at most {LONGEST}. Without it the target waits until it is reopened.")
    _command(name, "cool", seconds, config, url, json=json)


@app.command()
def drain(
    name: NameArgument,
    config: ConfigOption = None,
    url: UrlOption = None,
    json: JsonOption = False,  # Typer's flags are booleans
) -> None:
    """Send no further call to a target, whatever happens, until it is reopened. Calls under way finish.

    Exit code: 0 it is done, 1 there is no such target, 2 the gateway cannot be asked.

    Example: understudy target drain openai/gpt-5
    """
    _command(name, "drain", None, config, url, json=json)


@app.command()
def reopen(
    name: NameArgument,
    config: ConfigOption = None,
    url: UrlOption = None,
    json: JsonOption = False,  # Typer's flags are booleans
) -> None:
    """Send calls to a target again, whatever kept them from it: a command, a cooldown, an open breaker.

    Exit code: 0 it is done, 1 there is no such target, 2 the gateway cannot be asked.

    Example: understudy target reopen openai/gpt-5
    """
    _command(name, "reopen", None, config, url, json=json)


def _command(
    name: str, command: str, seconds: float | None, config: ConfigOption, url: UrlOption, *, json: bool
) -> None:
    import uvloop

    from understudy.cli.asking import CannotAskError, UnknownTargetError, ask, find, plain, told
    from understudy.cli.live import Targets, sentence

    body = {"target": name, "command": command, **({} if seconds is None else {"seconds": seconds})}
    try:
        way = find(url, config)
        facts = uvloop.run(ask(way, "/admin/targets", body))
        found = told(way, facts, Targets).targets
    except UnknownTargetError as error:
        fail(str(error), 1)
    except CannotAskError as error:
        fail(str(error))
    if json:
        import msgspec

        typer.echo(msgspec.json.format(msgspec.json.encode(facts)).decode())
        return
    for target in found:
        key = f" with {plain(target.key or 'no key')}" if len(found) > 1 else ""
        typer.echo(f"{plain(target.target)}{key} is {sentence(target)}")
