"""What is left of a key's rate limits, as the providers' own response headers say, and as calls under way use it up.

A call that a limit is bound to refuse costs a round trip, often counts against the limit, and makes the client wait for
a fail-over. So quota is debited when a call is sent and corrected by the next headers.

Headers, as seen in recorded traffic and the providers' documentation:

- OpenAI: `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, also `-project-…`; the reset is a duration (`12ms`,
  `6m0s`) until the bucket is full again. Groq the same, its `requests` being those of a day. xAI without a reset.
- Azure OpenAI: the same names, `-1` for what has no limit (ignored), `x-ratelimit-renewalperiod-…` in seconds, and a
  reset that is seconds from one deployment and milliseconds from another: `1` of 5 used of 60 s is `12`, `1` of 120 is
  `500`. So where there is a renewal period, the reset is computed from it.
- Anthropic: `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}`; the reset is an
  RFC 3339 time, set against the answer's own `date`.
- Mistral `x-ratelimit-{limit,remaining}-{req,tokens}-{10-second,minute,month}` and Cerebras `x-ratelimit-…-{requests,
  tokens}-{minute,hour,day}` with a reset in seconds: fixed windows, where nothing comes back before the end.
- OpenRouter, Together, Replicate: one window of requests, `[x-]ratelimit-{limit,remaining,reset}`; the reset is seconds
  or a Unix time, in seconds or milliseconds.

Token limits are counted as OpenAI documents it: a call takes `max(max_tokens, estimate)`, see `counted`. Anthropic
counts input and output apart, and output only as it is written, so there `max_tokens` is not debited. What a call
really used is not booked afterwards: the provider may or may not give the rest back, and its next headers say which.

What a provider sends is hostile until parsed: what is no plain number, negative, or absurd is as if it were not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from understudy.resilience.cooldown import Place

LONGEST = 31 * 86400.0
"""Seconds; a reset further away than the longest window anybody has (Mistral's month) is not believed."""

MINUTE = 60.0
"""Seconds of a window whose length nobody tells: all those are limits per minute."""

BELIEVED = 3600.0
"""Seconds after which a limit is no longer believed to be used up if nothing was heard since: the next call asks."""

AMPLE = 0.5
QUIET = 0.1
"""With more than this share left of every limit, or no limit at all, headers are read once in so many seconds, else ten
times as often: reading costs more than all other questions here together, and debits go on meanwhile.
"""

_LARGEST = 1e13
"""Mistral's largest is 2e11 tokens a month."""

_ROUNDING = 1e-9
"""Who has waited as long as was asked for must not be sent back for a last bit of a float."""

_TOO_LATE = 0.1
"""Seconds before a window is whole again, from which another replica's word on it is not taken over any more: at the
end of a fixed one it may be about the one before.
"""

_MOST = 8192

Headers = Iterable[tuple[bytes, bytes]]

_REQUESTS, _TOKENS, _PROMPT, _OUTPUT = range(4)
"""What a window counts: calls; `counted` tokens; tokens of prompts; tokens written, which are not known beforehand."""

_LIMIT, _REMAINING, _RESET, _PERIOD = range(4)


Mark = tuple[float, float, float, float, float]
"""When a call was sent, and all that had been debited by then, itself included: calls, tokens, prompts, and nothing for
what is written. What was sent later is unknown to the headers of its answer.
"""


class Left(msgspec.Struct, frozen=True):
    """For people: what is left of one limit, and in how many seconds it is whole again."""

    name: str
    limit: float
    left: float
    full_in: float


def counted(estimate: float, max_tokens: float | None) -> float:
    """The tokens that a call takes from a limit on tokens, before anybody knows how long the answer will be."""
    return max(estimate, max_tokens or 0.0)


class _Window:
    """One limit. `rate` is what comes back each second; 0 for a fixed window, which is whole again at `full`, and for a
    key without any allowance, which may be tried again then.
    """

    __slots__ = ("at", "counts", "full", "left", "limit", "period", "rate", "until")

    def __init__(self, counts: int) -> None:
        self.counts = counts
        self.limit = self.left = 0.0
        self.at = self.full = self.until = 0.0
        self.rate = 0.0
        self.period = MINUTE

    def now_left(self, now: float) -> float:
        """What is left by now; brings `left` up to date."""
        if self.rate:
            if now > self.at:
                self.left = min(self.limit, self.left + self.rate * (now - self.at))
        elif self.limit and now >= self.full:
            self.left = self.limit
            self.full = now + self.period
        self.at = now
        return self.left

    def wait(self, cost: float, now: float) -> float:
        """Seconds until `cost` fits. One call larger than the whole limit waits for a whole one: estimates err."""
        short = min(cost, self.limit) - self.now_left(now)
        if short <= self.limit * _ROUNDING and self.limit:
            return 0.0
        return max(0.0, min(short / self.rate if self.rate else self.full - now, self.until - now))

    def full_in(self, now: float) -> float:
        left = self.now_left(now)
        if left >= self.limit and self.limit:
            return 0.0
        return (self.limit - left) / self.rate if self.rate else max(self.full - now, 0.0)


class _Key:
    """The windows of one place. `spent` are all debits so far, by what they count; `heard` is when the call was sent
    whose answer was heard last; until `quiet` there is no need to hear another one.
    """

    __slots__ = ("heard", "quiet", "spent", "windows")

    def __init__(self) -> None:
        self.windows: dict[str, _Window] = {}
        self.spent = [0.0, 0.0, 0.0, 0.0]
        self.heard = self.quiet = 0.0

    def room(self, now: float) -> float:
        """The share that is left of the scarcest limit."""
        least = 1.0
        for window in self.windows.values():
            least = min(least, window.now_left(now) / window.limit if window.limit else 0.0)
        return least


class Quotas:
    """What is left, for every place whose provider says so. The others cost one look that finds nothing."""

    def __init__(self) -> None:
        self.places: dict[Place, _Key] = {}
        self.touched: set[Place] | None = None
        """Where something was debited or heard, for who wants to know and empties it; None if nobody does."""
        self._silent: dict[Place, float] = {}  # who said nothing about limits, and until when that is taken as it is

    def admits(self, place: Place, tokens: float, now: float, prompt: float | None = None) -> float:
        """Seconds until a call of `tokens` (see `counted`) fits into every limit; 0 is go. `prompt` is its input alone,
        where that is known.
        """
        key = self.places.get(place)
        if key is None:
            return 0.0
        costs = (1.0, tokens, tokens if prompt is None else prompt, 1.0)
        wait = 0.0
        for window in key.windows.values():
            cost = costs[window.counts]
            if window.now_left(now) < cost or not window.limit:
                wait = max(wait, window.wait(cost, now))
        return wait

    def sent(self, place: Place, tokens: float, now: float, prompt: float | None = None) -> Mark | None:
        """A call goes out: debit it. Hand the mark to `heard` with the answer's headers."""
        key = self.places.get(place)
        if key is None:
            return None
        costs = (1.0, tokens, tokens if prompt is None else prompt, 0.0)
        for window in key.windows.values():
            left = (window.left if window.at == now else window.now_left(now)) - costs[window.counts]
            window.left = left if left > 0 else 0.0
        spent = key.spent
        spent[_REQUESTS] += 1
        spent[_TOKENS] += tokens
        spent[_PROMPT] += costs[_PROMPT]
        if self.touched is not None:
            self.touched.add(place)
        return (now, spent[_REQUESTS], spent[_TOKENS], spent[_PROMPT], 0.0)

    def heard(
        self, place: Place, headers: Headers, now: float, mark: Mark | None = None, *, refused: bool = False
    ) -> None:
        """An answer's headers (lower-case names), whatever its status. They hold for when the call was sent; what went
        out since is debited anew. Answers that overtook each other: the call sent last counts. `refused` is for a 429,
        which says that something here is wrong.
        """
        key = self.places.get(place)
        at = now if mark is None else mark[0]
        if key is None:
            if now < self._silent.get(place, 0.0) and not refused:
                return
        elif at < key.heard or (now < key.quiet and not refused):
            return
        read, date = _said(headers)
        if not read:
            if key is None:
                self._keep_silent(place, now)
            return
        if key is None:
            self._silent.pop(place, None)
            key = self._add(place)
        key.heard = at
        for window_name, values in read.items():
            _update(key, window_name, values, date=date, at=at, now=now, mark=mark)
        key.quiet = now + (QUIET if key.room(now) > AMPLE else QUIET / 10)
        if not key.windows:  # names without a value that can be used
            del self.places[place]
            self._keep_silent(place, now)
        elif self.touched is not None:
            self.touched.add(place)

    def take(self, place: Place, found: Iterable[Left], now: float, age: float) -> None:
        """Take over what another replica said `age` seconds ago was left: where it is less than what is known here, or
        nothing is. What came back meanwhile is added. Names and numbers that cannot be are as if they were not there.
        """
        for one in found:
            kind, full_in = _WINDOWS.get(one.name), one.full_in - age
            if kind is None or not 0 <= one.left <= one.limit <= _LARGEST or not _TOO_LATE < full_in <= LONGEST:
                continue
            rate = 0.0 if kind.fixed else (one.limit - one.left) / one.full_in
            left = min(one.limit, one.left + rate * age)
            key = self.places.get(place) or self._add(place)
            window = key.windows.get(one.name)
            if window is None:
                window = key.windows[one.name] = _Window(kind.counts)
                window.limit, window.left, window.rate, window.period = one.limit, left, rate, kind.period
                window.at, window.full, window.until = now, now + full_in, now + BELIEVED
            elif left < window.now_left(now):
                window.left = left

    def left(self, place: Place, now: float) -> list[Left]:
        """What is left of each limit of `place`, for people."""
        key = self.places.get(place)
        if key is None:
            return []
        windows = key.windows.items()
        return [Left(name, one.limit, one.now_left(now), one.full_in(now)) for name, one in windows]

    def room(self, place: Place, now: float) -> float:
        """The share that is left of the scarcest limit, 0 to 1; 1 if nothing is known."""
        key = self.places.get(place)
        return 1.0 if key is None else key.room(now)

    def _keep_silent(self, place: Place, now: float) -> None:
        if len(self._silent) >= _MOST:
            self._silent.clear()
        self._silent[place] = now + QUIET

    def _add(self, place: Place) -> _Key:
        if len(self.places) >= _MOST:
            del self.places[next(iter(self.places))]
        key = self.places[place] = _Key()
        return key


def _said(headers: Headers) -> tuple[dict[str, list[bytes | None]], bytes]:
    """Each window's fields, by `_LIMIT` to `_PERIOD`, and the answer's date. One byte is enough for most headers."""
    read: dict[str, list[bytes | None]] = {}
    date = b""
    for name, value in headers:
        if name[:1] not in _FIRST_BYTES:
            continue
        known = _NAMES.get(name)
        if known is not None:
            read.setdefault(known[0], [None, None, None, None])[known[1]] = value
        elif name == b"date":
            date = value
    return read, date


def _update(
    key: _Key, name: str, values: Sequence[bytes | None], *, date: bytes, at: float, now: float, mark: Mark | None
) -> None:
    """Take over what one window's headers say, as of `at`. The end of a fixed window is as of `now`: rather late."""
    kind = _WINDOWS[name]
    remaining, limit = _number(values[_REMAINING]), _number(values[_LIMIT])
    if remaining is None:
        return
    window = key.windows.get(name)
    if window is None:
        window = key.windows[name] = _Window(kind.counts)
        window.limit = remaining
    if limit is not None:
        window.limit = limit
    elif remaining > window.limit:
        window.limit = remaining  # Replicate and some of Azure's never name the limit: the most ever seen is one
    unheard = 0.0 if mark is None else max(0.0, key.spent[kind.counts] - mark[1 + kind.counts])
    used = window.limit - min(remaining, window.limit)
    period = _number(values[_PERIOD])
    reset = None if period else _reset(values[_RESET], date)
    window.period = period if period and period <= LONGEST else kind.period
    window.at = at
    window.until = now + BELIEVED
    window.full = now + (window.period if reset is None else reset)
    if kind.fixed:
        window.rate = 0.0
    else:
        # A reset that was rounded to nothing tells less than the window's length.
        window.rate = used / reset if used and reset else window.limit / window.period
    window.left = max(0.0, window.limit - used - unheard)


class _Kind(NamedTuple):
    counts: int
    fixed: bool
    period: float


_WINDOWS: dict[str, _Kind] = {}
_NAMES: dict[bytes, tuple[str, int]] = {}
"""Every header name that is read, and which field of which window it is. A table, so that no name can be invented."""


def _list_names() -> None:
    fields = (("limit", _LIMIT), ("remaining", _REMAINING), ("reset", _RESET))

    def window(name: str, kind: _Kind, pattern: str) -> None:
        _WINDOWS[name] = kind
        for field, index in fields:
            _NAMES[pattern.format(field).encode()] = (name, index)

    for unit, counts in (("requests", _REQUESTS), ("tokens", _TOKENS)):
        for scope in ("", "project-"):
            name = scope + unit
            window(name, _Kind(counts, fixed=False, period=MINUTE), f"x-ratelimit-{{}}-{name}")
            _NAMES[f"x-ratelimit-renewalperiod-{name}".encode()] = (name, _PERIOD)
    for unit, counts in (("requests", _REQUESTS), ("req", _REQUESTS), ("tokens", _TOKENS)):
        for span, seconds in (("10-second", 10.0), ("minute", 60.0), ("hour", 3600.0), ("day", 86400.0),
                              ("month", LONGEST)):  # fmt: skip
            name = f"{unit}-{span}"
            window(name, _Kind(counts, fixed=True, period=seconds), f"x-ratelimit-{{}}-{name}")
    for unit, counts in (("requests", _REQUESTS), ("tokens", _PROMPT), ("input-tokens", _PROMPT),
                         ("output-tokens", _OUTPUT)):  # fmt: skip
        kind = _Kind(counts, fixed=False, period=MINUTE)
        window(f"anthropic {unit}", kind, f"anthropic-ratelimit-{unit}-{{}}")
    for prefix in ("x-ratelimit", "ratelimit"):
        window(prefix, _Kind(_REQUESTS, fixed=True, period=MINUTE), f"{prefix}-{{}}")


_list_names()

_FIRST_BYTES = frozenset(name[:1] for name in _NAMES) | {b"d"}

_PLAIN = re.compile(rb"\d{1,15}(?:\.\d{1,20})?")
_DURATION = re.compile(
    rb"(?=\d)(?:(\d{1,5})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,12})?)s)?"
    rb"(?:(\d{1,9}(?:\.\d{1,12})?)ms)?"
)
_UNITS = (86400.0, 3600.0, 60.0, 1.0, 0.001)
_HTTP_DATE = re.compile(rb"[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT")
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_EPOCH, _EPOCH_MS = 1e9, 1e12
"""From here on a number is no duration but a Unix time, in seconds or milliseconds (2001)."""


def _number(value: bytes | None) -> float | None:
    """A plain number of a size that a limit can have."""
    if value is None or not _PLAIN.fullmatch(value):
        return None
    number = float(value)
    return number if number <= _LARGEST else None


def _reset(value: bytes | None, date: bytes) -> float | None:
    """Seconds until the window is whole again, as of the answer's `date`; None for what cannot be so."""
    if value is None or len(value) > 40:
        return None
    number = _number(value)
    seconds: float | None
    if number is not None:
        seconds = number
        if number >= _EPOCH:
            seconds = _after(number / 1000 if number >= _EPOCH_MS else number, date)
    elif b"T" in value:
        seconds = _after(_moment(value), date)
    else:
        found = _DURATION.fullmatch(value)
        if found is None:
            return None
        seconds = sum(float(part) * unit for part, unit in zip(found.groups(), _UNITS, strict=True) if part)
    return seconds if seconds is not None and seconds <= LONGEST else None


def _moment(value: bytes) -> float | None:
    """Unix seconds of an RFC 3339 time."""
    try:
        moment = datetime.fromisoformat(value.decode("ascii"))
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None


def _after(moment: float | None, date: bytes) -> float | None:
    """Seconds from `date` (an HTTP date) to `moment`. Both are whole seconds, so it is one at least."""
    if moment is None:
        return None
    parts = _HTTP_DATE.fullmatch(date)
    if parts is None or parts[2] not in _MONTHS:
        return None
    day, year, hour, minute, second = (int(parts[index]) for index in (1, 3, 4, 5, 6))
    try:
        sent = datetime(year, _MONTHS.index(parts[2]) + 1, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return max(1.0, moment - sent.timestamp())
