"""What somebody did to the ledger from the command line, written down in the transaction in which it is done."""

from __future__ import annotations

import getpass
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, insert

from understudy.ledger.schema import audit


def note(connection: Connection, action: str, subject: str, detail: Mapping[str, Any], now: float) -> None:
    """Keep that `action` was done to `subject` at Unix time `now`, and which user of this machine did it."""
    told = {**detail, "user": _user()}
    connection.execute(
        insert(audit).values(
            id=f"au_{uuid.uuid4().hex}", wall=now, actor="command line", action=action, subject=subject,
            outcome="done", detail=msgspec.json.encode(told).decode(),
        )
    )  # fmt: skip


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"
