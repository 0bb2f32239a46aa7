"""Fields of a multipart/form-data body (RFC 7578), such as `model`: found, replaced or taken out in place.

Only the heads of parts are read; files are searched for the boundary but never decoded, and copied once, on changing.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from understudy.dialects.wire import Malformed

HEAD_LIMIT = 8192
"""The longest head of a part, in bytes."""
PARTS_LIMIT = 1000

_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"\r\n]{1,70})"|([^\s";,]{1,70}))\s*(?:;|$)', re.IGNORECASE)
_DISPOSITION = re.compile(rb"^content-disposition:[ \t]*form-data[ \t]*(;[^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_PARAMETER = re.compile(rb';[ \t]*([a-z*-]+)=("(?:[^"\\]|\\.)*"|[^;"\s]*)[ \t]*', re.IGNORECASE)


class Field(NamedTuple):
    """A field's text, where its bytes stand in the body, and where its part does, from its boundary to the next."""

    value: str
    start: int
    end: int
    part: int
    after: int


def boundary(content_type: str) -> bytes:
    """The boundary that a Content-Type header names."""
    found = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/form-data") or found is None:
        raise Malformed("Content-Type", "must be multipart/form-data with a boundary of 1 to 70 characters")
    try:
        return (found[1] or found[2]).encode("ascii")
    except UnicodeEncodeError:
        raise Malformed("Content-Type", "must have a boundary of ASCII characters") from None


def find(body: bytes, content_type: str, name: str = "model") -> Field:
    """The one field called `name`. Raises `Malformed` if there is none, or two, or the body is not whole."""
    found = fields(body, content_type, (name,)).get(name)
    if found is None:
        raise Malformed(name, "is missing; add it as a field of the form")
    return found


def fields(body: bytes, content_type: str, names: Collection[str]) -> dict[str, Field]:
    """Those fields of `names` that are there. Raises `Malformed` if one is twice, or the body is not whole."""
    line = b"--" + boundary(content_type)
    if not body.startswith(line) and b"\r\n" + line not in body:
        raise Malformed("body", "does not hold the boundary that Content-Type names")
    wanted = {name.encode(): name for name in names}
    found: dict[str, Field] = {}
    at = 0 if body.startswith(line) else body.index(b"\r\n" + line) + 2
    for _ in range(PARTS_LIMIT):
        part = at
        at += len(line)
        if body.startswith(b"--", at):
            return found
        if not body.startswith(b"\r\n", at):
            raise Malformed("body", "has a boundary that is not followed by a line end")
        blank = body.find(b"\r\n\r\n", at, at + HEAD_LIMIT)
        end = body.find(b"\r\n" + line, blank + 4) if blank >= 0 else -1
        if end < 0:
            raise Malformed("body", "has a part that does not end, or whose head is too long")
        head = body[at + 2 : blank]
        if b"\r\n" + line in head:
            raise Malformed("body", "has a part without an empty line after its head")
        at = end + 2
        name = wanted.get(_name(head))
        if name is not None:
            if name in found:
                raise Malformed(name, "is given twice; send it once")
            found[name] = _field(body, blank + 4, end, part, name)
    raise Malformed("body", f"has more than {PARTS_LIMIT} parts")


def replace(body: bytes, field: Field, value: str) -> bytes:
    """The body with another value in the place of `field`. Raises `Malformed` if that could break a part."""
    if "\r" in value or "\n" in value:
        raise Malformed("model", "must not hold a line end")
    whole = memoryview(body)
    return b"".join((whole[: field.start], value.encode(), whole[field.end :]))


def without(body: bytes, field: Field) -> bytes:
    """The body without the part of `field`."""
    whole = memoryview(body)
    return b"".join((whole[: field.part], whole[field.after :]))


def _name(head: bytes) -> bytes:
    """The `name` of a part, parameter by parameter: a file may be called `a; name=model`."""
    found = list(_DISPOSITION.finditer(head))
    if len(found) != 1:
        raise Malformed("body", "has a part without one Content-Disposition: form-data")
    text, at, names = found[0][1], 0, []
    while at < len(text):
        parameter = _PARAMETER.match(text, at)
        if parameter is None:
            raise Malformed("body", "has a Content-Disposition that cannot be read")
        if parameter[1].lower() == b"name":
            names.append(parameter[2].strip(b'"'))
        at = parameter.end()
    if len(names) != 1:
        raise Malformed("body", "has a part that does not have one name")
    return names[0]


def _field(body: bytes, start: int, end: int, part: int, name: str) -> Field:
    stop = max(start, end)
    try:
        return Field(body[start:stop].decode(), start, stop, part, end + 2)
    except UnicodeDecodeError:
        raise Malformed(name, "is not UTF-8") from None
