"""Who did what, for the ledger; for the log where there is none."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from understudy import clock, ledger
from understudy.gateway.administration.endpoint import Asked

log = logging.getLogger("understudy")


def note(asked: Asked, action: str, subject: str, **detail: Any) -> None:
    """Keep that whoever asks has done this. `detail` holds no secret. Never waits."""
    recorder = asked.gateway.recorder
    text = msgspec.json.encode(detail).decode() if detail else ""
    if recorder is None:
        log.warning("audit: %s did %s to %s %s", asked.actor, action, subject, text)
    else:
        name = f"au_{clock.token(16)}"
        recorder.ledger.put(ledger.Audit(name, clock.wall(), asked.actor, action, subject, detail=text))
