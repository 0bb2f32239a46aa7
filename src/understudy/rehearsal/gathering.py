"""Cases from what there is: exchanges of the ledger, logs of requests and responses, OpenAI evals' samples.

Each either becomes a case, or there is a reason why not, in words: nothing is passed over in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from understudy import dialects
from understudy.canon.join import UnfinishedError, join
from understudy.dialects import Malformed
from understudy.ledger import Body, Feedback
from understudy.ledger.queries import Found, Listed
from understudy.rehearsal.suite import Case

BAD = 0.5
"""A user's score below which an answer is nobody's model, unless somebody corrected it."""


class UnfitError(Exception):
    """Something is no case. `str()` says why, in words by which such are counted."""


def from_exchange(found: Found) -> Case:
    """The case that an exchange makes. Raises UnfitError."""
    line = found.exchange
    if line.outcome != "answered" or line.status != 200:
        raise UnfitError("was not answered")
    if line.seams:
        raise UnfitError("its answer was pieced together from several models")
    bodies = {body.side: body for body in found.bodies}
    if "request" not in bodies or "answer" not in bodies:
        raise UnfitError('its bodies were not kept (`store = "bodies"` keeps them)')
    if any(body.size > len(body.data) for body in bodies.values()):
        raise UnfitError("its bodies were kept only in part (`ledger.largest_body`)")
    request = _json(bodies["request"].data, "its request is not JSON")
    if request.get("previous_response_id"):
        raise UnfitError("it goes on with a response that a provider or this gateway holds")
    score, gold = _judged(found.feedback)
    if score is not None and score < BAD and gold is None:
        raise UnfitError("its user thought the answer bad, and nobody corrected it")
    answer = _answer(line, bodies["answer"])
    tokens = None if line.tokens is None else (line.tokens.input, line.tokens.output)
    return _checked(
        Case(
            id=line.id,
            dialect=line.dialect,
            request=request,
            answer=answer,
            gold=gold,
            score=score,
            task=line.task,
            tags=line.tags,
            target=line.target,
            tokens=tokens,
            cost_usd=None if line.cost is None else line.cost.usd,
            seconds=line.total,
        )
    )


def from_pair(row: Mapping[str, Any], number: int) -> Case:
    """The case that a line of a log makes: `request` and `response` of the Chat API, or an eval's `input` and `ideal`.

    Raises UnfitError.
    """
    name = str(row.get("id") or f"line-{number}")
    if "input" in row and "ideal" in row:
        ideal = row["ideal"]
        ideal = ideal[0] if isinstance(ideal, list) and ideal else ideal
        messages = row["input"]
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        if not isinstance(ideal, str):
            raise UnfitError("its `ideal` is no text")
        asked = {"model": "", "messages": messages}
        return _checked(Case(id=name, dialect="openai-chat", request=asked, gold=ideal))
    request, answer = row.get("request"), row.get("response")
    if not isinstance(request, dict) or not isinstance(answer, dict):
        raise UnfitError("has neither `request` and `response`, nor `input` and `ideal`")
    dialect = row.get("dialect", "openai-chat")
    if dialect not in dialects.DIALECTS:
        raise UnfitError(f"is of the dialect {dialect!r}, which is not known")
    task = row.get("task")
    return _checked(
        Case(id=name, dialect=dialect, request=request, answer=answer, task=task if isinstance(task, str) else None)
    )


def _checked(case: Case) -> Case:
    try:
        case.asked()
        answer = case.answered()
    except Malformed as error:
        raise UnfitError(f"cannot be read: {error}") from None
    if answer is not None and case.gold is None and not any(choice.parts for choice in answer.choices):
        raise UnfitError("its answer is empty")
    return case


def _judged(feedback: list[Feedback]) -> tuple[float | None, str | None]:
    """The latest score, and the latest corrected answer."""
    scores = [one.score for one in feedback if one.score is not None]
    golds = [one.corrected for one in feedback if one.corrected is not None]
    return scores[-1] if scores else None, golds[-1] if golds else None


def _answer(line: Listed, body: Body) -> dict[str, Any]:
    """The answer as JSON of the exchange's dialect, also where it was streamed."""
    dialect = dialects.get(line.dialect)
    if body.content_type.startswith("application/json") and not body.data.lstrip().startswith(b"["):
        return _json(body.data, "its answer is not JSON")
    decoder = dialect.StreamDecoder()
    try:
        events = [*decoder.feed(body.data), *decoder.close()]
        return _json(dialect.encode_answer(join(events))[0], "its answer cannot be read")
    except (Malformed, UnfinishedError) as error:
        raise UnfitError("its answer is not whole") from error


def _json(data: bytes, why: str) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UnfitError(why) from None
    if not isinstance(value, dict):
        raise UnfitError(why)
    return value
