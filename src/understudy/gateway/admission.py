"""Virtual keys at the door: who calls, whether they may, and what is left to them.

`access/` decides, from memory or through Redis; here its decisions meet a gateway's calls. A call that was admitted is
settled exactly once, with what all its attempts used; what nobody told counts as it was estimated.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from understudy import clock
from understudy.access import Crossed, Denied, Key, Local, Ring, Verdict, headers, may
from understudy.access.keys import Right
from understudy.gateway import pricing
from understudy.gateway.config import reveal
from understudy.gateway.record import Exchange, Headers
from understudy.gateway.refusing import RefusedError
from understudy.gateway.settings import Server

if TYPE_CHECKING:
    from understudy.access.shared import Shared
    from understudy.access.store import Keeper, Store
    from understudy.ledger.cost import Prices

log = logging.getLogger("understudy")


class Admission:
    """The keys of one store, and what they have used. `begin` it before calls come, `close` it after the last.

    `tell` hears, with the key's id, when a budget is used up.
    """

    def __init__(self, place: Path | str, server: Server, environ: Mapping[str, str]) -> None:
        """Raises StoreError when the store at `place` cannot be read."""
        from understudy.access.store import Keeper, Store  # noqa: PLC0415  # brings SQLAlchemy, which few gateways need

        self.tell: Callable[[str, Crossed], None] | None = None
        self._ring = Ring()
        self._local = Local(tell=self._crossed)
        self._shared = None if server.redis is None else self._sharing(server, environ)
        self._lengths = pricing.Lengths()
        self.place = place
        self._store = Store(place)
        self._keeper = Keeper(self._store, self._ring, self._shared or self._local)
        self._keeping: asyncio.Task[None] | None = None
        self._keeper.load()

    def _sharing(self, server: Server, environ: Mapping[str, str]) -> Shared:
        from understudy.access.shared import Shared  # noqa: PLC0415  # brings the client of Redis

        return Shared(
            reveal(server.redis or "", environ),
            server.redis_prefix,
            local=self._local,
            when_gone=server.redis_gone,
            patience=server.redis_patience,
            tell=self._crossed,
        )

    async def move(self, place: Path | str) -> None:
        """Go on with the keys of another store. What was used of limits stays used, where keys have the same ids.

        Raises StoreError, and then nothing has changed.
        """
        from understudy.access.store import Keeper, Store  # noqa: PLC0415  # there by now

        store = await asyncio.to_thread(Store, place)
        keeper = Keeper(store, self._ring, self._shared or self._local)
        await self._rest()
        await asyncio.to_thread(self._store.close)
        self.place, self._store, self._keeper = place, store, keeper
        await asyncio.to_thread(keeper.load)
        self._keeping = asyncio.create_task(keeper.run())

    @property
    def store(self) -> Store:
        """For who looks at keys. Its methods wait for the disk: not for the event loop."""
        return self._store

    @property
    def keeper(self) -> Keeper:
        """For who changes keys: so a change is in effect at once."""
        return self._keeper

    def begin(self) -> None:
        """Go on looking for changed keys, and connect to Redis. Called in the event loop."""
        self._keeping = asyncio.create_task(self._keeper.run())
        if self._shared is not None:
            self._shared.start()

    async def close(self) -> None:
        """Write down what was used."""
        if self._shared is not None:
            await self._shared.close()
        await self._rest()
        self._store.close()

    async def _rest(self) -> None:
        """Stop looking for changes, and write down what was used, if that can be done."""
        from understudy.access.store import StoreError  # noqa: PLC0415  # there by now

        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
        try:
            await self._keeper.note()
        except StoreError as error:
            log.warning("What keys have spent since it was last written down is not kept. %s", error)

    def report(self) -> dict[str, object] | None:
        """For operators: how the limits are shared; None if they are this process's alone."""
        return None if self._shared is None else self._shared.report()

    def key(self, given: bytes | None, right: Right = "call") -> Key:
        """Whose key it is, if it may do that. Raises RefusedError."""
        if given is None:
            raise RefusedError(
                401, "invalid_api_key", "No API key. Send one as your SDK sends its key.", www_authenticate="Bearer"
            )
        found = self._ring.find(given, clock.wall())
        if isinstance(found, Denied):
            raise RefusedError(401, "invalid_api_key", found.message, www_authenticate="Bearer")
        if not may(found.role, right):
            raise RefusedError(403, "not_allowed", f"A key with the role {found.role} may not do this.")
        return found

    def admit(self, key: Key, exchange: Exchange, prices: Prices) -> Verdict | Awaitable[Verdict]:
        """Whether the call may go on now; to be awaited where Redis is asked. Raises RefusedError where the key is not
        for its route.
        """
        if not key.allows(exchange.route.name):
            raise RefusedError(403, "not_allowed", f"This key is not for {exchange.call.model[:200]!r}.")
        if not key.limits and not key.budgets:
            return Verdict(key.id)
        tokens, whole, cost = pricing.counted(exchange), None, None
        if key.budgets:
            in_usd = any(budget.unit == "usd" for budget in key.budgets)
            may_use = pricing.expected(exchange, prices, self._lengths.mean(key.id), in_usd=in_usd)
            whole, cost = may_use.tokens, may_use.cost
        limiter = self._shared or self._local
        return limiter.admit(key, tokens, cost, clock.monotonic(), clock.wall(), whole=whole)

    def settle(self, verdict: Verdict, exchange: Exchange) -> None:
        """The call is over, and has been priced."""
        limiter = self._shared or self._local
        if not exchange.attempts:
            limiter.give_back(verdict)
            return
        tokens, cost = pricing.used(exchange)
        limiter.settle(verdict, tokens, cost)
        written = pricing.written(exchange)
        if written is not None:
            self._lengths.learn(verdict.key, written)

    def _crossed(self, key: str, crossed: Crossed) -> None:
        log.warning("key %s: its budget %s is used up", key, crossed.budget)
        if self.tell is not None:
            self.tell(key, crossed)


def told(verdict: Verdict, dialect: str) -> Headers:
    """What is left, in the headers that a client of `dialect` reads."""
    return list(headers.told(verdict, dialect, clock.wall()))
