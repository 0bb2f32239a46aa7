"""What a transport does to the interpreter it lives in: its start, its end, its forks. Each in one of its own."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.running import TWO, Running
from understudy.local.models import WHEEL_MODEL, available


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The path of a configuration with a simulated provider."""
    path = tmp_path_factory.mktemp("config") / "understudy.toml"
    with Running() as running:
        path.write_text(TWO.replace("{a}", running.a.url).replace("{b}", running.b.url))
        yield path


def script(code, *args):
    # Warnings are errors, and unclosed resources are warnings.
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(code), *args],
        capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )  # fmt: skip


def test_neither_library_is_imported_before_a_client_is():
    ran = script("""
        import sys
        import understudy.inprocess
        assert "httpx" not in sys.modules and "httpx2" not in sys.modules
    """)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("unfinished", [False, True])
def test_an_exit_without_close_is_quick_and_leaves_nothing(written, unfinished):
    ran = script(
        f"""
        import sys, time, httpx2
        from understudy.inprocess import InProcess
        path = sys.argv[1]
        transport = InProcess(path, environ={{}})
        client = httpx2.Client(transport=transport)
        body = {{"model": "first/" + sys.argv[2], "stream": True, "messages": [{{"role": "user", "content": "Hi"}}]}}
        response = client.send(client.build_request("POST", "http://x/v1/chat/completions", json=body), stream=True)
        assert response.status_code == 200
        print("answered", flush=True)
        if not {unfinished}:
            response.read()
            response.close()
        """,
        written,
        "drip:between=5" if unfinished else "ok",
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "answered\n", "")


def test_the_embedded_engine_ends_with_the_interpreter(tmp_path):
    if WHEEL_MODEL not in available():
        pytest.skip("the embedded model is not installed")
    path = tmp_path / "understudy.toml"
    path.write_text("[defaults]\nretries = 0\n")
    ran = script(
        """
        import sys, httpx2
        from understudy.inprocess import InProcess
        transport = InProcess(sys.argv[1], environ={})
        body = {"model": "local/" + sys.argv[2], "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}
        client = httpx2.Client(transport=transport, timeout=60)
        assert client.post("http://x/v1/chat/completions", json=body).status_code == 200
        print(transport._host.gateway.routing.providers["local"].engines[sys.argv[2]]._child.process.pid, flush=True)
        """,
        path,
        WHEEL_MODEL,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert not Path(f"/proc/{int(ran.stdout)}").exists()


def test_a_fork_starts_its_own(written):
    ran = script(
        """
        import os, sys, warnings, httpx2
        from understudy.inprocess import InProcess
        transport = InProcess(sys.argv[1], environ={})
        client = httpx2.Client(transport=transport)
        assert client.get("http://x/healthz").status_code == 200
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of forks beside threads
        child = os.fork()
        assert client.get("http://x/healthz").status_code == 200
        if child:
            assert os.waitpid(child, 0)[1] == 0
        print("done", flush=True)
        """,
        written,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "done\ndone\n", "")
