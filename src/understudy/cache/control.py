"""`Cache-Control`, as far as it concerns a cache that keeps what is fresh and nothing else. RFC 9111, section 5.2."""

from __future__ import annotations

import math

import msgspec


class Asked(msgspec.Struct, frozen=True):
    """What a client asks of the cache. `max_age` and `min_fresh` are seconds: how old an answer may be, and for how
    long it must still be fresh. `no_store`: this call leaves no trace. `only_if_cached`: no provider is to be called.
    """

    no_store: bool = False
    only_if_cached: bool = False
    max_age: float = math.inf
    min_fresh: float = 0.0

    def takes(self, age: float, left: float) -> bool:
        """Whether an answer of that age will do, that stays fresh for `left` seconds."""
        return age <= self.max_age and left >= self.min_fresh


ANYTHING = Asked()


def asked(value: bytes | None) -> Asked:
    """What a request's `Cache-Control` says. `max-stale` changes nothing: what is stale has been deleted."""
    if not value:
        return ANYTHING
    said = _directives(value)
    return Asked(
        no_store="no-store" in said,
        only_if_cached="only-if-cached" in said,
        max_age=-1.0 if "no-cache" in said else _seconds(said, "max-age", math.inf),
        min_fresh=_seconds(said, "min-fresh", 0.0, unreadable=math.inf),
    )


def forbidden(value: bytes) -> bool:
    """Whether the `Cache-Control` of a provider's answer forbids to keep it.

    Only `no-store` does: `no-cache` and `private` come with nearly every stream, for the sake of proxies that buffer.
    """
    return "no-store" in _directives(value)


def _directives(value: bytes) -> dict[str, str]:
    pairs = (part.partition("=") for part in value.decode("latin-1").split(","))
    return {name.strip().lower(): text.strip().strip('"') for name, _, text in pairs}


def _seconds(said: dict[str, str], name: str, without: float, unreadable: float = -1.0) -> float:
    """What cannot be read is taken for the strictest value (RFC 9111, 4.2.1: such an answer counts as stale)."""
    text = said.get(name)
    if text is None:
        return without
    return float(text[:10]) if text.isascii() and text.isdigit() else unreadable
