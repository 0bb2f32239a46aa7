"""An export as lines of JSON, plain or packed with Zstandard: a header, the records, and an end that can be checked."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from understudy.moving import lines
from understudy.moving.lines import BadFileError, BadLineError, Digest, End, Header, Line, Read

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_ZSTD = b"\x28\xb5\x2f\xfd"
_SKIPPED = 1024 * 1024


class Writer:
    """Writes to an open file. `digest` knows the records so far."""

    def __init__(self, out: IO[bytes], header: Header) -> None:
        self._out = out
        self.digest = Digest()
        self._out.write(lines.encoded(header))

    def add(self, line: Line) -> None:
        encoded = lines.encoded(line)
        self.digest.add(encoded)
        self._out.write(encoded)

    def close(self) -> None:
        self._out.write(lines.encoded(self.digest.end()))
        self._out.flush()


def created(path: Path, *, packed: bool) -> Any:
    """A new file to write lines to. Raises OSError."""
    return zstd.open(path, "xb") if packed else path.open("xb")


def raw(path: Path, longest: int = lines.LONGEST) -> Iterator[tuple[int, bytes | None]]:
    """Each line that is not empty by its number, without its end; None for one that is longer than `longest` bytes.

    Raises BadFileError or OSError.
    """
    with path.open("rb") as plain:
        begin = plain.read(len(_ZSTD))
        plain.seek(0)
        file: Any = zstd.open(plain, "rb") if begin == _ZSTD else plain
        number = 0
        try:
            while line := file.readline(longest + 1):
                number += 1
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if len(line) > longest and not line.endswith(b"\n"):
                    _skip(file)
                    yield number, None
                elif line := line.strip():
                    yield number, line
        except (zstd.ZstdError, EOFError) as error:
            raise BadFileError(f"{path} cannot be unpacked after line {number}: {error}") from None


def read(path: Path) -> Iterator[Read]:
    """What stands in an export, line by line. Raises BadFileError or OSError."""
    for number, line in raw(path):
        where = f"line {number}"
        if line is None:
            yield Read(where, None, f"longer than {lines.LONGEST} bytes")
            continue
        try:
            yield Read(where, lines.decoded(line), size=len(line))
        except BadLineError as error:
            yield Read(where, None, str(error), len(line))


def ours(line: bytes) -> bool:
    """Whether a file that begins with this line is one of our exports, or a piece of one."""
    try:
        found = lines.decoded(line)
    except BadLineError:
        return line.startswith(b'{"type":"header"')
    return isinstance(found, (Header, End, lines.Exchange, lines.Feedback, lines.Event, lines.Audit))


def _skip(file: Any) -> None:
    while (rest := file.readline(_SKIPPED)) and not rest.endswith(b"\n"):
        pass
