"""The gateway under faults: what clients see, what reaches a provider that is down, what a switch costs.

`understudy serve` as it is, in a process of its own; providers are simulated ones that fail by command, also in
processes of their own (`provider.py`); clients are raw sockets in this one (`talk.py`) and count an answer only if it
is whole, word for word. Four parts, about a minute and a half. docs/guides/benchmark.md says how to read it.
Exit code: 0 all is as wanted (times apart: they depend on the machine), 1 it is not or could not be measured.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import signal
import sys
import tempfile
import time
from bisect import bisect_left
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from rich import box
from rich.console import Console
from rich.table import Table

import talk
from processes import BenchError, Running, allow_files, running, until_ready

HERE = Path(__file__).resolve().parent
UNDERSTUDY = str(Path(sys.executable).parent / "understudy")

PARTS = ("switches", "success", "down", "cut")

RATE = 0.3
WORKERS = 64

KINDS = (
    "internal", "overloaded", "rate-limit:retry=1", "html-502", "html-503", "empty-body", "null-body", "invalid-http",
    "reset", "close", "short-body", "cut-json", "empty", "error-event", "error-event-late:after=6",
    "cut:after=5,pause=0.01", "cut-reset:after=5,pause=0.01", "cut-clean:after=9", "cut-event:after=7",
    "cut-chunk:after=3", "cut-utf8:after=4", "bad-chunk:after=6", "malformed-twice:after=4", "done-without-finish",
)  # fmt: skip
"""What three calls in ten meet."""

SLOW_KINDS = ("silent", "head-only", "hang:after=5")
"""Those that only a clock ends: fewer of them, at a route whose clocks are short."""

SWITCHES = {
    "an answer 500": ("internal", True),
    "a reset before any byte": ("reset", True),
    "an error as the first event": ("error-event", True),
    "a cut in mid-stream": ("cut:after=5,pause=0.01", True),
    "a reset in mid-stream": ("cut-reset:after=5,pause=0.01", True),
    "half a body": ("cut", False),
}
"""Faults after which the call goes to the substitute at once, and whether the call is a stream."""

_LONG = 60
"""Pieces of an answer that is cut amid a thousand others."""


class Row(msgspec.Struct):
    """A line of the table. `met` is None where nothing is wanted; `timed` figures do not decide the exit code."""

    part: str
    what: str
    wanted: str
    found: str
    met: bool | None = None
    timed: bool = False


class Report(msgspec.Struct):
    """What the parts have found. Failures are those of clients, each with its cause."""

    rows: list[Row] = []
    failures: list[dict[str, Any]] = []
    details: dict[str, Any] = {}
    load_average: tuple[float, float, float] = (0.0, 0.0, 0.0)
    cores: int = 0
    simulated: str = "providers and clients; the gateway is the real one, on loopback, without TLS"


def parse(arguments: list[str]) -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--calls", type=int, default=20_400, help="calls with 30 %% errors (20,400)")
    options.add_argument("--streams", type=int, default=1000, help="streams that are cut at once (1,000)")
    options.add_argument("--down", type=float, default=30.0, help="seconds that a provider is down (30)")
    options.add_argument("--switches", type=int, default=200, help="switches timed of each kind (200)")
    options.add_argument("--parts", default=",".join(PARTS), help="some of the parts, in any order (all)")
    options.add_argument("--json", type=Path, metavar="FILE", help="also write the report to FILE")
    options.add_argument("--results", type=Path, metavar="DIR", default=HERE / "results", help="where results go")
    given = options.parse_args(arguments)
    given.parts = given.parts.split(",")
    if unknown := set(given.parts) - set(PARTS):
        options.error(f"--parts has no {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if min(given.calls, given.streams, given.down, given.switches) <= 0:
        options.error("--calls, --streams, --down and --switches must be more than 0")
    return given


def configuration(ports: dict[str, int]) -> str:
    """`faulty` and `stubborn` are one simulated provider: with its health kept, and without: all calls meet it."""
    text = f'[server]\nport = 0\nkeys = ["{talk.KEY}"]\nadmin_keys = ["{ADMIN}"]\n[ledger]\nurl = "ledger.sqlite"\n'
    extras = {"stubborn": "cooldown = false\n", "open": "cooldown = false\n"}
    places = {**ports, "stubborn": ports["faulty"], "open": ports["calm"]}
    for name, port in places.items():
        text += f'[providers.{name}]\ndialect = "openai-chat"\nbase_url = "http://127.0.0.1:{port}/v1"\n'
        text += f'api_key = "sim"\n{extras.get(name, "")}'
    routes = {
        "kept": ("faulty/ok", "calm/ok", "first_token_timeout = 30\nanswer_timeout = 30"),
        "met": ("stubborn/ok", "calm/ok", "first_token_timeout = 30\nanswer_timeout = 30"),
        "brisk": ("stubborn/ok", "calm/ok", "first_token_timeout = 2\nanswer_timeout = 2\nliveness_timeout = 1"),
        "switched": ("stubborn/ok", "open/ok", "retries = 0"),
        "down-a": ("down-a/ok", "calm/ok", "first_token_timeout = 30"),
        "down-b": ("down-b/ok", "calm/ok", "first_token_timeout = 30"),
        "cut": ("mortal/long", "fresh/long", f"deadline = {CUT_DEADLINE:g}\nfirst_token_timeout = 30"),
    }
    for name, (first, second, more) in routes.items():
        text += f'[routes.{name}]\ntargets = ["{first}", "{second}"]\n{more}\n'
    return text


ADMIN = f"{talk.KEY}-admin"
CUT_DEADLINE = 60.0
PROVIDERS = ("faulty", "calm", "down-a", "down-b", "mortal", "fresh")


class Run:
    """The processes, and the report so far."""

    def __init__(self, options: argparse.Namespace, folder: Path, console: Console) -> None:
        self.options, self.folder, self.console = options, folder, console
        self.report = Report(load_average=os.getloadavg(), cores=os.cpu_count() or 0)
        self.providers: dict[str, Running] = {}
        self.gateway: Running
        self.numbers = itertools.count()

    async def everything(self) -> Report:
        """All parts, one after another. Raises BenchError."""
        allow_files(4 * self.options.streams + 1024)
        async with contextlib.AsyncExitStack() as stack:
            for name in PROVIDERS:
                command = [sys.executable, str(HERE / "provider.py")]
                self.providers[name] = await stack.enter_async_context(running(name, command, None, self.folder))
            ports = {name: child.port for name, child in self.providers.items()}
            (self.folder / "faults.toml").write_text(configuration(ports), "utf-8")
            command = [UNDERSTUDY, "serve", "--config", "faults.toml"]
            self.gateway = await stack.enter_async_context(running("gateway", command, None, self.folder))
            await until_ready(self.gateway)
            for part in self.options.parts:
                began = time.monotonic()
                await getattr(self, part)()
                self.console.print(f"  {part}: {time.monotonic() - began:.0f} s", highlight=False)
            log = self.gateway.log.read_text("utf-8", "replace")
            self.row("gateway", "tracebacks in its log", "0", str(log.count("Traceback")), "Traceback" not in log)
            if "Traceback" in log:
                self.report.details["log"] = log[log.index("Traceback") :][:8000]
        return self.report

    def row(
        self, part: str, what: str, wanted: str, found: str, met: bool | None = None, *, timed: bool = False
    ) -> None:
        self.report.rows.append(Row(part, what, wanted, found, met, timed))

    async def command(self, name: str, behaviour: str | None, model: str = "") -> None:
        """Make a provider behave so from now on; None makes it well."""
        method = "DELETE" if behaviour is None else "PUT"
        await talk.order(self.providers[name].port, method, f"/simulated{model and '/' + model}", behaviour or "")

    async def log(self, name: str) -> tuple[list[float], list[float]]:
        """When a provider was asked and when it had said its last, since the last look."""
        told = await talk.order(self.providers[name].port, "GET", "/bench/log")
        return told["asked"], sorted(told["said"])

    def question(self) -> str:
        return f"number {next(self.numbers)}, please"

    # -- what a switch adds ------------------------------------------------------------------------------------------

    async def switches(self) -> None:
        """One call at a time. From the fault's last byte at one provider to the call's arrival at the other."""
        everything: list[float] = []
        line = talk.Line(self.gateway.port)
        for what, (behaviour, stream) in SWITCHES.items():
            await self.command("faulty", behaviour)
            for _ in range(5):  # connections open, caches fill
                await line.ask("chat", "switched", self.question(), stream=stream, limit=10)
            await self.log("faulty")
            await self.log("calm")
            for _ in range(self.options.switches):
                question = self.question()
                heard = await line.ask("chat", "switched", question, stream=stream, limit=10)
                self.judge(heard, talk.expected(question, 0), f"switch: {behaviour}", "switched", stream=stream)
            _, said = await self.log("faulty")
            asked, _ = await self.log("calm")
            # A provider notes its last word when it has gone out: the next may be asked before that, which is at once.
            before = [said[: bisect_left(said, at)] for at in asked]
            times = [1000 * (at - last[-1]) if last else 0.0 for at, last in zip(asked, before, strict=True)]
            everything += times
            median, p99 = percentile(times, 0.5), percentile(times, 0.99)
            self.row("switch", f"after {what}: median, p99", "<= 1 ms", f"{median:.2f}, {p99:.2f} ms", p99 <= 1,
                     timed=True)  # fmt: skip
            self.report.details.setdefault("switch_ms", {})[what] = {"median": median, "p99": p99, "count": len(times)}
        await self.command("faulty", None)
        line.close()
        median, p99 = percentile(everything, 0.5), percentile(everything, 0.99)
        self.row("switch", f"all {len(everything):,}: median, p99", "<= 1 ms", f"{median:.2f}, {p99:.2f} ms", p99 <= 1,
                 timed=True)  # fmt: skip

    # -- 30 % errors -------------------------------------------------------------------------------------------------

    async def success(self) -> None:
        """A provider that fails three calls in ten, in every way; a healthy substitute."""
        few = max(8, self.options.calls // 100)
        many = max(8, (self.options.calls - few * len(SLOW_KINDS)) // len(KINDS))
        total: Counter[str] = Counter()
        began = time.monotonic()
        for number, kind in enumerate((*KINDS, *SLOW_KINDS)):
            name, _, values = kind.partition(":")
            order = f"flaky:rate={RATE},seed={number},like={name}" + (f",{values}" if values else "")
            await self.command("faulty", order)
            routes = ("brisk",) if kind in SLOW_KINDS else ("kept", "met")
            todo = [
                (routes[i % len(routes)], i // len(routes) % 2 == 0) for i in range(few if kind in SLOW_KINDS else many)
            ]
            total += await self.calls(todo, kind)
        await self.command("faulty", None)
        share = 1 - total["bad"] / max(total["all"], 1)
        self.row("30 % errors", f"success of {total['all']:,} calls, {total['streams']:,} streamed", ">= 99.99 %",
                 f"{share:.4%} ({total['bad']} failed)", share >= 0.9999)  # fmt: skip
        self.row("30 % errors", "looked whole and was not", "0", str(total["looks whole"]), not total["looks whole"])
        self.row("30 % errors", "calls with another attempt before the first word", "", f"{total['moved']:,}")
        self.row("30 % errors", "streams gone on with in the middle", "", f"{total['continued']:,}")
        self.row("30 % errors", "calls/s", "", f"{total['all'] / (time.monotonic() - began):,.0f}")
        self.report.details["success"] = total

    async def calls(self, todo: list[tuple[str, bool]], kind: str) -> Counter[str]:
        """Make all the calls, many at once."""
        total: Counter[str] = Counter()
        waiting = iter(todo)

        async def worker() -> None:
            line = talk.Line(self.gateway.port)
            for route, stream in waiting:
                question = self.question()
                heard = await line.ask("chat", route, question, stream=stream, limit=90)
                text = talk.expected(question, 0)
                total["all"] += 1
                total["streams"] += stream
                total["bad"] += not self.judge(heard, text, kind, route, stream=stream)
                total["looks whole"] += talk.silent_truncation(heard, text)
                total["moved"] += heard.attempts > 1
                total["continued"] += heard.continued
            line.close()

        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(worker())
        return total

    def judge(self, heard: talk.Heard, text: str, kind: str, route: str, *, stream: bool) -> bool:
        """Whether the client has its whole answer; if not, it is noted why."""
        what = talk.wrong(heard, text)
        if what:
            self.report.failures.append(
                {"fault": kind, "route": route, "streamed": stream, "attempts": heard.attempts, "what": what}
            )
        return not what

    # -- a provider that is down, and comes back ---------------------------------------------------------------------

    async def down(self) -> None:
        """Two providers are down at once, each in its way, each with a route and a load of its own."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._down("down-a", "internal"))
            group.create_task(self._down("down-b", "overloaded"))

    async def _down(self, name: str, behaviour: str) -> None:
        stop = asyncio.Event()
        heard: list[tuple[float, str]] = []
        load = [asyncio.create_task(self._steady(name, stop, heard, behaviour)) for _ in range(8)]
        await asyncio.sleep(min(2, self.options.down))
        await self.command(name, behaviour)
        fell = time.monotonic()
        await asyncio.sleep(self.options.down)
        asked, _ = await self.log(name)
        opened = await self._opened(name, fell)
        await self.command(name, None)
        well = time.monotonic()
        self._reached(f"{name} ({behaviour})", [at - fell for at in asked if at > fell], opened)
        due = fell + alone(opened)[-1] if opened else well
        interval = max((seconds for _, seconds in opened), default=0.0)
        probe = max(due - well, 0.0)
        back = None
        for _ in range(int(20 * (probe + 12))):
            await asyncio.sleep(0.05)
            back = next((at for at, who in heard if at > well and who == name), None)
            if back is not None:
                break
        took = "never" if back is None else f"{back - well:.2f} s (probe was due after {probe:.2f} s)"
        self.row("recovery", f"first answer of {name} again", f"within {interval:.0f} s, one interval", took,
                 back is not None and back - well <= interval + 0.5)  # fmt: skip
        await asyncio.sleep(min(6, self.options.down))
        stop.set()
        await asyncio.gather(*load)
        late = [who for at, who in heard if back is not None and at > back + 4]
        if late:
            self.row("recovery", f"share of {name}, 4 to 6 s after that", "", f"{late.count(name) / len(late):.0%}")

    async def _steady(self, route: str, stop: asyncio.Event, heard: list[tuple[float, str]], kind: str) -> None:
        """Some twenty calls a second."""
        line = talk.Line(self.gateway.port)
        while not stop.is_set():
            question = self.question()
            answer = await line.ask("chat", route, question, stream=True, limit=60)
            heard.append((time.monotonic(), answer.target.partition("/")[0]))
            self.judge(answer, talk.expected(question, 0), f"down: {kind}", route, stream=True)
            await asyncio.sleep(0.05)
        line.close()

    async def _opened(self, name: str, fell: float) -> list[tuple[float, float]]:
        """When the target was left alone, in seconds after `fell`, and for how long."""
        shift = time.monotonic() - time.time() - fell
        events = (await talk.order(self.gateway.port, "GET", "/admin/events", key=ADMIN))["events"]
        kinds = ("breaker_open", "cooldown")
        return [
            (one["at"] + shift, one["seconds"])
            for one in events
            if one["target"].startswith(f"{name}/") and one["what"] in kinds
        ]

    def _reached(self, name: str, asked: list[float], opened: list[tuple[float, float]]) -> None:
        """Requests that came while the gateway should have known better, beyond one for each time it may look."""
        first = opened[0][0] if opened else self.options.down
        known = [at for at in asked if at > first + 0.05]  # those under way at that moment had been sent
        ends = [end for end in alone(opened) if end < self.options.down]
        extra = len(known) - len(ends)
        what = f"{name}, {self.options.down:.0f} s: requests until it was known"
        self.row("down", what, "", f"{len(asked) - len(known)}")
        self.row("down", f"{name}: beyond one for each of {len(ends)} intervals", "<= 1", str(extra), extra <= 1)
        self.report.details.setdefault("down", {})[name] = {"asked": asked, "left_alone": opened}

    # -- a thousand streams cut at once --------------------------------------------------------------------------------

    async def cut(self) -> None:
        """Their provider is killed when all of them have begun."""
        count = self.options.streams
        await self.command("mortal", f"drip:between=0.5,tokens={_LONG}", "long")
        await self.command("fresh", f"drip:between=0.02,tokens={_LONG}", "long")
        heard: list[talk.Heard] = []
        over: list[float] = []

        async def one(number: int) -> None:
            await asyncio.sleep(number / 500)
            line, question = talk.Line(self.gateway.port), self.question()
            answer = await line.ask("chat", "cut", question, stream=True, limit=CUT_DEADLINE + 10)
            line.close()
            over.append(time.monotonic())
            heard.append(answer)
            self.judge(answer, talk.expected(question, _LONG), "a thousand cut at once", "cut", stream=True)

        tasks = [asyncio.create_task(one(number)) for number in range(count)]
        arrived = 0
        for _ in range(200):
            arrived += len((await self.log("mortal"))[0])
            if arrived >= count:
                break
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        await self.log("fresh")
        self.providers["mortal"].process.kill()
        killed = time.monotonic()
        before = len(over)
        await asyncio.gather(*tasks)
        asked, _ = await self.log("fresh")
        hung = [one for one in heard if "hung" in one.broke]
        errors = [one for one in heard if one.error]
        gone_on = [one for one in heard if one.continued and not one.error and not one.broke]
        self.row("cut at once", f"of {count:,} streams: continued, ended with an error", "all",
                 f"{len(gone_on):,}, {len(errors):,}", len(gone_on) + len(errors) == count)  # fmt: skip
        self.row("cut at once", "neither within the deadline", "0", str(len(hung)), not hung)
        self.row("cut at once", "from the cut to the last stream's end", f"<= {CUT_DEADLINE:.0f} s",
                 f"{max(over) - killed:.1f} s", max(over) - killed <= CUT_DEADLINE)  # fmt: skip
        seconds = Counter(int(at - killed) for at in asked if at >= killed)
        rates = [seconds[second] for second in range(max(seconds, default=0) + 1)]
        self.row("cut at once", "arrivals at the substitute, second by second", "a ramp", " ".join(map(str, rates)))
        self.report.details["cut"] = {"over_before": before, "arrivals": rates, "asked": len(asked)}


def alone(opened: list[tuple[float, float]]) -> list[float]:
    """When the times end in which a target is left alone, each given as (begin, seconds); some lie within others."""
    ends: list[float] = []
    for at, seconds in sorted(opened):
        if ends and at < ends[-1]:
            ends[-1] = max(ends[-1], at + seconds)
        else:
            ends.append(at + seconds)
    return ends


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of `values` do not exceed; infinite for none."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)] if values else float("inf")


def table(report: Report) -> Table:
    load = ", ".join(f"{one:.1f}" for one in report.load_average)
    caption = (
        f"Simulated: {report.simulated}.\n{report.cores} cores, load average {load}: others' work is in the times."
    )
    title = "Understudy's gateway under faults"
    shown = Table(title=title, caption=caption, caption_justify="left", box=box.SIMPLE_HEAD)
    for head in ("", "", "wanted", "found", ""):
        shown.add_column(head)
    for row in report.rows:
        mark = "" if row.met is None else "yes" if row.met else "NO"
        shown.add_row(row.part, row.what, row.wanted, row.found, mark)
    return shown


async def measured(options: argparse.Namespace, console: Console) -> Report:
    """Everything, in a folder that is gone afterwards. Ctrl-C and SIGTERM cancel it."""
    task = asyncio.current_task()
    assert task is not None
    for sent in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(sent, task.cancel)
    with tempfile.TemporaryDirectory(prefix="understudy-faults-") as folder:
        return await Run(options, Path(folder), console).everything()


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    console = Console()
    if not console.is_terminal:
        console.width = 140  # a log has no width, and the table needs some
    try:
        report = uvloop.run(measured(options, console))
    except BenchError as error:
        console.print(f"Not measured: {error}", style="red", markup=False)
        return 1
    except asyncio.CancelledError:
        console.print("Interrupted: everything is stopped, nothing is written.", style="red")
        return 130
    console.print(table(report))
    options.results.mkdir(parents=True, exist_ok=True)
    encoded = msgspec.json.format(msgspec.json.encode(report)) + b"\n"
    for path in (options.results / "faults.json", *([options.json] if options.json else ())):
        path.write_bytes(encoded)
        console.print(f"  written: {path}", highlight=False, soft_wrap=True)
    for failure in report.failures:
        console.print(f"Failed: {msgspec.json.encode(failure).decode()}", style="red", markup=False, soft_wrap=True)
    return 1 if any(row.met is False and not row.timed for row in report.rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
