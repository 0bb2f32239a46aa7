"""What a translation could not carry. Listed in the ledger and in `x-understudy-losses`; never silent."""

from __future__ import annotations

from typing import Literal

import msgspec


class Loss(msgspec.Struct, frozen=True):
    """`field` is a path in the canonical request or answer (`messages[2].parts[0].detail`); `why` one short clause."""

    field: str
    why: str
    kind: Literal["dropped", "approximated"] = "dropped"
