"""Memory over a million calls, all recorded: `python bench/memory.py` (five to ten minutes).

A real `understudy serve` in front of the benchmark's provider is asked for plain answers on 64 connections until it has
given as many as wanted. Once a second the resident memory of the gateway and of the ledger's process is read. A line is
fitted through the second half of each, in MiB per 100,000 calls: behind the first half all caches are full, so what
still rises would rise for ever. At the end the ledger must have each call once. Exit code: 0 measured, 1 it was not,
or calls failed, or some are missing in the ledger.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

import msgspec

import load
import wire
from processes import BenchError, Running, cores, output, running, until_ready

HERE = Path(__file__).resolve().parent
UNDERSTUDY = str(Path(sys.executable).parent / "understudy")

_WINDOW = 10.0
"""Seconds of load at a time. Between two the connections are opened anew, as clients do."""

_BETWEEN = 1.0
_CATCH_UP = 60.0
"""Seconds that the ledger gets at the end for what is still on its way."""


class Sample(msgspec.Struct):
    """Resident memory (MiB) `at` seconds after the start, when about so many calls had been answered."""

    at: float
    calls: int
    gateway: float
    writer: float


def parse(arguments: list[str]) -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--calls", type=int, default=1_000_000, help="calls to be answered (default 1,000,000)")
    options.add_argument("--connections", type=int, default=64)
    options.add_argument("--store", choices=("metadata", "bodies"), default="metadata", help="what the route keeps")
    options.add_argument("--results", type=Path, metavar="DIR", default=HERE / "results", help="where results go")
    given = options.parse_args(arguments)
    if given.calls < 1 or given.connections < 1:
        options.error("--calls and --connections must be more than 0")
    return given


def configuration(provider_port: int, store: str) -> str:
    return f"""[server]
port = 0
keys = ["{wire.KEY}"]
[ledger]
url = "ledger.sqlite"
[providers.bench]
dialect = "openai-chat"
base_url = "http://127.0.0.1:{provider_port}/v1"
api_key = "provider-key"
[routes.plain]
targets = ["bench/plain"]
store = "{store}"
"""


def descendants(pid: int) -> list[int]:
    """The processes that any thread of `pid` has started."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(one) for one in (task / "children").read_text().split()]
    return found


def resident(pid: int) -> float:
    """MiB; 0 for a process that has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def slope(samples: list[Sample], of: str) -> tuple[float, float]:
    """MiB per 100,000 calls over the second half of the calls, and the middle value there."""
    half = [one for one in samples if one.calls >= samples[-1].calls / 2]
    values = [getattr(one, of) for one in half]
    if len(half) < 3 or half[0].calls == half[-1].calls:
        raise BenchError("too few samples for a line: ask for more --calls")
    line = statistics.linear_regression([one.calls / 100_000 for one in half], values)
    return line.slope, statistics.median(values)


class Run:
    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.samples: list[Sample] = []
        self.calls = 0
        self.rate = 0.0
        self.start = time.monotonic()
        self.fresh: list[Sample] = []

    async def everything(self) -> None:
        """Drive the calls and watch. Raises BenchError."""
        subject, asking, core = cores()
        async with contextlib.AsyncExitStack() as stack:
            provider = await stack.enter_async_context(
                running("provider", [sys.executable, str(HERE / "upstream.py")], core, self.folder)
            )
            (self.folder / "bench.toml").write_text(configuration(provider.port, self.options.store), "utf-8")
            command = [UNDERSTUDY, "serve", "--config", "bench.toml"]
            gateway = await stack.enter_async_context(running("gateway", command, subject, self.folder))
            await until_ready(gateway)
            watching = asyncio.create_task(self._watch(gateway))
            try:
                while self.calls < self.options.calls:
                    await self._window(gateway, asking)
            finally:
                watching.cancel()
            self._look(gateway)
            await self._caught_up()

    async def _window(self, gateway: Running, core: int | None) -> None:
        left = self.options.calls - self.calls
        seconds = min(_WINDOW, left / self.rate + 0.5) if self.rate else 2.0
        command = [sys.executable, str(HERE / "load.py"), str(gateway.port), "plain", "--warm", "0"]
        command += ["--connections", str(self.options.connections), "--seconds", str(seconds)]
        out = await output(command, core, self.folder, seconds + load.DRAIN + 60)
        counted = msgspec.json.decode(out, type=load.Counted)
        for number, one in enumerate(self.fresh, 1):  # the load tells only at its end
            one.calls = self.calls + counted.answers * number // len(self.fresh)
        self.fresh.clear()
        if counted.bad or not counted.answers:
            raise BenchError(f"{counted.bad} bad answers: {'; '.join(counted.examples)}{gateway.said()}")
        self.calls += counted.answers
        self.rate = counted.answers / counted.seconds
        seen = self.samples[-1]
        print(f"  {self.calls:9,} calls, {self.rate:6,.0f}/s, {seen.gateway} and {seen.writer} MiB", flush=True)

    async def _watch(self, gateway: Running) -> None:
        while True:
            self._look(gateway)
            await asyncio.sleep(_BETWEEN)

    def _look(self, gateway: Running) -> None:
        at = time.monotonic() - self.start
        writers = sum(map(resident, descendants(gateway.process.pid)))
        one = Sample(round(at, 1), self.calls, round(gateway.resident(), 1), round(writers, 1))
        self.samples.append(one)
        self.fresh.append(one)

    async def _caught_up(self) -> None:
        """Wait until the ledger has every call that was counted. Raises BenchError if it never does."""
        end = time.monotonic() + _CATCH_UP
        while (kept := self.kept()) < self.calls:
            if time.monotonic() > end:
                raise BenchError(f"the ledger has {kept:,} of {self.calls:,} calls")
            await asyncio.sleep(0.5)

    def kept(self) -> int:
        with contextlib.closing(sqlite3.connect(self.folder / "ledger.sqlite")) as ledger:
            (count,) = ledger.execute("SELECT sum(exchanges) FROM hours").fetchone()
        return int(count or 0)


def picture(samples: list[Sample], path: Path) -> None:
    """Memory over calls."""
    import matplotlib as mpl  # noqa: PLC0415  # slow to import, and not needed until all is measured
    from matplotlib.figure import Figure  # noqa: PLC0415  # likewise

    calls = [one.calls / 1000 for one in samples]
    with mpl.rc_context({"svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False}):
        canvas = Figure(figsize=(8, 4), layout="constrained")
        axes = canvas.subplots()
        axes.plot(calls, [one.gateway for one in samples], color="#c8553d", label="gateway")
        axes.plot(calls, [one.writer for one in samples], color="#6b8fb3", label="the ledger's process")
        axes.set_xlabel("thousand calls, all recorded")
        axes.set_ylabel("resident memory, MiB")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
        canvas.savefig(path, format="svg")


def write(samples: list[Sample], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "memory.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(Sample.__struct_fields__)
        rows.writerows(msgspec.structs.astuple(one) for one in samples)
    picture(samples, folder / "memory.svg")


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    with tempfile.TemporaryDirectory(prefix="understudy-memory-") as folder:
        run = Run(options, Path(folder))
        try:
            asyncio.run(run.everything())
            lines = {name: slope(run.samples, name) for name in ("gateway", "writer")}
        except BenchError as error:
            print(f"Not measured: {error}", file=sys.stderr)
            return 1
    write(run.samples, options.results)
    took = run.samples[-1].at
    print(f"{run.calls:,} calls, each once in the ledger, in {took:,.0f} s; load {os.getloadavg()[1]:.1f} at the end")
    for name, (rise, middle) in lines.items():
        most = max(getattr(one, name) for one in run.samples)
        print(f"{name:8} {middle:6.1f} MiB, at most {most:.1f}; second half: {rise:+.3f} MiB per 100,000 calls")
    print(f"written: {options.results}/memory.csv, memory.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
