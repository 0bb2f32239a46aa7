"""Virtual keys at the door: who calls, whether they may, and what is left to them.

`access/` decides, from memory; here its decisions meet a gateway's calls. A call that was admitted is settled exactly
once, with what all its attempts used; what nobody told counts as it was estimated.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from understudy import clock
from understudy.access import Crossed, Denied, Key, Local, Ring, Verdict, headers, may
from understudy.access.keys import Right
from understudy.gateway.record import Exchange, Headers
from understudy.gateway.recording import usage_of
from understudy.gateway.refusing import RefusedError

if TYPE_CHECKING:
    from understudy.access.store import Keeper, Store

log = logging.getLogger("understudy")


class Admission:
    """The keys of one store, and what they have used. `begin` it before calls come, `close` it after the last."""

    def __init__(self, path: Path) -> None:
        from understudy.access.store import Keeper, Store  # noqa: PLC0415  # brings SQLAlchemy, which few gateways need

        self._store = Store(path)
        self._ring = Ring()
        self._local = Local(tell=_crossed)
        self._keeper = Keeper(self._store, self._ring, self._local)
        self._keeping: asyncio.Task[None] | None = None
        self._keeper.load()

    @property
    def store(self) -> Store:
        """For who looks at keys. Its methods wait for the disk: not for the event loop."""
        return self._store

    @property
    def keeper(self) -> Keeper:
        """For who changes keys: so a change is in effect at once."""
        return self._keeper

    def begin(self) -> None:
        """Go on looking for changed keys. Called in the event loop."""
        self._keeping = asyncio.create_task(self._keeper.run())

    async def close(self) -> None:
        """Write down what was used."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
        await self._keeper.note()
        self._store.close()

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

    def admit(self, key: Key, exchange: Exchange) -> Verdict:
        """Whether the call may go on now. Raises RefusedError where the key is not for its route."""
        if not key.allows(exchange.route.name):
            raise RefusedError(403, "not_allowed", f"This key is not for {exchange.call.model[:200]!r}.")
        tokens = exchange.call.size() + exchange.call.tokens()
        return self._local.admit(key, tokens, None, clock.monotonic(), clock.wall())

    def settle(self, verdict: Verdict, exchange: Exchange) -> None:
        """The call is over."""
        if not exchange.attempts:
            self._local.give_back(verdict)
            return
        used = [usage_of(attempt, exchange) for attempt in exchange.attempts if attempt.first_content is not None]
        told = [usage.input + usage.output for usage in used if usage is not None
                and usage.input is not None and usage.output is not None]  # fmt: skip
        self._local.settle(verdict, sum(told) if len(told) == len(used) else None, None)


def _crossed(key: str, crossed: Crossed) -> None:
    log.warning("key %s: its budget %s is used up", key, crossed.budget)


def told(verdict: Verdict, dialect: str) -> Headers:
    """What is left, in the headers that a client of `dialect` reads."""
    return list(headers.told(verdict, dialect, clock.wall()))
