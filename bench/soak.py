"""The soak run: hundreds of open streams, a fault every second, and a look at what it does to the gateway.

Four simulated providers, of which three fail by command and the last never does, so that every call can be answered:
any error that a client sees is the gateway's, and is listed. The clients speak five dialects, the providers three, the
answers take ten to twenty seconds. Writes samples (CSV), a picture (SVG) and the report (JSON) to bench/results/.
Exit code: 0 no unexplained error, 1 some or not measured, 130 interrupted. docs/guides/benchmark.md says more.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import json
import random
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

import talk
from processes import BenchError, Running, allow_files, running, until_ready

HERE = Path(__file__).resolve().parent

ADMIN = f"{talk.KEY}-admin"

TROUBLED = ("alpha", "beta", "gamma")
CALM = "delta"
_DIALECTS = {"alpha": "openai-chat", "beta": "anthropic-messages", "gamma": "openai-chat", "delta": "gemini"}

LENGTHS = (40, 60, 80)
"""Pieces of an answer; a quarter of a second between two of them makes ten, fifteen and twenty seconds."""

ORDERS = (("alpha", "beta", "gamma", CALM), ("beta", "gamma", "alpha", CALM), ("gamma", "alpha", "beta", CALM))

# What a provider is told to do for a second or two. Not among them: "too many" and "overloaded". A gateway has to
# believe them and sends less, for minutes; then hundreds of streams would rightly wait.
FAULTS = (
    "internal", "html-502", "html-503", "empty-body", "null-body", "invalid-http", "reset", "close", "silent",
    "head-only", "error-event", "hang:after=6,pause=0.2", "cut:after=8,pause=0.3", "cut-reset:after=20,pause=0.3",
    "cut-clean:after=8,pause=0.3", "cut-event:after=12,pause=0.2", "cut-chunk:after=4,pause=0.2",
    "cut-utf8:after=9,pause=0.2", "bad-chunk:after=7,pause=0.2", "error-event-late:after=6,pause=0.2",
    "malformed-twice:after=3,pause=0.2", "done-without-finish",
)  # fmt: skip

_ALL_AT_ONCE = 0.1
"""Share of the faults that drop streams under way instead of failing new ones."""

_REOPEN = 0.5
"""Share of the faults after which the operator lets calls come again at once. Else a provider that fails every few
seconds would, rightly, soon be left alone for five minutes, and nothing were tested any more.
"""

_LEAVE = 0.03
"""Share of the clients that go away in the middle."""

_LIMIT = 150.0
"""Seconds after which a stream counts as hung: more than its route's deadline."""

EVERY = 5.0
_WARM = 300.0


class Sample(msgspec.Struct):
    """A look at the gateway's process, `at` seconds after the start."""

    at: float
    rss_mib: float
    ledger_mib: float
    """The process that writes the ledger."""
    descriptors: int
    tasks: int
    open: int
    answered: int
    continued: int
    moved: int
    left: int
    faults: int
    errors: int


class Trend(msgspec.Struct):
    """A line through the samples: least squares, with the slope's standard error. Per minute."""

    first: float
    last: float
    slope: float
    error: float

    @property
    def grows(self) -> bool:
        """Whether the slope is more than chance, and worth speaking of: a hundredth of the value an hour."""
        return self.slope > 3 * self.error and self.slope * 60 > 0.01 * max(self.first, 1)


def trend(points: list[tuple[float, float]]) -> Trend | None:
    """The line through (seconds, value) points; None for fewer than three."""
    if len(points) < 3:
        return None
    xs, ys = [at / 60 for at, _ in points], [value for _, value in points]
    slope, start = statistics.linear_regression(xs, ys)
    rest = sum((y - start - slope * x) ** 2 for x, y in zip(xs, ys, strict=True))
    spread = sum((x - statistics.fmean(xs)) ** 2 for x in xs)
    error = (rest / (len(xs) - 2) / spread) ** 0.5
    return Trend(start + slope * xs[0], start + slope * xs[-1], slope, error)


def parse(arguments: list[str]) -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=30.0, help="how long (30)")
    options.add_argument("--streams", type=int, default=500, help="streams open at any time (500)")
    options.add_argument("--between", type=float, default=0.25, help="seconds between two pieces of an answer (0.25)")
    options.add_argument("--seed", type=int, default=1, help="which faults come when (1)")
    options.add_argument("--trace", action="store_true", help="trace memory (slow): where what grows was allocated")
    options.add_argument("--json", type=Path, metavar="FILE", help="also write the report to FILE")
    options.add_argument("--results", type=Path, metavar="DIR", default=HERE / "results", help="where results go")
    given = options.parse_args(arguments)
    if given.minutes <= 0 or given.streams < 1 or given.between < 0:
        options.error("--minutes and --streams must be more than 0, --between not less")
    return given


def configuration(ports: dict[str, int]) -> str:
    """Nine routes: three orders of the targets, three lengths of the answer. Clocks are short: silence moves a call."""
    text = f'[server]\nport = 0\nkeys = ["{talk.KEY}"]\nadmin_keys = ["{ADMIN}"]\n[ledger]\nurl = "ledger.sqlite"\n'
    text += (
        "[defaults]\nconnect_timeout = 3\nfirst_token_timeout = 5\nliveness_timeout = 4\nprogress_timeout = 8\n"
        "deadline = 140\n"
    )
    for name, port in ports.items():
        dialect = _DIALECTS[name]
        base = f"http://127.0.0.1:{port}" + ("/v1" if dialect == "openai-chat" else "")
        text += f'[providers.{name}]\ndialect = "{dialect}"\nbase_url = "{base}"\napi_key = "sim"\n'
        text += 'continues = "prefill"\n' if name == "alpha" else ""
    for number, order in enumerate(ORDERS):
        for length in LENGTHS:
            targets = ", ".join(f'"{name}/paced{length}"' for name in order)
            text += f'[routes."r{number}-{length}"]\ntargets = [{targets}]\n'
    return text


class Soak:
    """One run: what has been counted so far, and what is to be looked at."""

    def __init__(self, options: argparse.Namespace, folder: Path, console: Console) -> None:
        self.options, self.folder, self.console = options, folder, console
        self.chance = random.Random(options.seed)
        self.ports: dict[str, int] = {}
        self.samples: list[Sample] = []
        self.counts: Counter[str] = Counter()
        self.starts: Counter[str] = Counter()
        self.commands: Counter[str] = Counter()
        self.errors: list[dict[str, Any]] = []
        self.open = 0
        self.asking = True
        self.began = 0.0
        self.numbers = iter(range(1 << 60))
        self.traces: list[Any] = []
        self.gateway: Running

    async def everything(self) -> None:
        """Start it all, keep it under load, and wait until the last stream is over. Raises BenchError."""
        allow_files(4 * self.options.streams + 1024)
        async with contextlib.AsyncExitStack() as stack:
            for name in (*TROUBLED, CALM):
                child = await stack.enter_async_context(
                    running(name, [sys.executable, str(HERE / "provider.py")], None, self.folder)
                )
                self.ports[name] = child.port
                for length in LENGTHS:
                    order = f"drip:between={self.options.between},tokens={length}"
                    await talk.order(child.port, "PUT", f"/simulated/paced{length}", order)
            (self.folder / "soak.toml").write_text(configuration(self.ports), "utf-8")
            command = [sys.executable, str(HERE / "watched.py"), "window"]
            command += ["--trace"] * self.options.trace + ["serve", "--config", "soak.toml"]
            self.gateway = await stack.enter_async_context(running("gateway", command, None, self.folder))
            await until_ready(self.gateway)
            await self._run()

    async def _run(self) -> None:
        self.began = time.monotonic()
        end = self.began + self.options.minutes * 60
        async with asyncio.TaskGroup() as group:
            clients = [group.create_task(self._client(number)) for number in range(self.options.streams)]
            trouble = group.create_task(self._trouble(group, end))
            looks = group.create_task(self._look(end))
            await looks
            self.asking = False
            trouble.cancel()
            await asyncio.wait(clients)
        await asyncio.sleep(1)  # what the gateway still holds now, nobody asks for
        await self._sample()
        if self.gateway.process.returncode is not None:
            raise BenchError(f"The gateway ended with code {self.gateway.process.returncode}.{self.gateway.said()}")

    # -- load and faults ---------------------------------------------------------------------------------------------

    async def _client(self, number: int) -> None:
        """One stream after another, in one dialect, on a kept connection."""
        dialect = talk.DIALECTS[number % len(talk.DIALECTS)]
        line = talk.Line(self.gateway.port)
        await asyncio.sleep(self.chance.random() * LENGTHS[-1] * self.options.between)  # not all at once
        while self.asking:
            length = self.chance.choice(LENGTHS)
            route = f"r{self.chance.randrange(len(ORDERS))}-{length}"
            question = f"number {next(self.numbers)} in {dialect}, please"
            leave = self.chance.randrange(20, 200) if self.chance.random() < _LEAVE else None
            self.open += 1
            heard = await line.ask(dialect, route, question, stream=True, limit=_LIMIT, leave=leave)
            self.open -= 1
            self._note(heard, dialect, route, talk.expected(question, length))
            if not heard.status:
                await asyncio.sleep(0.5)  # nobody there: asking without a pause would only make noise
        line.close()

    def _note(self, heard: talk.Heard, dialect: str, route: str, text: str) -> None:
        what = talk.wrong(heard, text)
        self.counts["left" if heard.left else "errors" if what else "answered"] += 1
        self.counts["continued"] += heard.continued and not what
        self.counts["moved"] += heard.attempts > 1
        self.starts[heard.target.partition("/")[0]] += 1
        if what:
            at = time.monotonic() - self.began
            self.errors.append({
                "at": round(at, 2), "began": round(heard.asked - self.began, 2), "dialect": dialect, "route": route,
                "target": heard.target, "attempts": heard.attempts, "what": what,
                "looks_whole": talk.silent_truncation(heard, text),
            })  # fmt: skip

    async def _trouble(self, group: asyncio.TaskGroup, end: float) -> None:
        """A fault a second, at one of three providers, for a second or two."""
        number = 0
        while time.monotonic() < end - 2:
            await asyncio.sleep(1)
            number += 1
            group.create_task(self._fault(self.chance.choice(TROUBLED), number))

    async def _fault(self, name: str, number: int) -> None:
        self.counts["faults"] += 1
        port = self.ports[name]
        if self.chance.random() < _ALL_AT_ONCE:
            share = self.chance.choice((0.1, 0.3, 1.0))
            self.commands[f"drop {share:.0%} of what is under way"] += 1
            await talk.order(port, "PUT", "/bench/drop", str(share))
            return
        like = self.chance.choice(FAULTS)
        kind, _, values = like.partition(":")
        rate = self.chance.choice((0.3, 0.5, 1.0))
        self.commands[kind] += 1
        more = f",{values}" if values else ""
        await talk.order(port, "PUT", "/simulated", f"flaky:rate={rate},seed={number},like={kind}{more}")
        await asyncio.sleep(1 + self.chance.random())
        await talk.order(port, "DELETE", "/simulated")
        if self.chance.random() < _REOPEN:
            for length in LENGTHS:
                command = json.dumps({"target": f"{name}/paced{length}", "command": "reopen"})
                await talk.order(self.gateway.port, "POST", "/admin/targets", command, key=ADMIN)

    # -- looking -----------------------------------------------------------------------------------------------------

    async def _look(self, end: float) -> None:
        due = self.began
        while (now := time.monotonic()) < end:
            due = max(due + EVERY, now)
            await asyncio.sleep(min(due, end) - now)
            await self._sample()
            if self.options.trace and len(self.samples) % 24 == 12:
                self.traces.append(await self._window())
            if len(self.samples) % 12 == 0:
                self._say(self.samples[-1])

    async def _window(self) -> Any:
        port = int((self.folder / "window").read_text())
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        told = json.loads(await reader.readline())
        writer.close()
        return told

    async def _sample(self) -> None:
        if self.gateway.process.returncode is not None:
            raise BenchError(f"The gateway ended with code {self.gateway.process.returncode}.{self.gateway.said()}")
        tasks = 0 if self.options.trace else (await self._window())["tasks"]
        counts = self.counts
        self.samples.append(
            Sample(
                at=round(time.monotonic() - self.began, 2),
                rss_mib=round(self.gateway.resident(), 2),
                ledger_mib=beside(self.gateway),
                descriptors=descriptors(self.gateway),
                tasks=tasks,
                open=self.open,
                answered=counts["answered"],
                continued=counts["continued"],
                moved=counts["moved"],
                left=counts["left"],
                faults=counts["faults"],
                errors=counts["errors"],
            )
        )

    def _say(self, one: Sample) -> None:
        self.console.print(
            f"  {one.at / 60:5.1f} min: {one.rss_mib:.1f} MiB, {one.descriptors} descriptors, {one.tasks} tasks, "
            f"{one.open} open, {one.answered:,} answered ({one.continued:,} continued), {one.faults:,} faults, "
            f"{one.errors:,} errors",
            highlight=False,
        )


def beside(child: Running) -> float:
    """Resident memory of a process's own children, in MiB; 0 where the system does not tell."""
    pages = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text("utf-8", "replace").rpartition(")")[2].split()
            if int(fields[1]) == child.process.pid:
                pages += int(fields[21])
    return round(pages * resource.getpagesize() / 2**20, 2)


def descriptors(child: Running) -> int:
    """Open files and sockets of a process; 0 where the system does not tell."""
    folder = Path(f"/proc/{child.process.pid}/fd")
    return sum(1 for _ in folder.iterdir()) if folder.exists() else 0


# -- what it comes to --------------------------------------------------------------------------------------------------


def settled(samples: list[Sample]) -> Iterator[Sample]:
    """Those behind the first five minutes (the first third of a shorter run), without the last look, at rest."""
    from_ = min(_WARM, samples[-1].at / 3)
    return (one for one in samples[:-1] if one.at >= from_)


def trends(samples: list[Sample]) -> dict[str, Trend | None]:
    """Growth of memory, descriptors and tasks."""
    names = ("rss_mib", "ledger_mib", "descriptors", "tasks")
    warm = list(settled(samples))
    late = [one for one in warm if one.at >= samples[-1].at / 2]
    parts = {"behind the warm-up": warm, "second half": late}
    return {
        f"{name}, {part}": trend([(one.at, getattr(one, name)) for one in some])
        for name in names
        for part, some in parts.items()
    }


def table(soak: Soak) -> Table:
    counts, last = soak.counts, soak.samples[-1]
    asked = counts["answered"] + counts["errors"]
    shown = Table(title=f"Soak: {soak.options.streams} streams, {last.at / 60:.1f} minutes", show_header=False)
    shown.add_row("streams answered whole", f"{counts['answered']:,}")
    shown.add_row("of these gone on with in mid-stream", f"{counts['continued']:,}")
    shown.add_row("moved before the first word", f"{counts['moved']:,}")
    shown.add_row("clients that left", f"{counts['left']:,}")
    shown.add_row("faults commanded", f"{counts['faults']:,}")
    shown.add_row("errors that clients saw", f"{counts['errors']:,} ({counts['errors'] / max(asked, 1):.4%})")
    shown.add_row("of these looked whole", str(sum(one["looks_whole"] for one in soak.errors)))
    for name, found in trends(soak.samples).items():
        if found is not None:
            verdict = "grows" if found.grows else "does not grow"
            shown.add_row(
                name,
                f"{found.first:.1f} -> {found.last:.1f}, {found.slope:+.3f} ± {found.error:.3f} a minute: {verdict}",
            )
    rest = f"{last.rss_mib:.1f} MiB, {last.descriptors} descriptors, {last.tasks} tasks"
    shown.add_row("at rest, when all was over", rest)
    shown.add_row("answers begun by", ", ".join(f"{k or 'nobody'} {v:,}" for k, v in soak.starts.most_common()))
    return shown


def write(soak: Soak) -> list[Path]:
    """soak.csv, soak.svg and soak.json in the results' folder, and the report where else it is wanted."""
    folder = soak.options.results
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "soak.csv", folder / "soak.json", folder / "soak.svg"]
    with paths[0].open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(Sample.__struct_fields__)
        rows.writerows(msgspec.structs.astuple(one) for one in soak.samples)
    report = {
        "minutes": soak.options.minutes, "streams": soak.options.streams, "seed": soak.options.seed,
        "simulated": "providers and clients; the gateway is the real one, on loopback",
        "counts": soak.counts, "begun_by": soak.starts, "commands": soak.commands, "errors": soak.errors,
        "trends": trends(soak.samples), "samples": soak.samples, "traces": soak.traces,
    }  # fmt: skip
    encoded = msgspec.json.format(msgspec.json.encode(report)) + b"\n"
    paths[1].write_bytes(encoded)
    if soak.options.json is not None:
        soak.options.json.write_bytes(encoded)
        paths.append(soak.options.json)
    picture(soak, paths[2])
    return paths


def picture(soak: Soak, path: Path) -> None:
    """Memory, descriptors and errors over time."""
    import matplotlib as mpl  # noqa: PLC0415  # slow to import, and not needed until all is measured
    from matplotlib.figure import Figure  # noqa: PLC0415  # likewise

    minutes = [one.at / 60 for one in soak.samples]
    with mpl.rc_context({"svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False}):
        canvas = Figure(figsize=(10, 8), layout="constrained")
        canvas.suptitle(f"Soak: {soak.options.streams} open streams, a fault a second", fontweight="bold")
        panels = canvas.subplots(3, 1, sharex=True)
        panels[0].plot(minutes, [one.rss_mib for one in soak.samples], color="#c8553d")
        panels[0].set_ylabel("resident memory, MiB")
        for name, colour in (("descriptors", "#6b8fb3"), ("tasks", "#b8bcc4"), ("open", "#3d7a5a")):
            panels[1].plot(minutes, [getattr(one, name) for one in soak.samples], color=colour, label=name)
        panels[1].legend(frameon=False)
        panels[2].plot(minutes, [one.errors for one in soak.samples], color="#c8553d", label="errors seen by clients")
        panels[2].plot(minutes, [one.faults for one in soak.samples], color="#b8bcc4", label="faults commanded")
        panels[2].legend(frameon=False)
        panels[2].set_xlabel("minutes")
        for axes in panels:
            axes.set_ylim(bottom=0)
        canvas.savefig(path, format="svg")


async def soaked(options: argparse.Namespace, console: Console) -> Soak:
    """A whole run in a folder that is gone afterwards. Ctrl-C and SIGTERM cancel it."""
    task = asyncio.current_task()
    assert task is not None
    for sent in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(sent, task.cancel)
    with tempfile.TemporaryDirectory(prefix="understudy-soak-") as folder:
        soak = Soak(options, Path(folder), console)
        await soak.everything()
        log = soak.gateway.log.read_text("utf-8", "replace")
        if "Traceback" in log:
            console.print(f"The gateway has logged a traceback:\n{log[log.index('Traceback') :][:4000]}", markup=False)
            soak.errors.append({"what": "a traceback in the gateway's log", "log": log[-8000:], "looks_whole": False})
        return soak


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    console = Console()
    if not console.is_terminal:
        console.width = 140  # a log has no width, and the table needs some
    try:
        soak = uvloop.run(soaked(options, console))
    except BenchError as error:
        console.print(f"Not measured: {error}", style="red", markup=False)
        return 1
    except asyncio.CancelledError:
        console.print("Interrupted: everything is stopped, nothing is written.", style="red")
        return 130
    console.print(table(soak))
    for path in write(soak):
        console.print(f"  written: {path}", highlight=False, soft_wrap=True)
    for one in soak.errors:
        console.print(f"Unexplained: {json.dumps(one)}", style="red", markup=False, soft_wrap=True)
    return 1 if soak.errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
