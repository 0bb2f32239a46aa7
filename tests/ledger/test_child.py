"""The process that writes, here in a thread, at the other end of a real socket."""

import os
import socket
import subprocess
import sys
import threading

import msgspec
import pytest

from tests.ledger.making import exchange, ids
from understudy.ledger import frames
from understudy.ledger.child import Child
from understudy.ledger.frames import BadFrameError, Cutter, Said, frame


class Talk:
    """A child in a thread; `send` frames, `said` is all it has answered once it ended."""

    def __init__(self, settings):
        self.ours, theirs = socket.socketpair()
        self.result = None

        def run():
            with theirs:
                try:
                    self.result = Child(theirs).run()
                except BadFrameError as error:
                    self.result = error

        self.thread = threading.Thread(target=run)
        self.thread.start()
        self.ours.settimeout(20)
        if settings is not None:
            self.ours.sendall(frame(msgspec.msgpack.encode(settings)))

    def send(self, *records):
        self.ours.sendall(frame(frames.encode(records)))

    def hear(self):
        """The answers so far; waits for at least one."""
        self.cutter = getattr(self, "cutter", Cutter())
        return [msgspec.msgpack.decode(payload, type=Said) for payload in self.cutter.feed(self.ours.recv(65536))]

    def end(self):
        self.ours.shutdown(socket.SHUT_WR)
        said = []
        while more := self.hear():
            said += more
        self.thread.join(20)
        self.ours.close()
        return said


def test_it_says_that_it_is_there_then_what_is_safe_and_ends_with_its_gateway(settings, url):
    talk = Talk(settings)
    (hello,) = talk.hear()
    assert (hello.taken, hello.error) == (0, None)
    put = [exchange() for _ in range(5)]
    for record in put:
        talk.send(record)
    said = talk.end()
    assert talk.result is True
    assert sum(word.taken for word in said) == 5
    assert said[-1].written == 5
    assert ids(url) == [record.id for record in put]


def test_what_is_under_way_when_the_gateway_dies_is_still_written(settings, url):
    talk = Talk(settings)
    put = [exchange() for _ in range(300)]
    for record in put:
        talk.send(record)
    talk.end()
    assert ids(url) == [record.id for record in put]


def test_it_says_now_and_then_that_it_lives(absent):
    talk = Talk(absent)
    words = talk.hear()
    while len(words) < 3:
        words += talk.hear()
    assert "unable to open" in words[-1].error
    talk.end()


def test_records_that_nothing_takes_are_held_and_not_confirmed_and_given_up_when_all_is_over(
    absent, tmp_path, monkeypatch
):
    monkeypatch.setattr("understudy.ledger.child._GRACE", 0.2)
    (tmp_path / "file").write_text("in the way of the spool's folder")
    talk = Talk(msgspec.structs.replace(absent, spool=str(tmp_path / "file/spool")))
    talk.send(exchange())
    said = talk.end()
    assert sum(word.taken for word in said) == 0
    assert talk.result is False


def test_bytes_that_are_no_frames_end_it():
    talk = Talk(None)
    talk.ours.sendall(b"\xff" * 100)
    talk.thread.join(20)
    talk.ours.close()
    assert isinstance(talk.result, BadFrameError)


def test_a_gateway_that_leaves_before_it_said_anything_is_no_trouble():
    talk = Talk(None)
    talk.ours.shutdown(socket.SHUT_WR)
    talk.thread.join(20)
    talk.ours.close()
    assert talk.result is True


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are chosen on Linux only")
@pytest.mark.parametrize("bound", [1, 2])
def test_it_leaves_the_one_core_of_its_gateway_but_stays_within_several(settings, bound):
    allowed = os.sched_getaffinity(0)
    cores = set(sorted(allowed)[:bound])
    ours, theirs = socket.socketpair()
    with ours, theirs:
        try:
            os.sched_setaffinity(0, cores)  # a child inherits it
            command = [sys.executable, "-m", "understudy.ledger.child", str(theirs.fileno())]
            process = subprocess.Popen(command, pass_fds=(theirs.fileno(),))
        finally:
            os.sched_setaffinity(0, allowed)
        theirs.close()
        ours.settimeout(30)
        ours.sendall(frame(msgspec.msgpack.encode(settings)))
        assert ours.recv(65536)  # it is there
        there, policy = os.sched_getaffinity(process.pid), os.sched_getscheduler(process.pid)
        ours.shutdown(socket.SHUT_WR)
        assert process.wait(30) == 0
    assert there == (allowed if len(cores) == 1 else cores)
    assert policy == os.SCHED_BATCH
