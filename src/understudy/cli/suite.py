"""`understudy suite`: the cases of a rehearsal, drawn from the ledger or brought from elsewhere, in a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.opening import ConfigOption, JsonOption, fail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from understudy.rehearsal.suite import Case, Suite

app = typer.Typer(
    help="Make and look at suites: what a rehearsal replays.", no_args_is_help=True, rich_markup_mode=None
)

Output = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where the suite is written.")]
SIZE = 500
LEAST = 50


@app.command()
def make(
    route: Annotated[str, typer.Argument(help="The route whose exchanges are drawn.")],
    output: Output,
    *,
    config: ConfigOption = None,
    json: JsonOption = False,
    size: Annotated[int, typer.Option(min=1, help="At most so many of the traffic.")] = SIZE,
    least: Annotated[int, typer.Option(min=0, help="So many of each kind of request, if there are.")] = LEAST,
    population: Annotated[int, typer.Option(min=1, help="Draw from the latest so many exchanges.")] = 20_000,
    seed: Annotated[int, typer.Option(help="The same seed draws the same cases.")] = 1,
    since: Annotated[str | None, typer.Option(help="From then on: 30m, 2h, 7d, or a date.")] = None,
    task: Annotated[str | None, typer.Option(help="Only those with this x-understudy-task.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only those with this tag.")] = None,
) -> None:
    """Draw a suite from a route's recorded exchanges. Bodies must have been kept (`store = "bodies"`).

    Exit code: 0 written, 1 nothing could be drawn, 2 there is no ledger, or a wrong option.

    Example: understudy suite make support -o support.jsonl --since 7d
    """
    from understudy.cli.records import moment

    now = time.time()
    suite, unfit = drawn(
        config, route, size=size, least=least, population=population, seed=seed, since=moment(since, now), task=task,
        tag=tag,
    )  # fmt: skip
    _told(suite, unfit, output, json=json)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="JSON lines of `request` and `response`, or of `input` and `ideal`.")],
    output: Output,
    *,
    json: JsonOption = False,
    route: Annotated[str, typer.Option(help="The route that the cases are for.")] = "",
    incumbent: Annotated[str, typer.Option(help="The target whose answers they hold.")] = "",
    seed: Annotated[int, typer.Option(help="The order of the cases.")] = 1,
) -> None:
    """Make a suite of a log of requests and responses, or of samples in the form of OpenAI's evals.

    Exit code: 0 written, 1 nothing could be read, 2 a wrong option.

    Example: understudy suite import samples.jsonl -o support.jsonl --route support
    """
    import random

    from understudy.rehearsal import suite as suites

    unfit: dict[str, int] = {}
    cases = list(_rows(file, unfit))
    random.Random(seed).shuffle(cases)
    if not cases:
        _none(unfit)
    made = suites.Suite(
        cases=tuple(cases), route=route, incumbent=incumbent, seed=seed, at=time.time(), population=len(cases),
        mix=suites.mix(case.asked() for case in cases),
    )  # fmt: skip
    _told(made, unfit, output, json=json)


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="A suite.")],
    *,
    json: JsonOption = False,
) -> None:
    """Check a suite and say what is in it.

    Exit code: 0 it is one, 2 it is not.

    Example: understudy suite show support.jsonl
    """
    _show(opened(file), {}, json=json)


def opened(file: Path) -> Suite:
    """The suite in a file; exits with 2 and the reason where it is none."""
    from understudy.rehearsal import suite as suites

    try:
        return suites.load(file)
    except suites.SuiteError as error:
        fail(str(error))


def drawn(
    config: Path | None,
    route: str,
    *,
    size: int = SIZE,
    least: int = LEAST,
    population: int = 20_000,
    seed: int = 1,
    since: float | None = None,
    task: str | None = None,
    tag: str | None = None,
) -> tuple[Suite, dict[str, int]]:
    """A suite of a route's exchanges, and how many were not fit for which reason. Exits with 1 where none is."""
    from understudy.cli.records import connected
    from understudy.ledger import queries
    from understudy.rehearsal import sampling
    from understudy.rehearsal import suite as suites
    from understudy.rehearsal.gathering import UnfitError, from_exchange
    from understudy.rehearsal.kinds import facets

    which = queries.Filter(since=since, route=route, task=task, tag=tag, outcome="answered")
    cases: dict[str, Case] = {}
    unfit: dict[str, int] = {}
    incumbents: dict[str, int] = {}
    with connected(config) as connection:
        after, left = None, population
        while left > 0:
            page = queries.page(connection, which, after=after, limit=min(500, left))
            for line in page.lines:
                found = queries.one(connection, line.id)
                assert found is not None, "it was listed a moment ago, in the same transaction"
                try:
                    cases[line.id] = from_exchange(found)
                except UnfitError as error:
                    unfit[str(error)] = unfit.get(str(error), 0) + 1
                    continue
                if line.target is not None:
                    incumbents[line.target] = incumbents.get(line.target, 0) + 1
            left -= len(page.lines)
            after = page.next
            if after is None:
                break
    if not cases:
        _none(unfit, route)
    kinds = {name: facets(case.asked()) for name, case in cases.items()}
    sample, more = sampling.draw(kinds, size, seed, least=least)
    chosen = [*sample, *more]
    sampling.shuffle(chosen, seed)
    return suites.Suite(
        cases=tuple(_marked(cases[name], extra=name in set(more)) for name in chosen),
        route=route,
        incumbent=max(incumbents, key=lambda name: incumbents[name], default=""),
        seed=seed,
        at=time.time(),
        population=len(cases),
        mix=suites.mix(case.asked() for case in cases.values()),
    ), unfit


def _marked(case: Case, *, extra: bool) -> Case:
    import msgspec

    return msgspec.structs.replace(case, extra=True) if extra else case


def _rows(file: Path, unfit: dict[str, int]) -> Iterator[Case]:
    import msgspec

    from understudy.rehearsal.gathering import UnfitError, from_pair

    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    yield from_pair(msgspec.json.decode(line, type=dict[str, Any]), number)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    unfit["is no JSON object"] = unfit.get("is no JSON object", 0) + 1
                except UnfitError as error:
                    unfit[str(error)] = unfit.get(str(error), 0) + 1
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}.")


def _none(unfit: dict[str, int], route: str = "") -> None:
    reasons = "".join(f"\n  {count:6} {why}" for why, count in sorted(unfit.items(), key=lambda item: -item[1]))
    where = f" of the route {route!r}" if route else ""
    fail(f"There is no case{where} that could be replayed.{reasons}", 1)


def _told(suite: Suite, unfit: dict[str, int], output: Path, *, json: bool) -> None:
    from understudy.rehearsal import suite as suites

    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("wb") as file:
            part.chmod(0o600)  # people's words are in it
            for line in suites.dump(suite):
                file.write(line)
        part.replace(output)
    except OSError as error:
        fail(f"{output} cannot be written: {error.strerror}.")
    _show(suite, unfit, json=json)


def _show(suite: Suite, unfit: dict[str, int], *, json: bool) -> None:
    from rich.console import Console

    facts = facts_of(suite, unfit)
    if json:
        import msgspec

        typer.echo(msgspec.json.format(msgspec.json.encode(facts), indent=2).decode())
        return
    console = Console(highlight=False)
    console.print(
        f"{facts['cases']} cases of [cyan]{suite.route or 'no route'}[/]  suite [dim]{facts['suite'][:16]}[/]"
    )
    for facet, count in facts["facets"].items():
        console.print(f"  {facet.replace(':', ' '):<20} {count:6}   {suite.mix.get(facet, 0):6.1%} of the traffic")
    for why, count in facts["unfit"].items():
        console.print(f"  [yellow]{count:6} left out: {why}[/]")
    if suite.edited:
        console.print("  [yellow]edited since it was made: verdicts name it by what it is now[/]")


def facts_of(suite: Suite, unfit: dict[str, int]) -> dict[str, Any]:
    """What a suite is, for programs."""
    from understudy.rehearsal.kinds import facets

    counts: dict[str, int] = {}
    for case in suite.cases:
        for facet in facets(case.asked()):
            counts[facet] = counts.get(facet, 0) + 1
    return {
        "suite": suite.digest,
        "route": suite.route,
        "incumbent": suite.incumbent,
        "cases": len(suite.cases),
        "extra": sum(case.extra for case in suite.cases),
        "population": suite.population,
        "facets": dict(sorted(counts.items())),
        "unfit": dict(sorted(unfit.items(), key=lambda item: -item[1])),
        "edited": suite.edited,
    }
