"""Leaving out of a call what a target has just refused, and saying so.

That is a parameter that is no longer taken, an assistant turn that it does not go on with, reasoning that another
provider sealed.

The fault table says which refusals are worth that (`without`). It happens once for each and target, and is a `Loss`: a
strict route refuses instead. The call goes through the canonical form then, even to a target of the client's dialect.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from understudy.canon import Fault, Loss, Message, Reasoning, Request
from understudy.dialects.wire import Malformed, dump, parse
from understudy.gateway.call import Call
from understudy.gateway.record import Exchange
from understudy.gateway.routing import Target
from understudy.resilience import row

_NEVER = frozenset({"model", "messages", "input", "contents", "prompt", "stream", "tools", "system", "instructions"})
"""Without these it would be another call."""


class Omission(msgspec.Struct, frozen=True):
    what: Literal["parameter", "prefill", "reasoning"]
    param: str = ""


def possible(exchange: Exchange, target: Target, fault: Fault) -> Omission | None:
    """What can be left out so that `target` may take the call after all; None if nothing, or if it was tried."""
    what = row(fault.kind).without
    if what is None:
        return None
    known = exchange.omissions.get(target.name, ())
    omission = Omission(what, fault.param or "" if what == "parameter" else "")
    if omission in known or exchange.call.__class__ is not Call:
        return None
    try:
        request = exchange.call.request()
    except Malformed:
        return None
    if what == "prefill":
        return omission if request.messages and request.messages[-1].role == "assistant" else None
    if what == "reasoning":
        return omission if any(_reasons(message) for message in request.messages) else None
    return omission if omission.param and _last(omission.param) not in _NEVER else None


def note(exchange: Exchange, target: Target, omission: Omission) -> None:
    """The next attempt at `target` goes without it."""
    known = exchange.omissions.get(target.name, ())
    exchange.omissions = {**exchange.omissions, target.name: (*known, omission)}


def changed(request: Request, omissions: tuple[Omission, ...]) -> tuple[Request, list[Loss]]:
    """The request without what its messages must not hold."""
    losses = []
    messages = request.messages
    for omission in omissions:
        if omission.what == "prefill" and messages and messages[-1].role == "assistant":
            losses.append(Loss(f"messages[{len(messages) - 1}]", "this model does not go on with a started answer"))
            messages = messages[:-1]
        elif omission.what == "reasoning":
            kept = tuple(map(_without_reasoning, messages))
            losses += [
                Loss(f"messages[{at}]", "reasoning that this provider refuses")
                for at, message in enumerate(messages)
                if _reasons(message)
            ]
            messages = tuple(message for message in kept if message.parts)
    return msgspec.structs.replace(request, messages=messages), losses


def cut(body: bytes, omissions: tuple[Omission, ...]) -> tuple[bytes, list[Loss]]:
    """The encoded call without refused parameters, wherever they stand (`temperature`, `generationConfig.topK`)."""
    names = [omission.param for omission in omissions if omission.what == "parameter"]
    if not names:
        return body, []
    whole = parse(body)
    found = [name for name in names if _remove(whole, _last(name))]
    return dump(whole), [Loss(name, "a parameter that this provider no longer takes") for name in found]


def _remove(whole: dict[str, Any], name: str) -> bool:
    for place in (whole, *(value for value in whole.values() if isinstance(value, dict))):
        if name in place:
            del place[name]
            return True
    return False


def _last(param: str) -> str:
    return param.rpartition(".")[2]


def _reasons(message: Message) -> bool:
    return any(isinstance(part, Reasoning) for part in message.parts)


def _without_reasoning(message: Message) -> Message:
    if not _reasons(message):
        return message
    kept = tuple(part for part in message.parts if not isinstance(part, Reasoning))
    return msgspec.structs.replace(message, parts=kept)
