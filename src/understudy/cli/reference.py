"""docs/reference/commands.md, from the commands themselves."""

from __future__ import annotations

import os
import subprocess
import sys

from understudy.cli import app

_HEAD = """# Commands

Generated from `understudy --help` and each command's own by `make docs`. Commands that print facts take `--json`.
"""


def render() -> str:
    """The page, as Markdown."""
    names = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
    return _HEAD + "".join(_help(name) for name in ("", *names))


def _help(name: str) -> str:
    """One command's help, run for real: what stands in the docs is what a terminal of 100 columns shows."""
    command = [sys.executable, "-m", "understudy.cli", *([name] if name else []), "--help"]
    environ = {**os.environ, "COLUMNS": "100", "TERMINAL_WIDTH": "100"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)  # noqa: S603  # our own
    title = f"understudy {name}".strip()
    body = "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())
    return f"\n## `{title}`\n\n```text\n{body}\n```\n"
