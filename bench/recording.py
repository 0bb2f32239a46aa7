"""What recording costs: `python bench/recording.py [--rounds 5] [--seconds 3]`.

Gateways that differ in nothing but what they record stand side by side before one provider: nothing (`ledger.url =
"off"`), each exchange, each exchange with its bodies. They are asked in turn, so that what else the machine does meets
all alike. Beside the calls a second it says what a call took of processor time, in the gateway and in the ledger's
process: that can be compared even where the machine is busy with other things. Exit code: 0 measured, 1 not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
from pathlib import Path

import msgspec

import load
import wire
from memory import descendants
from processes import BenchError, Running, cores, output, running, until_ready

HERE = Path(__file__).resolve().parent
UNDERSTUDY = str(Path(sys.executable).parent / "understudy")
KINDS = ("off", "metadata", "bodies")


class Round(msgspec.Struct, frozen=True):
    """Calls a second, and microseconds of processor time that one took."""

    rate: float
    gateway: float
    writer: float


def parse(arguments: list[str]) -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5, help="rounds, of which medians are taken (default 5)")
    options.add_argument("--seconds", type=float, default=3.0, help="time of one run of the load (default 3)")
    options.add_argument("--kind", choices=wire.KINDS, default="plain", help="what is asked for (default plain)")
    given = options.parse_args(arguments)
    if given.seconds <= 0 or given.rounds < 1:
        options.error("--seconds and --rounds must be more than 0")
    return given


def configuration(provider_port: int, kind: str) -> str:
    routes = "".join(
        f'[routes.{name}]\ntargets = ["bench/{name}"]\nstore = "{"bodies" if kind == "bodies" else "metadata"}"\n'
        for name in wire.KINDS
    )
    return f"""[server]
port = 0
keys = ["{wire.KEY}"]
[ledger]
url = "{"off" if kind == "off" else f"{kind}/ledger.sqlite"}"
[providers.bench]
dialect = "openai-chat"
base_url = "http://127.0.0.1:{provider_port}/v1"
api_key = "provider-key"
{routes}"""


def spent(pid: int) -> float:
    """Seconds of processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def one_round(gateway: Running, core: int | None, options: argparse.Namespace, folder: Path) -> Round:
    """A run of the load, and until the ledger's process has nothing to do any more. Raises BenchError."""
    writers = descendants(gateway.process.pid)
    before, written = spent(gateway.process.pid), sum(map(spent, writers))
    command = [sys.executable, str(HERE / "load.py"), str(gateway.port), options.kind, "--connections", "64"]
    command += ["--warm", "0.3", "--seconds", str(options.seconds)]
    out = await output(command, core, folder, options.seconds + load.DRAIN + 60)
    counted = msgspec.json.decode(out, type=load.Counted)
    if counted.bad or not counted.answers:
        raise BenchError(f"{counted.bad} bad answers: {'; '.join(counted.examples)}{gateway.said()}")
    took = spent(gateway.process.pid) - before
    last = -1.0
    while (now := sum(map(spent, writers))) != last:
        last = now
        await asyncio.sleep(0.5)
    micro = 1e6 / counted.answers
    return Round(counted.answers / counted.seconds, took * micro, (last - written) * micro)


async def measured(options: argparse.Namespace, folder: Path) -> dict[str, list[Round]]:
    """The rounds of each kind. Raises BenchError."""
    subject, asking, core = cores()
    found: dict[str, list[Round]] = {kind: [] for kind in KINDS}
    async with contextlib.AsyncExitStack() as stack:
        provider = await stack.enter_async_context(
            running("provider", [sys.executable, str(HERE / "upstream.py")], core, folder)
        )
        gateways = {}
        for kind in KINDS:
            (folder / f"{kind}.toml").write_text(configuration(provider.port, kind), "utf-8")
            command = [UNDERSTUDY, "serve", "--config", f"{kind}.toml"]
            gateways[kind] = await stack.enter_async_context(running(kind, command, subject, folder))
            await until_ready(gateways[kind])
        for number in range(options.rounds + 1):
            for kind, gateway in gateways.items():
                one = await one_round(gateway, asking, options, folder)
                if number:  # the first fills caches
                    found[kind].append(one)
    return found


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    with tempfile.TemporaryDirectory(prefix="understudy-recording-") as folder:
        try:
            found = asyncio.run(measured(options, Path(folder)))
        except BenchError as error:
            print(f"Not measured: {error}", file=sys.stderr)
            return 1
    print(f"load of the machine {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores; medians of {options.rounds} rounds")
    print(f"{'recorded':10}{'calls/s':>9}{'ratio':>7}{'by round':>14}{'gateway µs':>12}{'ratio':>7}{'writer µs':>11}")
    for kind, rounds in found.items():
        ratios = [one.rate / other.rate for one, other in zip(rounds, found["off"], strict=True)]
        middle = {name: statistics.median(getattr(one, name) for one in rounds) for name in Round.__struct_fields__}
        nothing = statistics.median(one.gateway for one in found["off"])
        print(
            f"{kind:10}{middle['rate']:9,.0f}{statistics.median(ratios):7.2f}"
            f"{min(ratios):8.2f}-{max(ratios):.2f} {middle['gateway']:11.1f}"
            f"{nothing / middle['gateway']:7.2f}{middle['writer']:11.1f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
