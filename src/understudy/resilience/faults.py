"""The fault table, read from `kinds.toml` (what to do) and `signs.toml` (how a kind is recognised on the wire).

Status codes lie, so structured fields come first and an anchored phrase of the provider's message only where no field
tells; never the whole body, in which an echoed prompt could say "429". The table is data so that a new fault is a new
row. See docs/reference/faults.md for the table as a page.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
import tomllib
from typing import Literal

import msgspec

from understudy.canon import Fault

Scope = Literal["endpoint", "key", "key-model", "account", "model", "provider"]


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the table says about one kind of fault. The fields are explained at the top of `kinds.toml`."""

    row: int
    what: str
    status: int
    retry: Literal["no", "once", "free", "soon"] = "no"
    cool: Scope | None = None
    cool_seconds: float = 0
    cool_until: Literal["day", "date"] | None = None
    trust_reset: bool = False
    without: Literal["parameter", "prefill", "reasoning"] | None = None
    fail_over: bool = False
    surface: bool = False
    tell: bool = False
    counts: bool = False


class Sign(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a kind shows on the wire; the fields are explained at the top of `signs.toml`."""

    kind: str
    dialect: str | None = None
    status: int | list[int] | None = None
    code: list[str] | None = None
    type: list[str] | None = None
    param: list[str] | None = None
    param_like: str | None = None
    phrase: str | None = None
    day: str | None = None


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kinds: dict[str, Row]
    signs: list[Sign]
    status: dict[str, str]


@functools.cache
def table() -> Table:
    """The table, read once."""
    here = importlib.resources.files(__package__)
    files = [tomllib.loads(here.joinpath(name).read_text("utf-8")) for name in ("kinds.toml", "signs.toml")]
    return msgspec.convert({key: value for file in files for key, value in file.items()}, Table)


def row(kind: str) -> Row:
    """The row of `kind`; an unlisted kind is a mistake of ours and raises KeyError."""
    return table().kinds[kind]


def classify(fault: Fault, dialect: str) -> Fault:
    """Give a fault that a dialect decoded its kind. One that has a kind already (the transport's, ours) keeps it.

    What its sign knows besides is filled in: the time zone of a day's quota, the parameter that a message names.
    """
    if fault.kind != "unknown":
        return fault
    for sign in table().signs:
        if _matches(sign, fault, dialect):
            param = fault.param or _named(sign, fault)
            return msgspec.structs.replace(fault, kind=sign.kind, param=param, day=sign.day)
    return msgspec.structs.replace(fault, kind=_by_status(fault))


def _matches(sign: Sign, fault: Fault, dialect: str) -> bool:
    if sign.dialect is not None and sign.dialect != dialect:
        return False
    if sign.status is not None:
        wanted = sign.status if isinstance(sign.status, list) else [sign.status]
        if fault.status not in wanted:
            return False
    for listed, value in ((sign.code, fault.code), (sign.type, fault.type), (sign.param, fault.param)):
        if listed is not None and value not in listed:
            return False
    if sign.param_like is not None and (fault.param is None or _compiled(sign.param_like).search(fault.param) is None):
        return False
    return sign.phrase is None or _compiled(sign.phrase).match(fault.message) is not None


def _named(sign: Sign, fault: Fault) -> str | None:
    """The parameter that the message names, where the sign's phrase says where it stands."""
    found = _compiled(sign.phrase).match(fault.message) if sign.phrase is not None else None
    return found.groupdict().get("param") if found is not None else None


@functools.cache
def _compiled(phrase: str) -> re.Pattern[str]:
    return re.compile(phrase)


def _by_status(fault: Fault) -> str:
    if fault.status is None or fault.status < 300:
        return "stream_error" if fault.phase == "stream" else "unknown"
    known = table().status
    hundred = fault.status // 100 * 100
    return known.get(str(fault.status)) or known.get(str(hundred)) or "unknown"
