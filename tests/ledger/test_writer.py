"""What becomes of records when the database, the disk, or both do not take them. Only locks are waited for."""

import itertools
import sqlite3

import msgspec
import pytest

from tests.ledger.making import NOW, ask, exchange, ids, summed, whole
from understudy import clock
from understudy.ledger import Retention, frames
from understudy.ledger.writer import Writer


@pytest.fixture
def time():
    with clock.frozen(NOW) as time:
        yield time


@pytest.fixture
def made(time):
    """Makes writers, and closes them at the end."""
    writers = []

    def make(settings):
        writers.append(Writer(settings))
        return writers[-1]

    yield make
    for writer in writers:
        writer.close()


@pytest.fixture
def writer(settings, made):
    return made(settings)


def take(writer, *records):
    return writer.take([frames.encode(records)])


def test_records_go_into_the_database(writer, url):
    put = [exchange(), whole()]
    assert take(writer, *put)
    assert ids(url) == [record.id for record in put]
    assert (writer.written, writer.spooled(), writer.error, writer.lost) == (2, 0, None, {})


def test_a_locked_database_sends_records_to_the_spool_and_gets_them_later(tmp_path, absent, made, time):
    file = tmp_path / "locked.db"
    url = f"sqlite:///{file}"
    writer = made(msgspec.structs.replace(absent, url=url))
    before, during, meanwhile = exchange(), exchange(), exchange()
    take(writer, before)
    with sqlite3.connect(file, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert take(writer, during)
        assert "locked" in writer.error
        assert take(writer, meanwhile)  # the lock is not waited for again
        assert writer.spooled()
        assert not writer.turn()
        other.execute("ROLLBACK")
    other.close()
    time.advance(1)
    while writer.turn():
        pass
    writer.close()
    assert ids(url) == [before.id, during.id, meanwhile.id]
    assert (summed(url), writer.spooled(), writer.error) == (3, 0, None)


def test_a_batch_is_in_the_spool_while_the_database_is_asked_and_only_then(writer, url):
    seen = []
    write = writer._store.write
    writer._store.write = lambda records: seen.append(writer.spooled()) or write(records)
    take(writer, exchange())
    assert seen[0] > 0
    assert writer.spooled() == 0


def test_an_absent_database_is_used_once_it_is_there(tmp_path, absent, made, time):
    writer = made(absent)
    put = [exchange() for _ in range(20)]
    for record in put:
        assert take(writer, record)
        time.advance(0.1)
    assert "unable to open" in writer.error
    (tmp_path / "none").mkdir()
    time.advance(60)
    while writer.turn():
        pass
    writer.close()
    assert ids(absent.url) == [record.id for record in put]
    assert (summed(absent.url), writer.error) == (20, None)


def test_a_server_that_stops_and_starts_again_gets_everything_once(postgres_server, absent, made, time):
    url = postgres_server.url()
    writer = made(msgspec.structs.replace(absent, url=url))
    put = [exchange() for _ in range(3)]
    take(writer, put[0])
    postgres_server.stop()
    try:
        assert take(writer, put[1])
        assert writer.error
        assert take(writer, put[2])
    finally:
        postgres_server.start()
    time.advance(60)
    while writer.turn():
        pass
    writer.close()
    assert ids(url) == [record.id for record in put]
    assert (summed(url), writer.spooled(), writer.error) == (3, 0, None)


def test_a_database_that_keeps_failing_is_left_alone_longer_each_time(absent, made, time):
    writer = made(msgspec.structs.replace(absent, retry=1.0))
    tried = []
    write = writer._store.write
    writer._store.write = lambda records: tried.append(time.now - NOW) or write(records)
    for _ in range(400):
        take(writer, exchange())
        time.advance(0.25)
    assert tried[:5] == [0, 1, 3, 7, 15]
    assert all(later - earlier <= 30 for earlier, later in itertools.pairwise(tried))


def test_what_is_spooled_twice_counts_once(writer, url, settings):
    put = exchange()
    take(writer, put)
    writer._spool.append(frames.encode([put]))
    writer._spool.append(frames.encode([put]))
    while writer.turn():
        pass
    assert (ids(url), summed(url), writer.written) == ([put.id], 1, 1)


def test_records_that_neither_takes_are_not_confirmed_and_may_be_given_again(tmp_path, absent, made, time):
    (tmp_path / "file").write_text("in the way of the spool's folder")
    broken = msgspec.structs.replace(absent, spool=str(tmp_path / "file/spool"))
    writer = made(broken)
    put = exchange()
    assert not take(writer, put)
    assert not take(writer, put)
    assert writer.error.count("unable to open") == writer.error.count("the spool") == 1
    (tmp_path / "none").mkdir()
    time.advance(60)
    assert take(writer, put)
    writer.close()
    assert ids(broken.url) == [put.id]


def test_a_full_spool_holds_records_up_and_says_so(absent, made, time):
    writer = made(msgspec.structs.replace(absent, spool_bytes=2000))
    taken = [take(writer, exchange()) for _ in range(50)]
    assert taken.index(False) > 3
    assert not any(taken[taken.index(False) :])
    assert "bound of 2000 bytes" in writer.error
    assert writer.spooled() <= 2000


def test_one_bad_record_does_not_hold_up_the_others(writer, url):
    good, bad, worse = exchange(), exchange(model="nul \0"), exchange(status=2**63)
    assert take(writer, good, bad, worse)
    assert ids(url) == [good.id, bad.id, worse.id]
    assert (summed(url), writer.lost) == (3, {})


def test_a_record_that_cannot_be_kept_is_counted(writer, url):
    put = exchange()
    assert take(writer, exchange(model=None), exchange(wall="yesterday"), put)
    assert ids(url) == [put.id]
    assert writer.lost == {"unreadable": 2}


def test_a_damaged_spool_is_ingested_as_far_as_it_is_sound_and_counted(writer, url):
    put = exchange()
    writer._spool.append(frames.encode([put]))
    writer._spool.append(frames.encode([exchange()]))
    writer._spool.close()
    (path,) = writer._spool._folder.iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    while writer.turn():
        pass
    assert ids(url) == [put.id]
    assert writer.lost == {"damaged spool file": 1}


def test_old_bodies_go_in_time_and_not_before(settings, url, made, time):
    keeping = msgspec.structs.replace(settings, retention=Retention(bodies_seconds=3600, every=60))
    writer = made(keeping)
    old, new = whole(wall=NOW - 7200), whole(wall=NOW)
    take(writer, old, new)
    assert not writer.turn()
    assert ask(url, "SELECT count(*) FROM bodies") == [(4,)]
    time.advance(61)
    while writer.turn():
        pass
    writer.close()
    assert set(ask(url, "SELECT exchange FROM bodies")) == {(new.id,)}
    assert ids(url) == sorted([old.id, new.id])
