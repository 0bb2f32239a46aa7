"""One call from target to target, until one answers or none is left.

Decisions are `resilience/`'s; this file carries them out. Whoever wants to know what Understudy does reads `run` first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from understudy import clock
from understudy.canon import Fault
from understudy.gateway import hedging, omissions, relay, splicing
from understudy.gateway.client import Client
from understudy.gateway.queueing import Queue
from understudy.gateway.record import Attempt, Exchange, Failure, Outcome
from understudy.gateway.routing import Target
from understudy.gateway.telling import concealed, give_up
from understudy.resilience import Reaction, State, react, row, splice
from understudy.upstream import Client as Transport

log = logging.getLogger("understudy")

Attempting = Callable[[Target, Exchange, Client, Transport], Coroutine[Any, Any, Failure | None]]
"""One try at a target: `relay.attempt` for a chat, `operate.attempt` for what is done beside it."""


def run(
    exchange: Exchange, client: Client, transport: Transport, attempt: Attempting = relay.attempt
) -> Coroutine[Any, Any, Outcome]:
    """Answer the call from the first target of its route that can. Returns how it ended; the client has its answer."""
    return _Run(exchange, client, transport, attempt).answered()


class _Run:
    """One call on its way. `_broke` counts the failures before the one by which an answer that had begun broke off."""

    __slots__ = (
        "_attempt", "_broke", "_client", "_exchange", "_failures", "_free", "_health", "_queue", "_retries",
        "_transport",
    )  # fmt: skip

    def __init__(self, exchange: Exchange, client: Client, transport: Transport, attempt: Attempting) -> None:
        self._exchange = exchange
        self._client = client
        self._transport = transport
        self._attempt = attempt
        self._health = exchange.health
        self._queue = Queue(exchange)
        self._failures: list[tuple[Target, Failure]] = []
        self._broke = 0
        self._retries = self._free = 0

    async def answered(self) -> Outcome:
        while (target := self._queue.next() or await self._queue.later()) is not None:
            action = await self._at(target)
            if action == "answered":
                return "answered"
            if action == "surface":
                break
            self._queue.moved = True
        failures = self._failures or self._queue.refusals()
        return await give_up(self._exchange, failures, self._client, self._broke)

    async def _at(self, target: Target) -> str:
        """Try `target` until it has answered ("answered"), or what failed says to go on ("fail_over") or "surface"."""
        exchange, health = self._exchange, self._health
        self._retries, self._free = exchange.route.retries, 1
        while True:
            going_on = exchange.splice
            if going_on is not None and not going_on.use(target):
                health.dropped(target, clock.monotonic(), clock.monotonic())
                return "fail_over"
            record = Attempt(target)
            record.way = going_on.way if going_on is not None else None
            record.mark = health.sent(target, self._queue.tokens, record.started, first=not exchange.attempts)
            exchange.attempts.append(record)
            silence = hedging.silence(target, exchange) if exchange.route.hedge else None
            if silence is None:
                try:
                    failure = await self._attempt(target, exchange, self._client, self._transport)
                except BaseException:
                    self._given_up(target, record)
                    raise
                record.ended = now = clock.monotonic()
            else:
                target, failure = await self._hedged(target, silence)
                record, now = exchange.attempts[-1], clock.monotonic()
            if failure is None:
                record.action = "answered"
                health.answered(target, record.started, record.first_content, now)
                return "answered"
            failure = concealed(failure, target.provider.secrets)
            reaction = self._reaction(target, failure, now)
            record.fault, record.action = failure.fault, reaction.action
            health.failed(target, record.started, failure.fault, reaction, now)
            if reaction.tell:
                fault = failure.fault
                # Before a provider has spoken the words are our own.
                why = fault.message if fault.phase == "connect" else f"status {fault.status}, code {fault.code}"
                log.warning("%s: %s (%s)", target.name, row(fault.kind).what, why)
            if reaction.action != "retry":
                return reaction.action
            await clock.sleep(reaction.delay)
            now = clock.monotonic()
            if self._queue.others() and health.lasting(target, now) is not None:
                # Meanwhile it has been found down, or this was the one call that was to try it.
                record.action = "fail_over"
                return "fail_over"
            health.again(target, now)

    def _given_up(self, target: Target, record: Attempt) -> None:
        """An attempt ended without a word: its place at the target is given back."""
        record.ended = now = clock.monotonic()
        self._health.dropped(target, record.started, now)

    def _reaction(self, target: Target, failure: Failure, now: float) -> Reaction:
        """What to do about a failure, with what is left; and notes of what that uses up."""
        exchange, client, fault = self._exchange, self._client, failure.fault
        self._broke += not client.committed
        self._failures.append((target, failure))
        going_on = self._go_on(target, fault)
        if going_on is not None:
            self._free = len(going_on.left(target))
        omission = omissions.possible(exchange, target, fault)
        reaction = react(
            fault,
            State(
                retries=self._retries if self._health.may_retry(target, self._queue.tokens, now) else 0,
                others=self._queue.others(),
                free=self._free,
                committed=client.committed,
                continues=going_on is not None,
                moved=self._failures[0][0] is not target,
                remaining=exchange.deadline - now,
                jitter=clock.random(),
                wall=clock.wall(),
                without=omission is not None,
            ),
        )
        if reaction.action == "retry":
            if reaction.without is not None and omission is not None:
                omissions.note(exchange, target, omission)
            self._retries -= not reaction.free
            self._free -= reaction.free
            if going_on is not None and not reaction.free:
                going_on.again(target)
        return reaction

    def _go_on(self, target: Target, fault: Fault) -> splicing.Splice | None:
        """The state of an answer that another attempt may go on with, after `fault`; None if none may."""
        exchange, state = self._exchange, self._exchange.splice
        if not self._client.committed:
            return None
        if state is None:
            exchange.splice = splicing.begin(exchange, fault)
        elif splice.obstacle(exchange.call.request(), state.said) is not None:
            exchange.splice = None  # what went on has begun something that cannot be gone on with
        else:
            state.broke(target, fault)
            if fault.kind == "prefill_rejected":
                target.prefills = False
        return exchange.splice

    async def _hedged(self, target: Target, silence: float) -> tuple[Target, Failure | None]:
        """Try `target`, and the next one beside it when it keeps silent. Returns whose answer it was."""
        exchange, health = self._exchange, self._health
        owed = [(target, exchange.attempts[-1])]  # whose places at their targets are not yet given back

        async def trying(target: Target, exchange: Exchange, client: Client) -> Failure | None:
            record = exchange.attempts[-1]
            try:
                failure = await self._attempt(target, exchange, client, self._transport)
            except BaseException:
                owed.remove((target, record))
                self._given_up(target, record)
                raise
            record.ended = clock.monotonic()
            return failure

        async def another() -> tuple[Target, Attempt] | None:
            other = self._queue.next()
            if other is None:
                return None
            beside = Attempt(other)
            beside.mark = health.sent(other, self._queue.tokens, beside.started, first=False)
            exchange.attempts.append(beside)
            owed.append((other, beside))
            return other, beside

        try:
            *others, last = await hedging.race(target, exchange, self._client, trying, another, wait=silence)
        except BaseException:
            for left, record in owed:  # one may have failed and not been told of, or never have come to run
                self._given_up(left, record)
            raise
        for tried in others:
            tried.record.action = "hedged"
            if tried.failure is not None:
                fault = concealed(tried.failure, tried.target.provider.secrets).fault
                tried.record.fault = fault
                reaction = react(fault, State(retries=0, others=1))
                health.failed(tried.target, tried.record.started, fault, reaction, clock.monotonic())
            elif (tried.target, tried.record) in owed:  # it lost before it came to run
                self._given_up(tried.target, tried.record)
        return last.target, last.failure
