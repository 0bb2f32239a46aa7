"""`understudy explain NAME`: what would happen to a call for this model name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.asking import UrlOption
from understudy.cli.opening import ConfigOption, JsonOption, fail, read

if TYPE_CHECKING:
    from understudy.gateway.config import Loaded
    from understudy.gateway.routing import Route

_PATIENCE = 2.0
"""Seconds that a gateway has for telling how its targets are."""


def explain(
    model: Annotated[str, typer.Argument(help="The model name a client would ask for.")],
    config: ConfigOption = None,
    url: UrlOption = None,
    json: JsonOption = False,  # Typer's flags are booleans
) -> None:
    """Show the targets a call would go to, in order, and why; and how each is, if a gateway is running.

    Exit code: 0 there is a target, 1 the name leads nowhere, 2 the configuration is wrong.

    Example: understudy explain gpt-5
    """
    import uvloop

    from understudy.gateway.routing import NoRouteError

    try:
        facts = uvloop.run(_facts(read(config), model))
        facts["live"] = uvloop.run(_live(url, config))
    except NoRouteError as error:
        fail(str(error), 1)
    if json:
        import msgspec

        typer.echo(msgspec.json.format(msgspec.json.encode(facts)).decode())
        return
    typer.echo(f"{facts['model']}: {facts['why']}")
    for number, target in enumerate(facts["targets"], 1):
        typer.echo(f"  {number}. {target['name']:<32} {target['found']}")
        for state in facts["live"].get(target["name"], ()):
            typer.echo(f"     {'':<32} now: {state}")
    if not facts["live"]:
        typer.echo("  No running gateway was asked how they are: none answers here, or it wants an admin key.")
    for name, value in facts["settings"].items():
        typer.echo(f"  {name}: {value}")
    clocks = ", ".join(f"{name} {seconds:g} s" for name, seconds in facts["clocks"].items())
    typer.echo(f"  tries on each: {facts['retries'] + 1}; {clocks}; all together {facts['deadline']:g} s")
    if len(facts["targets"]) == 1:
        typer.echo("  no substitute: when this target fails, the client gets its error. A route can name more.")


async def _facts(loaded: Loaded, model: str) -> dict[str, Any]:
    import os

    import msgspec

    from understudy.gateway.assemble import assemble

    gateway = await assemble(loaded, os.environ)
    try:
        route = await gateway.route(model)
    finally:
        await gateway.close()
    return {
        "model": model,
        "why": route.why,
        "targets": [{"name": target.name, "found": target.provider.found} for target in route.targets],
        "clocks": msgspec.to_builtins(route.clocks),
        "deadline": route.deadline,
        "retries": route.retries,
        "settings": _unusual(route),
    }


def _unusual(route: Route) -> dict[str, Any]:
    """What the route does otherwise than by default."""
    from understudy.gateway.settings import BUILT_IN

    found = {name: getattr(route, name) for name in ("order", "affinity", "hedge", "keep_alive", "mid_stream", "store")}
    unusual = {name: value for name, value in found.items() if value != BUILT_IN[name]}
    if route.weights:
        unusual["weights"] = list(route.weights)
    keys = {target.name: len(target.keys) for target in route.targets if target.keys}
    return {**unusual, **({"keys": keys} if keys else {})}


async def _live(url: str | None, config: Any) -> dict[str, list[str]]:
    """How each target is, in words, once for each of its keys; nothing where no gateway can be asked."""
    from understudy.cli.asking import CannotAskError, ask, find, told
    from understudy.cli.live import Targets, sentence

    try:
        way = find(url, config)
        found = told(way, await ask(way, "/admin/targets", patience=_PATIENCE), Targets).targets
    except CannotAskError:
        return {}
    states: dict[str, list[str]] = {}
    for target in found:
        states.setdefault(target.target, []).append(sentence(target))
    return states
