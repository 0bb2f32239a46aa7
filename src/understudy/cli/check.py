"""`understudy check`: what was found, and whether it would answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.opening import ConfigOption, JsonOption, read

if TYPE_CHECKING:
    from understudy.gateway.config import Loaded
    from understudy.gateway.routing import Route, Routing, Target


def check(
    config: ConfigOption = None,
    json: JsonOption = False,  # Typer's flags are booleans
    probe: Annotated[bool, typer.Option("--probe", help="Ask every target for a token. May cost money.")] = False,
) -> None:
    """Validate the configuration and show what there is to send calls to.

    Exit code: 0 all well, 1 nothing found or a probe failed, 2 the configuration is wrong.

    Example: understudy check --probe
    """
    import uvloop

    facts = uvloop.run(_facts(read(config), probe=probe))
    if json:
        import msgspec

        typer.echo(msgspec.json.format(msgspec.json.encode(facts)).decode())
    else:
        _show(facts)
    failed = [row for row in facts["probes"] if row["fault"] is not None]
    if failed or not facts["providers"]:
        raise typer.Exit(1)


async def _facts(loaded: Loaded, *, probe: bool) -> dict[str, Any]:
    import os

    from understudy.gateway.assemble import assemble

    gateway = await assemble(loaded, os.environ)
    try:
        routing = gateway.routing
        facts: dict[str, Any] = {
            "configuration": loaded.source,
            "providers": [
                {
                    "name": provider.name,
                    "found": provider.found,
                    "dialect": provider.dialect,
                    "base_url": provider.link.base_url if provider.link else None,
                    "key": provider.key_label or None,
                    "models": list(provider.listed),
                }
                for provider in routing.providers.values()
            ],
            "routes": [
                {"name": route.name, "targets": [target.name for target in route.targets]}
                for route in routing.routes.values()
            ],
            "probes": [],
        }
        if probe:
            from understudy.gateway.probe import probe as ask

            for route, target in _targets(routing):
                probed = await ask(gateway, route, target)
                fault = probed.fault
                facts["probes"].append(
                    {
                        "target": probed.target,
                        "seconds": probed.seconds,
                        "fault": fault.kind if fault else None,
                        "message": fault.message if fault else None,
                    }
                )
        return facts
    finally:
        await gateway.close()


def _targets(routing: Routing) -> list[tuple[Route, Target]]:
    """Each target that a call could reach by a known name, once."""
    found: dict[str, tuple[Route, Target]] = {}
    for name in routing.names():
        route = routing.find(name)
        for target in route.targets:
            found.setdefault(target.name, (route, target))
    return list(found.values())


def _show(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(f"configuration: {facts['configuration']}", markup=False)
    if not facts["providers"]:
        console.print(
            "No provider found. Looked for: keys in the environment (OPENAI_API_KEY, ...), servers on their usual "
            "ports (Ollama, vLLM, ...), the embedded model. `understudy pull` fetches a model."
        )
    table = Table("provider", "found by", "address", "key", "models")
    for row in facts["providers"]:
        models = ", ".join(row["models"][:3]) + (
            f" and {len(row['models']) - 3} more" if len(row["models"]) > 3 else ""
        )
        table.add_row(row["name"], row["found"], row["base_url"] or "in this machine", row["key"] or "-", models or "-")
    if facts["providers"]:
        console.print(table)
    if facts["routes"]:
        routes = Table("route", "targets in order")
        for row in facts["routes"]:
            routes.add_row(row["name"], " -> ".join(row["targets"]))
        console.print(routes)
    if facts["probes"]:
        probes = Table("target", "first token", "fault")
        for row in facts["probes"]:
            seconds = "-" if row["seconds"] is None else f"{row['seconds'] * 1000:.0f} ms"
            probes.add_row(row["target"], seconds, f"{row['fault']}: {row['message']}" if row["fault"] else "none")
        console.print(probes)
