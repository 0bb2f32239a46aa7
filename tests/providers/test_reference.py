import pathlib
import subprocess
import sys

import pytest

from understudy.providers import catalogue, reference

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "reference" / "providers.md"


def test_the_page_is_current():
    assert PAGE.read_text("utf-8") == reference.render(), (
        "Run `python -m understudy.providers.reference > docs/reference/providers.md`."
    )


def test_the_module_prints_the_page():
    printed = subprocess.run(
        [sys.executable, "-m", "understudy.providers.reference"], check=True, capture_output=True, timeout=60
    )
    assert printed.stdout.decode() == reference.render()
    assert printed.stderr == b""


@pytest.mark.parametrize("row", catalogue.load().values(), ids=catalogue.load().keys())
def test_every_row_has_its_section_with_its_sources(row):
    section = reference.render().partition(f"\n## {row.name}\n")[2].partition("\n## ")[0]
    assert row.title in section
    for source in row.sources:
        assert f"<{source.url}> ({source.date.isoformat()})" in section
    for fact in (row.base_url, row.continues, *row.env, *row.serves, *row.can, *row.cannot):
        assert fact is None or fact in section
