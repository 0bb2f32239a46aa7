"""What every JSON dialect shares: parsing that names the path of a mistake, and the keeping of spellings.

A canonical struct says what was meant; a wire format often has several ways to say it (`"stop": "x"` or `["x"]`, null
or absent). So that a message comes back as it was sent, a dialect notes the spelling in `extra` under keys that begin
with `~`: `~` holds wire fields that carry no meaning (nulls, empty lists), `~as` names the form chosen. Such notes
are for their own dialect only. Every other dialect ignores them and reports each further key of `extra` as a loss.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from understudy.canon import Extra, Inline, Loss, Source

BLANKS = "~"
FORM = "~as"

_NOTES = frozenset({BLANKS, FORM, "~beside", "~echo", "~events", "~final"})
"""The names of the notes that dialects make. Arguments and schemas may well have such names: they are none of ours."""

INT = (int,)
NUMBER = (int, float)
STR = (str,)
BOOL = (bool,)
LIST = (list,)
DICT = (dict,)

_NAMES = {int: "an integer", float: "a number", str: "a string", bool: "a boolean", list: "an array", dict: "an object"}
_NAMES[type(None)] = "null"
_encoder = msgspec.json.Encoder()


class Malformed(ValueError):  # noqa: N818  an adjective, as the message reads
    """Bytes that are not what the dialect calls for. `field` is the JSON path (`messages[2].content`)."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


def parse(body: bytes, field: str = "body") -> Any:
    """JSON to plain values. Raises `Malformed` on anything else: bad UTF-8, nesting too deep, trailing bytes."""
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise Malformed(field, "is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(field, f"is not valid JSON: {error}") from None


def dump(value: Any) -> bytes:
    try:
        return _encoder.encode(value)
    except (OverflowError, UnicodeEncodeError):  # integers beyond 64 bits, lone surrogates: rare, and legal JSON
        return json.dumps(value, separators=(",", ":")).encode()


def wrong(value: Any, kinds: tuple[type, ...], path: str) -> Malformed:
    wanted = "a number" if kinds is NUMBER else " or ".join(_NAMES[kind] for kind in kinds)
    return Malformed(path, f"must be {wanted}, not {_NAMES.get(type(value), type(value).__name__)}")


def expect(value: Any, kinds: tuple[type, ...], path: str) -> Any:
    """`value`, if it is one of `kinds` exactly (a boolean is no integer); else raises `Malformed`."""
    if type(value) not in kinds:
        raise wrong(value, kinds, path)
    return value


def take(fields: dict[str, Any], key: str, kinds: tuple[type, ...], path: str = "") -> Any:
    """Remove `key` and give its value, None if absent. Raises `Malformed` if it is none of `kinds`."""
    value = fields.pop(key, None)
    if value is not None and type(value) not in kinds:
        raise wrong(value, kinds, path + key)
    return value


def refuse_notes(source: Mapping[str, Any]) -> None:
    """Raises `Malformed` on a field that has the name of one of our notes."""
    for name in _NOTES & source.keys():
        raise Malformed(name, "is a name that this gateway keeps for itself; leave the field out")


def split(source: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields that say something, and the blank ones: null, "", [] and {}. Both new; `source` stays as it is.

    Raises `Malformed` on a field that has the name of a note, for which it would be taken. No API has any.
    """
    if not _NOTES.isdisjoint(source):
        refuse_notes(source)
    said: dict[str, Any] = {}
    blank: dict[str, Any] = {}
    for key, value in source.items():
        if value is None or (not value and value.__class__ in (str, list, dict)):
            blank[key] = value
        else:
            said[key] = value
    return said, blank


def keep(rest: dict[str, Any], blank: dict[str, Any], form: Any = None) -> Extra:
    """An `extra` of what is left over, the blank fields and the form, each only if there is any."""
    if blank:
        rest[BLANKS] = blank
    if form:
        rest[FORM] = form
    return rest


def restore(out: dict[str, Any], extra: Extra) -> dict[str, Any]:
    """Write `extra` and its blanks back into `out`; what `out` has already wins, objects are merged."""
    for key, value in extra.items():
        if key == BLANKS:
            for name, blank in value.items() if isinstance(value, dict) else ():  # else it is no note but the wire's
                out.setdefault(name, blank)
        elif not key.startswith("~"):
            known = out.get(key)
            out[key] = (
                {**value, **known} if isinstance(known, dict) and isinstance(value, dict) else out.get(key, value)
            )
    return out


def foreign(extra: Extra, path: str) -> Sequence[Loss]:
    """A loss for each field of another dialect's `extra`."""
    if not extra:
        return ()
    why = "a field of the client's dialect that this one does not know"
    return [Loss(path + key, why) for key in extra if not key.startswith("~")]


def text_in(source: Source) -> str | None:
    """The words of a file that is a text (`text/…`, JSON, XML) sent along; None for any other."""
    media = source.media_type or "" if isinstance(source, Inline) else ""
    if not isinstance(source, Inline) or not media.startswith(("text/", "application/json", "application/xml")):
        return None
    try:
        return base64.b64decode(source.data, validate=True).decode("utf-8", "surrogatepass")
    except (binascii.Error, ValueError):
        return None
