"""The format of an export (docs/reference/export.md): every record of the ledger by itself, as JSON with names.

The ledger's own structs, with names instead of places: on disk between our processes places do, but who takes a ledger
elsewhere wants to read it. A body is `text` where it is UTF-8, else `data` in base64. What is read back is checked
against the same structs, so a line that says something else than the format is refused, with the place of it.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from understudy.canon import Loss as CanonLoss
from understudy.ledger import records

NAME = "understudy-ledger"
VERSION = 1
LONGEST = 256 * 1024 * 1024
"""Bytes of one line that are read: hundreds of times what two bodies of the usual bound make."""


class BadLineError(ValueError):
    """A line that is not of this format; the message says what is wrong, and where in the line."""


class Header(msgspec.Struct, frozen=True, tag="header", forbid_unknown_fields=True):
    """The first line. `filters` are those that the export was made with, `made` is Unix seconds."""

    format: str
    version: int
    made: float
    filters: dict[str, str | float] = {}


class End(msgspec.Struct, frozen=True, tag="end", forbid_unknown_fields=True):
    """The last line: how many records came before it, and the SHA-256 of their lines."""

    records: int
    sha256: str


class Tokens(records.Tokens, frozen=True, array_like=False, forbid_unknown_fields=True):
    pass


class Cost(records.Cost, frozen=True, array_like=False, forbid_unknown_fields=True):
    pass


class Loss(CanonLoss, frozen=True, array_like=False, forbid_unknown_fields=True):
    pass


class Seam(records.Seam, frozen=True, array_like=False, forbid_unknown_fields=True):
    pass


class Attempt(records.Attempt, frozen=True, array_like=False, forbid_unknown_fields=True):
    tokens: Tokens | None = None
    cost: Cost | None = None
    losses: tuple[Loss, ...] = ()


class Body(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """`size` is the length before it was cut. Either `text` or `data` is given."""

    side: records.Side
    content_type: str = ""
    size: int = 0
    text: str | None = None
    data: bytes | None = None


class Exchange(records.Exchange, frozen=True, array_like=False, tag="exchange", forbid_unknown_fields=True):
    tokens: Tokens | None = None
    cost: Cost | None = None
    seams: tuple[Seam, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    bodies: tuple[Body, ...] = ()  # type: ignore[assignment]  # turned into the ledger's by `record_of`


class Feedback(records.Feedback, frozen=True, array_like=False, tag="feedback", forbid_unknown_fields=True):
    pass


class Event(records.Event, frozen=True, array_like=False, tag="event", forbid_unknown_fields=True):
    pass


class Audit(records.Audit, frozen=True, array_like=False, tag="audit", forbid_unknown_fields=True):
    pass


Line = Exchange | Feedback | Event | Audit

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Header | Exchange | Feedback | Event | Audit | End)


def encoded(line: Line | Header | End) -> bytes:
    """The line, with its line end."""
    return _encoder.encode(line) + b"\n"


def decoded(line: bytes) -> Line | Header | End:
    """The line that these bytes are. Raises BadLineError."""
    try:
        return _decoder.decode(line)  # type: ignore[no-any-return]
    except msgspec.ValidationError as error:
        raise BadLineError(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadLineError(f"no JSON: {error}") from None


def checked(header: Header) -> None:
    """Raises BadLineError if what follows this header is not for this version to read."""
    if header.format != NAME:
        raise BadLineError(f"the format is {header.format!r}, not {NAME!r}")
    if not 1 <= header.version <= VERSION:
        raise BadLineError(f"version {header.version} of the format; this Understudy reads up to {VERSION}: update it")


def record_of(line: Line) -> records.Record:
    """The record that a line says, for the ledger to write. Raises BadLineError."""
    match line:
        case Exchange():
            return _exchange(line)
        case Feedback():
            return records.Feedback(*msgspec.structs.astuple(line))
        case Event():
            return records.Event(*msgspec.structs.astuple(line))
        case Audit():
            return records.Audit(*msgspec.structs.astuple(line))


def body_of(side: Any, content_type: str, size: int, data: bytes) -> Body:
    """A body for a line."""
    try:
        return Body(side, content_type, size, text=data.decode())
    except UnicodeDecodeError:
        return Body(side, content_type, size, data=data)


def _exchange(line: Exchange) -> records.Exchange:
    given: dict[str, Any] = msgspec.structs.asdict(line)
    given["tokens"] = _plain(records.Tokens, line.tokens)
    given["cost"] = _plain(records.Cost, line.cost)
    given["seams"] = tuple(_plain(records.Seam, seam) for seam in line.seams)
    given["attempts"] = tuple(_attempt(attempt) for attempt in line.attempts)
    bodies = given["bodies"] = tuple(_body(body, f"$.bodies[{place}]") for place, body in enumerate(line.bodies))
    if len({body.side for body in bodies}) < len(bodies):
        raise BadLineError("two bodies of one side - at `$.bodies`")
    return records.Exchange(**given)


def _attempt(attempt: Attempt) -> records.Attempt:
    given: dict[str, Any] = msgspec.structs.asdict(attempt)
    given["tokens"] = _plain(records.Tokens, attempt.tokens)
    given["cost"] = _plain(records.Cost, attempt.cost)
    given["losses"] = tuple(_plain(CanonLoss, loss) for loss in attempt.losses)
    return records.Attempt(**given)


def _plain(kind: Any, value: msgspec.Struct | None) -> Any:
    """The same as a struct of the ledger's own."""
    return None if value is None else kind(*msgspec.structs.astuple(value))


def _body(body: Body, where: str) -> records.Body:
    if (body.text is None) == (body.data is None):
        raise BadLineError(f"a body has either `text` or `data` - at `{where}`")
    data = body.data if body.text is None else body.text.encode()
    assert data is not None
    if body.size < len(data):
        raise BadLineError(f"`size` is {body.size}, and the body is longer: {len(data)} bytes - at `{where}`")
    return records.Body(body.side, data, body.content_type, body.size)


class Read(msgspec.Struct, frozen=True):
    """What was found at a place of a file: a line of the format, or what is wrong with it. `size` is in bytes."""

    where: str
    line: Line | Header | End | None
    problem: str = ""
    size: int = 0


class BadFileError(ValueError):
    """A file that cannot be read as any export; the message says why."""


class Digest:
    """What an export is known by: the SHA-256 of all its records' lines, the same in whatever form they are kept."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.records = 0

    def add(self, line: bytes) -> None:
        self._hash.update(line)
        self.records += 1

    def end(self) -> End:
        return End(self.records, self._hash.hexdigest())
