from __future__ import annotations

from pathlib import Path

from understudy.sim import BEHAVIOURS
from understudy.sim.reference import render

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "sim.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text("utf-8") == render(), "run: python -m understudy.sim.reference > docs/reference/sim.md"


def test_the_page_lists_every_behaviour_once() -> None:
    names = [
        line.split("`")[1].split(":")[0]
        for line in render().partition("## Behaviours")[2].splitlines()
        if line.startswith("| `")
    ]
    assert names == list(BEHAVIOURS)
