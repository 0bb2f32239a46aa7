"""How the ledger is kept. The gateway hands this to the process that writes, as the first thing it says to it."""

from __future__ import annotations

from typing import Literal

import msgspec

MIB = 1024 * 1024


Recogniser = Literal["secret", "iban", "card", "email", "phone", "ip"]
National = Literal[
    "us-ssn", "uk-nino", "es-dni", "fr-nir", "it-codice-fiscale", "br-cpf", "de-idnr", "nl-bsn", "pl-pesel"
]

DEFAULT_NATIONAL: tuple[National, ...] = ("us-ssn", "uk-nino", "es-dni", "fr-nir", "it-codice-fiscale", "br-cpf")
"""Those national ids that are written in a way of their own. The others are bare digits, of which one in ten passes by
chance."""


class Redaction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`find` names the recognisers, `national` those for national ids. `patterns` are regular expressions by name.

    `literals` are known secrets, such as the gateway's own keys: they are found wherever they stand. `key` makes
    pseudonyms that can be turned back. `scanner` adds the further detector of secrets, whose rules are kept in the
    folder `cache`. `patience` bounds the seconds for one text.
    """

    find: tuple[str, ...] = ("secret", "iban", "card", "email", "phone", "ip")
    national: tuple[str, ...] = DEFAULT_NATIONAL
    patterns: dict[str, str] = {}
    literals: tuple[str, ...] = ()
    key: str | None = None
    scanner: bool = False
    cache: str | None = None
    patience: float = 5.0

    def __repr__(self) -> str:
        return f"Redaction(find={self.find!r}, national={self.national!r}, patterns={sorted(self.patterns)!r})"


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
    left alone. `stalled` is when a writer process that says nothing is replaced. `redaction` says what is taken out of
    records before they are written anywhere; None: nothing is.
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
    redaction: Redaction | None = None
