"""`understudy serve`: the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli.opening import ConfigOption, fail, located, read

if TYPE_CHECKING:
    from pathlib import Path

    from understudy.gateway.config import Loaded
    from understudy.gateway.routing import Routing


OPEN_FILES = 65_536

_LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on, instead of server.host.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on, instead of server.port.")
    ] = None,
) -> None:
    """Run the gateway. With no configuration it uses whatever it finds.

    A configuration that changes is reloaded, at once with SIGHUP; one that is wrong is refused, and the former stays.

    Exit code: 0 it was told to stop, 1 it cannot listen, 2 the configuration is wrong.

    Example: understudy serve --port 4000
    """
    import uvloop

    from understudy.gateway.config import ConfigError, listening
    from understudy.telemetry.otel import NoSdkError

    loaded = read(config)
    try:
        loaded = listening(loaded, host, port)
    except ConfigError as error:
        fail(str(error))
    _open_files()
    try:
        uvloop.run(_serve(loaded, located(config)))
    except NoSdkError as error:
        fail(str(error))
    except OSError as error:
        server = loaded.config.server
        why = (error.strerror or str(error)).lower()
        fail(f"Cannot listen on {server.host}:{server.port}: {why}. Choose another --port or --host.", 1)


def _open_files() -> None:
    """Every open call takes two files. The soft limit is often 1,024, for the sake of programs that use select()."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _collect_seldom() -> None:
    """The garbage collector looks once in thousands of calls, and never again at what was loaded before the first.

    A call's objects go when it ends, so there is hardly anything to find: some hundred bytes a call. With the usual 700
    objects between two looks, and 64 calls at once, it looks over and over at calls that are still under way, and then
    at all modules: that was a tenth of all time, and half of what the slowest calls took. The price is about 10 MiB.
    """
    import gc

    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


async def _serve(loaded: Loaded, file: Path | None) -> None:
    """Serve until told to stop; reload when `file` changes, and on SIGHUP. Raises OSError if it cannot listen."""
    import asyncio
    import logging
    import os
    import signal

    from understudy.gateway import measuring, recording, redacting, reloading
    from understudy.gateway.assemble import assemble
    from understudy.gateway.server import Server

    logging.basicConfig(level=logging.WARNING, format=_LINE)
    gateway = await assemble(loaded, os.environ)
    known = redacting.secrets(gateway.routing, os.environ)
    hiding = redacting.Formatter(_LINE, known)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(hiding)
    place = recording.place(loaded.config.ledger, os.environ)
    kept = None
    if place is not None:
        redaction = redacting.meant(loaded.config.redaction, os.environ, place[1] / redacting.RULES, known)
        kept = recording.opened(loaded.config.ledger, place, redaction)
        gateway.recorder = recording.Recorder(kept, loaded.config.ledger)
    gateway.prices.load()
    measuring.measure(gateway, os.environ)
    values = loaded.config.server
    server = Server(gateway, host=values.host, port=values.port)

    def ready(url: str) -> None:
        _collect_seldom()
        for line in found(gateway.routing):
            typer.echo(line)
        typer.echo(f"Understudy answers at {url}/v1 (OpenAI's SDKs; others take it without /v1). Ctrl-C stops it.")

    server.on_ready = ready
    watcher = None
    if file is not None:
        wanted = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, wanted.set)
        watcher = asyncio.create_task(reloading.watch(gateway, file, os.environ, wanted))
    try:
        await server.serve()
    finally:
        if watcher is not None:
            watcher.cancel()
        await gateway.close()
        if kept is not None:
            await asyncio.to_thread(kept.stop)


def found(routing: Routing) -> list[str]:
    """What was found, a line each, for people."""
    lines = [f"  {provider.name:<14} {provider.found}" for provider in routing.providers.values()]
    lines += [
        f"  {name:<14} -> {', '.join(target.name for target in route.targets)}"
        for name, route in routing.routes.items()
    ]
    return lines or ["  no provider found: `understudy check` says what was looked for"]
