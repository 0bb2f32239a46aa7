"""Kills the ledger's processes at random moments and looks at what is left: `python -m tests.ledger.crash --times 50`.

A driver stands for the gateway: it puts exchanges as fast as told, and notes in a file shared with us when it put each.
Then it is killed (-9), or the process that writes is, or both at once. After a restart every exchange that had been put
more than one interval before the kill must be there exactly once, whole, and counted once; after a writer alone was
killed and the driver stopped cleanly, every single one. The driver also notes what each exchange used, and what
`understudy usage` would say must be the sum of that over the exchanges that are there, to the token and the dollar.
"""

import argparse
import contextlib
import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.ledger.making import NOW, ask
from understudy.ledger import Attempt, Cost, Exchange, Ledger, Settings, Tokens, queries
from understudy.ledger.database import open_engine

MODES = ("gateway", "writer", "both")
_SLOTS = 200_000
_HEAD = struct.Struct("<Q")  # the writer's process id, 0 until the ledger is ready
_SLOT = struct.Struct("<dIId")  # of the exchange of this number: when it was put, tokens in and out, US dollars


def drive(url, spool, shared, name, rate):
    """Put exchanges until killed, or stopped by SIGTERM."""
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    ledger = Ledger(Settings(url=url, spool=spool))
    ledger.start()
    assert ledger.ready(30)
    with open(shared, "r+b") as file:  # noqa: PTH123
        seen = mmap.mmap(file.fileno(), 0)
    begun, number, chance = time.monotonic(), 0, random.Random(name)
    while not stopped and number < _SLOTS:
        process = ledger._link._process
        if process is not None:
            _HEAD.pack_into(seen, 0, process.pid)
        while number < min(_SLOTS, (time.monotonic() - begun) * rate):
            used = (chance.randrange(1, 5000), chance.randrange(1, 2000), chance.randrange(64) / 64)
            _SLOT.pack_into(seen, _HEAD.size + number * _SLOT.size, time.monotonic(), *used)
            ledger.put(
                Exchange(
                    f"{name}-{number:08d}", NOW + number, "route", "openai-chat", "route", "answered", status=200,
                    task=name, target="a/b", tokens=Tokens(*used[:2]), cost=Cost(used[2], "v"),
                    attempts=(Attempt("a/b", 0.0), Attempt("c/d", 0.5)),
                )
            )  # fmt: skip
            number += 1
        time.sleep(0.001)
    ledger.stop()


def once(url, folder, mode, *, name, rate, interval=0.1, chance=random):
    """One kill and one recovery. Returns how many exchanges were put, and how many of the last are missing."""
    shared = folder / f"{name}.seen"
    shared.write_bytes(bytes(_HEAD.size + _SLOTS * _SLOT.size))
    command = [sys.executable, "-m", "tests.ledger.crash", "--drive", url, str(folder / "spool"), str(shared), name]
    driver = subprocess.Popen([*command, "--rate", str(rate)])
    with shared.open("r+b") as file:
        seen = mmap.mmap(file.fileno(), 0)
    try:
        _until(lambda: _HEAD.unpack_from(seen)[0], "the driver did not begin")
        time.sleep(chance.uniform(0.05, 1.0))
        (writer,) = _HEAD.unpack_from(seen)
        killed = time.monotonic()
        for pid in {"gateway": [driver.pid], "writer": [writer], "both": [driver.pid, writer]}[mode]:
            os.kill(pid, signal.SIGKILL)
        if mode == "writer":
            time.sleep(chance.uniform(0.0, 0.5))
            driver.send_signal(signal.SIGTERM)
            killed = float("inf")
        driver.wait(60)
    finally:
        driver.kill()
        driver.wait()
    _until(lambda: not _alive(writer), "the writer outlived its gateway")
    _recover(url, folder)
    return _check(url, name, seen, killed - interval)


def _recover(url, folder):
    """What the next start of the gateway does: it ingests the spool."""
    ledger = Ledger(Settings(url=url, spool=str(folder / "spool")))
    ledger.start()
    assert ledger.ready(30)
    _until(lambda: ledger.state().spooled == 0, "the spool was not ingested")
    state = ledger.stop()
    assert (state.error, state.lost) == (None, {}), state


def _check(url, name, seen, owed):
    found = [row[0] for row in ask(url, "SELECT id FROM exchanges WHERE id LIKE :like", like=f"{name}-%")]
    put, used = {}, {}
    for number in range(_SLOTS):
        at, *some = _SLOT.unpack_from(seen, _HEAD.size + number * _SLOT.size)
        if not at:
            break
        put[f"{name}-{number:08d}"] = at
        used[f"{name}-{number:08d}"] = some
    assert len(found) == len(set(found)), "an exchange is there twice"
    assert set(found) <= set(put), "something is there that nobody put"
    missing = [identity for identity in put if identity not in set(found)]
    late = [identity for identity in missing if put[identity] < owed]
    worst = max((owed - put[identity] for identity in late), default=0)
    assert not late, f"{len(late)} of {len(put)} are missing that were put up to {worst:.3f} s earlier than promised"
    halves = ask(url, "SELECT count(*) FROM attempts WHERE exchange LIKE :like", like=f"{name}-%")[0][0]
    assert halves == 2 * len(found), "an exchange is there without its attempts"
    with open_engine(url).begin() as connection:
        sums = queries.usage(connection, ["task"], task=name)
        whole = queries.usage(connection)
    counted = [len(found), *(sum(used[identity][place] for identity in found) for place in range(3))]
    said = [(row.exchanges, row.input, row.output, row.cost_usd) for row in sums]
    assert said == ([tuple(counted)] if found else []), f"usage says {said}, and the clients counted {counted}"
    everything = ask(url, "SELECT count(*), sum(input), sum(output), sum(cost_usd) FROM exchanges")[0]
    assert not whole or (whole[0].exchanges, whole[0].input, whole[0].output, whole[0].cost_usd) == everything
    return len(put), len(missing)


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with contextlib.suppress(OSError):  # a zombie that nobody waits for is dead enough
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True


def _until(condition, otherwise):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, otherwise
        time.sleep(0.01)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--rate", type=float, default=2000, help="exchanges per second")
    parser.add_argument("--url", help="a database of its own for this; SQLite in a temporary folder if not given")
    parser.add_argument("--postgresql", action="store_true", help="start a PostgreSQL server for it")
    parser.add_argument("--drive", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.drive:
        drive(*given.drive, given.rate)
        return
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        url = given.url or f"sqlite:///{folder}/ledger.db"
        if given.postgresql:
            from tests.ledger.postgres import Server

            server = Server()
            stack.callback(server.close)
            url = server.url()
        put = missing = 0
        for number in range(given.times):
            mode = MODES[number % len(MODES)]
            some, few = once(url, Path(folder), mode, name=f"run{number}", rate=given.rate)
            put, missing = put + some, missing + few
            print(f"{number + 1:3} {mode:8} {some:6} put, {few:4} of the last interval lost", flush=True)
    print(f"{given.times} kills, {put} exchanges put, {missing} lost, each within the last interval")


if __name__ == "__main__":
    main()
