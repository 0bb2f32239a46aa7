import errno
import fcntl

import pytest

from understudy.ledger.frames import BadFrameError, frame
from understudy.ledger.spool import Spool, SpoolFullError


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool", 10_000)
    yield spool
    spool.close()


def drained(spool, **given):
    found = []
    spool.drain(found.append, **given)
    return found


def files(spool):
    return sorted(spool._folder.iterdir())


def test_what_was_appended_is_given_back_in_order_and_then_gone(spool):
    for payload in (b"a", b"b", b"c"):
        spool.append(payload)
    assert spool.size() == 3 * len(frame(b"a"))
    assert drained(spool) == [b"a", b"b", b"c"]
    assert (drained(spool), spool.size(), files(spool)) == ([], 0, [])


def test_a_frame_that_is_safe_elsewhere_is_taken_back(spool):
    spool.append(b"stays")
    spool.append(b"goes")
    spool.take_back()
    spool.append(b"comes")
    assert drained(spool) == [b"stays", b"comes"]
    spool.append(b"goes")
    spool.take_back()
    spool.close()
    assert files(spool) == []


def test_another_process_finds_what_one_that_was_killed_left(spool):
    spool.append(b"a")
    spool._file.close()  # as the kernel does
    spool._file = None
    assert drained(Spool(spool._folder, 10_000)) == [b"a"]


def test_a_file_that_somebody_writes_is_not_taken_from_under_him(spool):
    spool.append(b"a")
    assert drained(Spool(spool._folder, 10_000)) == []
    assert drained(spool) == [b"a"]


def test_two_readers_never_take_the_same_file(spool):
    spool.append(b"a")
    spool.close()
    with files(spool)[0].open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert drained(spool) == []
    assert drained(spool) == [b"a"]


def test_a_frame_that_is_not_taken_stays_with_its_file(spool):
    spool.append(b"a")
    spool.append(b"b")

    def take(payload):
        if payload == b"b":
            raise RuntimeError

    with pytest.raises(RuntimeError):
        spool.drain(take)
    assert drained(spool) == [b"a", b"b"]


def test_the_bound_is_kept_and_what_is_there_stays(spool):
    for _ in range(9):
        spool.append(b"x" * 1000)
    with pytest.raises(SpoolFullError):
        spool.append(b"x" * 1000)
    assert spool.size() <= 10_000
    assert len(drained(spool)) == 9
    spool.append(b"again")


@pytest.mark.parametrize("keep", [1, 5, 8, 12])
def test_a_tail_torn_by_a_crash_costs_only_itself(spool, keep):
    spool.append(b"sound")
    whole = len(frame(b"sound"))
    spool.append(b"torn off")
    spool.close()
    path = files(spool)[0]
    path.write_bytes(path.read_bytes()[: whole + keep])
    assert drained(spool) == [b"sound"]
    assert (spool.damaged, [file.suffix for file in files(spool)]) == (1, [".damaged"])
    assert drained(spool) == []


def test_damage_in_the_middle_is_noticed_and_the_file_kept_to_be_looked_at(spool):
    for payload in (b"first", b"second", b"third"):
        spool.append(payload)
    spool.close()
    path = files(spool)[0]
    data = bytearray(path.read_bytes())
    data[len(frame(b"first")) + 9] ^= 1
    path.write_bytes(data)
    assert drained(spool) == [b"first"]
    assert (spool.damaged, [file.suffix for file in files(spool)]) == (1, [".damaged"])


def test_a_frame_that_holds_no_records_counts_as_damage(spool):
    spool.append(b"a")

    def take(payload):
        raise BadFrameError

    assert spool.drain(take) == 0
    assert spool.damaged == 1


def test_a_disk_that_fills_up_amid_a_frame_leaves_a_sound_file(spool, monkeypatch):
    spool.append(b"before")

    class Filling:
        def __init__(self, file):
            self.file, self.room = file, 10

        def write(self, data):
            if not self.room:
                raise OSError(errno.ENOSPC, "No space left on device")
            written = self.file.write(data[: self.room])
            self.room -= written
            return written

        def __getattr__(self, name):
            return getattr(self.file, name)

    file, spool._file = spool._file, Filling(spool._file)
    with pytest.raises(OSError, match="No space"):
        spool.append(b"far too long for ten bytes")
    spool._file = file
    spool.append(b"after")
    assert drained(spool) == [b"before", b"after"]


def test_a_folder_that_was_emptied_loses_nothing_that_comes_later(spool):
    spool.append(b"a")
    files(spool)[0].unlink()
    spool.append(b"b")
    assert drained(spool) == [b"b"]


def test_full_files_are_closed_and_drained_one_by_one(spool, monkeypatch):
    monkeypatch.setattr("understudy.ledger.spool._SEGMENT", 20)
    for number in range(5):
        spool.append(b"x%d" % number * 10)
    assert len(files(spool)) == 5
    assert len(drained(spool, files=2)) == 2
    assert len(drained(spool)) == 3


def test_nobody_else_can_read_the_spool(spool):
    spool.append(b"a")
    assert spool._folder.stat().st_mode & 0o077 == 0
    assert files(spool)[0].stat().st_mode & 0o077 == 0
