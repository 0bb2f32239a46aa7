"""Virtual keys over HTTP. A change is in effect when it is answered, and on record."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec

from understudy.access import budgets, limits
from understudy.access.keys import Record
from understudy.gateway.administration import auditing, questions
from understudy.gateway.administration.endpoint import Answered, Asked, not_supported
from understudy.gateway.admission import Admission
from understudy.gateway.refusing import RefusedError


def listed(asked: Asked) -> Any:
    admission = _admission(asked)
    with _explained():
        spent = admission.store.spent()
        return {"keys": [_told(record, spent.get(record.key.id, ())) for record in admission.store.records()]}


def found(asked: Asked) -> Any:
    place: questions.KeyPlace = asked.place
    admission = _admission(asked)
    with _explained():
        record = admission.store.record(place.name)
        return _told(record, admission.store.spent().get(record.key.id, ()))


async def create(asked: Asked) -> Answered:
    given = questions.given(asked.body)
    admission, name, settings = _admission(asked), given.pop("name"), _settings(given)
    with _explained():
        record, secret = await admission.keeper.change(admission.store.create, name, **settings)
    auditing.note(asked, "create_key", record.key.id, name=name, **given)
    return Answered({"key": _told(record), "secret": secret.reveal()}, status=201)


async def change(asked: Asked) -> Any:
    place: questions.KeyPlace = asked.place
    given = questions.given(asked.body)
    admission, settings = _admission(asked), _settings(given)
    with _explained():
        record = await admission.keeper.change(admission.store.change, place.name, **settings)
        spent = await asyncio.to_thread(admission.store.spent)
    auditing.note(asked, "change_key", record.key.id, name=record.key.name, **given)
    return _told(record, spent.get(record.key.id, ()))


async def rotate(asked: Asked) -> Any:
    place: questions.KeyPlace = asked.place
    rotation: questions.Rotation = asked.body
    admission = _admission(asked)
    with _explained():
        record, secret = await admission.keeper.change(admission.store.rotate, place.name, rotation.overlap)
        spent = await asyncio.to_thread(admission.store.spent)
    auditing.note(asked, "rotate_key", record.key.id, name=record.key.name, overlap=rotation.overlap)
    return {"key": _told(record, spent.get(record.key.id, ())), "secret": secret.reveal()}


async def remove(asked: Asked) -> Any:
    place: questions.KeyPlace = asked.place
    admission = _admission(asked)
    with _explained():
        key = await admission.keeper.change(admission.store.remove, place.name)
    auditing.note(asked, "remove_key", key.id, name=key.name)
    return {"id": key.id, "name": key.name}


def _admission(asked: Asked) -> Admission:
    admission = asked.gateway.authorization.admission
    if admission is None:
        raise not_supported("There is no key store: set `server.key_store`; `understudy init` makes one.")
    return admission


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """What the store refuses, as an answer."""
    from understudy.access.store import NameTakenError, StoreError, UnknownKeyError

    try:
        yield
    except UnknownKeyError:
        why = "There is no key with this name or id. `GET /admin/keys` shows all."
        raise RefusedError(404, "key_not_found", why, param="name") from None
    except NameTakenError as error:
        raise RefusedError(409, "name_taken", str(error), param="name") from None
    except StoreError as error:
        raise RefusedError(503, "keys_unavailable", str(error), retry_after="1") from None


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """Fields of a key, from what was asked. Raises RefusedError."""
    settings = dict(given)
    for name, parse in (("limits", limits.parse), ("budgets", budgets.parse)):
        if name in settings:
            try:
                settings[name] = tuple(map(parse, settings[name]))
            except ValueError as error:
                raise RefusedError(400, "invalid_body", str(error), param=name) from None
    return settings


def _told(record: Record, spent: Any = ()) -> dict[str, Any]:
    key = record.key
    return {
        **msgspec.structs.asdict(key),
        "limits": [str(limit) for limit in key.limits],
        "budgets": [str(budget) for budget in key.budgets],
        "former_until": [former.until for former in record.former],
        "spent": [
            {**msgspec.structs.asdict(one), "spent": one.spent / budgets.MICRO if one.unit == "usd" else one.spent}
            for one in spent
        ],
    }
