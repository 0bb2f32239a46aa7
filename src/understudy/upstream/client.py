"""The client: one pool for each origin, and the settings they share."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from functools import partial

from understudy.upstream.address import Address, split_url
from understudy.upstream.connection import Connection
from understudy.upstream.dial import connect
from understudy.upstream.fault import TransportError
from understudy.upstream.pool import Limits, Origin
from understudy.upstream.proxy import Proxy, absolute, find_proxy
from understudy.upstream.tls import system_trust


class Client:
    """All connections of one process and event loop. Close it when done.

    `limit`: connections to one origin. `queue`: requests that may wait for one. `idle`: seconds an unused connection is
    kept; less than servers' usual 60, so that they rarely close first. `environ`: where proxies and SSL_CERT_* are
    looked up. `ssl_context`: instead of the system's trust.
    """

    def __init__(
        self,
        *,
        limit: int = 1024,
        queue: int = 1024,
        idle: float = 30.0,
        max_header_bytes: int = 65536,
        environ: Mapping[str, str] = os.environ,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = Limits(limit, queue, idle, max_header_bytes)
        self._environ = environ
        self._ssl_context = ssl_context
        self._origins: dict[tuple[str, str, int, Proxy | str | None], Origin] = {}
        self._closed = False

    def origin(self, base_url: str) -> Origin:
        """The pool for a base URL; the same one for every path of an origin. ValueError if it is not an http(s) URL.

        `split_url(base_url).path` is what goes in front of request targets.
        """
        if self._closed:
            raise RuntimeError("the client was closed")
        address = split_url(base_url)
        proxy: Proxy | str | None
        try:
            proxy = find_proxy(self._environ, address)
        except ValueError as error:
            proxy = str(error)  # reported by `send`, where callers expect that a provider cannot be reached
        key = (address.scheme, address.host, address.port, proxy)
        found = self._origins.get(key)
        if found is None:
            found = self._origins[key] = self._new_origin(address, proxy)
        return found

    def _new_origin(self, address: Address, proxy: Proxy | str | None) -> Origin:
        label, rewrite = address.label, None
        if isinstance(proxy, Proxy):
            label = f"{label} (through {proxy.label})"
            if address.scheme == "http":
                rewrite = partial(absolute, address=address, proxy=proxy)

        async def dial(origin: Origin) -> Connection:
            if isinstance(proxy, str):
                raise TransportError("unreachable", f"{label}: {proxy}")
            return await connect(origin, address, proxy, self._trust)

        return Origin(label, dial, self._limits, rewrite)

    def _trust(self) -> ssl.SSLContext:
        """Made when first needed: loading the certificates takes tens of milliseconds."""
        if self._ssl_context is None:
            self._ssl_context = system_trust(self._environ)
        return self._ssl_context

    @property
    def open_connections(self) -> int:
        """Lent, idle, and being opened, at all origins."""
        return sum(origin.open_connections for origin in self._origins.values())

    @property
    def idle_connections(self) -> int:
        return sum(origin.idle_connections for origin in self._origins.values())

    async def close(self) -> None:
        """Close every connection now; whoever waits or reads gets a TransportError. Not to be used afterwards."""
        self._closed = True
        for origin in self._origins.values():
            origin.close()
        await asyncio.sleep(0)  # lets transports say goodbye to their protocols, so that nothing outlives this call
