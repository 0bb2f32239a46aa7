"""All operations of the admin API. One that is added here is served, documented and tested."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from understudy.gateway import admin
from understudy.gateway.administration import answers, questions, running
from understudy.gateway.administration.endpoint import Endpoint
from understudy.gateway.recording import Feedback

ENDPOINTS: Sequence[Endpoint] = (
    Endpoint(
        method="GET", path="/admin/targets", name="list_targets", right="read", work=running.targets,
        summary="How every target is",
        description="Each target that a route names or a call has gone to, once for each of its keys: state, cooldown "
        "with reason and end, breaker, quota, calls under way, latency. And what is shared with other replicas.",
        answer=answers.Targets,
    ),
    Endpoint(
        method="POST", path="/admin/targets", name="command_target", right="operate", work=running.command,
        summary="Cool, drain or reopen a target",
        description="`cool` leaves it alone for `seconds`, or until it is reopened; calls go to it only if they have "
        "nowhere else to go. `drain` sends nothing more to it. `reopen` ends either, and a breaker that is open.",
        body=admin.Command, example={"target": "openai/gpt-5", "command": "cool", "seconds": 300},
        answer=answers.Commanded, errors=((404, "target_not_found"),),
    ),
    Endpoint(
        method="GET", path="/admin/events", name="list_events", right="read", work=running.events,
        summary="What has changed at targets",
        description="Cooldowns, breakers, limits and commands, as this process remembers them.",
        query=questions.Events, answer=answers.Events,
    ),
    Endpoint(
        method="GET", path="/metrics", name="metrics", right="read", work=running.metrics,
        summary="Figures in Prometheus' format", media="text/plain", answer=str, errors=((501, "not_supported"),),
    ),
    Endpoint(
        method="POST", path="/understudy/feedback", name="give_feedback", right="call", work=running.feedback,
        summary="Say what an answer was worth",
        description="For the client that had it, or whoever judges: all but `exchange` may be left out. The id stands "
        "in the header `x-understudy-exchange` of the answer; whether there is such an exchange is not checked.",
        body=Feedback, example={"exchange": "ex_6b070b89", "score": 0.2, "corrected": "Paris."},
        answer=answers.Kept, errors=((501, "not_supported"),),
    ),
)  # fmt: skip


class Found(NamedTuple):
    """`methods` are what each method does there; `named` the names in the path, with escapes resolved."""

    methods: Mapping[str, Endpoint]
    named: Mapping[str, str]


def _by_path() -> dict[str, dict[str, Endpoint]]:
    found: dict[str, dict[str, Endpoint]] = {}
    for endpoint in ENDPOINTS:
        found.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    return found


PATHS: Mapping[str, Mapping[str, Endpoint]] = _by_path()

_PATTERNS = [
    (re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)), methods)
    for path, methods in PATHS.items()
    if "{" in path
]


def find(path: str) -> Found | None:
    """What is done at `path`, which may have escapes in it but no query; None if it is no operation's."""
    plain = PATHS.get(path) or PATHS.get(unquote(path))
    if plain is not None:
        return Found(plain, {})
    for pattern, methods in _PATTERNS:
        match = pattern.fullmatch(path)
        if match is not None:
            return Found(methods, {name: unquote(value) for name, value in match.groupdict().items()})
    return None
