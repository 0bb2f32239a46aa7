"""The engine's own process, run in this one with a stand-in for the native library. The real one: test_embedded."""

import http.server
import io
import json
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import msgspec
import pytest

from understudy.local import engine
from understudy.local.engine import Ready, Settings, physical_cores

SETTINGS = Settings(model="/m.gguf", name="m", key="secret", parallel=3, context=1000, threads=2)
PROPERTIES = {"default_generation_settings": {"n_ctx": 900}, "chat_template_caps": {"supports_tools": True}}


class Exited(BaseException):
    pass


class Props(http.server.BaseHTTPRequestHandler):
    asked: ClassVar[list[tuple[str, str]]] = []

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Authorization"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(PROPERTIES).encode())


def run_main(monkeypatch: pytest.MonkeyPatch, server: object, settings: Settings = SETTINGS) -> tuple[bytes, object]:
    """What `main` wrote to its stdout, and the parameters that it gave to llama.cpp."""
    given: list[SimpleNamespace] = []

    def params() -> SimpleNamespace:
        names = SimpleNamespace(model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace())
        given.append(names)
        return names

    read, write = os.pipe()
    monkeypatch.setitem(sys.modules, "xllamacpp", SimpleNamespace(CommonParams=params, Server=server))
    monkeypatch.setattr(engine, "_die_with_parent", lambda: None)
    monkeypatch.setattr(engine, "_own_stdout", lambda: write)
    monkeypatch.setattr(os, "nice", lambda _n: 0)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(msgspec.json.encode(settings) + b"\n")))

    def leave(status: int) -> None:
        raise Exited(status)

    monkeypatch.setattr(os, "_exit", leave)
    try:
        with pytest.raises((Exited, SystemExit)) as caught:
            engine.main()
    finally:
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            written = pipe.read()
    monkeypatch.undo()
    return written, given[0] if caught.type is Exited else getattr(caught.value, "code", None)


@pytest.mark.parametrize("threads", [2, None])
def test_it_says_where_it_listens_and_leaves_when_stdin_ends(
    monkeypatch: pytest.MonkeyPatch, threads: int | None
) -> None:
    listener = http.server.HTTPServer(("127.0.0.1", 0), Props)
    answering = threading.Thread(target=listener.handle_request)
    answering.start()
    address = f"http://127.0.0.1:{listener.server_address[1]}"
    monkeypatch.setattr(engine, "physical_cores", lambda: None)
    try:
        settings = msgspec.structs.replace(SETTINGS, threads=threads)
        written, params = run_main(monkeypatch, lambda _params: SimpleNamespace(listening_address=address), settings)
    finally:
        answering.join()
        listener.server_close()
    assert msgspec.json.decode(written, type=Ready) == Ready(listener.server_address[1], context=900, tools=True)
    assert Props.asked[-1] == ("/props", "Bearer secret")
    assert isinstance(params, SimpleNamespace)
    assert (params.n_parallel, params.n_ctx, params.api_keys) == (3, 3000, ["secret"])
    assert vars(params.cpuparams) == ({} if threads is None else {"n_threads": 2})
    assert (params.hostnames, params.port) == (["127.0.0.1"], 0)


def test_a_model_that_cannot_be_served_ends_it_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_params: object) -> None:
        raise RuntimeError("Failed to init server")

    assert run_main(monkeypatch, refuse) == (b"", "Failed to init server")


def cpus(root: Path, siblings: dict[int, str], quota: str | None = None) -> Path:
    for cpu, group in siblings.items():
        topology = root / f"devices/system/cpu/cpu{cpu}/topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(group)
    if quota is not None:
        (root / "fs/cgroup").mkdir(parents=True)
        (root / "fs/cgroup/cpu.max").write_text(quota)
    return root


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells in /sys")
@pytest.mark.parametrize(
    ("siblings", "quota", "cores"),
    [
        ({0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}, None, 2),
        ({0: "0", 1: "1", 2: "2", 3: "3"}, "max 100000\n", 4),
        ({0: "0", 1: "1", 2: "2", 3: "3"}, "250000 100000\n", 2),
        ({0: "0", 1: "1", 2: "2", 3: "3"}, "50000 100000\n", 1),
        ({}, None, 4),  # no topology to read: every processor counts
    ],
)
def test_threads_are_as_many_as_cores_that_may_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, siblings: dict[int, str], quota: str | None, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2, 3})
    assert physical_cores(cpus(tmp_path, siblings, quota)) == cores


def test_elsewhere_llama_cpp_counts_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert physical_cores() is None
    engine._die_with_parent()
