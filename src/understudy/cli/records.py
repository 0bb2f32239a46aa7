"""What the verbs about the ledger share: where it is, times as people write them, figures as people read them."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.cli.opening import fail, read

if TYPE_CHECKING:
    from sqlalchemy import Connection

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@contextlib.contextmanager
def connected(config: Path | None, *, writing: bool = False) -> Iterator[Connection]:
    """A connection to the ledger of the configuration; exits with 2 and the reason where there is none."""
    from sqlalchemy.exc import SQLAlchemyError

    from understudy.gateway import recording
    from understudy.ledger import database

    found = recording.place(read(config).config.ledger, os.environ)
    if found is None:
        fail("There is no ledger: `ledger.url` is `off`.")
    try:
        file = database.file_of(found[0])
        if file is not None and not file.exists():
            fail(f"There is no ledger at {file} yet: `understudy serve` begins it.")
        engine = database.open_engine(found[0], writing=writing)
        with engine.begin() as connection:
            yield connection
    except database.BadUrlError as error:
        fail(str(error))
    except SQLAlchemyError as error:
        fail(f"The ledger cannot be read: {getattr(error, 'orig', None) or type(error).__name__}.")


def place(config: Path | None) -> str:
    """The URL of the ledger of the configuration; exits with 2 where there is none."""
    from understudy.gateway import recording
    from understudy.ledger import database

    found = recording.place(read(config).config.ledger, os.environ)
    if found is None:
        fail("There is no ledger: `ledger.url` is `off`.")
    try:
        database.parse_url(found[0])
    except database.BadUrlError as error:
        fail(str(error))
    return found[0]


def end_user(name: str | None, config: Path | None) -> str | None:
    """How the user of that name stands in the ledger. One that was copied from there stands for itself."""
    from understudy.gateway import recording

    if name is None or name.startswith(("hmac:", "sha256:")):
        return name
    found = recording.whose(read(config).config.ledger, os.environ)(name)
    if found is None:
        fail("The ledger keeps no end users: `ledger.end_users` is `none`.")
    return found


@contextlib.contextmanager
def progressing(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Something to tell how much is done, shown as a bar where a person looks on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


def moment(text: str | None, now: float) -> float | None:
    """Unix seconds of `2h` (ago), `7d`, or a date such as 2026-11-25 or 2026-11-25T08:00; exits with 2 on others."""
    if text is None:
        return None
    span = _SPAN.fullmatch(text.strip())
    if span:
        return now - float(span[1]) * _SECONDS[span[2]]
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        fail(f"{text!r} is no time. Write a span such as 30m, 2h or 7d, or a date such as 2026-11-25.")
    return (found if found.tzinfo else found.astimezone()).timestamp()


def clock_of(wall: float) -> str:
    """A Unix time for people, in their own zone."""
    return dt.datetime.fromtimestamp(wall).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def dollars(value: float | None) -> str:
    """Unknown is unknown, and never 0."""
    return "unknown" if value is None else f"${value:.4f}"
