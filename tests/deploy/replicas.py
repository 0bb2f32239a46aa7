"""Two gateways as processes of their own, as they are deployed: one ledger, one Redis, a data folder for each."""

import contextlib
import socket
import time

import httpx2

from tests.cli.process import Process

CONFIG = """
[server]
redis = "{redis}"
linger = {linger}
drain = 60
[ledger]
url = "{ledger}"
[providers.box]
dialect = "openai-chat"
base_url = "{box}/v1"
[providers.other]
dialect = "openai-chat"
base_url = "{box}/v1"
api_key = "other"
[routes.steady]
targets = ["box/drip:between=0.05,tokens=30"]
[routes.limited]
targets = ["box/rate-limit:retry=300", "other/ok"]
"""


class Replicas:
    """Started together on ports that stay theirs. Used as a context manager."""

    def __init__(self, folder, *, redis, ledger, box, linger, count=2):
        self.config = folder / "understudy.toml"
        self.config.write_text(CONFIG.format(redis=redis, ledger=ledger, box=box, linger=linger))
        self.folder, self.ports, self.running = folder, [free() for _ in range(count)], {}
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        begun = [self._begin(port) for port in self.ports]  # at the same time, as an orchestrator does
        for port, process in zip(self.ports, begun, strict=True):
            self.running[port] = self._stack.enter_context(process)
        return self

    def __exit__(self, *raised):
        self._stack.__exit__(*raised)

    def _begin(self, port):
        environ = {"XDG_DATA_HOME": str(self.folder / str(port))}
        return Process("serve", "-c", self.config, "--port", port, environ=environ)

    def start(self, port):
        self.running[port] = self._stack.enter_context(self._begin(port))

    def stop(self, port):
        """Tell it to stop, and do not wait."""
        self.running[port].stop()


def free():
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def ask(port, path, **body):
    """One call straight to a replica, on a connection of its own."""
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as http:
        return http.post(path, json=body) if body else http.get(path)


def until(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.02)
    return found
