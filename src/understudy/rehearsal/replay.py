"""The cases of a suite, asked of the candidate and once more of the incumbent, within a budget, and resumable.

Nothing in here sends: it is given what asks one case of one target (the gateway's own engine, or a worker elsewhere).
Tools that a model wants to call are never run; each turn of a conversation is asked on the history that was recorded.
What came back is kept line by line as it comes, so a run that was stopped goes on where it was.

A provider's trouble is not the candidate's fault: what failed for a passing cause is asked again, and left out at last.
What the target cannot do at all (too long, unsupported, blocked, too late) is an answer that is worth nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from understudy import clock
from understudy.rehearsal.scores.scored import Scored
from understudy.rehearsal.suite import Case, Suite

Role = Literal["candidate", "ceiling"]

UNABLE = frozenset(
    {
        "unsupported", "translation_rejected", "lossy", "malformed_request", "context_too_long", "body_too_large",
        "prompt_blocked", "empty_answer", "bad_answer", "malformed_events", "parameter_gone", "remote_state",
        "first_token_timeout", "timeout", "silence", "no_progress", "deadline",
    }
)  # fmt: skip
"""Kinds of faults that say something about the target: it cannot do this, or not in the time that the route allows."""

_WAITS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
"""Seconds before a case is asked again whose target was busy, limited or down. Then it is left out."""


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one target said to one case. `answer` is JSON in the case's dialect, null if `fault` is a kind.

    `seconds` are those of the last attempt; `tokens` is (input, output) as billed; `cost_usd` is None if unknown.
    `scores` and `worth` compare it with the reference (`scoring.py`), `facets` are those of the request.
    """

    case: str
    role: Role
    target: str
    answer: msgspec.Raw = msgspec.Raw(b"null")
    fault: str | None = None
    message: str = ""
    seconds: float = 0.0
    tokens: tuple[int | None, int | None] = (None, None)
    cost_usd: float | None = None
    losses: tuple[str, ...] = ()
    facets: tuple[str, ...] = ()
    scores: dict[str, Scored] = {}
    worth: float | None = None

    @property
    def body(self) -> bytes | None:
        """The answer's bytes, None if there is none."""
        return None if self.answer == b"null" else bytes(self.answer)

    @property
    def unanswered(self) -> bool:
        """Whether this says nothing of the target: it was not there to be asked."""
        return self.fault is not None and self.fault not in UNABLE


Ask = Callable[[Case, Role, str], Awaitable[Reply]]


class Estimate(msgspec.Struct, frozen=True):
    """What asking one case of one target may take at most, as far as one can say. `usd` is None if nobody knows."""

    tokens: int
    usd: float | None


class Budget(msgspec.Struct, frozen=True):
    """What a rehearsal may take in all; None sets no bound."""

    usd: float | None = None
    tokens: int | None = None


class Job(msgspec.Struct, frozen=True):
    """One case to be asked of one target."""

    case: Case
    role: Role
    target: str
    estimate: Estimate


class Progress(msgspec.Struct):
    """How far a run is. `spent_*` is what was billed, and of what nobody knows the bill, its estimate."""

    jobs: int = 0
    done: int = 0
    before: int = 0
    unanswered: int = 0
    waiting: int = 0
    spent_usd: float = 0.0
    spent_tokens: int = 0
    reserved_usd: float = 0.0
    reserved_tokens: int = 0
    exhausted: bool = False


def jobs(suite: Suite, candidate: str, incumbent: str | None, estimate: Callable[[Case, str], Estimate]) -> list[Job]:
    """What is to be asked, in order: each case of the candidate and, where there is one, of the incumbent."""
    found = []
    for case in suite.cases:
        found.append(Job(case, "candidate", candidate, estimate(case, candidate)))
        if incumbent is not None:
            found.append(Job(case, "ceiling", incumbent, estimate(case, incumbent)))
    return found


class ResultsError(Exception):
    """A file that holds something else than results. `str()` says where."""


class Results:
    """The replies of a run in a file, a line each; those of an earlier run of the same are there already.

    Raises OSError and ResultsError. A last line that was cut by a crash is taken out. Use as a context manager.
    """

    def __init__(self, path: Path | None) -> None:
        self.replies: dict[tuple[str, Role, str], Reply] = {}
        self._file: BinaryIO | None = None
        if path is None:
            return
        path.touch()
        self._file = path.open("r+b")
        whole = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                self._note(msgspec.json.decode(line, type=Reply))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self._file.close()
                raise ResultsError(f"{path}:{number}: {error}") from None
            whole += len(line)
        self._file.seek(whole)
        self._file.truncate()

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_raised: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, reply: Reply) -> None:
        """Keep a reply. Those that say nothing of their target are not: they are asked again by the next run."""
        self._note(reply)
        if self._file is not None and not reply.unanswered:
            self._file.write(msgspec.json.encode(reply) + b"\n")
            self._file.flush()

    def get(self, case: str, role: Role, target: str) -> Reply | None:
        return self.replies.get((case, role, target))

    def _note(self, reply: Reply) -> None:
        self.replies[reply.case, reply.role, reply.target] = reply


async def replay(
    wanted: Sequence[Job],
    ask: Ask,
    results: Results,
    *,
    concurrency: int = 4,
    budget: Budget | None = None,
    enough: Callable[[], bool] = lambda: False,
    progress: Progress | None = None,
    waits: Iterable[float] = _WAITS,
) -> Progress:
    """Ask all that `results` does not have yet. Stops when the budget would be exceeded, or when that is `enough`.

    `enough` is asked when a reply has come; what is under way then is still waited for. The budget counts what earlier
    runs of the same results spent.
    """
    progress = progress if progress is not None else Progress()
    progress.jobs = len(wanted)
    limits = budget or Budget()
    waits = tuple(waits)
    left = _left(wanted, results, progress)
    stop = False
    under_way = 0
    settled = asyncio.Condition()

    async def work() -> None:
        nonlocal stop, under_way
        for job in left:
            async with settled:
                # What is set aside for a call is nearly always more than it takes: wait for what is left over.
                while not stop and not (room := _reserve(progress, job.estimate, limits)) and under_way:
                    await settled.wait()
                if stop or not room:
                    progress.exhausted = not stop
                    return
                under_way += 1
            reply = None
            try:
                reply = await _asked(job, ask, waits, progress)
            finally:
                _settle(progress, job.estimate, reply)
                async with settled:
                    under_way -= 1
                    settled.notify_all()
            results.add(reply)
            progress.done += 1
            progress.unanswered += reply.unanswered
            stop = stop or enough()

    async with asyncio.TaskGroup() as group:
        for _ in range(max(1, concurrency)):
            group.create_task(work())
    return progress


def _left(wanted: Sequence[Job], results: Results, progress: Progress) -> Iterator[Job]:
    """The jobs without a reply; of the others, what they took is noted. Their answers are there when this returns."""
    missing = []
    for job in wanted:
        before = results.get(job.case.id, job.role, job.target)
        if before is None:
            missing.append(job)
        else:
            progress.done += 1
            progress.before += 1
            _settle(progress, None, before)
    return iter(missing)


async def _asked(job: Job, ask: Ask, waits: Sequence[float], progress: Progress) -> Reply:
    """The reply, after waiting for a target that is busy or down."""
    reply = await ask(job.case, job.role, job.target)
    for seconds in waits:
        if not reply.unanswered:
            break
        progress.waiting += 1
        try:
            await clock.sleep(seconds)
        finally:
            progress.waiting -= 1
        reply = await ask(job.case, job.role, job.target)
    return reply


def _reserve(progress: Progress, estimate: Estimate, budget: Budget) -> bool:
    """Whether there is room for a further call; if so it is set aside."""
    tokens = progress.spent_tokens + progress.reserved_tokens + estimate.tokens
    usd = progress.spent_usd + progress.reserved_usd + (estimate.usd or 0.0)
    if (budget.tokens is not None and tokens > budget.tokens) or (budget.usd is not None and usd > budget.usd):
        return False
    progress.reserved_tokens += estimate.tokens
    progress.reserved_usd += estimate.usd or 0.0
    return True


def _settle(progress: Progress, estimate: Estimate | None, reply: Reply | None) -> None:
    """Book what a call took in place of what was set aside for it. What nobody told counts as it was estimated."""
    if estimate is not None:
        progress.reserved_tokens -= estimate.tokens
        progress.reserved_usd -= estimate.usd or 0.0
    if reply is None:
        return
    told = [count for count in reply.tokens if count is not None]
    guessed = estimate if estimate is not None and reply.fault is None else Estimate(0, 0.0)
    progress.spent_tokens += sum(told) if len(told) == 2 else guessed.tokens
    progress.spent_usd += reply.cost_usd if reply.cost_usd is not None else (guessed.usd or 0.0)
