"""From a reply to what it is worth against the reference of its case."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from understudy import dialects
from understudy.canon import Answer, Choice, Request, Text
from understudy.dialects import Malformed
from understudy.rehearsal import scores
from understudy.rehearsal.kinds import facets
from understudy.rehearsal.replay import Reply
from understudy.rehearsal.scores import Score
from understudy.rehearsal.scores.scored import Scored
from understudy.rehearsal.suite import Case


def reference(case: Case) -> Answer:
    """What a good answer is: what somebody wrote, else what the user got. Raises Malformed."""
    if case.gold is not None:
        return Answer(case.dialect, "", "", (Choice(0, (Text(case.gold),), "stop"),))
    answer = case.answered()
    if answer is None:
        raise Malformed("answer", "is missing, and there is no `gold`")
    return answer


def scored(case: Case, reply: Reply, table: Iterable[Score] = scores.BUILT_IN) -> Reply:
    """`reply` with its scores. One that is no answer is worth nothing; one that tells nothing stays without."""
    request = case.asked()
    change = msgspec.structs.replace
    if reply.unanswered:
        return change(reply, facets=facets(request))
    body = reply.body
    if reply.fault is not None or body is None:
        why = f"{reply.fault}: {reply.message[:200]}" if reply.fault else "no answer"
        return change(reply, facets=facets(request), scores={"answered": Scored(0.0, why)}, worth=0.0)
    try:
        answer = dialects.get(case.dialect).decode_answer(body)
    except Malformed as error:
        return change(reply, facets=facets(request), scores={"answered": Scored(0.0, f"{error}")}, worth=0.0)
    return _compared(reply, request, reference(case), answer, tuple(table))


def _compared(reply: Reply, request: Request, wanted: Answer, answer: Answer, table: tuple[Score, ...]) -> Reply:
    found = scores.scored(request, wanted, answer, table)
    return msgspec.structs.replace(reply, facets=facets(request), scores=found, worth=scores.worth(found, table))
