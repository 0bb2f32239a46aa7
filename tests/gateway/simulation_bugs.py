"""Mistakes that somebody might make, planted one at a time: the simulation must find each.

A bug is a function that changes the gateway through pytest's `monkeypatch` and is undone with it.
"""

import asyncio
import math
import sys

import msgspec

from understudy import clock
from understudy.canon import Delta, Ended, Finished, Used
from understudy.gateway import exchange, hedging, patience, queueing, splicing, telling, trail, translate
from understudy.gateway.app import Gateway
from understudy.gateway.record import Attempt
from understudy.resilience import breaker, cooldown, health, latency, limiter, splice
from understudy.upstream import Response, TransportError
from understudy.upstream.pool import Origin

react = sys.modules["understudy.resilience.react"]  # the package has a function of that name


def finish_after_cut(patch):
    """A broken stream is given an end as if it had been whole."""
    real = translate.next_events

    async def next_events(response, decoder):
        try:
            return await real(response, decoder)
        except TransportError:
            return [Finished(0, "stop"), Ended()]

    patch.setattr(translate, "next_events", next_events)


def words_twice(patch):
    """One piece of text goes out twice."""
    real = translate.next_events

    async def next_events(response, decoder):
        events = await real(response, decoder)
        deltas = [at for at, event in enumerate(events) if isinstance(event, Delta) and event.text]
        if len(deltas) > 1:
            events.insert(deltas[0], events[deltas[0]])
        return events

    patch.setattr(translate, "next_events", next_events)


def words_lost(patch):
    """What arrives together with the first content is forgotten when the stream is passed on as it came."""
    real = trail.writing

    def writing(exchange, client):
        write, first = real(exchange, client), True

        async def later(data):
            nonlocal first
            if first:
                first = False
                await write(data[: data.rfind(b"\n\n", 0, -2) + 2])
            else:
                await write(data)

        return later

    patch.setattr("understudy.gateway.relay.writing", writing)


def place_not_given_back(patch):
    """A client that leaves keeps its place at the target."""
    patch.setattr(health.Health, "dropped", lambda self, target, began, now: self.latencies.ended(target.place))


def limiter_forgets(patch):
    real = limiter.Limiter.release

    def release(self, place, outcome, now):
        if outcome != "overload":
            real(self, place, outcome, now)

    patch.setattr(limiter.Limiter, "release", release)


def cooldowns_ignored(patch):
    real = health.Health.lasting

    def lasting(self, target, now):
        found = real(self, target, now)
        return None if found is not None and found.why == "cooldown" else found

    patch.setattr(health.Health, "lasting", lasting)


def cooldowns_never_begin(patch):
    patch.setattr(cooldown.Cooldowns, "start", lambda self, place, scope, kind, now, seconds: cooldown.Cooldown(
        scope, kind, now - 1, now + seconds))  # fmt: skip


def breakers_ignored(patch):
    patch.setattr(breaker.Breakers, "state", lambda self, place, now: breaker._CLOSED)
    patch.setattr(breaker.Breakers, "admits", lambda self, place, now: True)


def drained_ignored(patch):
    real = health.Health.lasting

    def lasting(self, target, now):
        found = real(self, target, now)
        return None if found is not None and found.why == "drained" else found

    patch.setattr(health.Health, "lasting", lasting)


def retries_without_bound(patch):
    real = react.react

    def more(fault, state):
        return real(fault, msgspec.structs.replace(state, retries=1))

    patch.setattr(exchange, "react", more)


def began_twice(patch):
    real = translate._begin

    async def begin(client, *rest):
        await real(client, *rest)
        await client.start(200, translate._headers(rest[0]))

    patch.setattr(translate, "_begin", begin)


def error_swallowed(patch):
    patch.setattr(telling, "_broken", lambda exchange, fault: b"")


def error_told_twice(patch):
    real = telling._broken
    patch.setattr(telling, "_broken", lambda exchange, fault: 2 * real(exchange, fault))


def overlap_kept(patch):
    """What a continuation repeats of the answer is not dropped at the seam."""

    def join(self):
        self.joined = True
        return self._held

    patch.setattr(splice.Seam, "_join", join)


def replay_not_compared(patch):
    """An answer begun again counts as a continuation, whatever its first words."""

    def repeat(self, text):
        known = self._said[self._at : self._at + len(text)]
        self._at += len(known)
        self.joined = self._at == len(self._said)
        return text[len(known) :]

    patch.setattr(splice.Seam, "_repeat", repeat)


def connection_kept(patch):
    """Whoever is done with an answer before its end does not let go of it."""
    patch.setattr(Response, "cancel", lambda self: None)
    patch.setattr(Response, "release", lambda self: None)


def probe_kept(patch):
    patch.setattr(breaker.Breakers, "released", lambda self, place, began=math.inf: None)


def deadline_ignored(patch):
    real = Origin.send
    patch.setattr(Origin, "send", lambda self, head, body, clocks, deadline=math.inf: real(self, head, body, clocks))


def connecting_beyond_the_deadline(patch):
    """The deadline holds for answers, not for getting a connection."""
    real = Origin._acquire
    patch.setattr(Origin, "_acquire", lambda self, clocks, deadline=math.inf, **more: real(self, clocks, **more))


def usage_added_twice(patch):
    real = splicing._Joint.join

    def join(self, events):
        out = real(self, events)
        for at, event in enumerate(self._finish):
            if isinstance(event, Used):
                count = event.usage.output or 0
                self._finish[at] = Used(msgspec.structs.replace(event.usage, output=2 * count + 1))
        return out

    patch.setattr(splicing._Joint, "join", join)


def stop_says_nothing(patch):
    async def stopped(exchange, client):
        pass

    patch.setattr(telling, "stopped", stopped)


def comments_go_on(patch):
    """The comments that keep a waiting client's connection alive do not end when the answer begins."""

    async def hush(self):
        pass

    patch.setattr(patience.Patient, "_hush", hush)


def loads_never_end(patch):
    patch.setattr(latency.Latencies, "ended", lambda self, place: None)


def fault_raises(patch):
    """A mistake in what only some faults go through."""
    real = react._cooling

    def cooling(fault, entry, wall):
        if fault.retry_after is not None and fault.retry_after > 20:
            raise KeyError(fault.kind)
        return real(fault, entry, wall)

    patch.setattr(react, "_cooling", cooling)


def every_target_again(patch):
    """A call that has been everywhere begins anew."""
    real = queueing.Queue.later

    async def later(self):
        found = await real(self)
        if found is None and self._targets and self._exchange.splice is None and len(self._exchange.attempts) < 60:
            self._health.again(self._targets[0], clock.monotonic())
            return self._targets[0]
        return found

    patch.setattr(queueing.Queue, "later", later)


def task_left(patch):
    """Something is started for each call and never ended."""
    real = Gateway._run

    async def run(self, *rest):
        self.forgotten = asyncio.ensure_future(asyncio.Event().wait())
        await real(self, *rest)

    patch.setattr(Gateway, "_run", run)


def race_called_off(patch):
    """A race that is called off does not give back the place of who had failed in it before."""

    async def hedged(self, target, silence):
        known, call = self._exchange, self._health

        async def trying(target, view, client):
            record = view.attempts[-1]
            try:
                return await self._attempt(target, view, client, self._transport)
            except BaseException:
                self._given_up(target, record)
                raise
            finally:
                record.ended = clock.monotonic()

        async def another():
            other = self._queue.next()
            if other is None:
                return None
            beside = Attempt(other)
            beside.mark = call.sent(other, self._queue.tokens, beside.started, first=False)
            known.attempts.append(beside)
            return other, beside

        *others, last = await hedging.race(target, known, self._client, trying, another, wait=silence)
        for tried in others:
            tried.record.action = "hedged"
            if tried.failure is not None:
                reaction = react.react(tried.failure.fault, react.State(retries=0, others=1))
                call.failed(tried.target, tried.record.started, tried.failure.fault, reaction, clock.monotonic())
        return last.target, last.failure

    patch.setattr(exchange._Run, "_hedged", hedged)


def waiting_beyond_the_deadline(patch):
    """Who waits for a busy target looks at the clock too seldom."""
    patch.setattr(queueing, "_SHORTEST", 5.0)


BUGS = [
    finish_after_cut, words_twice, words_lost, place_not_given_back, limiter_forgets, cooldowns_ignored,
    cooldowns_never_begin, breakers_ignored, drained_ignored, retries_without_bound, began_twice, error_swallowed,
    error_told_twice, overlap_kept, replay_not_compared, connection_kept, probe_kept, deadline_ignored,
    connecting_beyond_the_deadline, usage_added_twice, stop_says_nothing, comments_go_on, loads_never_end, fault_raises,
    every_target_again, task_left, race_called_off, waiting_beyond_the_deadline,
]  # fmt: skip
