"""Reads what a GGUF file says of itself: name, licence, base models, sizes. The weights are never touched.

The form: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian). A file from
elsewhere is hostile until parsed: every length is checked against a bound before it is believed, long arrays
(vocabularies) are passed over by their size, and at most `MOST` bytes are looked at.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

MAGIC = b"GGUF"
MOST = 64 * 1024 * 1024
"""Bytes of metadata that are read at most; vocabularies of 250,000 words take some 10 MB."""

LONGEST_STRING = 1024 * 1024
LONGEST_ARRAY = 64
"""Entries of an array that is kept; longer ones are passed over."""

MOST_PAIRS = 10_000
_DEEPEST = 4

_FIXED = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9


class GgufError(ValueError):
    """No GGUF file, or a damaged one. The message says what was wrong."""


class Base(msgspec.Struct, frozen=True):
    """A base model as the file names it."""

    name: str
    repository: str


class Metadata(msgspec.Struct, frozen=True):
    """What the file says. Empty: nothing. `tensors` is their number, `size` the file's in bytes."""

    architecture: str
    name: str
    licence: str
    licence_name: str
    licence_link: str
    repository: str
    size_label: str
    context: int | None
    bases: tuple[Base, ...]
    tensors: int
    size: int


class _Reader:
    """A file and how much of it has been read. Every read says how many bytes it wants, and gets them or an error."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = MOST

    def take(self, count: int) -> bytes:
        self._spend(count)
        data = self._file.read(count)
        if len(data) < count:
            raise GgufError("the file ends within its metadata")
        return data

    def skip(self, count: int) -> None:
        self._spend(count)
        self._file.seek(count, 1)

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def string(self, *, keep: bool = True) -> str:
        length = self.number("<Q")
        if keep and length > LONGEST_STRING:
            raise GgufError(f"a string of {length:,} bytes; at most {LONGEST_STRING:,} are read")
        if keep:
            return self.take(length).decode("utf-8", "replace")
        self.skip(length)
        return ""

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise GgufError(f"more than {MOST:,} bytes of metadata")


def read(path: Path) -> Metadata:
    """The metadata of a GGUF file.

    Errors:
        GgufError: it is none, or damaged, or says more than is read.
        OSError: it cannot be opened.
    """
    with path.open("rb") as file:
        reader = _Reader(file)
        if reader.take(4) != MAGIC:
            raise GgufError("no GGUF file: it does not begin with GGUF")
        version = reader.number("<I")
        if version not in {2, 3}:
            raise GgufError(f"GGUF version {version}: only 2 and 3 are read, little-endian")
        tensors = reader.number("<Q")
        count = reader.number("<Q")
        if count > MOST_PAIRS:
            raise GgufError(f"{count:,} pairs of metadata; at most {MOST_PAIRS:,} are read")
        pairs = {reader.string(): _value(reader, reader.number("<I"), 0) for _ in range(count)}
    return _metadata(pairs, tensors, path.stat().st_size)


def _value(reader: _Reader, kind: int, depth: int) -> Any:
    if kind in _FIXED:
        return reader.number(_FIXED[kind])
    if kind == _STRING:
        return reader.string()
    if kind != _ARRAY:
        raise GgufError(f"a value of the unknown type {kind}")
    if depth > _DEEPEST:
        raise GgufError("arrays nested too deep")
    inner, length = reader.number("<I"), reader.number("<Q")
    if length <= LONGEST_ARRAY:
        return [_value(reader, inner, depth + 1) for _ in range(length)]
    if inner in _FIXED:
        reader.skip(struct.calcsize(_FIXED[inner]) * length)
        return None
    if inner != _STRING:
        raise GgufError(f"an array of {length:,} values of type {inner}")
    for _ in range(length):
        reader.string(keep=False)
    return None


def _metadata(pairs: dict[str, Any], tensors: int, size: int) -> Metadata:
    def text(key: str) -> str:
        value = pairs.get(key)
        return value if isinstance(value, str) else ""

    count = pairs.get("general.base_model.count")
    bases = [
        Base(text(f"general.base_model.{number}.name"), text(f"general.base_model.{number}.repo_url"))
        for number in range(min(count, 16) if isinstance(count, int) else 0)
    ]
    architecture = text("general.architecture")
    context = pairs.get(f"{architecture}.context_length")
    return Metadata(
        architecture=architecture,
        name=text("general.name"),
        licence=text("general.license"),
        licence_name=text("general.license.name"),
        licence_link=text("general.license.link"),
        repository=text("general.repo_url") or text("general.source.repo_url"),
        size_label=text("general.size_label"),
        context=context if isinstance(context, int) else None,
        bases=tuple(bases),
        tensors=tensors,
        size=size,
    )
