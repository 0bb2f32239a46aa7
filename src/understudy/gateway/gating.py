"""Where the verdicts of rehearsals are kept. No route goes by them yet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from understudy.gateway.config import Loaded
from understudy.gateway.recording import data_folder


def folder(loaded: Loaded, environ: Mapping[str, str]) -> Path:
    """The folder of verdicts: `readiness` beside the configuration, else in the user's data folder."""
    source = Path(loaded.source)
    if source.is_file():
        return source.parent / "readiness"
    return data_folder(environ) / "readiness"
