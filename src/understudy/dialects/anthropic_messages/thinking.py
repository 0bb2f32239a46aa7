"""Thinking and sampling of another dialect, as a given Claude takes them.

What is accepted depends on the model's generation, which its name tells; a name without one (a compatible server's)
gets the oldest form that can think. Sources: Anthropic's document (deprecations of `temperature`, `top_p`, `top_k`:
models after Claude Opus 4.6 take none of them), its pages on extended and adaptive thinking and on effort (budgets
from Claude 3.7 to 4.6, adaptive from 4.6 on), and its migration guide (`temperature` or `top_p`, not both, from 4.1).
"""

from __future__ import annotations

import re
from typing import Any

from understudy.canon import Loss, ReasoningEffort, Request
from understudy.dialects.wire import foreign

MAX_TOKENS = 32_000
SAFE_MAX_TOKENS = 4096
"""`max_tokens` is required here. What every Claude that thinks can write at least, and what any model can."""

_GENERATION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_THINKS = (3, 7)
_ONE_OF_TWO = (4, 1)
_ADAPTS = (4, 6)
_SMALLEST_BUDGET = 1024
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 16384, "xhigh": 24576, "max": 24576}
_LEVELS = ((1024, "low"), (8192, "medium"))
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_ALMOST_ALL = 0.99
_THINKING_TOP_P = 0.95

Generation = tuple[int, int] | None


def generation(model: str) -> Generation:
    """`claude-sonnet-4-5-20250929` is (4, 5); None for a name that tells nothing."""
    found = _GENERATION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else None


# --- thinking --------------------------------------------------------------------------------------------------------


def encode_thinking(request: Request, out: dict[str, Any], losses: list[Loss]) -> None:
    """Write `thinking`, `output_config.effort` and `max_tokens`; the conversation is in `out` already."""
    limit = request.sampling.max_tokens
    if limit is not None and limit < 0:  # some servers' word for no limit
        limit = None
    wanted = request.reasoning
    if wanted is not None:
        losses += foreign(wanted.extra, "reasoning.")
        _think(wanted, generation(request.model), limit, out, losses)
        why = _why_not(out)
        if why is not None:
            del out["thinking"]
            losses.append(Loss("reasoning", why))
    if limit is None:
        budget = out.get("thinking", {}).get("budget_tokens", 0)
        known = generation(request.model)
        small = known is None or known < _THINKS or budget >= MAX_TOKENS
        limit = SAFE_MAX_TOKENS + budget if small else MAX_TOKENS
        losses.append(Loss("sampling.max_tokens", f"is required here: {limit} was filled in", "approximated"))
    out["max_tokens"] = limit


def _think(
    wanted: ReasoningEffort, known: Generation, limit: int | None, out: dict[str, Any], losses: list[Loss]
) -> None:
    if wanted.enabled is False or wanted.effort == "none":
        if known is None or known >= _THINKS:
            out["thinking"] = {"type": "disabled"}
        return
    if known is not None and known < _THINKS:
        losses.append(Loss("reasoning", "this model does not think"))
    elif known is not None and known >= _ADAPTS and not (wanted.budget is not None and known == _ADAPTS):
        _adapt(wanted, known, out, losses)
    else:
        _budget(wanted, limit, out, losses)
    if wanted.summary is not None and "thinking" in out:
        if known is not None and known >= _ADAPTS:
            out["thinking"]["display"] = "summarized"
        if wanted.summary != "auto":
            losses.append(Loss("reasoning.summary", "summaries have one length here", "approximated"))


def _adapt(wanted: ReasoningEffort, known: tuple[int, int], out: dict[str, Any], losses: list[Loss]) -> None:
    effort = wanted.effort
    if wanted.budget is not None and effort is None:
        effort = next((level for limit, level in _LEVELS if wanted.budget <= limit), "high")
        losses.append(Loss("reasoning.budget", f"a budget in tokens became effort {effort!r}", "approximated"))
    elif wanted.budget is not None:
        losses.append(Loss("reasoning.budget", "there is a level of effort here, no budget"))
    out["thinking"] = {"type": "adaptive"}
    if effort is None:
        return
    level = effort if effort in _EFFORTS else "low" if effort == "minimal" else "high"
    if level == "xhigh" and known == _ADAPTS:
        level = "high"
    if level != effort:
        losses.append(Loss("reasoning.effort", f"{effort!r} became {level!r}", "approximated"))
    out.setdefault("output_config", {})["effort"] = level


def _budget(wanted: ReasoningEffort, limit: int | None, out: dict[str, Any], losses: list[Loss]) -> None:
    """A budget of at least 1,024 tokens and below `max_tokens`."""
    if limit is not None and limit <= _SMALLEST_BUDGET:
        losses.append(Loss("reasoning", f"max_tokens leaves no room for the {_SMALLEST_BUDGET} tokens it takes"))
        return
    budget = wanted.budget
    if budget is None:
        budget = _BUDGETS.get(wanted.effort or "medium", _BUDGETS["high"])
        field = "effort" if wanted.effort else "enabled"
        losses.append(Loss("reasoning." + field, f"became a budget of {budget} tokens", "approximated"))
    elif wanted.effort is not None:
        losses.append(Loss("reasoning.effort", "there is a budget here, no level of effort"))
    fitting = max(budget, _SMALLEST_BUDGET)
    if limit is not None and fitting >= limit:
        fitting = max(_SMALLEST_BUDGET, limit // 2)
    if fitting != budget and wanted.budget is not None:
        losses.append(Loss("reasoning.budget", f"became {fitting} tokens, which is allowed here", "approximated"))
    out["thinking"] = {"type": "enabled", "budget_tokens": fitting}


def _why_not(out: dict[str, Any]) -> str | None:
    """Why a request cannot think although it was asked to; None if it can."""
    if out.get("thinking", {}).get("type") != "enabled":
        return None
    if out.get("tool_choice", {}).get("type") in ("any", "tool"):
        return "a model that has to call a tool cannot think here"
    turns = out["messages"]
    answered = turns and isinstance(turns[-1]["content"], list) and turns[-1]["content"][0]["type"] == "tool_result"
    if answered and len(turns) > 1 and turns[-2]["content"][0].get("type") not in ("thinking", "redacted_thinking"):
        return "the turn that called a tool bears no thinking of this provider's, which it has to go on from"
    return None


# --- sampling --------------------------------------------------------------------------------------------------------


def encode_sampling(request: Request, out: dict[str, Any], losses: list[Loss]) -> None:
    """Write what this model takes of the sampling; the rest are losses."""
    sampling, known = request.sampling, generation(request.model)
    values = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
    temperature = sampling.temperature
    if temperature is not None and not 0 <= temperature <= 1:
        values["temperature"] = min(max(temperature, 0), 1)
        losses.append(Loss("sampling.temperature", "is between 0 and 1 here", "approximated"))
    thinks = out.get("thinking", {}).get("type") in ("enabled", "adaptive")
    for name, value in values.items():
        if value is None:
            continue
        why = _refused(name, value, known, thinks=thinks, warm=temperature is not None)
        if why is None:
            out[name] = value
        else:
            losses.append(Loss("sampling." + name, why))
    stops = [text for text in sampling.stop if text.strip()]
    if len(stops) < len(sampling.stop):
        losses.append(Loss("sampling.stop", "a stop sequence of white space alone is refused here"))
    if stops:
        out["stop_sequences"] = stops


def _refused(name: str, value: float, known: Generation, *, thinks: bool, warm: bool) -> str | None:
    """Why a setting is not taken, None if it is."""
    if known is not None and known > _ADAPTS:
        neutral = value == 1 if name == "temperature" else name == "top_p" and value >= _ALMOST_ALL
        if not neutral:
            return "this model's sampling cannot be changed"
    if thinks and name != "top_p" and not (name == "temperature" and value == 1):
        return "sampling cannot be changed while the model thinks"
    if thinks and name == "top_p" and value < _THINKING_TOP_P:
        return f"at least {_THINKING_TOP_P} while the model thinks"
    if name == "top_p" and warm and (known is None or known >= _ONE_OF_TWO):
        return "there is temperature or top_p here, not both"
    if name == "top_p" and not 0 <= value <= 1:
        return "is between 0 and 1 here"
    return "may not be negative here" if name == "top_k" and value < 0 else None
