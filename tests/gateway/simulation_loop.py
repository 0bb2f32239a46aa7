"""An event loop whose time is a number and whose order is drawn: the same seed always gives the same run.

Whatever may run now runs in an order that chance decides, as it does in the world; timers jump ahead once nothing may.
That is stricter than asyncio, which keeps the order in which callbacks were asked for: code that passes here does not
depend on it. After FoundationDB's simulated network ("Testing Distributed Systems w/ Deterministic Simulation", 2014)
and Trio's mock clock.
"""

import asyncio
import contextlib
import heapq

from understudy import clock

START = 1_000_000.0

ORDERLY = 0.6
"""How often what is first in line runs first all the same."""

MOST = 400_000
"""Steps after which a run is called endless."""


class StuckError(Exception):
    """Nothing will ever happen again, or there is no end to it."""


class Loop(asyncio.BaseEventLoop):
    def __init__(self, chance):
        super().__init__()
        self.now = START
        self.steps = 0
        self.raised = []
        self._chance = chance.random
        self.set_exception_handler(lambda _loop, context: self.raised.append(context))

    def time(self):
        return self.now

    def _write_to_self(self):
        """Nobody sleeps who would have to be woken."""

    def _process_events(self, _events):
        """There are none: nothing here has a file descriptor."""

    def _run_once(self):
        ready, due = self._ready, self._scheduled
        if not ready:
            while due and due[0]._cancelled:
                self._timer_cancelled_count -= 1
                heapq.heappop(due)._scheduled = False
            if not due:
                raise StuckError("nothing is left that could happen")
            self.now = max(self.now, due[0]._when)
        while due and due[0]._when <= self.now:
            handle = heapq.heappop(due)
            handle._scheduled = False
            if handle._cancelled:
                self._timer_cancelled_count -= 1
            else:
                ready.append(handle)
        self.steps += 1
        if self.steps > MOST:
            raise StuckError(f"no end after {MOST} steps")
        at = 0
        if len(ready) > 1 and self._chance() > ORDERLY:
            at = int(self._chance() * len(ready))
        handle = ready[at]
        del ready[at]
        if not handle._cancelled:
            handle._run()


@contextlib.contextmanager
def held(loop, seed):
    """The clock shows `loop`'s time, and chance is `seed`'s."""
    real = clock.call_later, clock.sleep
    with clock.frozen(START, seed):
        clock.monotonic = loop.time
        clock.wall = lambda: 1_700_000_000.0 + loop.now
        clock.call_later, clock.sleep = real
        yield


def run(loop, main):
    """Run the coroutine `main` to its end; give the tasks that it left behind."""
    try:
        loop.run_until_complete(main)
        return [task for task in asyncio.all_tasks(loop) if not task.done()]
    finally:
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False
        loop.close()
