"""What there is to send calls to, found without being told: keys in the environment, servers on their usual ports,
the embedded model. What the configuration says comes first and is never overruled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from understudy.gateway import settings
from understudy.gateway.config import Loaded
from understudy.gateway.listing import PROBE, ListingError, list_models
from understudy.gateway.routing import Provider, Routing, configured
from understudy.local import models
from understudy.local.embedded import Embedded
from understudy.providers import catalogue, signing
from understudy.upstream import Client, split_url

log = logging.getLogger("understudy")


async def discover(
    loaded: Loaded,
    environ: Mapping[str, str],
    client: Client,
    running: Mapping[str, Embedded] = MappingProxyType({}),
) -> Routing:
    """Everything the configuration names, then everything else that is there. `running` engines are used further."""
    config = loaded.config
    found: dict[str, Provider] = {}
    for name, values in config.providers.items():
        provider = configured(name, values, environ, client, f"providers.{name} in {loaded.source}")
        if provider is not None:
            found[name] = provider
    rows = {name: row for name, row in catalogue.load().items() if name not in found}
    for name, row in rows.items():
        key = None if catalogue.is_local(row) else catalogue.find_key(row, environ)
        variable = key[0] if key is not None else signing.available(row.signed, environ) if row.signed else None
        if variable is not None:
            provider = _from_environment(name, settings.Provider(), environ, client, f"{variable} in the environment")
            if provider is not None:
                found[name] = provider
    named = set(_named(config))
    here = await _on_this_machine(rows.values(), environ, client)
    answering = [provider for provider, answers in here if answers]
    beside = _beside(answering, rows.values(), environ, client)
    awaited = (provider for provider, _ in here if provider.name in named)
    for provider in (*answering, *beside, *awaited):
        found.setdefault(provider.name, provider)
    if models.PROVIDER not in found and (engine := embedded(running)) is not None:
        found[engine.name] = engine
    return Routing(config, found.values())


def _from_environment(
    name: str, values: settings.Provider, environ: Mapping[str, str], client: Client, found: str
) -> Provider | None:
    """As `configured`, but a variable that holds what cannot be sent costs only its provider, with a warning.

    Nobody asked for this one by name: what a route needs, the configuration's check has refused before.
    """
    try:
        return configured(name, values, environ, client, found)
    except ValueError as error:  # of auth's for the key, of split_url's for the address
        log.warning("%s (%s) is left out: %s", name, found, error)
        return None


async def _on_this_machine(
    rows: Iterable[catalogue.Provider], environ: Mapping[str, str], client: Client
) -> list[tuple[Provider, bool]]:
    """The servers that could run here and whether they do; those that answer come first."""
    candidates: list[Provider] = []
    for row in rows:
        for base_url in catalogue.local_base_urls(row):
            words = f"a server on port {split_url(base_url).port}"
            provider = _from_environment(row.name, settings.Provider(base_url=base_url), environ, client, words)
            if provider is not None:
                candidates.append(provider)
    answers = await asyncio.gather(*(_alive(provider) for provider in candidates))
    return sorted(zip(candidates, answers, strict=True), key=lambda pair: not pair[1])


def _beside(
    servers: Iterable[Provider], rows: Iterable[catalogue.Provider], environ: Mapping[str, str], client: Client
) -> Iterable[Provider]:
    """The further APIs of the servers that were found: at the same port, and not asked for models a second time."""
    apis = [row for row in rows if row.api_of is not None]
    for server in servers:
        for row in apis:
            for base_url in catalogue.local_base_urls(row) if row.api_of == server.name else ():
                if server.link is not None and f"{base_url}/".startswith(f"{server.link.site}/"):
                    values = settings.Provider(base_url=base_url)
                    provider = _from_environment(row.name, values, environ, client, f"as {server.name}")
                    if provider is not None:
                        yield provider


async def _alive(provider: Provider) -> bool:
    try:
        provider.listed = await list_models(provider, PROBE)
    except ListingError:
        return False
    return True


def _named(config: settings.Config) -> Iterable[str]:
    """Providers that some route counts on, there or not: they are kept, so that they are used once they are there."""
    for targets in (config.defaults.substitutes, *(route.targets for route in config.routes.values())):
        yield from (target.partition("/")[0] for target in targets)


def embedded(running: Mapping[str, Embedded] = MappingProxyType({})) -> Provider | None:
    """The provider `local`: every model on this machine that the embedded engine can run; None if there is none."""
    available = models.available()
    if not available:
        return None
    provider = Provider(models.PROVIDER, "openai-chat", "the embedded engine")
    provider.engines = {name: running.get(name) or Embedded(model.path, name) for name, model in available.items()}
    provider.listed = tuple(available)
    provider.continues = catalogue.load()[models.PROVIDER].continues
    return provider
