"""Who may do what: the configuration's keys, those for `/admin`, and virtual keys with their limits."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from typing import TYPE_CHECKING

from understudy.access import Key, Verdict
from understudy.access.keys import Right
from understudy.gateway import keys
from understudy.gateway.admission import Admission, told
from understudy.gateway.record import Exchange
from understudy.gateway.refusing import RefusedError

if TYPE_CHECKING:
    from understudy.ledger.cost import Prices


class Authorization:
    """The keys of a configuration, each as a client sends it, and `admission` where there are virtual ones."""

    def __init__(self, api_keys: Iterable[str], admin_keys: Iterable[str]) -> None:
        self.admission: Admission | None = None
        self.take(api_keys, admin_keys)

    def take(self, api_keys: Iterable[str], admin_keys: Iterable[str]) -> None:
        """Go on with these keys."""
        self._keys = frozenset(key.encode() for key in api_keys)
        self._admin_keys = frozenset(key.encode() for key in admin_keys)
        self._bearers = frozenset(b"Bearer " + key for key in self._keys)

    def check(self, headers: Mapping[bytes, bytes], in_url: str | None = None) -> Key | None:
        """Whether a request with these headers may come in, and with whose virtual key; None where it is none.

        Raises RefusedError.
        """
        # Found by the hash of the whole value: how long that takes says nothing about how much of a guess is right.
        if headers.get(b"authorization") in self._bearers or not (self._keys or self.admission):
            return None
        given = keys.given(headers, in_url)
        if self.admission is not None and given not in self._keys:
            return self.admission.key(given, "call")
        if given is None:
            message = (
                "No API key. Send a key of this gateway's `server.keys` as your SDK sends its key, "
                "for instance `Authorization: Bearer KEY`."
            )
            raise RefusedError(401, "invalid_api_key", message, www_authenticate="Bearer")
        if given not in self._keys:
            raise RefusedError(401, "invalid_api_key", "Incorrect API key. Send a key of this gateway's `server.keys`.")
        return None

    def caller(self, headers: Mapping[bytes, bytes], in_url: str | None = None, right: Right = "call") -> Key | None:
        """Whose virtual key a request shows; None for a key of the configuration. Raises RefusedError."""
        given = keys.given(headers, in_url)
        return None if self.admission is None or given in self._keys else self.admission.key(given, right)

    def admit(self, exchange: Exchange, key: Key | None, prices: Prices) -> Awaitable[None] | None:
        """Ask whether the limits of the call's virtual key allow it. What comes back is to be awaited for that: None
        where no one but this process is asked. Raises RefusedError.
        """
        if key is None or self.admission is None:
            return None
        exchange.consent = key.store
        asked = self.admission.admit(key, exchange, prices)
        if not isinstance(asked, Verdict):
            return _later(exchange, asked)
        _decided(exchange, asked)
        return None

    def settle(self, exchange: Exchange) -> str | None:
        """The call is over. The id of the virtual key that it came with."""
        if self.admission is None or exchange.verdict is None:
            return None
        self.admission.settle(exchange.verdict, exchange)
        return exchange.verdict.key

    def administers(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a request shows a key of `server.admin_keys`."""
        return keys.given(headers, None) in self._admin_keys

    def operator(self, headers: Mapping[bytes, bytes], right: Right) -> tuple[str, str | None]:
        """Who asks for what takes this right: a name for the audit, and a virtual key's id. Raises RefusedError."""
        if not self._keys and not self._admin_keys and self.admission is None:
            return "anybody", None
        given = keys.given(headers, None)
        if self.admission is not None and given not in self._admin_keys:
            found = self.admission.key(given, right)
            return found.id, found.id
        if not self._admin_keys:
            why = "Nobody may do this: keys are asked for, and there is no admin key. Set `server.admin_keys`."
            raise RefusedError(403, "no_admin_key", why)
        if given not in self._admin_keys:
            why = "This needs a key of `server.admin_keys`, as `Authorization: Bearer KEY`."
            raise RefusedError(401, "invalid_api_key", why, www_authenticate="Bearer")
        return "server.admin_keys", None


async def _later(exchange: Exchange, asked: Awaitable[Verdict]) -> None:
    _decided(exchange, await asked)


def _decided(exchange: Exchange, verdict: Verdict) -> None:
    """Let the call go on with `verdict`, or raise its refusal."""
    exchange.told = told(verdict, exchange.call.door.dialect)
    refusal = verdict.refusal
    if refusal is not None:
        lines = {name.decode().replace("-", "_"): value.decode() for name, value in exchange.told}
        raise RefusedError(refusal.status, refusal.code, refusal.message, **lines)
    exchange.verdict = verdict
