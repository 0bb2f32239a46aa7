"""What is kept of the names by which applications know their users. Pure.

Providers ask for a stable name that says nothing about the person, and most applications send one; some send an e-mail
address. So an owner may have it hashed (HMAC-SHA256, RFC 2104) under a key of the owner's: who has the ledger
but not the key can join the exchanges of one person, and cannot find out who it is by trying names. Who has the
key still finds and deletes by the name itself. Or none is kept at all.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Literal

How = Literal["given", "hashed", "none"]

LONGEST = 200
"""Characters of a name that is kept as it is; a longer one is told by its SHA-256."""

SHORTEST_KEY = 32


def forms(name: str, key: str) -> tuple[str, ...]:
    """All that may stand in the ledger for `name`, whatever was set when it was written."""
    hashed = (kept(name, "hashed", key),) if key else ()
    plain = f"sha256:{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()}"
    return tuple(form for form in (name, plain, *hashed) if form)


def kept(name: str | None, how: How, key: str) -> str | None:
    """What stands in the ledger for `name`."""
    if not name or how == "none":
        return None
    told = name.encode("utf-8", "replace")
    if how == "hashed":
        return f"hmac:{hmac.digest(key.encode(), told, 'sha256').hex()}"
    if len(name) > LONGEST:
        return f"sha256:{hashlib.sha256(told).hexdigest()}"
    return name
