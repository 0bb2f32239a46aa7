"""`understudy rehearse`: recorded exchanges replayed on a candidate, and whether it can stand in."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from understudy.cli.opening import ConfigOption, JsonOption, fail, read

if TYPE_CHECKING:
    from rich.console import Console

    from understudy.cli.rehearsing import Rehearsal
    from understudy.gateway.config import Loaded
    from understudy.rehearsal.analysis import Analysis
    from understudy.rehearsal.scores import Score
    from understudy.rehearsal.suite import Suite
    from understudy.rehearsal.verdict import Verdict

EXTRA = "understudy[rehearse]"

FailUnder = Literal["ready", "ready-for", "never"]


def rehearse(
    route: Annotated[str | None, typer.Argument(help="The route whose exchanges are drawn.")] = None,
    *,
    candidate: Annotated[str, typer.Option(help="The target that is to stand in: provider/model.")],
    incumbent: Annotated[
        str | None, typer.Option(help="Who answered so far. Default: who answered most of the cases.")
    ] = None,
    ceiling: Annotated[
        bool,
        typer.Option(
            help="Ask the incumbent again as well: what it does not repeat itself is not held against the candidate."
        ),
    ] = True,
    config: ConfigOption = None,
    json: JsonOption = False,
    suite: Annotated[Path | None, typer.Option(metavar="FILE", help="Replay this suite.")] = None,
    size: Annotated[int, typer.Option(min=1, help="Cases that are drawn, without --suite.")] = 500,
    seed: Annotated[int, typer.Option(help="The same seed draws the same cases.")] = 1,
    since: Annotated[str | None, typer.Option(help="Draw from then on: 30m, 2h, 7d, or a date.")] = None,
    task: Annotated[str | None, typer.Option(help="Draw only those with this x-understudy-task.")] = None,
    tag: Annotated[str | None, typer.Option(help="Draw only those with this tag.")] = None,
    score: Annotated[list[str] | None, typer.Option(help="Count only these scores. May be repeated.")] = None,
    margin: Annotated[float, typer.Option(min=0.001, max=1, help="How far below the ceiling is good enough.")] = 0.05,
    budget_usd: Annotated[float | None, typer.Option(min=0, help="Never spend more, in US dollars.")] = None,
    budget_tokens: Annotated[int | None, typer.Option(min=0, help="Never use more tokens.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Calls at once.")] = 4,
    early: Annotated[bool, typer.Option(help="Stop as soon as more cases would change nothing.")] = True,
    results: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep what comes back, and go on with what is there.")
    ] = None,
    fail_under: Annotated[FailUnder, typer.Option(help="Exit with 1 unless the candidate is this.")] = "ready-for",
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a JUnit file.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page to read and print.")] = None,
    save: Annotated[bool, typer.Option(help="Keep the verdict in a file.")] = True,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before spending.")] = False,
) -> None:
    """Replay recorded exchanges on a candidate and say, with a confidence interval, for what it can stand in.

    Tools that a model calls are never run. What a run costs at most is said beforehand, and asked on a terminal.

    Exit code: 0 the candidate is what --fail-under asks for, 1 it is not, or too little is known, 2 a wrong option.

    Example: understudy rehearse support --candidate local/smollm2-135m
    """
    import asyncio
    import importlib.util

    if importlib.util.find_spec("numpy") is None or importlib.util.find_spec("py3langid") is None:
        fail(f"Rehearsals need some libraries: install them with `pip install {EXTRA}`.")

    from rich.console import Console

    from understudy.cli import suite as suites
    from understudy.cli.records import moment
    from understudy.cli.rehearsing import Rehearsal
    from understudy.rehearsal.replay import Budget

    console = Console(highlight=False, stderr=json)
    loaded = read(config)
    unfit: dict[str, int] = {}
    if suite is not None:
        replayed = _of_route(suites.opened(suite), route)
    elif route is not None:
        drawn_from = moment(since, time.time())
        replayed, unfit = suites.drawn(config, route, size=size, seed=seed, since=drawn_from, task=task, tag=tag)
    else:
        fail("Name a route, or a suite with --suite.")
    asked = _incumbent(loaded, replayed, candidate, incumbent) if ceiling else None
    budget = Budget(budget_usd, budget_tokens)
    run = Rehearsal(loaded, replayed, candidate, asked, table=_scores(score), budget=budget, margin=margin)
    console.print(run.announcement(unfit), soft_wrap=True)
    if run.unpriced and budget_usd is not None:
        fail(f"Nobody knows the price of {', '.join(run.unpriced)}: bound it by --budget-tokens instead.")
    if not (yes or json) and console.is_terminal and not typer.confirm("Go on?", default=True):
        raise typer.Exit(1)
    found, progress = asyncio.run(run.play(console, concurrency=concurrency, early=early, kept=results))
    facts = run.facts(found, progress, replayed)
    if save and replayed.route:
        facts["kept"] = str(run.keep(found))
    _write(run, found, facts, junit, html)
    _show(console, found, facts, json=json)
    if not _good_enough(found.verdict, fail_under):
        raise typer.Exit(1)


def _incumbent(loaded: Loaded, suite: Suite, candidate: str, named: str | None) -> str:
    """Who is asked once more; exits with 2 where nobody can say."""
    found = named or suite.incumbent or _first_target(loaded, suite.route)
    if found is None:
        fail("Nobody knows who answered these cases: name it with --incumbent, or use --no-ceiling.")
    if found == candidate:
        fail(f"{candidate} is the incumbent itself.")
    return found


def _of_route(suite: Suite, route: str | None) -> Suite:
    import msgspec

    return suite if route is None else msgspec.structs.replace(suite, route=route)


def _first_target(loaded: Loaded, route: str) -> str | None:
    """The first target of the route that the cases are of."""
    found = loaded.config.routes.get(route)
    return found.targets[0] if found is not None else None


def _scores(names: list[str] | None) -> tuple[Score, ...]:
    from understudy.rehearsal import scores

    try:
        return scores.chosen(names) if names else tuple(scores.installed().values())
    except (ValueError, TypeError) as error:
        fail(f"{str(error)[0].upper()}{str(error)[1:]}.")


def _write(run: Rehearsal, found: Analysis, facts: dict[str, Any], junit: Path | None, html: Path | None) -> None:
    """Write the files that were asked for."""
    from understudy.rehearsal import page, report

    if junit is not None:
        _written(junit, report.junit(found, run.results, run.candidate))
    if html is not None:
        _written(html, page.page(found, facts, run.suite, run.results))


def _written(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
        path.chmod(0o600)  # people's words may be in it
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}.")


def _good_enough(verdict: Verdict, wanted: FailUnder) -> bool:
    if wanted == "never":
        return True
    return verdict.state == "ready" or (wanted == "ready-for" and verdict.state == "ready for")


def _show(console: Console, found: Analysis, facts: dict[str, Any], *, json: bool) -> None:
    import msgspec

    from understudy.rehearsal.report import lines

    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(facts), indent=2).decode())
        return
    for line in lines(found, facts):
        console.print(line, soft_wrap=True)
