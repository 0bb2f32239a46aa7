"""`understudy explain NAME`: what would happen to a call for this model name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.opening import ConfigOption, JsonOption, fail, read

if TYPE_CHECKING:
    from understudy.gateway.config import Loaded


def explain(
    model: Annotated[str, typer.Argument(help="The model name a client would ask for.")],
    config: ConfigOption = None,
    json: JsonOption = False,  # Typer's flags are booleans
) -> None:
    """Show the targets a call would go to, in order, and why.

    Exit code: 0 there is a target, 1 the name leads nowhere, 2 the configuration is wrong.

    Example: understudy explain gpt-5
    """
    import uvloop

    from understudy.gateway.routing import NoRouteError

    try:
        facts = uvloop.run(_facts(read(config), model))
    except NoRouteError as error:
        fail(str(error), 1)
    if json:
        import msgspec

        typer.echo(msgspec.json.format(msgspec.json.encode(facts)).decode())
        return
    typer.echo(f"{facts['model']}: {facts['why']}")
    for number, target in enumerate(facts["targets"], 1):
        typer.echo(f"  {number}. {target['name']:<32} {target['found']}")
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
    }
