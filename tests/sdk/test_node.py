"""The official Node SDKs, unchanged but for the base URL. Skipped on machines without Node."""

import json
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.gateway.test_dialects import ANSWER, KEY, NAMES, config
from tests.running import Running

FOLDER = Path(__file__).parent / "node"

pytestmark = [
    pytest.mark.skipif(shutil.which("npm") is None, reason="Node is not installed"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def gateway():
    npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(npm, cwd=FOLDER, check=True, capture_output=True, timeout=240)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Running(config(port), port=port) as running:
        yield running


@pytest.mark.parametrize("provider", [name for name in NAMES if name != "openai-completions"])
def test_both_sdks_work_with_a_provider_of_every_dialect(gateway, provider):
    command = ["node", "calls.mjs", gateway.url, KEY, f"sim-{provider}/ok"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    for way in ("chat", "chatStream", "responses", "responsesStream", "messages", "messagesStream"):
        assert seen[way].startswith(ANSWER), way
    assert seen["tool"] == {"city": "simulated"}
    assert seen["openaiMissing"] == seen["anthropicMissing"] == "NotFoundError"
