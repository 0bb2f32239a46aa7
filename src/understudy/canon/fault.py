"""Why an attempt failed, as data. Recognising and reacting is `resilience/`'s work; this is only the shape."""

from __future__ import annotations

from typing import Literal

import msgspec

Phase = Literal["connect", "send", "head", "body", "stream"]


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """One failure of one attempt.

    `kind` is a row of the fault table, "unknown" until it has been looked up. `status`, `code`, `type`, `param` and
    `message` are the provider's own, as they stood in its structured error; `message` is cut to 2,000 characters and is
    never searched for anything but an anchored phrase of a table row. `retry_after` is in seconds from when the
    answer came, None if the provider named none or named nonsense. `phase` says how far the attempt had got. `day` is
    the time zone in which a quota's day ends, where the table knows it.
    """

    kind: str = "unknown"
    status: int | None = None
    code: str | None = None
    type: str | None = None
    param: str | None = None
    message: str = ""
    retry_after: float | None = None
    phase: Phase = "head"
    request_id: str | None = None
    day: str | None = None


MESSAGE_LIMIT = 2000
"""Characters of a provider's message that are kept: enough to understand it, too few to fill a log."""
