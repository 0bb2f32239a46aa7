"""What a score gives: a number and the reason for it."""

from __future__ import annotations

import msgspec


class Scored(msgspec.Struct, frozen=True):
    """`value` is in [0, 1]; `why` says what is missing to 1, in words for people, "" where nothing is."""

    value: float
    why: str = ""
