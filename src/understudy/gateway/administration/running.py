"""What the running gateway is asked: how its targets are, commands to them, figures. All of it in the event loop."""

from __future__ import annotations

from typing import Any

from understudy.gateway import admin
from understudy.gateway.administration import auditing
from understudy.gateway.administration.endpoint import Answered, Asked, not_supported
from understudy.gateway.administration.questions import Events
from understudy.gateway.recording import Feedback, unkept
from understudy.gateway.refusing import RefusedError


async def targets(asked: Asked) -> Any:
    gateway = asked.gateway
    sharing = None if gateway.sharing is None else gateway.sharing.report()
    limits = None if gateway.authorization.admission is None else gateway.authorization.admission.report()
    return {"targets": admin.targets(gateway.routing, gateway.health), "sharing": sharing, "limits": limits}


async def command(asked: Asked) -> Any:
    command: admin.Command = asked.body
    try:
        found = admin.obey(command, asked.gateway.routing, asked.gateway.health)
    except admin.UnknownTargetError as error:
        raise RefusedError(404, "target_not_found", str(error), param="target") from None
    auditing.note(asked, f"{command.command}_target", command.target, seconds=command.seconds)
    return {"targets": found}


async def events(asked: Asked) -> Any:
    which: Events = asked.query
    journal = asked.gateway.journal
    return {"events": journal.since(which.since), "started": journal.started}


async def document(_asked: Asked) -> Answered:
    # Not before it is asked for: it is made from the table, which names this function.
    from understudy.gateway.administration import openapi  # noqa: PLC0415

    return Answered(openapi.document())


async def metrics(asked: Asked) -> Answered:
    if asked.gateway.metrics is None:
        raise not_supported("Figures are kept by `understudy serve`, not here.")
    from understudy.telemetry.metrics import CONTENT_TYPE, exposition  # noqa: PLC0415  # there by now

    return Answered(exposition(asked.gateway.metrics), media=CONTENT_TYPE)


async def feedback(asked: Asked) -> Any:
    """What somebody thought of an answer."""
    given: Feedback = asked.body
    if asked.gateway.recorder is None:
        raise not_supported("There is no ledger to keep feedback in (`ledger.url`).")
    refused = unkept(given, asked.keeps)
    if refused is not None:
        raise RefusedError(403, "not_allowed", refused)
    return {"id": asked.gateway.recorder.feedback(given, asked.key)}
