"""Files that a call names by ids of ours, as the provider that the call goes to knows them.

Only the provider that holds a file can read it: for any other target the call is unfit, and goes on to the next.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from understudy.canon import Audio, File, Image, Part, Request, Stored, ToolResult
from understudy.dialects.wire import Malformed, dump, parse
from understudy.gateway import surface
from understudy.gateway.routing import Target
from understudy.operations import ids

_MARK = ids.PREFIX.encode()


class UnheldError(Exception):
    """The target's provider does not hold a file that the call names. `field` is where it is named."""

    def __init__(self, cause: Malformed) -> None:
        self.field = cause.field
        super().__init__(str(cause))


def body(sent: bytes, target: Target) -> bytes:
    """A body in the target's dialect with its files; the very same where it names none of ours. Raises UnheldError."""
    if _MARK not in sent:
        return sent
    value = parse(sent)
    try:
        known = ids.known_to(_names(target), value)
    except Malformed as error:
        raise UnheldError(error) from None
    return sent if known is value else dump(known)


def request(asked: Request, target: Target, sent: bytes) -> Request:
    """A canonical request with its files. `sent` is the body that it was read from. Raises UnheldError."""
    if _MARK not in sent:
        return asked
    place = _Place(_names(target), target.provider.dialect, own=asked.dialect == target.provider.dialect)
    messages = [
        msgspec.structs.replace(message, parts=_parts(message.parts, place, f"messages[{i}]"))
        for i, message in enumerate(asked.messages)
    ]
    return msgspec.structs.replace(asked, messages=tuple(messages))


class _Place(NamedTuple):
    """Where a part is to go. `own`: the client speaks the target's dialect. `result`: it stands in a tool's result."""

    names: tuple[str, str]
    dialect: str
    own: bool
    result: bool = False


def _names(target: Target) -> tuple[str, str]:
    """The names under which the target's provider may have been given a file."""
    return target.provider.name, target.provider.account


def _parts(parts: tuple[Part, ...], place: _Place, where: str) -> tuple[Part, ...]:
    return tuple(_part(part, place, f"{where}.parts[{i}]") for i, part in enumerate(parts))


def _part(part: Part, place: _Place, where: str) -> Part:
    if isinstance(part, ToolResult):
        return msgspec.structs.replace(part, parts=_parts(part.parts, place._replace(result=True), where))
    if not isinstance(part, Image | Audio | File) or not isinstance(part.source, Stored):
        return part
    try:
        known = ids.own(place.names, part.source.id, where)
    except Malformed as error:
        raise UnheldError(error) from None
    if known is part.source.id:
        return part
    if not _has_room(part, place):
        why = f"is a file of {place.names[0]} in a place that {place.dialect} has not for one"
        raise UnheldError(Malformed(where, why))
    return msgspec.structs.replace(part, source=Stored(known, here=True))


def _has_room(part: Image | Audio | File, place: _Place) -> bool:
    """Whether the target's dialect can name a file there: what could not be said would be dropped."""
    if place.own:
        return True
    if place.result or isinstance(part, Audio):
        return False
    return place.dialect == surface.RESPONSES or (place.dialect == surface.CHAT and isinstance(part, File))
