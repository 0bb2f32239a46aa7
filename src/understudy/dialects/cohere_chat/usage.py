"""`usage`, both ways. Output includes thinking and input what was cached, as in canonical usage.

`billed_units` counts what is charged, without Cohere's own prompts; it stays in `extra`, as pictures' tokens do.
"""

from __future__ import annotations

from typing import Any

from understudy.canon import Loss, Usage
from understudy.dialects.cohere_chat.parts import note
from understudy.dialects.wire import foreign, restore, split

_TOKENS = (("input_tokens", "input"), ("output_tokens", "output"), ("reasoning_tokens", "reasoning"))
_UNKNOWN = ("cached_write", "audio_input", "audio_output", "accepted_prediction", "rejected_prediction")


def decode_usage(value: dict[str, Any]) -> Usage:
    """Counts that are no integers stay in `extra`."""
    rest, blank = split(value)
    fields: dict[str, Any] = {}
    tokens = rest.get("tokens")
    if isinstance(tokens, dict):
        inner = dict(tokens)
        fields = {name: inner.pop(key) for key, name in _TOKENS if _is_count(inner.get(key))}
        del rest["tokens"]
        if inner:
            rest["tokens"] = inner
    if _is_count(rest.get("cached_tokens")):
        fields["cached_read"] = rest.pop("cached_tokens")
    return Usage(**fields, extra=note(rest, blank))


def _is_count(value: Any) -> bool:
    return type(value) is int


def encode_usage(usage: Usage, losses: list[Loss], *, mine: bool) -> dict[str, Any]:
    out: dict[str, Any] = {}
    tokens = {key: value for key, name in _TOKENS if (value := getattr(usage, name)) is not None}
    if tokens:
        out["tokens"] = tokens
    if usage.cached_read is not None:
        out["cached_tokens"] = usage.cached_read
    if mine:
        return restore(out, usage.extra)
    if usage.total is not None and usage.total != (usage.input or 0) + (usage.output or 0):
        losses.append(Loss("usage.total", "is not counted here"))
    losses += [Loss("usage." + name, "is not counted here") for name in _UNKNOWN if getattr(usage, name) is not None]
    if usage.estimated:
        losses.append(Loss("usage.estimated", "figures cannot be marked as estimates here"))
    losses += foreign(usage.extra, "usage.")
    return out
