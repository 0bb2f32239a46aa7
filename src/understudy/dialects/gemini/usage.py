"""`usageMetadata`, both ways.

Google counts thoughts apart from the candidates, and the prompts of its own tools apart from the prompt; canonical
output and input include them. The prompt includes what was cached, as in canonical usage. Which counts were there is
noted, since Google leaves out those that are zero.
"""

from __future__ import annotations

from typing import Any

from understudy.canon import Loss, Usage
from understudy.dialects.gemini.spelling import form_of, note, own, read
from understudy.dialects.wire import foreign

_PROMPT, _TOOLS, _ANSWER, _THOUGHTS = (
    "promptTokenCount",
    "toolUsePromptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
)
_PLAIN = (("totalTokenCount", "total"), ("cachedContentTokenCount", "cached_read"))
_DETAILS = (("promptTokensDetails", "audio_input"), ("candidatesTokensDetails", "audio_output"))
_UNKNOWN = ("cached_write", "accepted_prediction", "rejected_prediction")


def decode_usage(value: dict[str, Any]) -> Usage:
    """Counts that are no integers stay in `extra`, as the counts by modality do."""
    rest, blank, spelt = read(value, "usageMetadata")
    counts: dict[str, int | None] = {key: _count(rest, key) for key in (_PROMPT, _TOOLS, _ANSWER, _THOUGHTS)}
    fields: dict[str, Any] = {name: _count(rest, key) for key, name in _PLAIN}
    for key, name in _DETAILS:
        fields[name] = _sounds(rest.get(key))
    absent = [key for key in (_PROMPT, _ANSWER) if counts[key] is None]
    tools = {} if counts[_TOOLS] is None else {_TOOLS: counts[_TOOLS]}
    return Usage(
        input=_sum(counts[_PROMPT], counts[_TOOLS]),
        output=_sum(counts[_ANSWER], counts[_THOUGHTS]),
        reasoning=counts[_THOUGHTS],
        extra=note(rest, blank, spelt, absent=absent or False, **tools),
        **fields,
    )


def _count(rest: dict[str, Any], key: str) -> int | None:
    return rest.pop(key) if type(rest.get(key)) is int else None


def _sum(first: int | None, second: int | None) -> int | None:
    return first if second is None else (first or 0) + second


def _sounds(details: Any) -> int | None:
    counts = [
        item["tokenCount"]
        for item in (details if isinstance(details, list) else ())
        if isinstance(item, dict) and item.get("modality") == "AUDIO" and type(item.get("tokenCount")) is int
    ]
    return sum(counts) if counts else None


def encode_usage(usage: Usage, losses: list[Loss], *, mine: bool) -> dict[str, Any]:
    form = form_of(usage.extra) if mine else {}
    absent = form.get("absent", ())
    out: dict[str, Any] = {}
    if usage.input is not None and _PROMPT not in absent:
        out[_PROMPT] = usage.input - form.get(_TOOLS, 0)
    if _TOOLS in form:
        out[_TOOLS] = form[_TOOLS]
    if usage.output is not None and _ANSWER not in absent:
        out[_ANSWER] = max(usage.output - (usage.reasoning or 0), 0)
    if usage.reasoning is not None:
        out[_THOUGHTS] = usage.reasoning
    out.update((key, count) for key, name in _PLAIN if (count := getattr(usage, name)) is not None)
    if mine:
        return own(out, usage.extra)
    if usage.total is None and usage.input is not None and usage.output is not None:
        out["totalTokenCount"] = usage.input + usage.output
    for key, name in _DETAILS:
        if getattr(usage, name) is not None:
            out[key] = [{"modality": "AUDIO", "tokenCount": getattr(usage, name)}]
    if usage.output is not None and usage.output < (usage.reasoning or 0):
        losses.append(Loss("usage.output", "is less than its reasoning: that is counted", "approximated"))
    losses += [Loss("usage." + name, "is not counted here") for name in _UNKNOWN if getattr(usage, name) is not None]
    if usage.estimated:
        losses.append(Loss("usage.estimated", "figures cannot be marked as estimates here"))
    losses += foreign(usage.extra, "usage.")
    return out
