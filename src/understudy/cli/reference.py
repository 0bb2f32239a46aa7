"""docs/reference/commands.md, from the commands themselves."""

from __future__ import annotations

import os
import subprocess
import sys

import typer

from understudy.cli import app

_HEAD = """# Commands

Generated from `understudy --help` and each command's own by `make docs`. Commands that print facts take `--json`.
"""


def render() -> str:
    """The page, as Markdown."""
    names = _names(app)
    for group in app.registered_groups:
        if group.name and group.typer_instance:
            names += (group.name, *(f"{group.name} {name}" for name in _names(group.typer_instance)))
    return _HEAD + "".join(_help(name) for name in ("", *names))


def _names(commands: typer.Typer) -> list[str]:
    return [one.name or one.callback.__name__ for one in commands.registered_commands if one.callback]


def _help(name: str) -> str:
    """One command's help, run for real: what stands in the docs is what a terminal of 100 columns shows."""
    command = [sys.executable, "-m", "understudy.cli", *name.split(), "--help"]
    environ = {**os.environ, "COLUMNS": "100", "TERMINAL_WIDTH": "100"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)  # noqa: S603  # our own
    title = f"understudy {name}".strip()
    body = "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())
    return f"\n## `{title}`\n\n```text\n{body}\n```\n"
