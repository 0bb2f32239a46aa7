"""A disk that is really full: a small tmpfs, where we may mount one."""

import contextlib
import subprocess
import sys
import time

import pytest

from tests.ledger.making import ids, summed, whole
from understudy.ledger import Body, Ledger, Settings


@pytest.fixture
def small(tmp_path):
    """A file system of six megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        sys.__stderr__.write("\n*** NO TMPFS HERE: a full disk is not tested ***\n")
        pytest.skip("a small file system cannot be mounted here: this takes root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)


def test_a_full_disk_fails_no_put_and_all_records_arrive_once_there_is_room(small):
    ledger = Ledger(Settings(url=f"sqlite:///{small}/ledger.db", spool=str(small / "spool"), retry=0.1))
    ledger.start()
    assert ledger.ready()
    filler = small / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    put = [whole(bodies=(Body("request", b"x" * 100),)) for _ in range(1500)]
    for record in put:
        ledger.put(record)
        time.sleep(0.0005)
    until(lambda: (ledger.state().error or "").count("spool"))
    assert ledger.state().queued > 0
    assert ledger.state().lost == {}
    filler.unlink()
    until(lambda: ledger.state().queued == ledger.state().spooled == 0)
    state = ledger.stop()
    url = f"sqlite:///{small}/ledger.db"
    assert ids(url) == [record.id for record in put]
    assert (summed(url), state.lost, state.error) == (1500, {}, None)
