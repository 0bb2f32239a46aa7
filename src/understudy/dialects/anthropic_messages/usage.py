"""Token counts, both ways. Anthropic's `input_tokens` leaves out what was read from the cache or written to it."""

from __future__ import annotations

from typing import Any

from understudy.canon import Loss, Usage
from understudy.dialects.wire import foreign, keep, restore, split

_CACHED = (("cache_read_input_tokens", "cached_read"), ("cache_creation_input_tokens", "cached_write"))
_NOT_HERE = ("audio_input", "audio_output", "accepted_prediction", "rejected_prediction")
_TIERS = {"default": "standard", "standard": "standard", "priority": "priority", "batch": "batch"}


def decode_usage(value: dict[str, Any]) -> Usage:
    """`service_tier` is the answer's, not the usage's: see `tier_in`. Counts that are no integers stay in `extra`."""
    rest, blank = split(value)
    if isinstance(rest.get("service_tier"), str):
        del rest["service_tier"]
    counts: dict[str, int] = {}
    for key, name in (("input_tokens", "input"), ("output_tokens", "output"), *_CACHED):
        if type(rest.get(key)) is int:
            counts[name] = rest.pop(key)
    if "input" in counts:
        counts["input"] += counts.get("cached_read", 0) + counts.get("cached_write", 0)
    details = rest.get("output_tokens_details")
    if isinstance(details, dict) and type(details.get("thinking_tokens")) is int:
        counts["reasoning"] = details["thinking_tokens"]
        others = {key: count for key, count in details.items() if key != "thinking_tokens"}
        del rest["output_tokens_details"]
        if others:
            rest["output_tokens_details"] = others
    estimated = rest.pop("estimated", False) is True
    return Usage(**counts, estimated=estimated, extra=keep(rest, blank))


def tier_in(value: Any) -> str | None:
    tier = value.get("service_tier") if isinstance(value, dict) else None
    return tier if isinstance(tier, str) and tier else None


def encode_usage(usage: Usage | None, losses: list[Loss], *, own: bool) -> dict[str, Any]:
    """The counts. Those of input and output are required here: a zero stands for one that never came."""
    out: dict[str, Any] = {}
    if not own and (usage is None or usage.input is None or usage.output is None):
        out = {"input_tokens": 0, "output_tokens": 0}
        losses.append(Loss("usage", "was not reported in full; a zero stands for what is missing", "approximated"))
    if usage is None:
        return out
    if usage.input is not None:
        out["input_tokens"] = max(0, usage.input - (usage.cached_read or 0) - (usage.cached_write or 0))
    out |= {key: count for key, name in _CACHED if (count := getattr(usage, name)) is not None}
    if usage.output is not None:
        out["output_tokens"] = usage.output
    if usage.reasoning is not None:
        out["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    if usage.estimated:
        out["estimated"] = True
    if own:
        return restore(out, usage.extra)
    if (usage.input or 0) < (usage.cached_read or 0) + (usage.cached_write or 0):
        losses.append(Loss("usage.input", "is less than what was cached: that is counted", "approximated"))
    if usage.total is not None and usage.total != (usage.input or 0) + (usage.output or 0):
        losses.append(Loss("usage.total", "is not counted here, and is no sum of input and output"))
    lost = [name for name in _NOT_HERE if getattr(usage, name)]
    losses += [Loss("usage." + name, "is not counted here") for name in lost]
    losses += foreign(usage.extra, "usage.")
    return out


def tier_word(tier: str | None, losses: list[Loss], *, own: bool) -> str | None:
    if tier is None or own:
        return tier
    word = _TIERS.get(tier)
    if word != tier:
        kind = f"no tier is called {tier!r} here" if word is None else f"{tier} is called {word} here"
        losses.append(Loss("service_tier", kind, "dropped" if word is None else "approximated"))
    return word
