"""`make bench`: the gateway against a bare relay and against no relay at all, side by side in one run.

A fake provider, the bare relay and `understudy serve` (keys and a route on) each run in a process of their own, the
two relays on one core, load and provider on another. Every round measures all three in turn, so that what else the
machine does meets all of them alike; the figures are medians of the rounds. docs/guides/benchmark.md says how to read
them. Exit code: 0 measured, 1 a subject gave errors or nothing could be measured, 130 interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import os
import platform
import signal
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import figures as fig
import load
import report
import understudy
import wire
from figures import BARE, DIRECT, GATEWAY, Figures, Measure, Sample
from processes import BenchError, Core, Running, allow_files, cores, output, running, until_ready

HERE = Path(__file__).resolve().parent
UNDERSTUDY = str(Path(sys.executable).parent / "understudy")

_WARM = 0.3
"""Seconds that every run of the load is not counted, while connections open and caches fill."""

_WARM_A_STREAM = 0.002
"""Seconds on top for each paced stream, up to 1,000: half of it spreads their starts over one stream's length."""

_HELPS = 5


def parse(arguments: list[str]) -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="one short round: to see that it works, not to quote")
    options.add_argument("--seconds", type=float, help="measured time of one run of the load (default 3; quick 1)")
    options.add_argument("--rounds", type=int, help="rounds, of which medians are taken (default 3; quick 1)")
    options.add_argument("--streams", type=int, default=1000, help="paced streams open at once (default 1000)")
    options.add_argument("--json", type=Path, metavar="FILE", help="also write the JSON to FILE")
    options.add_argument("--results", type=Path, metavar="DIR", default=HERE / "results", help="where results go")
    given = options.parse_args(arguments)
    given.seconds = given.seconds if given.seconds is not None else 1.0 if given.quick else 3.0
    given.rounds = given.rounds if given.rounds is not None else 1 if given.quick else 3
    if given.seconds <= 0 or given.rounds < 1 or given.streams < 1:
        options.error("--seconds, --rounds and --streams must be more than 0")
    return given


def configuration(provider_port: int) -> str:
    """The gateway's: a key is asked for, every model is a route."""
    routes = "".join(f'[routes.{kind}]\ntargets = ["bench/{kind}"]\n' for kind in wire.KINDS)
    return f"""[server]
port = 0
keys = ["{wire.KEY}"]
[ledger]
url = "ledger.sqlite"
[providers.bench]
dialect = "openai-chat"
base_url = "http://127.0.0.1:{provider_port}/v1"
api_key = "provider-key"
{routes}"""


def blank(options: argparse.Namespace, places: tuple[Core, Core, Core]) -> Figures:
    """Figures with nothing measured yet: what is being measured, where and how."""
    subject, asking, provider = places
    placement = f"subjects on core {subject}, load on core {asking}, provider on core {provider}"
    if subject is None:
        placement = "not pinned to cores (one core only, or no way to pin here): expect more noise"
    return Figures(
        machine=f"{_processor()}, {os.cpu_count()} cores",
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        version=understudy.__version__,
        date=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        placement=placement,
        seconds=options.seconds,
        rounds=options.rounds,
        streams=options.streams,
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


class Run:
    """One run of the benchmark: its figures so far, and the places where things are."""

    def __init__(self, options: argparse.Namespace, folder: Path, console: Console) -> None:
        self.options, self.folder, self.console = options, folder, console
        self.places = cores()
        self.figures = blank(options, self.places)
        self.measures = fig.measures(options.streams)
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=console, refresh_per_second=2, transient=True,
        )  # fmt: skip
        steps = len(self.measures) * options.rounds * len(fig.SUBJECTS)
        self.task = self.progress.add_task("", total=steps + _HELPS + options.rounds + 3)

    def step(self, description: str) -> None:
        """Say what comes next; what came before is done."""
        self.progress.update(self.task, advance=1, description=f"{description:<52}")

    async def everything(self) -> Figures:
        """Measure all there is. Raises BenchError."""
        allow_files(2 * self.options.streams + 1024)
        subject, _, core = self.places
        python = sys.executable
        with self.progress:
            async with contextlib.AsyncExitStack() as stack:
                provider = await stack.enter_async_context(
                    running("provider", [python, str(HERE / "upstream.py")], core, self.folder)
                )
                (self.folder / "bench.toml").write_text(configuration(provider.port), "utf-8")
                await self.helps()
                await self.starts()
                relay = [python, str(HERE / "bare_relay.py"), str(provider.port)]
                bare = await stack.enter_async_context(running(BARE, relay, subject, self.folder))
                gateway = await stack.enter_async_context(self.gateway())
                await self.loads({DIRECT: provider, BARE: bare, GATEWAY: gateway})
                self.figures.memory = {BARE: bare.resident(), GATEWAY: gateway.resident()}
        return self.figures

    def gateway(self) -> contextlib.AbstractAsyncContextManager[Running]:
        return running(GATEWAY, [UNDERSTUDY, "serve", "--config", "bench.toml"], self.places[0], self.folder)

    async def helps(self) -> None:
        """Time `understudy --help`. The first call is not counted: it may have to compile."""
        for number in range(_HELPS + 1):
            self.step("understudy --help")
            start = time.perf_counter()
            await output([UNDERSTUDY, "--help"], self.places[0], self.folder, 60)
            if number:
                self.figures.help.append(time.perf_counter() - start)

    async def starts(self) -> None:
        """Time from start to ready. The first start is not counted, as above."""
        for number in range(self.options.rounds + 1):
            self.step("start to ready")
            start = time.perf_counter()
            async with self.gateway() as child:
                await until_ready(child)
                if number:
                    self.figures.ready.append(time.perf_counter() - start)

    async def loads(self, subjects: dict[str, Running]) -> None:
        for measure in self.measures:
            found: dict[str, list[Sample]] = {name: [] for name in subjects}
            self.figures.samples[measure.key] = found
            for number in range(self.options.rounds):
                for name, subject in subjects.items():
                    self.step(f"{measure.label}: {name}, round {number + 1}")
                    found[name].append(await self.load(measure, subject))
            rates = ", ".join(f"{name} {fig.rate(self.figures, measure.key, name):,.0f}" for name in subjects)
            self.console.print(f"  {measure.label}: {rates}", highlight=False)

    async def load(self, measure: Measure, subject: Running) -> Sample:
        """One run of the load against one subject. Its faults are added to the figures' errors. Raises BenchError."""
        seconds, warm = self.options.seconds, _WARM
        if measure.kind == "paced":
            warm += _WARM_A_STREAM * min(measure.connections, 1000)
        command = [sys.executable, str(HERE / "load.py"), str(subject.port), measure.kind]
        for name, value in (("connections", measure.connections), ("seconds", seconds), ("warm", warm)):
            command += [f"--{name}", str(value)]
        out = await output(command, self.places[1], self.folder, seconds + warm + load.DRAIN + 60)
        if subject.process.returncode is not None:
            raise BenchError(f"{subject.name} ended with code {subject.process.returncode} under load.{subject.said()}")
        counted = msgspec.json.decode(out, type=load.Counted)
        done = counted.answers if measure.kind == "plain" else counted.events
        if counted.bad or not done:
            what = "; ".join(counted.examples) or "nothing came in the measured time"
            self.figures.errors.append(f"{subject.name}, {measure.label}: {counted.bad} bad. {what}{subject.said()}")
        return Sample(done / counted.seconds, counted.p50, counted.p99, counted.bad)


async def measured(options: argparse.Namespace, console: Console) -> Figures:
    """Measure everything in a folder that is gone afterwards. Ctrl-C and SIGTERM cancel it."""
    task = asyncio.current_task()
    assert task is not None
    # asyncio's own answer to Ctrl-C is missing where SIGINT was ignored at the start, as in a shell's background job.
    for sent in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(sent, task.cancel)
    with tempfile.TemporaryDirectory(prefix="understudy-bench-") as folder:
        return await Run(options, Path(folder), console).everything()


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    console = Console()
    if not console.is_terminal:
        console.width = 120  # a log has no width, and the table needs some
    if not Path(UNDERSTUDY).exists():
        console.print(f"{UNDERSTUDY} is not there. Run `make bench`, which installs it.", style="red", soft_wrap=True)
        return 1
    try:
        figures = asyncio.run(measured(options, console))
    except BenchError as error:
        console.print(f"Not measured: {error}", style="red", markup=False)
        return 1
    except asyncio.CancelledError:
        console.print("Interrupted: everything is stopped, nothing is written.", style="red")
        return 130
    console.print(report.table(figures))
    for note in fig.notes(figures):
        console.print(f"* {note}", highlight=False)
    for path in report.write(figures, options.results, options.json):
        console.print(f"  written: {path}", highlight=False, soft_wrap=True)
    for what in figures.errors:
        console.print(f"Error: {what}", style="red", markup=False)
    return 1 if figures.errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
