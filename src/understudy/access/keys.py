"""Virtual keys: what they look like, what they may do, and who shows which.

A key is `understudy-`, 43 characters that are 32 random bytes in base 62, and 6 that are their CRC-32. The prefix and
the checksum are for scanners, which find leaked keys without false alarms, and for a typing error to be told from a
key that is gone (after GitHub, "Behind GitHub's new authentication token formats", 2021).

It is shown once and stored as its SHA-256. A slow hash (bcrypt, Argon2) makes guessing expensive where people chose
the secret; 256 random bits cannot be guessed at any speed, and a slow hash on every call would stop the gateway.

A key is looked up by the hash of all of it. How long that takes may depend on the hash, never on how much of a guess is
right: whoever changes one character of a guess gets another hash altogether. So there is nothing for timing to show.
Plain keys are kept nowhere, not even in memory: hashing one takes half a microsecond.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from hashlib import sha256
from string import ascii_letters, digits
from typing import Literal

import msgspec

from understudy import clock
from understudy.access.budgets import Budget
from understudy.access.limits import Limit

PREFIX = "understudy-"
LENGTH = len(PREFIX) + 43 + 6

_DIGITS = digits + ascii_letters
_DAY = 86400

Role = Literal["admin", "operator", "auditor", "user"]
Kept = Literal["none", "metadata", "bodies"]
Right = Literal["call", "read", "inspect", "operate", "administer"]

RIGHTS: Mapping[Role, frozenset[Right]] = {
    "admin": frozenset({"call", "read", "inspect", "operate", "administer"}),
    "operator": frozenset({"call", "read", "operate"}),
    "auditor": frozenset({"read", "inspect"}),
    "user": frozenset({"call"}),
}
"""`call` models; `read` what happened; `inspect` its words: what was asked, answered, commented; `operate` targets
(drain, open); `administer` keys and what is stored."""


class Key(msgspec.Struct, frozen=True):
    """A key as people may see it: nothing in it opens anything. Times are Unix seconds, None for never.

    `hint` is the key's last four characters, part of its checksum. `used` is the last day of use, in UTC, as ISO date.
    `routes` are globs of the names that a client may ask for. `store` is the most that the ledger may keep of a call,
    None if that is the route's to say.
    """

    id: str
    name: str
    owner: str = ""
    role: Role = "user"
    hint: str = ""
    routes: tuple[str, ...] = ("*",)
    created: float = 0.0
    expires: float | None = None
    disabled: bool = False
    used: str | None = None
    tags: dict[str, str] = {}
    limits: tuple[Limit, ...] = ()
    budgets: tuple[Budget, ...] = ()
    store: Kept | None = None

    def allows(self, route: str) -> bool:
        """Whether the key may ask for this route or target."""
        routes = self.routes
        return "*" in routes or any(fnmatchcase(route, pattern) for pattern in routes)


def may(role: Role, right: Right) -> bool:
    return right in RIGHTS[role]


class Secret:
    """A key in plain, on its way to the one who asked for it. It shows itself only when told to."""

    __slots__ = ("_plain",)

    def __init__(self, plain: str) -> None:
        self._plain = plain

    def reveal(self) -> str:
        return self._plain

    def digest(self) -> bytes:
        return digest(self._plain.encode())

    def __repr__(self) -> str:
        return f"Secret(…{self._plain[-4:]})"

    def __reduce__(self) -> str:
        raise TypeError("A secret is not pickled: reveal it where it is shown, and nowhere else.")


class Former(msgspec.Struct, frozen=True):
    """The hash of a key that was rotated, and until when it still opens."""

    digest: bytes
    until: float

    def __repr__(self) -> str:
        return f"Former(until={self.until})"


class Record(msgspec.Struct, frozen=True):
    """A key with what it is recognised by. It never shows the hashes."""

    key: Key
    digest: bytes
    former: tuple[Former, ...] = ()

    def __repr__(self) -> str:
        return f"Record({self.key!r}, former={self.former!r})"


class Denied(msgspec.Struct, frozen=True):
    """Why a key does not open. Whoever shows a key that is expired or disabled holds it, so may be told."""

    code: Literal["unknown", "disabled", "expired", "rotated"]
    message: str


UNKNOWN = Denied("unknown", "Incorrect API key. Send a key that this gateway knows, whole and without spaces.")
MISTYPED = Denied("unknown", "Incorrect API key: it was cut or mistyped, as its last characters do not fit the rest.")
DISABLED = Denied("disabled", "This API key is disabled. Ask whoever runs this gateway.")
EXPIRED = Denied("expired", "This API key has expired. Ask whoever runs this gateway for another.")
ROTATED = Denied("rotated", "This API key was rotated and opens no longer. Use the key that took its place.")


def mint() -> Secret:
    """Another key."""
    body = _base62(int(clock.token(32), 16), 43)
    return Secret(PREFIX + body + _checksum(PREFIX + body))


def identifier() -> str:
    """Another id for a key: public, and not derived from it."""
    return f"key_{clock.token(8)}"


def digest(key: bytes) -> bytes:
    """What is stored of a key."""
    return sha256(key).digest()


def well_formed(key: str) -> bool:
    """Whether this could be a key at all: the right length, and the checksum fits."""
    return len(key) == LENGTH and key.startswith(PREFIX) and key[-6:] == _checksum(key[:-6])


def _checksum(text: str) -> str:
    return _base62(zlib.crc32(text.encode()), 6)


def _base62(number: int, width: int) -> str:
    written = ""
    for _ in range(width):
        number, digit = divmod(number, 62)
        written = _DIGITS[digit] + written
    return written


class _Entry:
    __slots__ = ("day", "key", "until")

    def __init__(self, key: Key, until: float | None) -> None:
        self.key = key
        self.until = until
        self.day = -1


class Ring:
    """All keys, by hash, in memory. `replace` and `put` take effect with the next call.

    `used` are the days on which keys were used since it was last emptied, by id: for the store, now and then.
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._by_digest: dict[bytes, _Entry] = {}
        self._digests: dict[str, tuple[bytes, ...]] = {}
        self.used: dict[str, str] = {}
        self.replace(records)

    def __len__(self) -> int:
        return len(self._digests)

    def replace(self, records: Iterable[Record]) -> None:
        """These keys and no others."""
        by_digest: dict[bytes, _Entry] = {}
        digests = {record.key.id: _enter(by_digest, record) for record in records}
        self._by_digest, self._digests = by_digest, digests

    def put(self, record: Record) -> None:
        """A key that is new or changed."""
        self.drop(record.key.id)
        self._digests[record.key.id] = _enter(self._by_digest, record)

    def drop(self, identifier: str) -> None:
        """A key that is gone."""
        for one in self._digests.pop(identifier, ()):
            self._by_digest.pop(one, None)

    def find(self, given: bytes, wall: float) -> Key | Denied:
        """Whose key this is, at Unix time `wall`, or why it opens nothing."""
        entry = self._by_digest.get(sha256(given).digest())
        if entry is None:
            return _explain(given)
        key = entry.key
        if key.disabled:
            return DISABLED
        if key.expires is not None and wall >= key.expires:
            return EXPIRED
        if entry.until is not None and wall >= entry.until:
            return ROTATED
        day = int(wall // _DAY)
        if day != entry.day:
            entry.day = day
            self.used[key.id] = datetime.fromtimestamp(wall, UTC).date().isoformat()
        return key


def _enter(by_digest: dict[bytes, _Entry], record: Record) -> tuple[bytes, ...]:
    by_digest[record.digest] = _Entry(record.key, None)
    for former in record.former:
        by_digest[former.digest] = _Entry(record.key, former.until)
    return (record.digest, *(former.digest for former in record.former))


def _explain(given: bytes) -> Denied:
    text = given[: LENGTH + 1].decode("latin-1")
    return UNKNOWN if not text.startswith(PREFIX) or well_formed(text) else MISTYPED
