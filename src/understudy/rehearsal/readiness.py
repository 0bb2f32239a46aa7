"""Verdicts as files: one for each route and candidate, in a folder that a configuration, an image or a repository can
carry along. `understudy rehearse` writes them, the gateway reads them (`gateway/gating.py`).
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from understudy.rehearsal.verdict import Readiness

_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


def file_of(folder: Path, route: str, candidate: str) -> Path:
    """Where the verdict about `candidate` on `route` stands."""
    return folder / f"{_UNFIT.sub('-', route)}--{_UNFIT.sub('-', candidate)}.json"


def write(folder: Path, found: Readiness) -> Path:
    """Keep a verdict in place of a former one; a crash leaves one of the two. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = file_of(folder, found.route, found.candidate)
    part = path.with_suffix(".part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    part.replace(path)
    return path


def read(folder: Path) -> tuple[list[Readiness], list[str]]:
    """The verdicts of a folder, and what is wrong with files that hold none."""
    found, wrong = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=Readiness))
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            wrong.append(f"{path}: {error}")
    return found, wrong
