"""Moderations: OpenAI's path, for whoever speaks one of its dialects. There is no other dialect to translate to."""

from __future__ import annotations

import msgspec

from understudy.gateway import surface
from understudy.gateway.embed import OPENAI_LIKE
from understudy.gateway.operate import Answered, Operation, OperationCall, Sent, as_json, below, named_model
from understudy.gateway.record import Headers
from understudy.gateway.routing import Target
from understudy.operations import moderations


class _Named(msgspec.Struct, gc=False):
    model: str | None = None


def _model(call: OperationCall) -> str:
    """The one request of OpenAI's that need not name its model."""
    try:
        named = msgspec.json.decode(call.body, type=_Named).model
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return named_model(call)  # which says what is wrong
    return moderations.DEFAULT if named is None else named_model(call)


def _send(call: OperationCall, target: Target) -> Sent:
    call.known["count"] = moderations.inputs(call.body)
    return Sent(path=below(target, "/moderations"), body=call.body_for(target))


def _answer(call: OperationCall, _target: Target, headers: Headers, body: bytes) -> Answered:
    told, losses = moderations.answered(body, call.known["count"])
    return as_json(told, losses) if losses else Answered(headers=headers, body=told)


OPENAI = Operation(
    name="moderations",
    dialect=surface.CHAT,
    offered=OPENAI_LIKE,
    model=_model,
    send=_send,
    answer=_answer,
    uses="prompt",
)
