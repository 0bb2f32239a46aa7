"""One error that is one HTTP answer, as data: what it is told with, and which row of the catalogue of faults it shows.

In headers and body, `{model}` is the model's name, `{retry}` the seconds to wait, `{reset}` the time when they are
over (RFC 3339) and `{date}` the time now (as HTTP writes it).
"""

from __future__ import annotations

import datetime as dt
from email.utils import format_datetime
from typing import Any

import msgspec

from understudy import clock
from understudy.sim.behaviour import Call
from understudy.sim.wire import Headers


class Row(msgspec.Struct, frozen=True):
    """`rows` and `summary` are told once for each `name`, in the first table that has it."""

    name: str
    status: int
    raw: bytes
    headers: Headers = {}
    rows: tuple[int, ...] = ()
    summary: str = ""
    retry: float | None = None

    def told(self, call: Call) -> tuple[bytes, Headers]:
        """Body and headers, filled in."""
        seconds = call.seconds("retry")
        now = dt.datetime.fromtimestamp(clock.wall(), dt.UTC)
        # a whole second, as in the header `date`, or the wait would be shorter than it says
        reset = now.replace(microsecond=0) + dt.timedelta(seconds=min(seconds, 10**9))
        words = {
            "{model}": msgspec.json.encode(call.asked.model)[1:-1].decode(),
            "{retry}": str(round(seconds)),
            "{reset}": reset.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "{date}": format_datetime(now, usegmt=True),
        }

        def filled(text: str) -> str:
            for name, word in words.items():
                text = text.replace(name, word)
            return text

        return filled(self.raw.decode()).encode(), {name: filled(text) for name, text in self.headers.items()}


def refusal(
    name: str,
    row: int | None,
    summary: str,
    status: int,
    body: dict[str, Any] | str,
    *headers: Headers,
    retry: float | None = None,
) -> Row:
    """A row. With `retry`, `{retry}` is a parameter of that default."""
    raw = body.encode() if isinstance(body, str) else msgspec.json.encode(body)
    fields = {field: text for some in headers for field, text in some.items()}
    return Row(name, status, raw, fields, () if row is None else (row,), summary, retry)


def likewise(name: str, status: int, body: dict[str, Any], *headers: Headers) -> Row:
    """What another dialect says where the first table already tells what it means."""
    return refusal(name, None, "", status, body, *headers)
