"""`understudy` as a process of its own."""

import os
import re
import signal
import subprocess
import sys
import tempfile

CLEAN = {name: value for name, value in os.environ.items() if not re.search("KEY|TOKEN|UNDERSTUDY|PROXY", name.upper())}
"""The environment without what could be found in it."""
_DATA = tempfile.TemporaryDirectory()
CLEAN["XDG_DATA_HOME"] = _DATA.name  # the ledger of a gateway under test is nobody's


class Process:
    """Started with `arguments`; used as a context manager it is ready inside, and `url` is where it answers."""

    def __init__(self, *arguments, environ=None):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "understudy.cli", *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**CLEAN, **(environ or {})},
        )  # fmt: skip
        self.printed = ""

    def __enter__(self):
        for line in self.process.stdout:
            self.printed += line
            if found := re.search(r"answers at (http://[^/]+)/v1", line):
                self.url = found[1]
                return self
        raise AssertionError(f"it did not start: {self.printed}{self.finish()}")

    def __exit__(self, *_raised):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def finish(self):
        """Wait for the end: (exit code, what came on standard error)."""
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors

    def peak(self):
        """The most memory it ever had resident, in MiB."""
        with open(f"/proc/{self.process.pid}/status") as status:  # noqa: PTH123  # not a file of ours
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def run(*arguments, environ=None):
    """Run to the end: (exit code, standard output, standard error)."""
    done = subprocess.run([sys.executable, "-m", "understudy.cli", *map(str, arguments)], capture_output=True,
                          text=True, timeout=60, env={**CLEAN, **(environ or {})}, check=False)  # fmt: skip
    return done.returncode, done.stdout, done.stderr
