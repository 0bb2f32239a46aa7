"""`generationConfig`, both ways: sampling, the answer's form, thinking, log-probabilities.

Ranges are those of the API's own messages: temperature up to 2, penalties from -2 up to but not including 2, five stop
sequences, seeds of 32 bits. Thinking is set by a level for Gemini 3 and later, by a budget in tokens before, and the
wrong one of the two is refused; levels became the budgets that Google's own OpenAI-compatible endpoint gives them.
"""

from __future__ import annotations

from typing import Any

from understudy.canon import Loss, ReasoningEffort, Request, ResponseFormat, Sampling
from understudy.dialects.gemini.contents import third
from understudy.dialects.gemini.schema import read_schema, reduce_schema
from understudy.dialects.gemini.spelling import Spelt, camel, form_of, note, own
from understudy.dialects.wire import BOOL, DICT, LIST, NUMBER, STR, Malformed, expect, foreign, take

_PATH = "generationConfig."
_NUMBERS = (
    ("temperature", "temperature"),
    ("topP", "top_p"),
    ("frequencyPenalty", "frequency_penalty"),
    ("presencePenalty", "presence_penalty"),
)
_INTEGERS = (("topK", "top_k"), ("seed", "seed"), ("maxOutputTokens", "max_tokens"))
_UNKNOWN = ("min_p", "repetition_penalty", "logit_bias")
_MOST_STOPS = 5
_MOST_CHOICES = 8
_MOST_LOGPROBS = 20
_LARGEST = 2**31 - 1
_BELOW_TWO = 1.99
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}
_LEVELS = {"none": "MINIMAL", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM"}
_STEPS = ((0, "none"), (1024, "low"), (8192, "medium"))
_MODALITIES = ("text", "image", "audio", "video")
_SMALLEST_OF_PRO = 128


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_config(value: Any, spelt: Spelt) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of a canonical request, and the settings that it has no word for."""
    rest = camel(value, "generationConfig", spelt, _PATH)
    fields: dict[str, Any] = {"sampling": _sampling(rest)}
    choices = _integer(rest, "candidateCount")
    if choices is not None:
        fields["choices"] = choices
    if rest.get("responseLogprobs") is True:
        del rest["responseLogprobs"]
        fields["logprobs"] = _integer(rest, "logprobs") or 0
    modalities = take(rest, "responseModalities", LIST, _PATH)
    if modalities is not None:
        words = [expect(word, STR, f"{_PATH}responseModalities[{i}]") for i, word in enumerate(modalities)]
        fields["modalities"] = tuple(word.lower() for word in words)
        if not words or [word.upper() for word in words] != words:
            rest["responseModalities"] = words
    fields["reasoning"] = _thinking(rest, spelt)
    fields["response_format"] = _format(rest)
    return fields, rest


def _sampling(rest: dict[str, Any]) -> Sampling:
    stops = take(rest, "stopSequences", LIST, _PATH)
    if stops == []:
        rest["stopSequences"] = stops
    figures: dict[str, Any] = {name: take(rest, key, NUMBER, _PATH) for key, name in _NUMBERS}
    return Sampling(
        **figures | {name: _integer(rest, key) for key, name in _INTEGERS},
        stop=tuple(expect(stop, STR, f"{_PATH}stopSequences[{i}]") for i, stop in enumerate(stops or ())),
    )


def _integer(rest: dict[str, Any], key: str) -> int | None:
    """A whole number; some clients write 40.0."""
    value: float | None = take(rest, key, NUMBER, _PATH)
    if isinstance(value, float) and not value.is_integer():
        raise Malformed(_PATH + key, "must be a whole number")
    return None if value is None else int(value)


def _thinking(rest: dict[str, Any], spelt: Spelt) -> ReasoningEffort | None:
    value = take(rest, "thinkingConfig", DICT, _PATH)
    if value is None:
        return None
    path = _PATH + "thinkingConfig"
    inner = camel(value, path, spelt, path + ".")
    budget, level = _integer(inner, "thinkingBudget"), take(inner, "thinkingLevel", STR, path + ".")
    shown = take(inner, "includeThoughts", BOOL, path + ".")
    effort = None if level is None else level.lower()
    form = {
        "level": level if effort is not None and effort.upper() != level else False,
        "dynamic": budget is not None and budget < 0 and budget,
        "hidden": shown is False,
    }
    return ReasoningEffort(
        effort=effort,
        budget=None if budget is None or budget < 0 else budget,
        enabled=None if budget is None else budget != 0,
        summary="auto" if shown else None,
        extra=note(inner, {}, {}, **form),
    )


def _format(rest: dict[str, Any]) -> ResponseFormat | None:
    media, google, plain = (rest.get(key) for key in ("responseMimeType", "responseSchema", "responseJsonSchema"))
    if media is not None:
        expect(media, STR, _PATH + "responseMimeType")
    if media == "text/plain" and google is None and plain is None:
        del rest["responseMimeType"]
        return ResponseFormat("text")
    if media not in (None, "application/json"):
        return None
    if isinstance(plain, dict) and google is None:
        del rest["responseJsonSchema"]
        found = ResponseFormat("schema", schema=plain, extra=note({}, {}, {}, untyped=media is None))
    elif isinstance(google, dict) and plain is None:
        del rest["responseSchema"]
        schema = read_schema(google)
        form = {"untyped": media is None, "schema": None if schema == google else google}
        found = ResponseFormat("schema", schema=schema, extra=note({}, {}, {}, **form))
    elif media is None or google is not None or plain is not None:
        return None
    else:
        found = ResponseFormat("json")
    rest.pop("responseMimeType", None)
    return found


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_config(request: Request, losses: list[Loss], *, mine: bool) -> dict[str, Any]:
    sampling = request.sampling if mine else _within(request.sampling, losses)
    out: dict[str, Any] = {
        key: value for key, name in (*_NUMBERS, *_INTEGERS) if (value := getattr(sampling, name)) is not None
    }
    if sampling.stop:
        out["stopSequences"] = list(sampling.stop)
    if request.choices is not None:
        out["candidateCount"] = request.choices if mine else min(request.choices, _MOST_CHOICES)
        if out["candidateCount"] != request.choices:
            losses.append(Loss("choices", f"there are {_MOST_CHOICES} at most here", "approximated"))
    if request.logprobs is not None:
        out["responseLogprobs"] = True
        if request.logprobs:
            out["logprobs"] = request.logprobs if mine else min(request.logprobs, _MOST_LOGPROBS)
    if request.modalities:
        known = [word for word in request.modalities if mine or word in _MODALITIES]
        losses += [Loss("modalities", f"{word!r} is none here") for word in request.modalities if word not in known]
        spelt = request.extra.get("generationConfig", {}).get("responseModalities", ()) if mine else ()
        same = [word.lower() for word in spelt] == known
        out["responseModalities"] = list(spelt) if same else [word.upper() for word in known]
    if request.response_format is not None:
        out |= _own_format(request.response_format) if mine else _foreign_format(request.response_format, losses)
    if request.reasoning is not None:
        thinking = _own_thinking(request.reasoning) if mine else _foreign_thinking(request, losses)
        if thinking or mine:
            out["thinkingConfig"] = thinking
    return out


def _within(sampling: Sampling, losses: list[Loss]) -> Sampling:
    """The sampling with every figure inside the API's ranges."""
    figures: dict[str, Any] = {name: getattr(sampling, name) for _, name in (*_NUMBERS, *_INTEGERS)}
    near = dict(figures)
    if sampling.temperature is not None:
        near["temperature"] = min(max(sampling.temperature, 0), 2)
    for name in ("frequency_penalty", "presence_penalty"):
        if figures[name] is not None:
            near[name] = figures[name] if -2 <= figures[name] < 2 else -2 if figures[name] < 0 else _BELOW_TWO
    if sampling.seed is not None and abs(sampling.seed) > _LARGEST:
        near["seed"] = sampling.seed % (_LARGEST + 1)
    if sampling.max_tokens is not None:
        near["max_tokens"] = min(max(sampling.max_tokens, 1), _LARGEST)
    for name, value in near.items():
        if value != figures[name]:
            losses.append(Loss("sampling." + name, f"is out of range: {value} is sent", "approximated"))
    if sampling.top_k is not None and not 1 <= sampling.top_k <= _LARGEST:
        near["top_k"] = None
        losses.append(Loss("sampling.top_k", "is out of range"))
    losses += [
        Loss("sampling." + name, "there is no such setting here")
        for name in _UNKNOWN
        if getattr(sampling, name) is not None
    ]
    if len(sampling.stop) > _MOST_STOPS:
        losses.append(Loss("sampling.stop", f"there are {_MOST_STOPS} at most here", "approximated"))
    return Sampling(**near, stop=tuple(stop for stop in sampling.stop if stop)[:_MOST_STOPS])


def _own_format(wanted: ResponseFormat) -> dict[str, Any]:
    form = form_of(wanted.extra)
    if wanted.kind == "text":
        return {"responseMimeType": "text/plain"}
    out: dict[str, Any] = {} if "untyped" in form else {"responseMimeType": "application/json"}
    if wanted.kind == "schema":
        written = form.get("schema")
        key = "responseSchema" if "schema" in form else "responseJsonSchema"
        out[key] = written if written is not None and read_schema(written) == wanted.schema else wanted.schema
    return out


def _foreign_format(wanted: ResponseFormat, losses: list[Loss]) -> dict[str, Any]:
    losses += foreign(wanted.extra, "response_format.")
    if wanted.kind == "text":
        return {"responseMimeType": "text/plain"}
    out: dict[str, Any] = {"responseMimeType": "application/json"}
    if wanted.kind == "schema":
        losses += [
            Loss(f"response_format.{name}", "a schema has no such label here")
            for name in ("name", "description")
            if getattr(wanted, name) is not None
        ]
        if wanted.strict is False:
            losses.append(Loss("response_format.strict", "answers are always held to a schema here", "approximated"))
        dropped: set[str] = set()
        out["responseJsonSchema"] = reduce_schema(wanted.schema or {"type": "object"}, dropped)
        if dropped:
            why = "left out, since they are not obeyed here: " + ", ".join(sorted(dropped))
            losses.append(Loss("response_format.schema", why, "approximated"))
    return out


def _own_thinking(wanted: ReasoningEffort) -> dict[str, Any]:
    form = form_of(wanted.extra)
    out: dict[str, Any] = {}
    if wanted.budget is not None or "dynamic" in form:
        out["thinkingBudget"] = form["dynamic"] if wanted.budget is None else wanted.budget
    if wanted.effort is not None:
        out["thinkingLevel"] = form.get("level", wanted.effort.upper())
    if wanted.summary is not None or "hidden" in form:
        out["includeThoughts"] = wanted.summary is not None
    return own(out, wanted.extra)


def _foreign_thinking(request: Request, losses: list[Loss]) -> dict[str, Any]:
    wanted = request.reasoning
    assert wanted is not None
    losses += foreign(wanted.extra, "reasoning.")
    if wanted.effort is not None and wanted.effort not in _BUDGETS:
        losses.append(Loss("reasoning.effort", f"no effort is called {wanted.effort!r} here"))
    out = _level(wanted, losses) if third(request.model) else _budget(wanted, request.model, losses)
    if wanted.summary is not None:
        out["includeThoughts"] = True
        if wanted.summary != "auto":
            losses.append(Loss("reasoning.summary", "its length cannot be chosen here", "approximated"))
    return out


def _level(wanted: ReasoningEffort, losses: list[Loss]) -> dict[str, Any]:
    effort = wanted.effort if wanted.effort in _BUDGETS else None
    if effort is None and wanted.budget is not None:
        effort = next((level for limit, level in _STEPS if wanted.budget <= limit), "high")
        losses.append(Loss("reasoning.budget", f"a budget in tokens became effort {effort!r}", "approximated"))
    elif wanted.budget is not None:
        losses.append(Loss("reasoning.budget", "there is a level of effort here, no budget"))
    if wanted.enabled is False:
        effort = "none"
    if effort is None:
        return {}
    level = _LEVELS.get(effort, "HIGH")
    if level.lower() != effort:
        losses.append(Loss("reasoning.effort", f"{effort} became {level}", "approximated"))
    return {"thinkingLevel": level}


def _budget(wanted: ReasoningEffort, model: str, losses: list[Loss]) -> dict[str, Any]:
    budget = wanted.budget
    if wanted.effort in _BUDGETS:
        if budget is None:
            budget = _BUDGETS[wanted.effort or ""]
            losses.append(Loss("reasoning.effort", f"became a budget of {budget} tokens", "approximated"))
        else:
            losses.append(Loss("reasoning.effort", "there is a budget in tokens here, no level"))
    if wanted.enabled is False:
        budget = 0
    if budget is None:
        return {"thinkingBudget": -1} if wanted.enabled else {}
    if budget < _SMALLEST_OF_PRO and model.endswith("gemini-2.5-pro"):
        losses.append(Loss("reasoning.budget", f"this model thinks with {_SMALLEST_OF_PRO} at least", "approximated"))
        budget = _SMALLEST_OF_PRO
    return {"thinkingBudget": budget}
