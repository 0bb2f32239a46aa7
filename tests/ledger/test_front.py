"""The ledger as the gateway has it, with the real process that writes."""

import signal
import subprocess
import sys
import threading
import time as real
from pathlib import Path

import msgspec
import pytest

from tests.ledger.making import NOW, ask, exchange, ids, summed, whole
from understudy.ledger import Body, Event, Ledger, Settings


@pytest.fixture
def made():
    """Makes and starts ledgers, and stops them at the end."""
    ledgers = []

    def make(settings, *, start=True):
        ledgers.append(Ledger(settings))
        if start:
            ledgers[-1].start()
            assert ledgers[-1].ready()
        return ledgers[-1]

    yield make
    for ledger in ledgers:
        if ledger._stopping is None and ledger._thread.is_alive():
            ledger.stop(0)


def until(condition, seconds=20):
    end = real.monotonic() + seconds
    while not condition():
        assert real.monotonic() < end, "it did not come true"
        real.sleep(0.01)


def appear(absent):
    """Make the folder in which the database may be."""
    Path(absent.url.removeprefix("sqlite:///")).parent.mkdir()


def test_what_was_put_is_there_after_a_clean_stop(made, settings, url):
    ledger = made(settings)
    put = [whole() for _ in range(1000)]
    for record in put:
        ledger.put(record)
    state = ledger.stop()
    assert ids(url) == [record.id for record in put]
    assert summed(url) == 1000
    assert (state.queued, state.spooled, state.written, state.lost, state.error) == (0, 0, 1000, {}, None)


def test_what_was_put_is_there_soon_without_a_stop(made, settings, url):
    ledger = made(settings)
    put = exchange()
    ledger.put(put)
    until(lambda: ids(url) == [put.id], seconds=5)


def test_records_wait_for_a_process_that_has_not_begun(made, settings, url):
    ledger = made(settings, start=False)
    put = [exchange() for _ in range(3)]
    for record in put:
        ledger.put(record)
    assert ledger.state().queued == 3
    ledger.start()
    ledger.stop()
    assert ids(url) == [record.id for record in put]


def test_a_writer_that_is_killed_is_replaced_and_loses_nothing(made, settings, url):
    ledger = made(settings)
    put = []
    for _ in range(3):
        for _ in range(500):
            put.append(exchange())
            ledger.put(put[-1])
        ledger._link._process.kill()
        pid = ledger._link._process.pid
        until(lambda pid=pid: ledger._link._process is not None and ledger._link._process.pid != pid)
    state = ledger.stop(20)
    assert ids(url) == [record.id for record in put]
    assert (summed(url), state.lost) == (1500, {})


def test_a_writer_that_falls_silent_is_replaced(made, settings, url):
    ledger = made(msgspec.structs.replace(settings, stalled=1.5))
    process = ledger._link._process
    process.send_signal(signal.SIGSTOP)
    put = exchange()
    ledger.put(put)
    until(lambda: ids_or_none(url) == [put.id])
    assert process.poll() is not None
    ledger.stop()


def ids_or_none(url):
    try:
        return ids(url)
    except Exception:  # noqa: BLE001  # the tables may not be there yet
        return None


def test_a_database_that_is_not_there_fails_no_put_and_is_told_of(made, absent, caplog):
    ledger = made(absent)
    put = [exchange() for _ in range(10)]
    for record in put:
        ledger.put(record)
    until(lambda: ledger.state().spooled > 0)
    assert "unable to open" in ledger.state().error
    assert ledger.state().lost == {}
    appear(absent)
    until(lambda: ledger.state().error is None and ledger.state().spooled == 0)
    ledger.stop()
    assert ids(absent.url) == [record.id for record in put]
    told = [record.message for record in caplog.records]
    assert len(told) == 2, told
    assert "takes no records" in told[0]
    assert "again" in told[1]


def test_a_stop_while_the_database_is_away_leaves_records_in_the_spool_for_the_next_start(made, absent):
    ledger = made(absent)
    put = exchange()
    ledger.put(put)
    state = ledger.stop()
    assert (state.queued, state.lost) == (0, {})
    assert state.spooled
    appear(absent)
    ledger = made(absent)
    until(lambda: ledger.state().spooled == 0)
    ledger.stop()
    assert ids(absent.url) == [put.id]


def test_records_beyond_the_bounds_are_counted_and_bodies_go_first(made, absent, tmp_path):
    (tmp_path / "file").write_text("in the way of the spool's folder")
    ledger = made(msgspec.structs.replace(absent, spool=str(tmp_path / "file/spool"), memory=400_000))
    for _ in range(6000):
        ledger.put(exchange(bodies=(Body("request", b"x" * 1000),)))
    until(lambda: not ledger._queue)
    lost = ledger.state().lost
    assert set(lost) == {"bodies", "memory"}
    assert ledger.state().queued + lost["memory"] == 6000
    assert ledger._link.size <= 400_000
    state = ledger.stop(0.5)
    assert state.lost["stop"] + state.lost["memory"] == 6000


def test_a_queue_that_nobody_empties_is_bounded(settings):
    ledger = Ledger(msgspec.structs.replace(settings, queue=10))
    for _ in range(25):
        ledger.put(exchange())
    assert (ledger.state().queued, ledger.state().lost) == (10, {"queue": 15})


def test_large_bodies_are_not_held_back(made, settings, url):
    ledger = made(settings)
    for _ in range(40):
        ledger.put(exchange(bodies=(Body("request", b"x" * 300_000),)))
    until(lambda: len(ids(url)) == 40, seconds=5)
    ledger.stop()
    assert set(ask(url, "SELECT size, kept FROM bodies")) == {(300_000, settings.body_bytes)}


def test_a_thread_that_ended_is_told_of(settings, monkeypatch):
    ledger = Ledger(settings)
    monkeypatch.setattr(ledger, "_run", lambda: None)
    ledger._thread = threading.Thread(target=ledger._run)
    ledger.start()
    ledger._thread.join()
    assert "thread has ended" in ledger.state().error


def test_what_is_put_after_the_stop_is_counted(made, settings):
    ledger = made(settings)
    ledger.stop()
    ledger.put(exchange())
    assert ledger.state().lost == {"stopped": 1}


def test_a_record_that_cannot_be_written_costs_no_other(made, settings, url):
    ledger = made(settings)
    put = [exchange(), exchange()]
    for record in (put[0], exchange(model="\ud800"), Event("e1", NOW, "x", detail=object()), put[1]):
        ledger.put(record)
    state = ledger.stop()
    assert ids(url) == [record.id for record in put]
    assert state.lost == {"unwritable": 2}


def test_threads_may_put_at_once(made, settings, url):
    ledger = made(settings)
    threads = [threading.Thread(target=lambda: [ledger.put(exchange()) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.stop()
    assert summed(url) == 2000


def test_two_gateways_share_a_database_and_a_spool(made, settings, url):
    first, second = made(settings), made(settings)
    put = [exchange() for _ in range(1000)]
    for number, record in enumerate(put):
        (first, second)[number % 2].put(record)
        (first, second)[number % 3 % 2].put(record)  # some at both: they count once
    first.stop()
    second.stop()
    ledger = made(settings)
    until(lambda: ledger.state().spooled == 0)
    ledger.stop()
    assert ids(url) == [record.id for record in put]
    assert summed(url) == 1000


def test_importing_the_ledger_brings_no_database_into_the_gateway():
    code = "import sys, understudy.ledger; print({'sqlalchemy', 'alembic', 'sqlite3', 'psycopg'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def test_the_password_is_not_shown_to_whoever_lists_processes(made, tmp_path):
    ledger = made(Settings(url="postgresql://me:canary@127.0.0.1:1/x", spool=str(tmp_path / "spool")))
    seen = " ".join(ledger._link._process.args)
    assert "understudy.ledger.child" in seen
    assert "canary" not in seen
    ledger.put(exchange())
    until(lambda: ledger.state().error)
    assert "canary" not in ledger.state().error
    ledger.stop()


def test_putting_costs_next_to_nothing(settings):
    ledger, record = Ledger(settings), exchange()
    start = real.perf_counter()
    for _ in range(10_000):
        ledger.put(record)
    assert real.perf_counter() - start < 10  # 2 ms are measured: nothing in it waits for anything
