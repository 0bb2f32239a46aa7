"""From a configuration to a gateway that can take calls. Everything that starts one comes through here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from understudy.gateway import caching, settings
from understudy.gateway.admission import Admission
from understudy.gateway.app import Gateway
from understudy.gateway.config import ConfigError, Loaded, load, reveal
from understudy.gateway.discovery import discover
from understudy.gateway.sharing import sharing
from understudy.resilience import table
from understudy.upstream import Client

DEFAULT_FILE = "understudy.toml"


def configuration(path: Path | None, environ: Mapping[str, str], folder: Path) -> Loaded:
    """The configuration at `location`, or the empty one. Raises ConfigError, also where a named file is missing."""
    return load(location(path, environ, folder), environ)


def location(path: Path | None, environ: Mapping[str, str], folder: Path) -> Path | None:
    """`path`, else $UNDERSTUDY_CONFIG, else `understudy.toml` in `folder` if it is there."""
    if path is None and environ.get("UNDERSTUDY_CONFIG"):
        return Path(environ["UNDERSTUDY_CONFIG"])
    if path is None and (folder / DEFAULT_FILE).is_file():
        return folder / DEFAULT_FILE
    return path


async def assemble(loaded: Loaded, environ: Mapping[str, str]) -> Gateway:
    """A gateway over all that the configuration names and all that is found. Close it with `Gateway.close`."""
    table()  # read while it can be: when descriptors run out, the first fault would need one
    client = Client(environ=environ)
    routing = await discover(loaded, environ, client)
    gateway = Gateway(routing, client, *keys(loaded.config, environ))
    gateway.cache = caching.opened(loaded.config, environ)
    gateway.sharing = sharing(loaded.config.server, environ, gateway.health)
    await take_keys(gateway, loaded, environ)
    return gateway


async def take_keys(gateway: Gateway, loaded: Loaded, environ: Mapping[str, str]) -> None:
    """Have the gateway take the virtual keys that `loaded` names, if it names any. Raises ConfigError where they cannot
    be read: then everything stays as it was.
    """
    setting = loaded.config.server.key_store
    if not setting:
        return
    from understudy.access.store import StoreError  # noqa: PLC0415  # brings SQLAlchemy

    place, admission = key_store(setting, Path(loaded.source).parent, environ), gateway.authorization.admission
    try:
        if admission is None:
            server = gateway.routing.config.server
            admission = await asyncio.to_thread(Admission, place, server, environ)
            admission.tell = gateway.used_up
            gateway.authorization.admission = admission
            await asyncio.to_thread(gateway.prices.load)
        elif place != admission.place:
            await admission.move(place)
    except StoreError as error:
        remedy = (
            "`understudy keys create NAME` makes a store; check the path and its rights, or that the server is there."
        )
        raise ConfigError(loaded.source, None, f"server.key_store: {error}", remedy) from None


def key_store(setting: str, folder: Path, environ: Mapping[str, str]) -> Path | str:
    """What `server.key_store` means: a `postgresql://` URL, or a file, in `folder` if it does not say otherwise."""
    value = reveal(setting, environ)
    return value if "://" in value else folder / Path(value).expanduser()


def keys(config: settings.Config, environ: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The keys of clients, and those of operators."""
    server = config.server
    return (
        [reveal(key, environ) for key in server.keys],
        [reveal(key, environ) for key in server.admin_keys],
    )
