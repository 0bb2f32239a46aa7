"""How fast the ledger takes exchanges, and how fast it answers: `python bench/ledger.py [--url URL] [--rows N]`.

Ingestion goes the whole way: `put` in this process, the process that writes, rows in the database. Questions are asked
of a database of a million exchanges, from a cold connection as a command would.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from understudy.ledger import Attempt, Body, Cost, Exchange, Ledger, Outcome, Redaction, Settings, Tokens
from understudy.ledger.database import open_engine
from understudy.ledger.queries import Filter, page, usage
from understudy.ledger.record_redaction import RecordRedactor
from understudy.ledger.store import Store

_START = 1_790_000_000.0
_DAYS = 30
_TARGETS = ("openai/gpt-5", "anthropic/claude-sonnet-4-5", "mistral/large", "local/smollm2-135m")


def made(count: int, name: str, bodies: tuple[Body, ...] = ()) -> Iterator[Exchange]:
    """Exchanges over a month: 20 routes, 4 targets of which one is rare, 50 keys, 10 tasks, one in fifty failed."""
    chance = random.Random(name)
    step = _DAYS * 86400 / count
    for number in range(count):
        target = _TARGETS[3] if number % 5000 == 0 else _TARGETS[number % 3]
        outcome: Outcome = "failed" if number % 50 == 0 else "answered"
        tokens, cost = Tokens(chance.randrange(4000), chance.randrange(800), 100), Cost(0.0123, "2026-11-01")
        attempt = Attempt(target, 0.001, 1.2, 0.01, 0.3, 0.4, outcome, tokens=tokens, cost=cost)
        yield Exchange(
            id=f"ex_{name}{number:012x}",
            wall=_START + number * step,
            route=f"route-{chance.randrange(20)}",
            dialect="openai-chat",
            model="gpt-5",
            outcome=outcome,
            stream=True,
            status=503 if outcome == "failed" else 200,
            target=target,
            key=f"key_{chance.randrange(50)}",
            task=f"task-{chance.randrange(10)}",
            tokens=tokens,
            cost=cost,
            first_content=0.4,
            total=1.2,
            attempts=(attempt,),
            bodies=bodies,
        )


_PROSE = (
    "the model answers that foxes live in the woods near our house and asks whether we have seen one of them in the",
    "garden, which we did on a morning in 2024, at about half past six, when version 3 of the fence was not yet there",
)


def said(size: int, *, prose: bool) -> list[bytes]:
    """500 texts of `size` bytes: a request in words, or hexadecimal numbers, which redaction has to look at most."""
    chance = random.Random(size)
    if prose:
        head, tail = b'{"model":"gpt-5","messages":[{"role":"user","content":"', b'"}]}'
        words = " ".join(_PROSE).split()
        room = size - len(head) - len(tail)
        return [head + " ".join(chance.choices(words, k=size // 2))[:room].encode() + tail for _ in range(500)]
    words = [f"{chance.getrandbits(40):x} " for _ in range(2000)]
    return ["".join(chance.choices(words, k=size // 8))[:size].encode() for _ in range(500)]


def ingest(
    url: str, spool: str, count: int, size: int, redaction: Redaction | None = None, *, prose: bool = False
) -> str:
    """Put `count` exchanges as fast as they are taken, each with two bodies of `size` bytes together."""
    texts = said(size // 2, prose=prose)
    records = list(made(count, f"{size:04x}{os.getpid():08x}{int(time.time() * 1000):x}"))
    if size:
        import msgspec  # noqa: PLC0415  # only here

        records = [
            msgspec.structs.replace(
                record, bodies=(Body("request", texts[n % 500]), Body("answer", texts[(n * 7 + 1) % 500]))
            )
            for n, record in enumerate(records)
        ]
    ledger = Ledger(Settings(url=url, spool=spool, memory=24 * 1024 * 1024, redaction=redaction))
    ledger.start()
    assert ledger.ready()
    limit = 2000 if size else 20_000
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start, cpu = time.perf_counter(), time.process_time()
    for number, record in enumerate(records):
        ledger.put(record)
        if number % 500 == 0:
            while ledger.state().queued > limit:
                time.sleep(0.002)
    state = ledger.stop(60)
    took, used = time.perf_counter() - start, time.process_time() - cpu
    assert state.written == count, state
    assert not state.lost, state
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    writer = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    what = f"bodies {size} bytes{' of prose' if prose else ''}, {_how(redaction)}"
    return (
        f"{count / took:8,.0f} exchanges/s, {what}; work: {used / count * 1e6:.1f} µs in the gateway, "
        f"{writer / count * 1e6:.1f} µs in the writer; its peak {after.ru_maxrss // 1024} MiB"
    )


def _how(redaction: Redaction | None) -> str:
    return "as they are" if redaction is None else "redacted, Kingfisher too" if redaction.scanner else "redacted"


def put_cost(spool: str) -> str:
    """Microseconds of one `put`."""
    ledger = Ledger(Settings(url="sqlite:///unused", spool=spool, queue=10**6))
    record = next(made(1, "put"))
    start = time.perf_counter()
    for _ in range(500_000):
        ledger.put(record)
    return f"{(time.perf_counter() - start) * 2:8.2f} µs a put"


def fill(url: str, count: int) -> None:
    """Write `count` exchanges the direct way."""
    store = Store(url)
    batch: list[Exchange] = []
    for record in made(count, "fill"):
        batch.append(record)
        if len(batch) == 5000:
            store.write(batch)
            batch.clear()
    store.write(batch)
    store.close()


def timed(url: str, what: str, question: Callable[..., object]) -> str:
    """The median of five, each on a connection of its own."""
    took, cpu = [], []
    for _ in range(5):
        engine = open_engine(url)
        start, used = time.perf_counter(), time.process_time()
        with engine.connect() as connection:
            question(connection)
        took.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
        engine.dispose()
    return f"{sorted(took)[2] * 1000:8.1f} ms ({sorted(cpu)[2] * 1000:.1f} of work)  {what}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", help="an empty database; SQLite in a temporary folder if not given")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--puts", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        spool = str(Path(folder) / "spool")
        url = given.url or f"sqlite:///{folder}/ledger.db"
        print(put_cost(spool), flush=True)
        print(ingest(url, spool, given.puts, 0), flush=True)
        rules = str(Path(folder) / "rules")
        kingfisher = Redaction(scanner=True, cache=rules)
        RecordRedactor(kingfisher).record(next(made(1, "warm", (Body("request", b"{}"),))))  # compiles its rules
        for prose in (False, True):
            for redaction in (None, Redaction(), kingfisher):
                print(ingest(url, spool, given.puts // 4, 2048, redaction, prose=prose), flush=True)
        print(ingest(url, spool, given.puts, 0, Redaction()), flush=True)
        start = time.perf_counter()
        fill(url, given.rows)
        print(f"{given.rows / (time.perf_counter() - start):8,.0f} exchanges/s, by the store alone", flush=True)
        end = _START + _DAYS * 86400
        for by in ("route", "target", "key", "task", "day"):
            print(timed(url, f"usage by {by}", lambda connection, by=by: usage(connection, [by])))
        print(timed(url, "usage by route and day", lambda connection: usage(connection, ["route", "day"])))
        print(timed(url, "usage by target of one key", lambda connection: usage(connection, ["target"], key="key_7")))
        print(timed(url, "usage by route and key", lambda connection: usage(connection, ["route", "key"])))
        since, until = _START + 1234.5, end - 1234.5
        uneven = "usage by key, a span of uneven ends"
        print(timed(url, uneven, lambda connection: usage(connection, ["key"], since=since, until=until)))
        for which in (
            Filter(),
            Filter(route="route-3"),
            Filter(target=_TARGETS[3]),
            Filter(route="route-3", target=_TARGETS[3], key="key_7"),
            Filter(key="key_7", task="task-3", outcome="failed"),
            Filter(failed=True, until=_START + 86400),
            Filter(route="no such route"),
            Filter(model="no such model"),
            Filter(status=429),
        ):
            said = {name: value for name in which.__struct_fields__ if (value := getattr(which, name))}
            print(timed(url, f"first page of {said}", lambda connection, which=which: page(connection, which)))


if __name__ == "__main__":
    main()
