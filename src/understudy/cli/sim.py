"""`understudy sim`: the provider that misbehaves on purpose."""

from __future__ import annotations

from typing import Annotated

import typer

from understudy.cli.opening import JsonOption, fail


def sim(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 4010,
    key: Annotated[str | None, typer.Option(help="Ask for this API key.", envvar="UNDERSTUDY_SIM_KEY")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the behaviours and exit.")] = False,
    json: JsonOption = False,  # Typer's flags are booleans
) -> None:
    """Run a simulated provider: the model name says how it misbehaves.

    Example: understudy sim --port 4010, then ask http://127.0.0.1:4010/v1 for the model cut:after=5
    """
    if list_ or json:
        _list(json=json)
        return
    import uvloop

    try:
        uvloop.run(_run(host, port, key))
    except OSError as error:
        fail(f"Cannot listen on {host}:{port}: {error.strerror or error}. Choose another --port.", 1)


def _list(*, json: bool) -> None:
    from understudy.sim.table import BEHAVIOURS

    rows = {name: behaviour.summary for name, behaviour in BEHAVIOURS.items()}
    if json:
        import msgspec

        typer.echo(msgspec.json.format(msgspec.json.encode(rows)).decode())
        return
    for name, summary in rows.items():
        typer.echo(f"  {name:<28} {summary}")


async def _run(host: str, port: int, key: str | None) -> None:
    import asyncio
    import signal

    from understudy.sim import Sim

    provider = Sim(key=key)
    await provider.start(host, port)
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    typer.echo(f"A simulated provider answers at {provider.url}; `understudy sim --list` names its behaviours.")
    await stop.wait()
    await provider.stop()
