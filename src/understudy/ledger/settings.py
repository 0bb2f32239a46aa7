"""How the ledger is kept. The gateway hands this to the process that writes, as the first thing it says to it."""

from __future__ import annotations

import msgspec

MIB = 1024 * 1024


class Retention(msgspec.Struct, frozen=True):
    """What is deleted in time; None keeps for ever. Sums per hour are always kept: they hold nobody's words.

    `bodies_seconds` and `bodies_bytes` (as stored, packed) bound the bodies, oldest first; `exchanges_seconds` deletes
    exchanges with all that belongs to them, and events; audit entries stay.
    """

    bodies_seconds: float | None = 30 * 86400
    bodies_bytes: int | None = 10 * 1024 * MIB
    exchanges_seconds: float | None = None
    every: float = 300


class Settings(msgspec.Struct, frozen=True):
    """`url` names the database, `spool` the folder for records that it would not take.

    `interval` is how much a `kill -9` of everything may cost, in seconds. `memory` bounds the bytes that wait in the
    gateway for a writer that takes nothing, `queue` the records put within one interval, `spool_bytes` the spool.
    `patience` is how long a lock or a silent server is waited for, and `retry` how long a database that failed is
    left alone. `stalled` is when a writer process that says nothing is replaced.
    """

    url: str
    spool: str
    interval: float = 0.1
    queue: int = 50_000
    memory: int = 48 * MIB
    spool_bytes: int = 512 * MIB
    patience: float = 1.0
    retry: float = 1.0
    stalled: float = 20.0
    body_bytes: int = 256 * 1024
    level: int = 3
    retention: Retention = Retention()
