"""In which order a call tries the targets of its route, and with which keys."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence

from understudy import clock
from understudy.gateway.record import Exchange
from understudy.gateway.routing import Target
from understudy.resilience import arrange, rotate

_SESSION = b"x-understudy-session"

_BEGINNING = 1024
"""Bytes of a request that tell its conversation: the model, the system prompt, the first words. Providers' prompt
caches go by the same beginning."""

_turns = itertools.count()


def arranged(exchange: Exchange) -> Sequence[Target]:
    """The targets of the call's route, those first that it should try first."""
    route = exchange.route
    targets: Sequence[Target] = route.targets
    if route.order != "listed" and len(targets) > 1:
        health, now = exchange.health, exchange.started
        shares = dict(zip(targets, route.weights, strict=False))
        targets = arrange(
            targets,
            route.order,
            chance=clock.random(),
            affinity=_conversation(exchange) if route.affinity else "",
            weight=(lambda target: shares.get(target, 1.0)) if shares else None,
            load=lambda target: health.latencies.load(target.place, now),
        )
    if any(target.keys for target in targets):
        targets = [one for target in targets for one in _by_key(target, exchange)]
    return targets


def _conversation(exchange: Exchange) -> str:
    named = exchange.call.headers.get(_SESSION)
    return hashlib.blake2b(named or exchange.call.body[:_BEGINNING], digest_size=16).hexdigest()


def _by_key(target: Target, exchange: Exchange) -> Sequence[Target]:
    """`target` with each of its keys, best first."""
    if not target.keys:
        return (target,)
    health = exchange.health
    known = {one.place: one for one in target.keys}
    order = rotate(list(known), health.cooldowns, health.quotas, exchange.started, turn=next(_turns))
    return [known[place] for place in order]
