"""Where keys live: an SQLite file, or PostgreSQL. It is read at the start and when it changed; the request path never
comes here.

The command line writes while the gateway runs. Whether another one has written since costs microseconds to ask, so the
gateway asks every quarter of a second, in a thread, and rereads what changed: `Keeper` does that, and writes down now
and then on which day keys were used and what was spent of budgets.

Every change is one transaction that begins with the write lock (`database.py`): two writers wait for each other, and
neither works on what the other has just replaced. A file is readable by its owner only, though it holds no key that
could be used: hashes, see `keys.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
from sqlalchemy import Connection, delete, insert, or_, select, update

from understudy import clock
from understudy.access.budgets import Budget, Spent
from understudy.access.database import Database, StoreError, Writes
from understudy.access.keys import Former, Key, Record, Ring, Secret, identifier, mint
from understudy.access.limits import Limit
from understudy.access.tables import keys, spending

log = logging.getLogger("understudy")

EVERY = 0.25
"""Seconds between two looks at whether somebody else changed keys."""

NOTE_EVERY = 1.0
"""Seconds between two notes of what was used: so much spending a killed gateway forgets at most."""

LONGEST_NAME = 200

__all__ = ["Keeper", "Store", "StoreError"]

T = TypeVar("T")

_JSON = ("former", "routes", "tags", "limits", "budgets")
_LISTS: dict[str, Any] = {"routes": tuple[str, ...], "tags": dict[str, str], "limits": tuple[Limit, ...],
                          "budgets": tuple[Budget, ...], "former": tuple[Former, ...]}  # fmt: skip


class UnknownKeyError(StoreError):
    """There is no such key."""


class NameTakenError(StoreError):
    """There is another key of that name."""


class Store:
    """The keys at `place`, a file or a `postgresql://` URL; made if it is missing. `where` is what people read of that.

    Calls wait for the disk or a server: not for the event loop. Threads may share it. Raises StoreError from all
    methods.
    """

    def __init__(self, place: Path | str) -> None:
        self._database = Database(place)
        self.where = self._database.where

    def close(self) -> None:
        self._database.close()

    # -- reading -------------------------------------------------------------------------------------------------------

    def records(self) -> list[Record]:
        """All keys, by when they were made."""
        with self._transaction() as connection:
            return [_record(row) for row in connection.execute(select(keys).order_by(keys.c.created, keys.c.id))]

    def record(self, name: str) -> Record:
        """The key with this name or id."""
        with self._transaction() as connection:
            return self._one(connection, name)

    def spent(self) -> dict[str, list[Spent]]:
        """What was spent of budgets, by key."""
        found: dict[str, list[Spent]] = {}
        with self._transaction() as connection:
            for key, *facts in connection.execute(select(spending)):
                found.setdefault(key, []).append(Spent(*facts))
        return found

    def changed(self) -> bool:
        """Whether another connection has written since this was asked last; true the first time."""
        return self._database.changed()

    # -- changing ------------------------------------------------------------------------------------------------------

    def create(self, name: str, **settings: Any) -> tuple[Record, Secret]:
        """Make a key; `settings` are fields of `Key`. The secret can be had now or never."""
        secret = mint()
        key = Key(identifier(), name.strip(), hint=secret.reveal()[-4:], created=clock.wall(), **settings)
        record = Record(key, secret.digest())
        if not key.name or not key.name.isprintable() or len(key.name) > LONGEST_NAME:
            raise StoreError(f"A key needs a name: one line of at most {LONGEST_NAME} characters.")
        with self._transaction("keys") as connection:
            if connection.execute(select(keys.c.id).where(_called(key.name))).first():
                raise NameTakenError(f"There is a key named {key.name!r} already. Choose another name.")
            connection.execute(insert(keys).values(**_columns(record)))
        return record, secret

    def change(self, name: str, **settings: Any) -> Record:
        """Change fields of the key with this name or id."""
        with self._transaction("keys") as connection:
            record = self._one(connection, name)
            record = msgspec.structs.replace(record, key=msgspec.structs.replace(record.key, **settings))
            self._put(connection, record)
        return record

    def rotate(self, name: str, overlap: float) -> tuple[Record, Secret]:
        """Another secret for the key; the one before opens for `overlap` seconds more. 0: all former ones end now."""
        secret, now = mint(), clock.wall()
        with self._transaction("keys") as connection:
            record = self._one(connection, name)
            former = [one for one in record.former if one.until > now and overlap > 0]
            if overlap > 0:
                former.append(Former(record.digest, now + overlap))
            key = msgspec.structs.replace(record.key, hint=secret.reveal()[-4:])
            record = Record(key, secret.digest(), tuple(former))
            self._put(connection, record)
        return record, secret

    def remove(self, name: str) -> Key:
        """Delete the key with this name or id, and what is known of its spending."""
        with self._transaction("keys") as connection:
            key = self._one(connection, name).key
            connection.execute(delete(keys).where(keys.c.id == key.id))
            connection.execute(delete(spending).where(spending.c.key == key.id))
        return key

    def note(self, used: Mapping[str, str], spent: Mapping[str, Iterable[Spent]]) -> None:
        """Write down on which day keys were last used, and what is spent of their budgets."""
        with self._transaction("notes") as connection:
            for key, day in used.items():
                connection.execute(update(keys).where(keys.c.id == key).values(used=day))
            there = set(connection.execute(select(keys.c.id)).scalars())
            for key, rows in spent.items():
                for row in rows if key in there else ():
                    values = msgspec.structs.asdict(row)
                    self._database.put(connection, spending, {"key": key, **values}, least=("start", "spent"))

    def _one(self, connection: Connection, name: str) -> Record:
        row = connection.execute(select(keys).where(_called(name))).first()
        if row is None:
            # What was asked for is not repeated: it may be a key in plain, typed in the wrong place.
            raise UnknownKeyError("There is no key with this name or id. `understudy keys list` shows all.")
        return _record(row)

    def _put(self, connection: Connection, record: Record) -> None:
        connection.execute(update(keys).where(keys.c.id == record.key.id).values(**_columns(record)))

    def _transaction(self, writes: Writes = "nothing") -> contextlib.AbstractContextManager[Connection]:
        return self._database.transaction(writes)


class Spender(Protocol):
    """Who knows what was spent of budgets: `Local`, or `Shared` where there are replicas."""

    def spent(self) -> dict[str, list[Spent]]: ...

    def restore(self, before: Mapping[str, Iterable[Spent]]) -> None: ...


class Keeper:
    """Keeps a ring of keys and what they have spent in step with their store, beside the event loop."""

    def __init__(self, store: Store, ring: Ring, spender: Spender) -> None:
        self._store, self._ring, self._spender = store, ring, spender
        self._noted: dict[str, list[Spent]] = {}
        self._failed = self._stale = False
        self._turn = asyncio.Lock()  # what is read must not be older than what another change put into the ring

    def load(self) -> None:
        """Read everything, at the start. Raises StoreError."""
        self._store.changed()
        self._ring.replace(self._store.records())
        self._spender.restore(self._store.spent())

    async def run(self) -> None:
        """Look for changes, and write down what was used, until cancelled. A disk that is away is tried again."""
        looks = 0
        while True:
            await clock.sleep(EVERY)
            looks += 1
            await self._safely(self.look())
            if looks * EVERY >= NOTE_EVERY:
                looks = 0
                await self._safely(self.note())

    async def look(self) -> None:
        """Take over what others changed. Raises StoreError."""
        async with self._turn:
            await self._look()

    async def change(self, method: Callable[..., T], *args: Any, **settings: Any) -> T:
        """Run one of the store's methods that change it; when this returns, the change is in effect.

        For who changes keys in this process: `await keeper.change(store.rotate, "mine", 60)`. Raises StoreError.
        """
        async with self._turn:
            done = await asyncio.to_thread(method, *args, **settings)
            self._stale = True
            await self._look()
        return done

    async def _look(self) -> None:
        self._stale |= await asyncio.to_thread(self._store.changed)
        if self._stale:
            self._ring.replace(await asyncio.to_thread(self._store.records))
            self._stale = False

    async def note(self) -> None:
        """Write down what was used since. Also to be called when the gateway stops. Raises StoreError."""
        spent = self._spender.spent()
        fresh = {key: rows for key, rows in spent.items() if self._noted.get(key) != rows}
        used = dict(self._ring.used)
        if not used and not fresh:
            return
        await asyncio.to_thread(self._store.note, used, fresh)
        self._noted.update(fresh)
        for key, day in used.items():
            if self._ring.used.get(key) == day:
                del self._ring.used[key]

    async def _safely(self, work: Any) -> None:
        try:
            await work
        except StoreError as error:
            if not self._failed:
                log.warning("%s Keys stay as they are until it can be read.", error)
            self._failed = True
        else:
            self._failed = False


def _called(name: str) -> Any:
    return or_(keys.c.id == name, keys.c.name == name)


def _columns(record: Record) -> dict[str, Any]:
    values = msgspec.structs.asdict(record.key) | {"digest": record.digest, "former": record.former}
    return values | {name: msgspec.json.encode(values[name]).decode() for name in _JSON}


def _record(row: Any) -> Record:
    values = dict(row._mapping)  # noqa: SLF001  # SQLAlchemy's public name for it
    values |= {name: msgspec.json.decode(values[name], type=kind) for name, kind in _LISTS.items()}
    digest, former = bytes(values.pop("digest")), values.pop("former")
    return Record(Key(**values), digest, former)
