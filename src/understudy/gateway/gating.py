"""Where the verdicts of rehearsals are, for those that write them and for routes that go by them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from understudy.gateway.config import Loaded


def folder(loaded: Loaded, environ: Mapping[str, str]) -> Path:
    """The folder of verdicts: `readiness` beside the configuration, else in the user's data folder."""
    source = Path(loaded.source)
    if source.is_file():
        return source.parent / "readiness"
    data = Path(environ.get("XDG_DATA_HOME", ""))
    return (data if data.is_absolute() else Path.home() / ".local/share") / "understudy/readiness"
