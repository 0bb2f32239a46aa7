"""Answers in a Redis, for all replicas together. They expire there by themselves.

How much is kept is Redis' own business (`maxmemory`, with a policy such as `volatile-ttl`). The names of entries hold
short digests of route and key, so that those of one can be found and deleted without reading any.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from understudy import clock
from understudy.cache.entry import Slot, StoreError

if TYPE_CHECKING:
    from redis.asyncio import Redis

PATIENCE = 1.0
"""Seconds for one answer of Redis. Calls wait less; this ends what nobody waits for any more."""

CONNECTIONS = 32
_BATCH = 500


class Shared:
    """A store in the Redis at `url`, all of whose names begin with `prefix`."""

    def __init__(self, url: str, prefix: str) -> None:
        parts = urlsplit(url)
        self.where = f"Redis at {parts.hostname}:{parts.port or 6379}"
        self._url = url
        self._prefix = f"{prefix}:cache"
        self._client: Redis | None = None

    async def read(self, slot: Slot) -> bytes | None:
        found: bytes | None = await self._ask("get", self._name(slot))
        return found

    async def write(self, slot: Slot, data: bytes, until: float) -> None:
        await self._ask("set", self._name(slot), data, px=max(1, int((until - clock.wall()) * 1000)))

    async def tidy(self) -> None:
        """Redis does it."""

    async def clear(self, route: str | None, key: str | None) -> int:
        pattern = ":".join((self._prefix, *("*" if one is None else _short(one) for one in (route, key)), "*"))
        place, gone = 0, 0
        while True:
            place, names = await self._ask("scan", place, match=pattern, count=_BATCH)
            if names:
                gone += await self._ask("unlink", *names)
            if not place:
                return gone

    async def close(self) -> None:
        if self._client is not None:
            await self._ask("aclose")
            self._client = None

    def _name(self, slot: Slot) -> str:
        return f"{self._prefix}:{_short(slot.route)}:{_short(slot.key)}:{slot.digest.hex()}"

    async def _ask(self, command: str, *arguments: Any, **options: Any) -> Any:
        from redis.exceptions import RedisError  # noqa: PLC0415  # only who shares pays for it

        if self._client is None:
            self._client = _client(self._url)
        try:
            return await getattr(self._client, command)(*arguments, **options)
        except (RedisError, OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
            # The latter where a server is none and the library stumbles. The kind only: some servers repeat in their
            # errors the command that they refused.
            raise StoreError(f"{self.where}: {type(error).__name__}") from None


def _client(url: str) -> Redis:
    from redis.asyncio import Redis  # noqa: PLC0415  # likewise
    from redis.asyncio.retry import Retry  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415

    settings: dict[str, Any] = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE}
    if url.startswith("rediss:"):
        settings["ssl_check_hostname"] = True
    return Redis.from_url(url, protocol=2, retry=Retry(NoBackoff(), 0), max_connections=CONNECTIONS, **settings)


def _short(name: str) -> str:
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
