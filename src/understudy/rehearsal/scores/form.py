"""Does an answer have the form that was asked for, or that the reference has? Schema, layout, language, refusal.

These are gates: a fine text in the wrong language, or prose where a program reads JSON, is of no use to anybody.
"""

from __future__ import annotations

import ast
import json
import re
from functools import lru_cache
from typing import Any

from understudy.canon import Answer, Refusal, Request
from understudy.rehearsal.scores import tools, words
from understudy.rehearsal.scores.scored import Scored

_FENCE = re.compile(r"^```[ \t]*([\w+#.-]*)[ \t]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} ", re.MULTILINE)
_BULLET = re.compile(r"^[ \t]*(?:[-*+]|\d+[.)]) ", re.MULTILINE)
_ROW = re.compile(r"^\|.*\|[ \t]*$", re.MULTILINE)
_TAG = re.compile(r"^\s*<[a-zA-Z!?][^>]*>")

_ENOUGH = 40
"""Letters below which nobody can tell a language."""

_UNCHECKABLE = (RecursionError, re.error, TypeError, AttributeError, ValueError)

_REFUSALS = re.compile(
    r"\W*(?:i'?m sorry|i am sorry|sorry|i apologi[sz]e|unfortunately|i can(?:no|')t|i can not|i am unable|i'm unable"
    r"|i won't|i'm not able|i am not able|as an ai|es tut mir leid|ich kann (?:dir |ihnen |das )?nicht"
    r"|je suis désolé|je ne peux pas|lo siento|no puedo|mi dispiace|non posso|desculpe|não posso|het spijt me)",
    re.IGNORECASE,
)
"""How refusals begin, in some languages. What begins so must also say that it will not or cannot."""

_DENIES = re.compile(
    r"can(?:no|')t|can not|unable|not able|won't|not (?:comfortable|appropriate|allowed|permitted)"
    r"|against (?:my|our|the)|nicht|ne peux|no puedo|non posso|não posso|niet",
    re.IGNORECASE,
)


def schema(request: Request, _reference: Answer, candidate: Answer) -> Scored | None:
    """Whether the answer is JSON, and valid against the schema that was asked for. None where none was.

    An answer that calls tools instead is not held to it.
    """
    form = request.response_format
    if form is None or form.kind == "text" or (tools.calls(candidate) and not words.text(candidate).strip()):
        return None
    value, why = json_of(words.text(candidate))
    if why:
        return Scored(0.0, why)
    if form.kind == "json" or form.schema is None:
        return Scored(1.0) if isinstance(value, dict) else Scored(0.0, "is JSON, but no object")
    return _valid(value, form.schema)


def fields(request: Request, reference: Answer, candidate: Answer) -> Scored | None:
    """Where structured output was asked for: how far its values agree with the reference's."""
    form = request.response_format
    if form is None or form.kind == "text":
        return None
    wanted, broken = json_of(words.text(reference))
    if broken:
        return None
    found, why = json_of(words.text(candidate))
    if why:
        return Scored(0.0, why)
    return Scored(*tools.agreement(wanted, found, form.schema))


def layout(request: Request, reference: Answer, candidate: Answer) -> Scored | None:
    """Whether an answer is of the form of the reference: JSON, markup, or text; with code where that has code."""
    del request
    wanted, found = words.text(reference), words.text(candidate)
    if not wanted.strip():
        return None
    if not found.strip():
        return Scored(0.0, "has no words") if not tools.calls(candidate) else None
    wanted_kind, found_kind = _layout(wanted), _layout(found)
    if wanted_kind != found_kind and "prose" not in (wanted_kind, found_kind):
        return Scored(0.0, f"is {found_kind}, not {wanted_kind}")
    if wanted_kind != found_kind and wanted_kind in ("JSON", "markup"):
        return Scored(0.0, f"is {found_kind}, not {wanted_kind}")
    if wanted_kind != found_kind and found_kind in ("JSON", "markup"):
        return Scored(0.0, f"is {found_kind}, not {wanted_kind}")
    features = {"code": _FENCE, "headings": _HEADING, "a list": _BULLET, "a table": _ROW}
    differing = [name for name, sign in features.items() if bool(sign.search(wanted)) != bool(sign.search(found))]
    if not differing:
        return Scored(1.0)
    has = [name for name in differing if features[name].search(found)]
    lacks = [name for name in differing if name not in has]
    said = [f"has {', '.join(has)}"] if has else []
    said += [f"lacks {', '.join(lacks)}"] if lacks else []
    # Without the code it is of no use; a list for a paragraph is a matter of taste.
    return Scored(0.0 if "code" in lacks else 1 - 0.1 * len(differing), " and ".join(said))


def code(request: Request, reference: Answer, candidate: Answer) -> Scored | None:
    """Whether the code in an answer parses, as far as there is a parser here: Python and JSON, in fences."""
    del request
    if not _FENCE.search(words.text(reference)):
        return None
    blocks = [(name.lower(), body) for name, body in _FENCE.findall(words.text(candidate))]
    checked = [(name, why) for name, body in blocks if (why := _parses(name, body)) is not None]
    if not checked:
        return None
    broken = [f"{name}: {why}" for name, why in checked if why]
    return Scored(1 - len(broken) / len(checked), "; ".join(broken))


def language(request: Request, reference: Answer, candidate: Answer) -> Scored | None:
    """Whether the answer is in the reference's language. None where one of them is too short to tell, or is code."""
    del request
    wanted, found = _prose(reference), _prose(candidate)
    if min(_letters(wanted), _letters(found)) < _ENOUGH:
        return None
    left, right = _language(wanted[:2000]), _language(found[:2000])
    return Scored(1.0) if left == right else Scored(0.0, f"seems to be {right}, not {left}")


def refusal(request: Request, reference: Answer, candidate: Answer) -> Scored:
    """Whether both refuse, or neither does."""
    del request
    wanted, found = refuses(reference), refuses(candidate)
    if wanted == found:
        return Scored(1.0)
    return Scored(0.0, "refuses" if found else "does not refuse, as the reference does")


def length(request: Request, reference: Answer, candidate: Answer) -> Scored | None:
    """1 where an answer is from half to twice as long as the reference; then less, in proportion."""
    del request
    wanted, found = len(words.text(reference).split()), len(words.text(candidate).split())
    if wanted < 20:
        return None
    share = found / wanted
    if 0.5 <= share <= 2:
        return Scored(1.0)
    return Scored(2 * share if share < 0.5 else 2 / share, f"has {found} words, the reference {wanted}")


def ended(request: Request, reference: Answer, candidate: Answer) -> Scored | None:
    """Whether an answer came to its end, where the reference did: one that was cut for its length is not whole."""
    del request
    if not reference.choices or reference.choices[0].finish == "length":
        return None
    cut = bool(candidate.choices) and candidate.choices[0].finish == "length"
    return Scored(0.0, "was cut for its length") if cut else Scored(1.0)


def refuses(answer: Answer) -> bool:
    """Whether an answer says that it will not answer: as its provider marks it, or in so many words."""
    if not answer.choices:
        return False
    choice = answer.choices[0]
    if choice.finish in ("refusal", "filtered") or any(isinstance(part, Refusal) for part in choice.parts):
        return True
    start = words.text(answer).strip()[:200].replace("’", "'")
    return bool(_REFUSALS.match(start) and _DENIES.search(start)) and not tools.calls(answer)


def json_of(said: str) -> tuple[Any, str]:
    """The JSON that an answer is, and why it is none ("" if it is). A fence around it is taken off."""
    said = said.strip()
    fenced = re.fullmatch(r"```(?:json)?[ \t]*\n(.*?)\n?```", said, re.DOTALL)
    try:
        return json.loads(fenced[1] if fenced else said), ""
    except (ValueError, RecursionError) as error:
        return None, f"is not JSON: {error}"


def _valid(value: Any, wanted: dict[str, Any]) -> Scored:
    import jsonschema  # noqa: PLC0415  # takes 100 ms to import, and few suites need it
    import referencing  # noqa: PLC0415

    kind = jsonschema.validators.validator_for(wanted, jsonschema.Draft202012Validator)
    try:
        # With a registry of its own, so that no `$ref` is fetched from anywhere.
        checker = kind(wanted, registry=referencing.Registry())
        error = jsonschema.exceptions.best_match(checker.iter_errors(value))
    except (*_UNCHECKABLE, jsonschema.exceptions.UnknownType, referencing.exceptions.Unresolvable) as failed:
        return Scored(1.0, f"the schema itself cannot be checked: {str(failed)[:100]}")
    if error is None:
        return Scored(1.0)
    return Scored(0.0, f"{error.json_path}: {error.message[:200]}")


def _layout(said: str) -> str:
    said = said.strip()
    if said[:1] in "{[" and not json_of(said)[1]:
        return "JSON"
    fenced = re.fullmatch(r"```json[ \t]*\n(.*?)\n?```", said, re.DOTALL)
    if fenced and not json_of(said)[1]:
        return "JSON"
    return "markup" if _TAG.match(said) and said.endswith(">") else "prose"


def _parses(name: str, body: str) -> str | None:
    """Why code does not parse, "" if it does, None if nobody here can tell."""
    if name in ("python", "py", "python3"):
        try:
            ast.parse(body)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return str(error)
        return ""
    return json_of(body)[1] if name == "json" else None


def _prose(answer: Answer) -> str:
    return _FENCE.sub("", words.text(answer))


def _letters(said: str) -> int:
    return sum(map(str.isalpha, said[:2000]))


@lru_cache(maxsize=4096)
def _language(said: str) -> str:
    import py3langid  # noqa: PLC0415  # loads its model, which takes a moment

    return str(py3langid.classify(said)[0])
