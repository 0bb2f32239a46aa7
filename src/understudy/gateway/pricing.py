"""What calls use and cost: as expected when they come, for budgets, and as it was when they are over.

Every attempt is priced once, here; budgets, the ledger and the figures read what stands on it then. A cost that nobody
knows is None, never 0.

**Before a call** nobody knows how long its answer will be. For rate limits it counts as OpenAI counts its own: the
larger of the prompt, by its characters, and of `max_tokens` ("Rate limits", "Reduce the max_tokens to match the size of
your completions"; platform.openai.com/docs/guides/rate-limits). So who sends no `max_tokens` is not refused for tokens
that an answer could have had; what was used is booked when the call has ended. Budgets are sums that must not be
exceeded: there prompt and answer both count, the answer as long as it may be, or, where nothing is said, as long as the
key's other answers lately (`Lengths`).
"""

from __future__ import annotations

import logging

import msgspec

from understudy.canon import Usage
from understudy.gateway import settings
from understudy.gateway.record import Exchange
from understudy.gateway.recording import tokens_of, usage_of, uses_of
from understudy.ledger.cost import Charge, Prices

ANSWER = 500.0
"""Tokens that an answer is taken to have, where neither its call nor the key's other answers tell. Those of two coding
agents have 415 and 690 on average (SyFI TraceLab, tracelab.cs.washington.edu, "Token length distribution").
"""

_WEIGHT = 0.1
"""Of the latest answer in what is expected of the next: about the last twenty count."""

_SECONDS = 10.0
"""How long a call to a target with a price per hour is taken to last, until `Purse.scaled` has learnt better."""

log = logging.getLogger("understudy")


class Expected(msgspec.Struct, gc=False):
    """What a call may use of budgets: tokens, prompt and answer, and micro-dollars; None where nobody knows a price."""

    tokens: float
    cost: int | None = None


class Lengths:
    """How long the answers of a key are whose calls do not say how long they may be."""

    def __init__(self) -> None:
        self._means: dict[str, float] = {}

    def mean(self, key: str) -> float:
        return self._means.get(key, ANSWER)

    def learn(self, key: str, tokens: int) -> None:
        mean = self.mean(key)
        self._means[key] = mean + (tokens - mean) * _WEIGHT


def prices(config: settings.Config) -> Prices:
    """What targets cost: the price list, and the owner's prices before it."""
    own = {name: values.prices for name, values in config.providers.items() if values.prices is not None}
    for name, values in config.providers.items():
        own |= {f"{name}/{model}": price for model, price in values.model_prices.items()}
    return Prices(own)


def counted(exchange: Exchange) -> float:
    """The tokens that a call takes from limits on tokens when it comes."""
    call, uses = exchange.call, uses_of(exchange)
    return 0.0 if uses == "nothing" else call.size() if uses == "prompt" else call.tokens()


def expected(exchange: Exchange, known: Prices, answer: float, *, in_usd: bool) -> Expected:
    """What a call may take from budgets. `answer` is how long an answer without a bound is expected to be; `in_usd`:
    whether anybody wants to know what that costs.

    That is what the dearest target of its route would cost. A target without a price does not count, as long as the
    call does not begin there: what it cost at such a one is unknown and stays as it was expected.
    """
    call, uses = exchange.call, uses_of(exchange)
    if uses == "nothing":
        return Expected(0.0, 0)
    prompt = call.size()
    written = float(call.bound() or answer) if uses is None else 0.0 if uses == "prompt" else None
    tokens = prompt + (prompt if written is None else written)
    if not in_usd:
        return Expected(tokens)
    usage = Usage(int(prompt), None if written is None else int(written), estimated=True)
    costs: list[int] = []
    for place, target in enumerate(exchange.route.targets):
        charge = known.charge(target.name, usage, at=exchange.wall, seconds=_SECONDS)
        if charge is not None:
            costs.append(charge.micro)
        elif place == 0 or exchange.route.order != "listed":
            return Expected(tokens)
    return Expected(tokens, max(costs, default=None))


def note(exchange: Exchange, known: Prices) -> None:
    """Write on each attempt what it cost, as far as anybody knows; of estimated tokens, the price of these.

    On an answer out of the cache, what it would have cost.

    A mistake in here must not cost a client its answer.
    """
    try:
        for attempt in exchange.attempts:
            usage = usage_of(attempt, exchange)
            if usage is None and (tokens := tokens_of(attempt, exchange)) is not None:
                usage = Usage(tokens.input, tokens.output, estimated=True)
            seconds = None if attempt.ended is None else attempt.ended - attempt.started
            attempt.charge = known.charge(
                attempt.target,
                usage,
                at=exchange.wall,
                answered_by=attempt.answered_by,
                tier=attempt.tier,
                seconds=seconds,
            )
        if (hit := exchange.hit) is not None:
            hit.charge = known.charge(hit.target, hit.usage, at=exchange.wall)
    except Exception:
        log.exception("an exchange could not be priced")


def used(exchange: Exchange) -> tuple[int | None, int | None]:
    """Tokens and micro-dollars of all attempts that may be billed: those that gave content, or have a price all the
    same. None where that of one is not known.
    """
    tokens: list[int | None] = []
    costs: list[Charge | None] = []
    for attempt in exchange.attempts:
        if attempt.first_content is not None:
            told = tokens_of(attempt, exchange)
            known = told is not None and told.input is not None and told.output is not None
            tokens.append(told.input + told.output if known else None)  # type: ignore[union-attr,operator]
        if attempt.first_content is not None or attempt.charge is not None:
            costs.append(attempt.charge)
    micro = [charge.micro for charge in costs if charge is not None]
    counts = [count for count in tokens if count is not None]
    return sum(counts) if len(counts) == len(tokens) else None, sum(micro) if len(micro) == len(costs) else None


def written(exchange: Exchange) -> int | None:
    """The length of the answer, as its provider counted it, to a chat that did not say how long it may be."""
    last = exchange.attempts[-1]
    if exchange.outcome != "answered" or uses_of(exchange) is not None or exchange.call.bound():
        return None
    usage = usage_of(last, exchange)
    return None if usage is None else usage.output
