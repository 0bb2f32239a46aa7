"""Thousands of days in the life of the gateway: the real one, over providers in memory, on a loop whose order is drawn.

    python -m tests.gateway.simulation --seeds 10000       # all; prints each failing seed with what broke
    python -m tests.gateway.simulation --seed 4711         # one, with its whole course

A seed is a configuration, a handful of calls and what happens to them: faults, clients that leave or read slowly, a
reload, a stop, commands. The same seed is the same run, step by step. What must hold is judged from the bytes that
clients got, what providers saw, and the books kept here (`_Book`), not from what the gateway believes of itself; only
at the end is it asked what it still holds. `simulation_bugs.py` shows that the rules bite.
"""

import argparse
import asyncio
import collections
import itertools
import logging
import math
import random
import sys
import time

from tests.gateway.simulation_client import Caller, doubled
from tests.gateway.simulation_loop import START, Loop, StuckError, held, run
from tests.gateway.simulation_provider import VOICES, Net, Provider
from understudy import clock
from understudy.gateway import admin, arranging, settings
from understudy.gateway.app import Gateway
from understudy.gateway.routing import Routing, configured
from understudy.resilience import Change
from understudy.resilience.health import SPELL

EPSILON = 0.05
"""Seconds that a call may last beyond its deadline, for what is said at its end."""

_FREE, _WAYS, _OMISSIONS = 1, 3, 3
"""Tries at a target that no setting counts: one after a stale connection, ways to go on, things left out."""

_SCOPES = ("endpoint", "key", "key-model", "account", "model", "provider")

NAMES = sorted(VOICES)


class _Book:
    """Who is to be left alone, kept beside the gateway's own books: from what it has told, and what was sent."""

    def __init__(self, gateway, wrong, note):
        self.wrong, self.note, self.gateway = wrong, note, gateway
        self.cooling = {}  # (scope's name) -> (since, until)
        self.open = {}  # place -> (since, until)
        self.drained = {}
        self.tried = {}
        self.told = []
        gateway.health.tell.append(self.tell)
        self._send, gateway.health.sent = gateway.health.sent, self.sent
        self._again, gateway.health.again = gateway.health.again, self.again
        self._same = None  # the place that a call is about to try once more

    def tell(self, change):
        now, place = clock.monotonic(), change.place
        self.told.append((now, change))
        self.note(f"{change.what} of {place.provider}/{place.model} {place.key[:6]}, {change.scope} {change.kind}")
        if change.what == "cooldown":
            self.cooling[place.within(change.scope)] = (now, now + change.seconds)
        elif change.what == "cooldown_over":
            self.cooling.pop(place.within(change.scope), None)
        elif change.what == "breaker_open":
            self.open[place] = (now, now + change.seconds)
        elif change.what == "breaker_closed":
            self.open.pop(place, None)
        elif change.what == "drained":
            self.drained[(place.provider, place.model)] = now
        elif change.what == "reopened":
            self.drained.pop((place.provider, place.model), None)
            self.open.pop(place, None)
            for scope in _SCOPES:
                self.cooling.pop(place.within(scope), None)

    def again(self, target, now):
        self._same = target.place
        self._again(target, now)

    def sent(self, target, tokens, now, *, first):
        """A call goes to `target`. One that was there already may try once more, though others are to stay away."""
        same, self._same = self._same, None
        if target.cooldown and target.place != same:
            self._check(target.place, now, first)
        return self._send(target, tokens, now, first=first)

    def _check(self, place, now, first):
        names = [place.within(scope) for scope in _SCOPES]
        running = [self.cooling[name] for name in names if name in self.cooling]
        if self.drained.get((place.provider, place.model), now) < now:
            self.wrong.append(f"a call was sent to {place.provider}/{place.model}, which had been drained")
        since, until = self.open.get(place, (now, now))
        if since < now < until:
            self.wrong.append(f"a call was sent to {place.provider}/{place.model} behind an open breaker")
        if any(since < now < until for since, until in running):
            # One that has nowhere else to go may try all the same, now and then.
            if not first or now - self.tried.get(place, -math.inf) < SPELL - 1e-6:
                self.wrong.append(f"a call was sent to {place.provider}/{place.model}, which was to be left alone")
            self.tried[place] = now

    def check_long_waits(self, exchange):
        """Who asked for a long wait is left alone from then on."""
        for attempt in exchange.attempts:
            fault = attempt.fault
            if fault is None or fault.kind not in ("rate_limit", "token_rate_limit") or attempt.action == "hedged":
                continue
            if fault.retry_after is None or fault.retry_after <= 2.0 or exchange.splice is not None:
                continue
            name = attempt.target.split("/")[0]
            known_at = exchange.ended if exchange.route.hedge else attempt.ended  # a race tells when it is over
            kept = next(target.cooldown for target in exchange.route.targets if target.name == attempt.target)
            if kept and not any(
                change.place.provider == name and change.what == "cooldown" and when <= known_at + 1e-6
                for when, change in self.told
            ):
                self.wrong.append(f"{attempt.target} asked for {fault.retry_after:g} s and was not left alone")


class Run:
    """One seed, from its configuration to its verdict."""

    def __init__(self, seed):
        self.seed = seed
        self.chance = random.Random(seed)
        self.loop = Loop(random.Random(seed ^ 0x5EED))
        self.wrong = []
        self.trace = []
        self.exchanges = []
        self.callers = []
        self.stops = False

    def note(self, text):
        self.trace.append(f"{self.loop.now - START:9.3f}  {text}")

    # -- the scenario --------------------------------------------------------------------------------------------------

    def _providers(self):
        chance = self.chance
        found = {}
        for number in range(chance.randint(1, 4)):
            dialect = chance.choice(NAMES)
            server = Provider(f"p{number}", dialect, random.Random(chance.random()), self.note)
            self.net.providers[f"p{number}.test"] = server
            continues = chance.choice(("prefill", "prefill", "no"))
            if dialect in ("openai-completions", "openai-responses"):
                continues = "no"
            found[f"p{number}"] = settings.Provider(
                dialect=dialect,
                base_url=f"http://p{number}.test",
                api_keys=[f"key-{number}-{key}" for key in range(chance.choice((1, 1, 2, 3)))],
                continues=continues,
                cooldown=chance.random() < 0.85,
            )
        return found

    def _routing(self, providers):
        chance = self.chance
        names = [f"{name}/{model}" for name in providers for model in ("m", "n")]
        config = settings.Config(
            server=settings.Server(stored_responses="off", max_open=chance.choice((3, 4096))),
            providers=providers,
            defaults=settings.Defaults(
                connect_timeout=1.0, first_token_timeout=3.0, answer_timeout=6.0, liveness_timeout=2.0,
                progress_timeout=4.0,
            ),
            routes={name: self._route(names) for name in ("r0", "r1")},
        )  # fmt: skip
        made = [configured(name, values, {}, self.net, "") for name, values in providers.items()]
        return Routing(config, made)

    def _route(self, names):
        chance = self.chance
        targets = chance.sample(names, chance.randint(1, min(4, len(names))))
        return settings.Route(
            targets=targets,
            deadline=chance.choice((2.0, 8.0, 30.0)),
            retries=chance.choice((0, 1, 1, 2)),
            order=chance.choice(("listed", "listed", "weighted", "least_loaded")),
            affinity=chance.random() < 0.2,
            keep_alive=chance.choice((0.0, 0.0, 0.5, 2.0)),
            hedge=chance.random() < 0.15,
            mid_stream=chance.choice(("continue", "continue", "instruct", "instruct", "error")),
        )

    async def main(self):
        chance = self.chance
        self.net = Net(self.loop, chance, self.note)
        providers = self._providers()
        self.gateway = gateway = Gateway(self._routing(providers), self.net, [])
        gateway.observers.append(self.exchanges.append)
        self.book = _Book(gateway, self.wrong, self.note)
        if chance.random() < 0.3:
            self._known_for_speed()
        events = [(self._moment(), self._call, ()) for _ in range(chance.choice((1, 2, 4, 8, 12)))]
        if chance.random() < 0.3:
            events.append((self._moment(), self._reload, (providers,)))
        events += [(self._moment(), self._command, ()) for _ in range(chance.choice((0, 0, 1, 4)))]
        if chance.random() < 0.12:
            events.append((self._moment() + 1.0, self._stop, ()))
        for when, happen, details in events:
            self.loop.call_later(when, happen, *details)
        await asyncio.sleep(max(when for when, *_ in events) + 0.001)
        while waiting := [caller.task for caller in self.callers if not caller.task.done()]:
            await asyncio.wait(waiting)
        await asyncio.sleep(70)  # what was let go of has drained, what was kept has aged out
        self._judge()
        self._tell_attempts()
        await gateway.close()

    def _moment(self):
        """Moments coincide often: what happens at once is what goes wrong."""
        return round(self.chance.random() ** 2 * self.chance.choice((0.2, 2, 20)), 1)

    def _known_for_speed(self):
        """Its targets have answered before, so that hedging knows when it is late."""
        health, now = self.gateway.health, clock.monotonic()
        for target in self.gateway.routing.known():
            for _ in range(30):
                health.latencies.started(target.place, now)
                health.latencies.answered(target.place, 0.02, now)
                health.latencies.ended(target.place)
        for _ in range(400):
            health.hedges.wait(None, now, stateful=False)

    def _call(self):
        chance = self.chance
        dialect, route = chance.choice(NAMES), chance.choice(("r0", "r1"))
        caller = Caller(self.gateway, len(self.callers), dialect, route, chance=chance, note=self.note)
        caller.task = self.loop.create_task(caller.run())
        self.callers.append(caller)
        if chance.random() < 0.2:
            self.loop.call_later(chance.choice((0.0, 0.05, 0.3, 1.0, 4.0)), caller.leave)

    def _reload(self, providers):
        self.note("reload")
        left = dict(providers)
        if len(left) > 1 and self.chance.random() < 0.5:
            left.popitem()
        self.reloading = self.loop.create_task(self.gateway.adopt(self._routing(left), []))

    def _command(self):
        chance, gateway = self.chance, self.gateway
        known = gateway.routing.known()
        target = chance.choice(known)
        what = chance.choice(("drain", "reopen", "cool", "replica"))
        self.note(f"command: {what} {target.name}")
        if what == "replica":
            seconds = chance.choice((0.2, 1.0, 4.0))
            change = Change("breaker_open", target.place, seconds=seconds)
            gateway.health.apply(change, clock.monotonic())
            since, until = self.book.open.get(target.place, (clock.monotonic(), 0.0))
            self.book.open[target.place] = (since, max(until, clock.monotonic() + seconds))
        else:
            seconds = chance.choice((0.5, 3.0)) if what == "cool" else None
            admin.obey(admin.Command(target.name, what, seconds), gateway.routing, gateway.health)

    def _stop(self):
        self.note("told to stop")
        self.stops = self.gateway.stopping = True
        self.loop.call_later(self.chance.choice((0.0, 0.5, 5.0)), self._give_up_on_calls)

    def _give_up_on_calls(self):
        self.note("stopped")
        for caller in self.callers:
            caller.stop()

    def _tell_attempts(self):
        """For people: what the gateway's records say."""
        for caller in self.callers:
            exchange = caller.exchange
            if exchange is None:
                continue
            route = exchange.route
            self.note(
                f"call {caller.number}: deadline {route.deadline:g}, retries {route.retries}, hedge {route.hedge}"
            )
            for attempt in exchange.attempts:
                moments = (attempt.started, attempt.connected, attempt.head, attempt.first_content, attempt.ended)
                told = ", ".join("-" if when is None else f"{when - START:.3f}" for when in moments)
                kind = attempt.fault and f"{attempt.fault.kind} ({attempt.fault.message})"
                self.note(f"    {attempt.target} {told} {attempt.way or ''} {attempt.action}: {kind}")

    # -- the verdict ---------------------------------------------------------------------------------------------------

    def _judge(self):
        providers = list(self.net.providers.values())
        for caller in self.callers:
            first = next(iter(caller.exchange.attempts), None) if caller.exchange is not None else None
            told = set().union(*(server.told[caller.number] for server in providers))
            emptied = any(caller.number in server.emptied for server in providers) and first is not None
            for what in caller.judge(told, emptied):
                self.wrong.append(f"call {caller.number} ({caller.dialect}): {what}")
            self._judge_task(caller)
            if caller.exchange is not None:
                self._judge_times(caller)
                self._judge_attempts(caller)
                if not caller.left and not caller.stopped:
                    self.book.check_long_waits(caller.exchange)
        over = {caller.number: caller.ended for caller in self.callers}
        for server in providers:
            for when, number, _key in server.arrivals:
                if when > over[number] + 1e-6:
                    self.wrong.append(f"{server.name} got call {number} after that was over")
        self._judge_rest()

    def _judge_task(self, caller):
        task = caller.task
        if task.cancelled():
            if not caller.left and not caller.stopped:
                self.wrong.append(f"call {caller.number} was cancelled by nobody")
        elif task.exception() is not None:
            self.wrong.append(f"call {caller.number} raised {task.exception()!r}")

    def _judge_times(self, caller):
        exchange = caller.exchange
        lasted = caller.ended - caller.began - caller.blocked
        if lasted > exchange.route.deadline + EPSILON:
            self.wrong.append(f"call {caller.number} lasted {lasted:.3f} s of {exchange.route.deadline:g}")
        if exchange.outcome is None or exchange.ended is None:
            self.wrong.append(f"call {caller.number} has no outcome")
        for attempt in exchange.attempts:
            times = [attempt.started, attempt.connected, attempt.head, attempt.first_content, attempt.ended]
            known = [when for when in times if when is not None]
            if attempt.ended is None or known != sorted(known):
                self.wrong.append(f"call {caller.number}: times of an attempt at {attempt.target}: {times}")
            running = exchange.outcome in ("client_left", "stopped")
            if attempt.action is None and not running:
                self.wrong.append(f"call {caller.number}: nothing was decided about {attempt.target}")

    def _judge_attempts(self, caller):
        exchange = caller.exchange
        keys = {target.name: max(1, len(target.keys)) for target in exchange.route.targets}
        for name, count in doubled(exchange.attempts).items():
            most = keys[name] * (1 + exchange.route.retries + _FREE + _WAYS + _OMISSIONS)
            if exchange.splice is None and not exchange.omissions:
                most = keys[name] * (1 + exchange.route.retries + _FREE)
            if count > most:
                self.wrong.append(f"call {caller.number}: {count} attempts at {name}, at most {most} are allowed")
        answered = [attempt for attempt in exchange.attempts if attempt.action == "answered"]
        if len(answered) > 1 or (answered and exchange.attempts[-1] is not answered[0]):
            self.wrong.append(f"call {caller.number}: answered {len(answered)} times, or not by the last")

    def _judge_rest(self):
        """What is left when all calls are over."""
        gateway, health, net = self.gateway, self.gateway.health, self.net
        for place, known in health.limiter._targets.items():
            if known.flying:
                self.wrong.append(f"{known.flying} places are taken at {place.provider} by nobody")
        for place, known in health.latencies._targets.items():
            if known.flying:
                self.wrong.append(f"{known.flying} calls are counted at {place.provider}, which are over")
        for place, breaker in health.breakers.troubled.items():
            if breaker.probe != -math.inf:
                self.wrong.append(f"a probe of {place.provider} was never given back")
        if gateway.open:
            self.wrong.append(f"{gateway.open} calls are open")
        for origin in net._origins.values():
            if origin.open_connections or origin.idle_connections or origin.waiting:
                self.wrong.append(f"{origin.label}: {origin.open_connections} connections left, {origin.waiting} wait")
        left = sum(not made.lost for made in net.wires)
        if left:
            self.wrong.append(f"{left} connections were never closed")
        seen = collections.Counter(id(exchange) for exchange in self.exchanges)
        if any(count != 1 for count in seen.values()):
            self.wrong.append("an exchange was reported twice")


def simulate(seed):
    """Run `seed`; returns what was wrong (nothing, one hopes) and the course of it."""
    arranging._turns = itertools.count()
    made = Run(seed)
    logger = logging.getLogger("understudy")
    disabled, logger.disabled = logger.disabled, True
    try:
        with held(made.loop, seed):
            try:
                for task in run(made.loop, made.main()):
                    made.wrong.append(f"a task was left: {task.get_coro()!r}")
            except StuckError as stuck:
                made.wrong.append(f"stuck: {stuck}")
    finally:
        logger.disabled = disabled
    for context in made.loop.raised:
        made.wrong.append(f"raised in a callback: {context.get('message')}: {context.get('exception')!r}")
    return made.wrong, made.trace


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    if options.seed is not None:
        wrong, trace = simulate(options.seed)
        print(*trace, *[f"WRONG: {what}" for what in wrong], sep="\n")
        return bool(wrong)
    began, failed = time.monotonic(), 0
    for number, seed in enumerate(range(options.first, options.first + options.seeds), 1):
        wrong, _ = simulate(seed)
        if wrong:
            failed += 1
            print(f"\rseed {seed}:", *wrong, sep="\n    ")
        if number % 100 == 0 and sys.stderr.isatty():
            print(f"\r{number} of {options.seeds}, {failed} failed", end="", file=sys.stderr)
    print(f"{options.seeds} seeds, {failed} failed, {time.monotonic() - began:.0f} s")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
