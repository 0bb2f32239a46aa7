"""All operations of the admin API. One that is added here is served, documented and tested."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from understudy.gateway import admin
from understudy.gateway.administration import answers, keys, questions, records, running
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
        method="GET", path="/admin/exchanges", name="list_exchanges", right="read", work=records.exchanges,
        needs="ledger", summary="Exchanges, newest first",
        description="Those that match all that is given. Without their words.",
        query=questions.Exchanges, answer=answers.Exchanges,
    ),
    Endpoint(
        method="GET", path="/admin/exchanges/{id}", name="show_exchange", right="read", work=records.exchange,
        needs="ledger", summary="One exchange as a time line",
        description="With its attempts, what each could not carry, events, what was thought of it, and which bodies "
        "there are. Without words, but for providers' error messages, which may quote some.",
        place=questions.ExchangePlace, answer=answers.TimeLine, errors=((404, "exchange_not_found"),),
    ),
    Endpoint(
        method="GET", path="/admin/exchanges/{id}/bodies/{side}", name="read_body", right="inspect", work=records.body,
        needs="ledger", summary="What was asked, or answered",
        description="As far as it was kept, after redaction. Each reading is on record in `/admin/audit`.",
        place=questions.BodyPlace, answer=answers.Body, errors=((404, "body_not_found"),),
    ),
    Endpoint(
        method="GET", path="/admin/usage", name="sum_usage", right="read", work=records.usage, needs="ledger",
        summary="Sums of exchanges, tokens and cost",
        description="As CSV with `accept: text/csv`, where what is not known is empty. Days and hours are UTC's.",
        query=questions.Usage, answer=answers.Usages,
        also={"text/csv": "route,exchanges,answered,attempts,input,output\r\ngpt-5,120,118,125,90312,40100\r\n"},
    ),
    Endpoint(
        method="GET", path="/admin/feedback", name="list_feedback", right="inspect", work=records.feedback,
        needs="ledger", summary="What was thought of answers, newest first",
        query=questions.FeedbackList, answer=answers.FeedbackPage,
    ),
    Endpoint(
        method="GET", path="/admin/audit", name="list_audit", right="read", work=records.audit, needs="ledger",
        summary="Who did what, newest first",
        description="Commands to targets, changes of keys, purges, and readings of bodies.",
        query=questions.AuditList, answer=answers.AuditPage,
    ),
    Endpoint(
        method="POST", path="/admin/purge", name="purge", right="administer", work=records.purge, needs="ledger",
        summary="Delete exchanges, with all that belongs to them",
        description="Counts what would be deleted, unless `confirm` is true. Sums per hour stay: they hold nobody's "
        "words. It is one transaction, and goes on when who asked is gone. What is not yet written is not found.",
        body=questions.PurgeBody, example={"end_user": "u-123", "confirm": True}, answer=answers.Purged,
    ),
    Endpoint(
        method="GET", path="/admin/ledger", name="show_ledger", right="read", work=records.state, needs="ledger",
        summary="How the ledger is", answer=answers.LedgerState,
    ),
    Endpoint(
        method="GET", path="/admin/keys", name="list_keys", right="read", work=keys.listed, needs="keys",
        summary="All virtual keys", answer=answers.Keys,
    ),
    Endpoint(
        method="POST", path="/admin/keys", name="create_key", right="administer", work=keys.create, needs="keys",
        summary="Make a virtual key", description="The answer is the only place where it ever stands.", status=201,
        body=questions.Creation, answer=answers.Secret, errors=((409, "name_taken"),),
        example={"name": "team-a", "owner": "ann", "limits": ["requests=100/minute"], "budgets": ["usd=20/day"]},
    ),
    Endpoint(
        method="GET", path="/admin/keys/{name}", name="show_key", right="read", work=keys.found, needs="keys",
        summary="One virtual key", place=questions.KeyPlace, answer=answers.Key, errors=((404, "key_not_found"),),
    ),
    Endpoint(
        method="PATCH", path="/admin/keys/{name}", name="change_key", right="administer", work=keys.change,
        needs="keys", summary="Change what a virtual key may do",
        description="In effect when it is answered. What was used of a limit or budget stays used.",
        place=questions.KeyPlace, body=questions.Alteration, example={"budgets": ["usd=50/day"]}, answer=answers.Key,
        errors=((404, "key_not_found"),),
    ),
    Endpoint(
        method="DELETE", path="/admin/keys/{name}", name="remove_key", right="administer", work=keys.remove,
        needs="keys", summary="Delete a virtual key for good",
        description="What it did stays on record. `disabled` can be taken back, this cannot.",
        place=questions.KeyPlace, answer=answers.Removed, errors=((404, "key_not_found"),),
    ),
    Endpoint(
        method="POST", path="/admin/keys/{name}/rotate", name="rotate_key", right="administer", work=keys.rotate,
        needs="keys", summary="Give a virtual key another secret",
        description="The one before opens for `overlap` seconds more.", place=questions.KeyPlace,
        body=questions.Rotation, example={"overlap": 86400}, answer=answers.Secret, errors=((404, "key_not_found"),),
    ),
    Endpoint(
        method="GET", path="/admin/openapi.json", name="openapi", right="read", work=running.document,
        summary="This description", answer=dict,
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
