"""The engine's own process: llama.cpp's HTTP server on loopback, and nothing else.

A process, because native code may crash or run out of memory, holds the interpreter's lock while it loads a model, and
needs hundreds of megabytes: none of that may happen to the gateway. `embedded.py` starts it and talks to it:

    stdin   one line of JSON (`Settings`), then nothing: the pipe's end means that the parent is gone, or wants us gone
    stdout  one line of JSON (`Ready`) once requests are answered
    stderr  llama.cpp's errors, of which the parent keeps the last

The key travels by stdin because a command line is shown to everybody by `ps`, and an environment is handed on.
"""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

BATCH = 128
"""Tokens computed at a stretch. llama.cpp looks for closed connections, and lets other requests go on, only in between.

Measured with SmolLM2 on two cores: with llama.cpp's own 2,048 a client that left while its prompt was read kept
the slot for eight seconds, with 128 for 0.7; reading prompts is a tenth slower at most, and memory 11 MiB smaller.
"""

NICE = 5
"""How far the engine stands back. Where cores are few, the gateway's event loop must get its turn first."""


class Settings(msgspec.Struct, frozen=True):
    """What to serve. `context` is tokens for each of `parallel` requests; `threads` None is one per physical core."""

    model: str
    name: str
    key: str
    parallel: int
    context: int
    threads: int | None = None


class Ready(msgspec.Struct, frozen=True):
    """What is served. `context` is in tokens per request; `tools` says whether the chat template can show tools."""

    port: int
    context: int
    tools: bool


def physical_cores(system: Path = Path("/sys")) -> int | None:
    """Cores that this process may use, or None where only llama.cpp can tell (it counts well on macOS).

    Two hardware threads of one core only get in each other's way here. A container's CPU quota counts too: threads
    above it are paused in the middle of a step, and all the others wait for them.
    """
    if sys.platform != "linux":
        return None
    allowed = os.sched_getaffinity(0)
    try:
        siblings = {(system / f"devices/system/cpu/cpu{n}/topology/thread_siblings_list").read_text() for n in allowed}
        cores = len(siblings)
    except OSError:
        cores = len(allowed)
    try:
        quota, period = (system / "fs/cgroup/cpu.max").read_text().split()
    except OSError:
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


def main() -> None:
    """Serve until stdin ends. Exits with 1, and the reason on stderr, when the model cannot be served."""
    _die_with_parent()
    report = _own_stdout()
    os.nice(NICE)
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=Settings)
    try:
        server = _serve(settings)
    except RuntimeError as error:  # all that the binding ever raises; llama.cpp's reason is on stderr already
        sys.exit(str(error))
    port = urlsplit(server.listening_address).port
    assert port is not None
    os.write(report, msgspec.json.encode(_describe(port, settings.key)) + b"\n")
    sys.stdin.buffer.read()
    os._exit(0)  # an orderly end would first wait for the answers that are still being written


def _die_with_parent() -> None:
    """Ask Linux to kill us with our parent: the end of stdin is not seen while a model loads."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1  # <sys/prctl.h>
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _own_stdout() -> int:
    """Keep stdout for the one line: what native code prints there goes to stderr from now on."""
    sys.stdout.flush()
    ours = os.dup(1)
    os.dup2(2, 1)
    return ours


def _serve(settings: Settings) -> Any:
    """Load the model and start llama.cpp's server; it answers as soon as this returns."""
    # The parent imports this module for its two structs and must not load the native library with it.
    import xllamacpp  # noqa: PLC0415

    params = xllamacpp.CommonParams()
    params.model.path = settings.model
    params.model_alias = {settings.name}
    params.api_keys = [settings.key]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = settings.parallel
    params.n_ctx = settings.parallel * settings.context
    params.n_batch = params.n_ubatch = BATCH
    threads = settings.threads or physical_cores()
    if threads is not None:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.cache_ram_mib = 0  # by default up to 8 GiB of old prompts are kept; each slot's last one is kept anyway
    params.endpoint_slots = False  # it shows prompts
    params.ui = False
    params.offline = True
    params.verbosity = 1  # errors; no prompt is among them
    return xllamacpp.Server(params)


def _describe(port: int, key: str) -> Ready:
    """Ask the server what it made of the settings: a context may have been cut to what the model was trained on."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/props", headers={"Authorization": f"Bearer {key}"})
        properties = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return Ready(
        port=port,
        context=properties["default_generation_settings"]["n_ctx"],
        tools=properties["chat_template_caps"]["supports_tools"],
    )


if __name__ == "__main__":
    main()
