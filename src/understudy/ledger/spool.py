"""The spool: frames in append-only files, until the database has them. After Fluent Bit's file buffers.

- Files end in `.spool`; each is locked (flock) by whoever writes or reads it, so that two writers on one folder, such
  as one that outlives its gateway and the next gateway's, never touch the same file.
- What was written is safe from a crash of any process at once. It is forced to the disk (fsync) when a file is full
  and at a clean stop, not at each frame: a power cut may take the last file's last frames.
- A write that fails is taken back whole (the file is cut to where it was), so the next one finds a sound file.
- A file that is damaged gives its frames up to the damage; the file is kept as `.damaged` for somebody to look at.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from understudy import clock
from understudy.ledger.frames import BadFrameError, Cutter, frame

_SEGMENT = 2 * 1024 * 1024
_READ = 256 * 1024


class SpoolFullError(Exception):
    """The spool has reached its bound."""


class Spool:
    """`folder` is made when something is first written. `damaged` counts files that could not be read to their end."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._file: BinaryIO | None = None
        self._path = folder
        self._last = self._written = 0
        self.damaged = 0

    def size(self) -> int:
        """Bytes that wait in the folder, whoever wrote them."""
        return sum(size for _, size in self._files())

    def append(self, payload: bytes) -> None:
        """Keep a frame. Raises OSError or SpoolFullError; the spool is then as it was before."""
        whole = frame(payload)
        if self.size() + len(whole) > self._limit:
            raise SpoolFullError(f"the spool {self._folder} has reached its bound of {self._limit} bytes")
        if self._file is not None and os.fstat(self._file.fileno()).st_nlink == 0:
            self.close()  # somebody emptied the folder: nobody would ever find what is written to this file
        if self._written >= _SEGMENT:
            self.close()
        file = self._file or self._open()
        try:
            left = memoryview(whole)
            while left:
                left = left[file.write(left) :]  # a disk that fills up takes a part first, and refuses the next
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(file.fileno(), self._written)
                file.seek(self._written)
            raise
        self._last, self._written = self._written, self._written + len(whole)

    def take_back(self) -> None:
        """Forget the last frame that was appended: it is safe elsewhere."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # then it is ingested once more, which does no harm
                os.ftruncate(self._file.fileno(), self._last)
                self._file.seek(self._last)
                self._written = self._last

    def drain(self, take: Callable[[bytes], None], *, files: int | None = None) -> int:
        """Give waiting frames to `take`, oldest first, and forget the files that were taken whole: at most `files`.

        Returns how many. What `take` raises ends it: the file stays and is given again from its beginning, so `take`
        must not mind a frame that it had before.
        """
        self.close()
        done = 0
        for path, _ in self._files():
            if done == files:
                break
            with contextlib.ExitStack() as stack:
                try:
                    file = stack.enter_context(path.open("rb"))
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except (FileNotFoundError, BlockingIOError):
                    continue  # another writer has it, or has just done with it
                if self._sound(file, take):
                    path.unlink(missing_ok=True)
                    done += 1
                else:
                    self.damaged += 1
                    path.rename(path.with_suffix(".damaged"))
        return done

    def close(self) -> None:
        """Force what was written to the disk, and let go of the file."""
        if self._file is None:
            return
        file, self._file = self._file, None
        with contextlib.suppress(OSError):
            if self._written:
                os.fsync(file.fileno())
            else:
                self._path.unlink()
        self._written = 0
        file.close()

    def _files(self) -> list[tuple[Path, int]]:
        found = []
        for path in sorted(self._folder.glob("*.spool")):
            with contextlib.suppress(FileNotFoundError):
                found.append((path, path.stat().st_size))
        return found

    def _open(self) -> BinaryIO:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{int(clock.wall() * 1000):015d}-{os.getpid()}-{clock.token(4)}"
        self._path = self._folder / f"{name}.spool"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._written = 0
        return self._file

    @staticmethod
    def _sound(file: BinaryIO, take: Callable[[bytes], None]) -> bool:
        """Give the file's frames to `take`; whether it was read to its end without damage."""
        cutter = Cutter()
        while data := file.read(_READ):
            try:
                for payload in cutter.feed(data):
                    take(payload)
            except BadFrameError:
                return False
        return not cutter.rest
