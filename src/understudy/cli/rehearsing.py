"""A rehearsal as the command line has it: the gateway's engine in this process, a budget, and a bar that shows how far
it is.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from understudy.canon import Usage
from understudy.cli.opening import fail
from understudy.dialects import Malformed
from understudy.gateway.assemble import assemble
from understudy.gateway.call import BadCallError
from understudy.gateway.config import Loaded
from understudy.gateway.gating import folder
from understudy.gateway.pricing import prices
from understudy.gateway.replaying import Replayer
from understudy.gateway.routing import NoRouteError
from understudy.rehearsal import replay
from understudy.rehearsal.analysis import Analysis, analysis
from understudy.rehearsal.readiness import write
from understudy.rehearsal.replay import Budget, Estimate, Progress, Reply, Results, Role
from understudy.rehearsal.scores import Score
from understudy.rehearsal.scoring import scored
from understudy.rehearsal.suite import Case, Suite
from understudy.rehearsal.verdict import Readiness, decided

if TYPE_CHECKING:
    from rich.console import Console

ROOM = 4
"""An answer may take so many times the tokens of the recorded one, where the request sets no bound."""


class Rehearsal:
    """One rehearsal, from what it will take to what came of it."""

    def __init__(
        self,
        loaded: Loaded,
        suite: Suite,
        candidate: str,
        incumbent: str | None,
        *,
        table: tuple[Score, ...],
        budget: Budget,
        margin: float,
    ) -> None:
        self.loaded, self.suite, self.candidate, self.incumbent = loaded, suite, candidate, incumbent
        self.table, self.budget, self.margin = table, budget, margin
        self._prices = prices(loaded.config)
        self.jobs = replay.jobs(suite, candidate, incumbent, self._estimate)
        self.unpriced = sorted({job.target for job in self.jobs if job.estimate.usd is None})
        self.results = Results(None)

    def announcement(self, unfit: dict[str, int]) -> str:
        """What will be done and what it takes at most."""
        tokens = sum(job.estimate.tokens for job in self.jobs)
        usd = sum(job.estimate.usd or 0.0 for job in self.jobs)
        price = f"${usd:.2f}" if not self.unpriced else f"${usd:.2f} and what {', '.join(self.unpriced)} costs"
        lines = [
            f"{len(self.suite.cases)} cases of [cyan]{self.suite.route or 'the suite'}[/] on [green]{self.candidate}[/]"
            + (f", and once more on [yellow]{self.incumbent}[/]" if self.incumbent else "")
            + f": {len(self.jobs)} calls, at most about {tokens:,} tokens, {price}"
        ]
        if self.budget.usd is not None or self.budget.tokens is not None:
            bounds = [f"${self.budget.usd:g}"] if self.budget.usd is not None else []
            bounds += [f"{self.budget.tokens:,} tokens"] if self.budget.tokens is not None else []
            lines.append(f"  and never more than {' or '.join(bounds)}, whatever that leaves out")
        lines += [f"  [yellow]{count} exchanges left out: {why}[/]" for why, count in unfit.items()]
        return "\n".join(lines)

    async def play(
        self, console: Console, *, concurrency: int, early: bool, kept: Path | None
    ) -> tuple[Analysis, Progress]:
        """Ask all that is not there yet. Exits with 2 where a target is not to be had."""
        gateway = await assemble(self.loaded, os.environ)
        try:
            for target in filter(None, (self.candidate, self.incumbent)):
                try:
                    await gateway.route(target)
                except NoRouteError as error:
                    fail(f"{target}: {error}")
            try:
                results = replay.Results(kept)
            except OSError as error:
                fail(f"{kept} cannot be kept: {error.strerror}.")
            except replay.ResultsError as error:
                fail(f"{error}\n  The file holds no results: name another with --results.")
            self.results = results
            progress = replay.Progress()
            replayer = Replayer(gateway)

            async def ask(case: Case, role: Role, target: str) -> Reply:
                return await self._asked(replayer, case, role, target)

            with results, _bar(console, progress):
                await replay.replay(
                    self.jobs, ask, results, concurrency=concurrency, budget=self.budget,
                    enough=self._enough(results, progress) if early else lambda: False, progress=progress,
                )  # fmt: skip
        finally:
            await gateway.close()
        return self._analysis(results), progress

    async def _asked(self, replayer: Replayer, case: Case, role: Role, target: str) -> Reply:
        try:
            said = await replayer.ask(case.dialect, case.request, target)
        except (BadCallError, Malformed) as error:
            fault = Reply(case=case.id, role=role, target=target, fault="malformed_request", message=str(error))
            return scored(case, fault, self.table)
        usage = said.usage
        reply = Reply(
            case=case.id,
            role=role,
            target=target,
            answer=msgspec.Raw(b"null" if said.fault else said.body),
            fault=said.fault,
            message=said.message,
            seconds=said.seconds,
            tokens=(None, None) if usage is None else (usage.input, usage.output),
            cost_usd=said.cost_usd,
            losses=tuple(loss.field for loss in said.losses),
        )
        return scored(case, reply, self.table)

    def _estimate(self, case: Case, target: str) -> Estimate:
        """What a call takes at most: its prompt, and the longest answer that it may give."""
        sent, received = case.tokens or (None, None)
        prompt = sent if sent is not None else len(msgspec.json.encode(case.request)) // 3
        answer = received if received is not None else len(msgspec.json.encode(case.answer or case.gold)) // 3
        limit = case.asked().sampling.max_tokens
        most = limit if limit is not None else max(1000, ROOM * answer)
        charge = self._prices.charge(target, Usage(prompt, most), at=time.time(), seconds=None)
        return Estimate(prompt + most, None if charge is None else float(charge.usd))

    def _enough(self, results: Results, progress: Progress) -> Callable[[], bool]:
        """Whether more cases would change nothing; looked at seldom, since each look costs a little."""
        due = max(20, len(self.jobs) // 50)

        def enough() -> bool:
            nonlocal due
            if progress.done < due:
                return False
            due = progress.done + max(20, len(self.jobs) // 50)
            return decided(self._analysis(results).verdict)

        return enough

    def _analysis(self, results: Results) -> Analysis:
        return analysis(self.suite, results, self.candidate, self.incumbent, margin=self.margin)

    def facts(self, found: Analysis, progress: Progress, suite: Suite) -> dict[str, Any]:
        """All of it, for programs."""
        return {
            "route": suite.route,
            "candidate": self.candidate,
            "incumbent": self.incumbent,
            "suite": suite.digest,
            "at": time.time(),
            "scores": [score.name for score in self.table],
            "spent": {"usd": progress.spent_usd, "tokens": progress.spent_tokens, "unpriced": self.unpriced},
            "budget_exhausted": progress.exhausted,
            "calls": {"wanted": progress.jobs, "made": progress.done - progress.before, "before": progress.before},
            "analysis": msgspec.json.decode(msgspec.json.encode(found)),
        }

    def keep(self, found: Analysis) -> Path:
        """Write the verdict where it is kept."""
        kept = Readiness(
            self.suite.route, self.candidate, self.incumbent or "", self.suite.digest, time.time(), found.verdict,
            mix=self.suite.mix,
        )  # fmt: skip
        try:
            return write(folder(self.loaded, os.environ), kept)
        except OSError as error:
            fail(f"The verdict cannot be kept: {error}.")


@contextlib.contextmanager
def _bar(console: Console, progress: Progress) -> Iterator[None]:
    """A bar with the time that is left, on a terminal."""
    from rich import progress as bars

    if not console.is_terminal:
        yield
        return
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[spent]}"),
    )
    over = threading.Event()
    with bars.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("rehearsing", total=None, spent="")

        def follow() -> None:
            while not over.wait(0.2):
                waiting = f", {progress.waiting} waiting" if progress.waiting else ""
                spent = f"${progress.spent_usd:.2f}{waiting}"
                bar.update(task, total=progress.jobs, completed=progress.done, spent=spent)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
