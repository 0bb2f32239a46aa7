"""Sums of usage as CSV, for spreadsheets."""

from __future__ import annotations

import csv as writing
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from understudy.ledger.schema import SUMS

if TYPE_CHECKING:
    from understudy.ledger.queries import Usage


def csv(found: Sequence[Usage], by: Sequence[str]) -> str:
    """A line for each sum below a head. What is not known is empty, never 0."""
    text = io.StringIO()
    writer = writing.writer(text)
    writer.writerow([*by, *SUMS])
    for row in found:
        writer.writerow([*(row.group[name] for name in by), *(getattr(row, name) for name in SUMS)])
    return text.getvalue()
