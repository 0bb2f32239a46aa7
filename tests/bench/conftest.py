import gc
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent.parent.parent / "bench"
MODULES = [path.stem for path in BENCH.glob("*.py")]


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    """The scripts of bench/ import each other by bare name, as they do when one of them is run."""
    monkeypatch.syspath_prepend(str(BENCH))
    yield
    gc.enable()  # some turn it off, for the process that they are meant to have to themselves
    for name in MODULES:
        sys.modules.pop(name, None)
