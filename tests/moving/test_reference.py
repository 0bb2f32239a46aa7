"""The reference page of the format names every field there is."""

import re
from pathlib import Path

import pytest

from understudy.moving import lines, parquet

PAGE = (Path(__file__).parents[2] / "docs/reference/export.md").read_text()
KINDS = [lines.Header, lines.End, lines.Exchange, lines.Attempt, lines.Tokens, lines.Cost, lines.Loss, lines.Seam,
         lines.Body, lines.Feedback, lines.Event, lines.Audit]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_field_is_documented(kind):
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert not set(kind.__struct_fields__) - named


def test_every_column_and_file_of_parquet_is_documented():
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert not set(parquet.TABLES) - named
    assert not {column for columns in parquet.TABLES.values() for column in columns} - named


def test_the_version_is_documented():
    assert f"Version {lines.VERSION}." in PAGE
