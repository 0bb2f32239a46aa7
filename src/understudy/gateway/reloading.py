"""A configuration that changes while the gateway runs takes effect without a restart, or not at all.

The new one is checked whole and its providers are found before anything is replaced; then one assignment does it. Calls
under way keep the route that they have. Connections, cooldowns and running engines are kept, since they belong to
addresses and keys and not to a configuration. A file that is wrong changes nothing but the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from understudy.gateway.app import Gateway
from understudy.gateway.assemble import keys, take_keys
from understudy.gateway.config import ConfigError, load
from understudy.gateway.discovery import discover

EVERY = 1.0
"""Seconds between two looks at the file. One that is still being written is read when it has kept still for one."""

_AT_START = (
    "host", "port", "cors_origins", "max_headers", "stored_responses", "redis", "redis_prefix", "redis_patience",
    "redis_gone", "drain", "log_exchanges",
)  # fmt: skip
"""Settings of `[server]` that a running server cannot change. Nor does it change its ledger, cache and redaction."""

log = logging.getLogger("understudy")


async def watch(gateway: Gateway, path: Path, environ: Mapping[str, str], wanted: asyncio.Event) -> None:
    """Reload when the file at `path` has changed, or `wanted` is set. Ends only when it is cancelled."""
    loaded = seen = _stamp(path)
    while True:
        try:
            async with asyncio.timeout(EVERY):
                await wanted.wait()
        except TimeoutError:
            pass
        before, seen = seen, _stamp(path)
        if wanted.is_set() or (seen == before and seen not in (loaded, None)):
            wanted.clear()
            loaded = seen
            await reload(gateway, path, environ)


async def reload(gateway: Gateway, path: Path, environ: Mapping[str, str]) -> bool:
    """Whether the configuration at `path` has taken effect; if it is wrong, the log says why and nothing changes."""
    try:
        loaded = load(path, environ)
        routing = await discover(loaded, environ, gateway.transport, gateway.engines())
        without_keys = gateway.authorization.admission is None
        await take_keys(gateway, loaded, environ)
    except (ConfigError, ValueError) as error:
        log.warning("The changed configuration is not used; the former one goes on. %s", error)
        return False
    before, after = gateway.routing.config.server, loaded.config.server
    for name in _AT_START:
        if getattr(before, name) != getattr(after, name):
            log.warning("server.%s takes effect at the next start.", name)
    if without_keys and gateway.authorization.admission is not None:
        gateway.authorization.admission.begin()
    if before.key_store and not after.key_store:
        log.warning("server.key_store is gone: its keys go on opening until the next start.")
    for section in ("ledger", "cache", "redaction"):
        if getattr(gateway.routing.config, section) != getattr(loaded.config, section):
            log.warning("[%s] takes effect at the next start.", section)
    await gateway.adopt(routing, *keys(loaded.config, environ))
    log.warning("%s has been reloaded: %d providers, %d routes.", path, len(routing.providers), len(routing.routes))
    return True


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when the file does; None while there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
