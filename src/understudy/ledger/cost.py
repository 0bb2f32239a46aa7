"""What an attempt cost, in US dollars.

Three sources, the first that is there decides: the owner's own prices (`OwnPrices`); what the provider says it charged;
the price list that comes with the package `genai-prices`. The list is the one in the installed package, never fetched
while running, so a figure can be worked out again from its version. None is an unknown cost, and it is never 0: where
the model, a count or the price of something that was used is missing, there is no figure rather than a low one.

The list's own calculation takes over 100 µs, mostly to find units and to check them again. Here that is done once per
target, minute and circumstances, and kept as a list of steps (`_Step`): each kind of token, what is counted elsewhere
and must come off it, and its price. Decimals throughout, so sums are exact.

What usage does not tell is not in the figure: fees of tools whose use no provider counts in its usage, commitments,
discounts of a contract. Pictures and films are priced as text of the same side: nobody reports them apart in a way
that all share.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import importlib.metadata
import tomllib
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from understudy.canon import Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider, TieredPrices
    from genai_prices.units import UnitDef

MICRO = 1_000_000
_MILLION = Decimal(1_000_000)
_HOUR = Decimal(3600)
_NOTHING = Decimal(0)

_KEPT = 4096
"""Prices that are remembered. Clients may ask for any name, so there must be an end."""

_TIERS = frozenset(("flex", "priority", "fast"))
"""Service tiers with prices of their own. Any other is the standard one: `default`, `standard`, `auto`, `on_demand`."""

_SPEEDS = frozenset(("fast",))

_ABSURD = 10**18
"""A figure of a provider's that is no price in any unit."""


class Charge(msgspec.Struct, frozen=True, gc=False):
    """US dollars; who says so, in which version. `estimated`: the tokens behind it were worked out, not reported."""

    usd: Decimal
    source: str
    version: str
    estimated: bool = False

    @property
    def micro(self) -> int:
        """Micro-dollars, rounded up: as budgets count."""
        return int((self.usd * MICRO).to_integral_value(ROUND_CEILING))

    @property
    def price_version(self) -> str:
        """Source and version in one, as the ledger keeps them."""
        return f"{self.source} {self.version}"


class OwnPrices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the owner says that a target costs: US dollars per million tokens, or per hour of the machine, or both."""

    input: Annotated[Decimal | None, Meta(description="US dollars for a million tokens of the prompt.")] = None
    output: Annotated[Decimal | None, Meta(description="US dollars for a million tokens of the answer.")] = None
    cached_read: Annotated[
        Decimal | None, Meta(description="For a million that came from the prompt cache. Default: `input`.")
    ] = None
    cached_write: Annotated[
        Decimal | None, Meta(description="For a million that went into the prompt cache. Default: `input`.")
    ] = None
    hour: Annotated[
        Decimal | None,
        Meta(description="US dollars for an hour of the machine, instead of or beside prices of tokens."),
    ] = None
    parallel: Annotated[int, Meta(description="Calls that it usually serves at once, which share `hour`.")] = 1

    def __post_init__(self) -> None:
        for name in ("input", "output", "cached_read", "cached_write", "hour"):
            value = getattr(self, name)
            if value is not None and not (value.is_finite() and value >= 0):
                raise ValueError(f"The price `{name}` is {value}. Prices are US dollars, 0 or more.")
        if self.parallel < 1:
            raise ValueError(f"`parallel` is {self.parallel}. It is how many calls share the machine: 1 or more.")
        if self.hour is None and (self.input is None or self.output is None):
            raise ValueError("Prices need `input` and `output` (per million tokens), or `hour`.")

    @property
    def version(self) -> str:
        """Changes whenever a price does."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:12]


class _Billed(msgspec.Struct, frozen=True):
    path: tuple[str, ...]
    per_usd: int
    source: str
    own_key: tuple[str, ...] = ()
    if_own_key: tuple[str, ...] = ()


class _Names(msgspec.Struct, frozen=True):
    names: frozenset[str]


class Data(msgspec.Struct, frozen=True):
    """`prices.toml`."""

    listed: dict[str, str]
    routed: dict[str, str]
    unlisted: _Names
    own: _Names
    sound: _Names
    counts: dict[str, tuple[str, ...]]
    billed: dict[str, _Billed]


@functools.cache
def data() -> Data:
    text = (Path(__file__).parent / "prices.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), Data)


class _Step(msgspec.Struct, frozen=True):
    """`unit` at `rate` each, less what the steps `less` have counted. `tiers` by input tokens, highest first."""

    unit: str
    rate: Decimal
    less: tuple[int, ...]
    tiers: tuple[tuple[int, Decimal], ...] = ()


class _Card(msgspec.Struct, frozen=True):
    """The prices of a model at a time. `units` are all that it prices. `sound`: it has no need of a price for sound."""

    steps: tuple[_Step, ...]
    units: frozenset[str]
    sound: bool = False


class Prices:
    """What targets cost. `own` are the owner's prices by the name of a target, or of a provider for all its targets.

    Building one is cheap; the first price from the list reads it (about a quarter of a second): call `load` where that
    does no harm.
    """

    def __init__(self, own: Mapping[str, OwnPrices] | None = None) -> None:
        self._own = {name: (prices, prices.version) for name, prices in (own or {}).items()}
        self._cards: dict[tuple[str, str, str | None, bool, str | None], _Card | None] = {}
        self._minute = 0

    def load(self) -> None:
        """Read the price list now, not with the first call."""
        _list()

    def charge(
        self,
        target: str,
        usage: Usage | None,
        *,
        at: float,
        answered_by: str = "",
        tier: str | None = None,
        batch: bool = False,
        seconds: float | None = None,
    ) -> Charge | None:
        """What `usage` at `target` (`provider/model`) cost at `at`, in Unix seconds; None if that is not known.

        `answered_by` is the model that the answer names: asked where the target's own name says nothing, as of a
        deployment or a router. `tier` is the service tier that the answer names. `seconds` is how long the attempt
        took, for prices per hour.
        """
        provider, _, model = target.partition("/")
        own = self._own.get(target) or self._own.get(provider)
        if own is not None:
            usd = _own_cost(own[0], usage, seconds)
            estimated = usage is not None and usage.estimated and own[0].hour is None
            return None if usd is None else Charge(usd, "configuration", own[1], estimated)
        if usage is None:
            return None
        if usage.extra and (usd := _told(provider, usage)) is not None:
            return Charge(usd, "provider", provider)
        speed = usage.extra.get("speed")
        card = self._card(
            provider,
            model,
            answered_by,
            at,
            tier if tier in _TIERS else None,
            batch=batch or tier == "batch",
            speed=speed if isinstance(speed, str) and speed in _SPEEDS else None,
        )
        usd = None if card is None else _cost(card, usage)
        return None if usd is None else Charge(usd, "genai-prices", _version(), usage.estimated)

    def _card(
        self,
        provider: str,
        model: str,
        answered_by: str,
        at: float,
        tier: str | None,
        *,
        batch: bool,
        speed: str | None,
    ) -> _Card | None:
        minute = int(at) // 60
        if minute != self._minute or len(self._cards) >= _KEPT:
            self._cards.clear()  # some prices go by the time of day, all may begin on a date
            self._minute = minute
        key = (provider, model, tier, batch, speed)
        if key not in self._cards:
            self._cards[key] = _card(provider, model, minute, tier, batch=batch, speed=speed)
        card = self._cards[key]
        if card is None and answered_by and answered_by != model:
            return self._card(provider, answered_by, "", at, tier, batch=batch, speed=speed)
        return card


# --- the owner's prices, and the provider's word ----------------------------------------------------------------------


def _own_cost(own: OwnPrices, usage: Usage | None, seconds: float | None) -> Decimal | None:
    usd = Decimal(0)
    if own.hour is not None:
        if seconds is None:
            return None
        usd += own.hour * Decimal(repr(seconds)) / _HOUR / own.parallel
    if own.input is None or own.output is None:
        return usd
    if usage is None or usage.input is None or usage.output is None:
        return None
    read, wrote = usage.cached_read or 0, usage.cached_write or 0
    plain = usage.input - read - wrote
    if min(plain, read, wrote, usage.output) < 0:
        return None
    usd += own.input * plain / _MILLION + own.output * usage.output / _MILLION
    usd += (own.input if own.cached_read is None else own.cached_read) * read / _MILLION
    return usd + (own.input if own.cached_write is None else own.cached_write) * wrote / _MILLION


def _told(provider: str, usage: Usage) -> Decimal | None:
    """What the provider says it charged."""
    billed = data().billed.get(provider.removesuffix("-anthropic"))
    if billed is None:
        return None
    usd = _number(_at(usage.extra, billed.path))
    if usd is None:
        return None
    if billed.own_key and _at(usage.extra, billed.own_key) is True:
        further = _number(_at(usage.extra, billed.if_own_key))
        if further is None:
            return None
        usd += further
    return usd / billed.per_usd


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def _number(value: Any) -> Decimal | None:
    if type(value) not in (int, float) or not abs(value) < _ABSURD:
        return None
    number = Decimal(repr(value))  # the digits that were sent, not those of the nearest binary fraction
    return number if number.is_finite() and number >= 0 else None


# --- the list ---------------------------------------------------------------------------------------------------------


@functools.cache
def _version() -> str:
    return importlib.metadata.version("genai-prices")


@functools.cache
def _list() -> list[Provider]:
    from genai_prices.data import providers  # noqa: PLC0415  a quarter of a second and 20 MiB, for who needs prices

    return providers


def _model(provider: str, model: str) -> tuple[Provider, ModelInfo] | None:
    """A model's row in the list. Not the list's own look-up, which remembers every name that was ever asked for."""
    name = data().listed.get(provider)
    if name is None and provider in data().routed:
        model, _, place = model.rpartition(":")
        name = data().routed[provider].format(place)
    if name is None or not model:
        return None
    found = next((row for row in _list() if row.id == name), None)
    info = found.find_model(model, all_providers=_list()) if found is not None else None
    return None if found is None or info is None else (found, info)


def _card(provider: str, model: str, minute: int, tier: str | None, *, batch: bool, speed: str | None) -> _Card | None:
    found = _model(provider, model)
    if found is None:
        return None
    row, info = found
    context = {}
    if tier is not None:
        context["service_tier"] = tier
    if batch:
        context["processing"] = "batch"
    if speed is not None:
        context["speed"] = speed
    now = dt.datetime.fromtimestamp(minute * 60, dt.UTC)
    lent = not any(info is own for own in row.models)  # by another provider, whose tiers are not this one's
    if context and (lent or not _has(info, context, now)):
        return None
    prices = info.get_prices(now, context or None)
    known = {name: price for name, price in vars(prices).items() if price is not None}
    return _compiled(known, sound=row.id in data().sound.names)


def _has(info: ModelInfo, context: Mapping[str, str], now: dt.datetime) -> bool:
    """Whether the list has prices for each of the circumstances: else it would give the standard ones."""
    active = [
        variant.when
        for variant in info.price_variants or ()
        if variant.constraint is None or variant.constraint.active(now)
    ]
    return all(any(when.get(name) == value for when in active) for name, value in context.items())


def _compiled(prices: Mapping[str, Decimal | TieredPrices], *, sound: bool = False) -> _Card | None:
    """Steps, the most particular unit first, so that each can take off what those within it have counted."""
    from genai_prices.decompose import is_descendant_or_self  # noqa: PLC0415
    from genai_prices.types import TieredPrices  # noqa: PLC0415

    units = _units()
    if not prices or not all(name in units for name in prices):
        return None
    order = sorted(prices, key=lambda name: (-len(units[name].dimensions), units[name].usage_key))
    steps = []
    for number, name in enumerate(order):
        unit, price = units[name], prices[name]
        tiers: tuple[tuple[int, Decimal], ...] = ()
        if isinstance(price, TieredPrices):
            tiers = tuple((tier.start, tier.price / unit.per) for tier in reversed(price.tiers))
            price = price.base
        less = tuple(place for place in range(number) if is_descendant_or_self(unit, units[order[place]]))
        steps.append(_Step(unit.usage_key, price / unit.per, less, tiers))
    return _Card(tuple(steps), frozenset(step.unit for step in steps), sound)


@functools.cache
def _units() -> Mapping[str, UnitDef]:
    """The list's units by the names of their prices."""
    from genai_prices.data_units import unit_data  # noqa: PLC0415
    from genai_prices.units import UnitRegistry  # noqa: PLC0415

    return {unit.price_key: unit for unit in UnitRegistry(unit_data).units.values()}


def _cost(card: _Card, usage: Usage) -> Decimal | None:
    counts = _counts(card, usage)
    if counts is None:
        return None
    usd = _NOTHING
    left: list[int] = []
    for step in card.steps:
        count = counts.get(step.unit, 0)
        for place in step.less:
            count -= left[place]
        if count < 0:
            return None  # parts that are more than their whole: such usage means nothing
        left.append(count)
        if count:
            rate = step.rate
            for start, higher in step.tiers:
                if counts["input_tokens"] > start:
                    rate = higher
                    break
            usd += rate * count
    return usd


def _counts(card: _Card, usage: Usage) -> dict[str, int] | None:
    """Usage in the list's units; None where something was used that has no price, or nobody counted what has one."""
    read, made = usage.input, usage.output
    if (read is None) if "input_tokens" in card.units else read:
        return None
    if (made is None) if "output_tokens" in card.units else made:
        return None
    counts = {
        "requests": 1,
        "input_tokens": read or 0,
        "output_tokens": made or 0,
        "cache_read_tokens": usage.cached_read or 0,
        "cache_write_tokens": usage.cached_write or 0,
        "input_audio_tokens": usage.audio_input or 0,
        "output_audio_tokens": usage.audio_output or 0,
        "output_reasoning_tokens": usage.reasoning or 0,
    }
    if (counts["input_audio_tokens"] or counts["output_audio_tokens"]) and not _hear(card, usage, counts):
        return None
    for unit, path in data().counts.items() if usage.extra else ():
        count = _at(usage.extra, path)
        if type(count) is int and count > 0:
            if unit == "web_searches" and unit not in card.units:
                return None
            counts[unit] = count
    return counts


def _hear(card: _Card, usage: Usage, counts: dict[str, int]) -> bool:
    """Count what of the cache was sound. Whether all sound has a price."""
    for unit in ("input_audio_tokens", "output_audio_tokens"):
        if counts[unit] and unit not in card.units and not card.sound:
            return False
    if counts["input_audio_tokens"] and counts["cache_read_tokens"] and "cache_audio_read_tokens" in card.units:
        heard = _cached_sound(usage)
        if heard is None:
            return False
        counts["cache_audio_read_tokens"] = heard
    return True


def _cached_sound(usage: Usage) -> int | None:
    """How much of what came from the cache was sound. Only Gemini says: it lists what was cached by its kind."""
    kinds = usage.extra.get("cacheTokensDetails")
    if not isinstance(kinds, list) or not all(isinstance(kind, dict) for kind in kinds):
        return None
    counts = [kind.get("tokenCount") for kind in kinds if kind.get("modality") == "AUDIO"]
    return sum(counts) if all(type(count) is int for count in counts) else None
