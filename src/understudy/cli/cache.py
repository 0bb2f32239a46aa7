"""`understudy cache clear`: forget answers that are kept, whether the gateway runs or not."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from understudy.cli.opening import ConfigOption, JsonOption, fail, read

app = typer.Typer(
    help="Forget answers that are kept for calls to come.",
    epilog="Example: understudy cache clear --route gpt-5",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def cache() -> None:
    """Forget answers that are kept for calls to come."""


@app.command()
def clear(
    route: Annotated[str | None, typer.Option(help="Only answers of this route.")] = None,
    key: Annotated[
        str | None, typer.Option(help="Only answers of the virtual key with this id. Shared ones are no key's.")
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,  # Typer's flags are booleans
) -> None:
    """Delete answers for good: all of them, or those that match all that is given.

    A call that is under way may still put its answer there.

    Exit code: 0 deleted, 1 the cache did not do it, 2 the configuration is wrong, or keeps answers in memory.

    Example: understudy cache clear --route gpt-5
    """
    import asyncio

    from understudy.cache import Store, StoreError
    from understudy.gateway.caching import store_of

    loaded = read(config)
    if loaded.config.cache.where == "memory":
        fail("The answers are in the gateway's own memory (`cache.where`): they are gone when it is started anew.")
    store = store_of(loaded.config, os.environ)

    async def cleared(store: Store) -> int:
        try:
            return await store.clear(route, key)
        finally:
            await store.close()

    try:
        gone = asyncio.run(cleared(store))
    except StoreError as error:
        fail(f"Nothing was deleted, or not all: {error}.", 1)
    if json:
        import msgspec

        typer.echo(msgspec.json.encode({"deleted": gone, "where": store.where}).decode())
    else:
        typer.echo(f"{gone} answers deleted from {store.where}.")
