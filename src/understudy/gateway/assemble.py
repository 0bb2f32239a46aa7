"""From a configuration to a gateway that can take calls. Everything that starts one comes through here."""

from __future__ import annotations

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
    if loaded.config.server.key_store:
        gateway.authorization.admission = _admission(loaded)
    return gateway


def _admission(loaded: Loaded) -> Admission:
    """The virtual keys. Raises ConfigError where they cannot be read."""
    from understudy.access.store import StoreError  # noqa: PLC0415  # brings SQLAlchemy

    try:
        # As `understudy keys` has it: beside the configuration, if the path does not say otherwise.
        return Admission(Path(loaded.source).parent / Path(loaded.config.server.key_store).expanduser())
    except StoreError as error:
        remedy = "`understudy keys create NAME` makes a store; check the path and its rights."
        raise ConfigError(loaded.source, None, f"server.key_store: {error}", remedy) from None


def keys(config: settings.Config, environ: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The keys of clients, and those of operators."""
    server = config.server
    return (
        [reveal(key, environ) for key in server.keys],
        [reveal(key, environ) for key in server.admin_keys],
    )
