"""Verdicts as files: one for each route and candidate, in a folder that a configuration, an image or a repository can
carry along. `understudy rehearse` writes them (`gateway/gating.py` says where); no route goes by them yet.
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
