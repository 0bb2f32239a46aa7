"""From a configuration to a gateway that can take calls. Everything that starts one comes through here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from understudy.gateway import config as settings
from understudy.gateway.app import Gateway
from understudy.gateway.discovery import discover
from understudy.upstream import Client

DEFAULT_FILE = "understudy.toml"


def configuration(path: Path | None, environ: Mapping[str, str], folder: Path) -> settings.Loaded:
    """The configuration at `path`, else at $UNDERSTUDY_CONFIG, else `understudy.toml` in `folder`, else the empty one.

    Raises ConfigError, also where a file that was named is missing.
    """
    if path is None and environ.get("UNDERSTUDY_CONFIG"):
        path = Path(environ["UNDERSTUDY_CONFIG"])
    if path is None and (folder / DEFAULT_FILE).is_file():
        path = folder / DEFAULT_FILE
    return settings.load(path, environ)


async def assemble(loaded: settings.Loaded, environ: Mapping[str, str]) -> Gateway:
    """A gateway over all that the configuration names and all that is found. Close it with `Gateway.close`."""
    client = Client(environ=environ)
    routing = await discover(loaded, environ, client)
    keys = [settings.reveal(key, environ) for key in loaded.config.server.keys]
    return Gateway(routing, client, keys)
