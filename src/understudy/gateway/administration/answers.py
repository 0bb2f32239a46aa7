"""What the admin API answers, so that the OpenAPI document can say it: every field, and no other.

Times are Unix seconds, durations seconds. null is not known, or does not apply; it is never 0.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all of them are."""


# -- the running gateway -----------------------------------------------------------------------------------------------


class Cooldown(Answer, frozen=True):
    scope: Annotated[str, Meta(description="What rests: an endpoint, a key, a model, all of a provider.")]
    kind: Annotated[str, Meta(description="The kind of fault behind it, or `operator`.")]
    why: Annotated[str, Meta(description="The same in words.")]
    seconds_left: Annotated[float | None, Meta(description="null: until it is reopened.")]
    until: Annotated[float | None, Meta(description="Unix seconds.")]


class Breaker(Answer, frozen=True):
    state: Annotated[str, Meta(description="closed, open or half-open.")]
    failures: Annotated[float, Meta(description="Recent failures, older ones weighing less.")]
    seconds_left: Annotated[float | None, Meta(description="Until it is half-open.")]


class Quota(Answer, frozen=True):
    limit_of: Annotated[str, Meta(description="What the provider limits.")]
    limit: float
    left: float
    full_in: Annotated[float | None, Meta(description="Seconds until it is whole again.")]


class FirstContent(Answer, frozen=True):
    load: Annotated[float, Meta(description="Seconds to the first content, weighted by calls under way.")]
    p95: Annotated[float | None, Meta(description="Seconds within which 95 of 100 answers begin.")]


class Target(Answer, frozen=True):
    """How one target is, with one of its keys."""

    target: Annotated[str, Meta(description="provider/model", examples=["openai/gpt-5"])]
    dialect: str
    key: Annotated[str | None, Meta(description="Which of the provider's keys, never the key itself.")]
    state: Annotated[str, Meta(description="ready, cooling down, open, half-open or drained.")]
    cooldown: Cooldown | None
    breaker: Breaker
    quota: list[Quota]
    in_flight: Annotated[int, Meta(description="Calls under way.")]
    limit: Annotated[float | None, Meta(description="Calls at once that it gets at present; null: no limit.")]
    rate: Annotated[float | None, Meta(description="Calls a second that it gets at present; null: no limit.")]
    first_content: FirstContent
    continues: Annotated[bool, Meta(description="Whether it can go on with an answer that another has begun.")]


class Sharing(Answer, frozen=True):
    """What this replica shares with others through Redis."""

    connected: bool
    replica: str
    others: Annotated[int, Meta(description="Replicas that were heard lately.")]
    sent: int
    heard: int
    dropped: int
    refused: int


class SharedLimits(Answer, frozen=True):
    """How limits and budgets of keys are kept together with other replicas."""

    connected: bool
    alone: Annotated[int, Meta(description="Decisions made without Redis.")]
    lost: Annotated[int, Meta(description="Settlements that could not be kept.")]


class Targets(Answer, frozen=True):
    targets: list[Target]
    sharing: Annotated[Sharing | None, Meta(description="null: `server.redis` is not set.")]
    limits: Annotated[SharedLimits | None, Meta(description="null: limits of keys are this process's alone.")]


class Commanded(Answer, frozen=True):
    """The target since the command, with each of its keys."""

    targets: list[Target]


class Change(Answer, frozen=True):
    number: int
    at: float
    what: Literal["cooldown", "cooldown_over", "breaker_open", "breaker_closed", "limited", "drained", "reopened"]
    target: str
    scope: str
    why: str
    seconds: Annotated[float | None, Meta(description="How long; null: it is over, or open-ended.")]


class Events(Answer, frozen=True):
    events: Annotated[list[Change], Meta(description="The latest thousand, oldest first.")]
    started: Annotated[float, Meta(description="When the gateway was started: it numbers events from 1 again then.")]


class Kept(Answer, frozen=True):
    id: Annotated[str, Meta(description="The id of what was kept.")]


# -- the ledger --------------------------------------------------------------------------------------------------------


class Tokens(Answer, frozen=True):
    """As billed, or estimated. `input` includes what was cached, `output` includes `reasoning`."""

    input: int | None
    output: int | None
    cached_read: int | None
    cached_write: int | None
    reasoning: int | None
    estimated: bool


class Cost(Answer, frozen=True):
    usd: float
    price_version: Annotated[str, Meta(description="Which prices said so.")]


class Seam(Answer, frozen=True):
    """Where an answer was continued."""

    characters: Annotated[int | None, Meta(description="After so many.")]
    attempt: Annotated[int, Meta(description="By the attempt of this number, from 0.")]
    way: str


class Exchange(Answer, frozen=True):
    """One client request and what came of it."""

    id: str
    wall: Annotated[float, Meta(description="When it began.")]
    route: str
    dialect: Annotated[str, Meta(description="The client's.")]
    model: Annotated[str, Meta(description="What the client asked for.")]
    stream: bool
    outcome: Annotated[str, Meta(description="answered, failed, broken, client_left or stopped.")]
    status: Annotated[int | None, Meta(description="What the client got.")]
    target: Annotated[str | None, Meta(description="Who answered last; null: nobody was tried.")]
    key: Annotated[str | None, Meta(description="The id of a virtual key.")]
    session: str | None
    task: str | None
    end_user: str | None
    tags: list[str]
    tokens: Tokens | None
    cost: Annotated[Cost | None, Meta(description="null: nobody knows; never 0.")]
    first_content: Annotated[float | None, Meta(description="Seconds since the beginning.")]
    total: Annotated[float | None, Meta(description="Seconds since the beginning.")]
    seams: list[Seam]
    attempts: Annotated[int, Meta(description="How many.")]


class Exchanges(Answer, frozen=True):
    exchanges: Annotated[list[Exchange], Meta(description="Newest first.")]
    next: Annotated[str | None, Meta(description="`after` of the following page; null: there is none.")]


class Loss(Answer, frozen=True):
    """What a target's dialect could not carry."""

    field: str
    why: str
    kind: Literal["dropped", "approximated"]


class Attempt(Answer, frozen=True):
    """One try at one target. Clocks are seconds since the exchange began; null is what did not happen."""

    target: str
    started: float
    ended: float | None
    connected: float | None
    head: float | None
    first_content: float | None
    reaction: str | None
    fault: Annotated[str | None, Meta(description="A kind of the fault table.")]
    fault_phase: str | None
    fault_status: int | None
    fault_code: str | None
    fault_message: str
    retry_after: float | None
    request_id: Annotated[str | None, Meta(description="The provider's.")]
    skipped: int
    way: Annotated[str | None, Meta(description="How it went on with an answer that another had begun.")]
    tokens: Tokens | None
    cost: Cost | None
    losses: list[Loss]


class LedgerEvent(Answer, frozen=True):
    id: str
    wall: float
    kind: str
    target: str | None
    detail: Any


class Judgement(Answer, frozen=True):
    """Feedback without words: these are in `/admin/feedback`, for who may read them."""

    id: str
    wall: float
    by: Annotated[str | None, Meta(description="The id of a virtual key.")]
    score: float | None
    label: str | None


class BodyFacts(Answer, frozen=True):
    side: Literal["request", "answer"]
    content_type: str
    size: Annotated[int, Meta(description="Bytes that there were.")]
    kept: Annotated[int, Meta(description="Bytes of them that were kept.")]


class TimeLine(Answer, frozen=True):
    """One exchange with all that belongs to it, but for words."""

    exchange: Exchange
    attempts: list[Attempt]
    events: list[LedgerEvent]
    feedback: list[Judgement]
    bodies: Annotated[list[BodyFacts], Meta(description="Which there are.")]


class Body(BodyFacts, frozen=True):
    """`data` is text where it is UTF-8, else Base64, as `encoding` says."""

    encoding: Literal["utf-8", "base64"]
    data: str


class Usage(Answer, frozen=True):
    """Sums of what is known; `…_unknown` count the exchanges about which nothing is."""

    group: Annotated[dict[str, str | None], Meta(description="What they have in common; null: not given.")]
    exchanges: int
    answered: int
    attempts: int
    input: int
    output: int
    cached_read: int
    cached_write: int
    reasoning: int
    usage_estimated: int
    usage_unknown: int
    cost_usd: Annotated[float | None, Meta(description="null: unknown of all.")]
    cost_unknown: int
    seconds: float


class Usages(Answer, frozen=True):
    usage: Annotated[list[Usage], Meta(description="Most exchanges first.")]


class FeedbackEntry(Answer, frozen=True):
    """What somebody thought of an answer."""

    id: str
    exchange: str
    wall: float
    by: Annotated[str | None, Meta(description="The id of a virtual key.")]
    score: Annotated[float | None, Meta(description="From 0 to 1.")]
    label: str | None
    comment: str | None
    corrected: Annotated[str | None, Meta(description="The answer that it should have been.")]


class FeedbackPage(Answer, frozen=True):
    feedback: Annotated[list[FeedbackEntry], Meta(description="Newest first.")]
    next: str | None


class Audit(Answer, frozen=True):
    """Who did what."""

    id: str
    wall: float
    actor: Annotated[str, Meta(description="A virtual key's id, `server.admin_keys`, `anybody` or `command line`.")]
    action: str
    subject: str
    outcome: str
    detail: Any


class AuditPage(Answer, frozen=True):
    audit: Annotated[list[Audit], Meta(description="Newest first.")]
    next: str | None


class Purged(Answer, frozen=True):
    confirmed: Annotated[bool, Meta(description="false: nothing was deleted, it was only counted.")]
    rows: Annotated[dict[str, int], Meta(description="Rows that were deleted, or would be, by table.")]
    left: Annotated[int, Meta(description="Exchanges that match what was asked, now.")]


class LedgerState(Answer, frozen=True):
    """How the ledger is. What is queued or spooled is not yet in what the other operations show."""

    queued: Annotated[int, Meta(description="Records that wait in memory.")]
    spooled: Annotated[int, Meta(description="Bytes that wait on disk.")]
    written: Annotated[int, Meta(description="Records written since the start.")]
    lost: Annotated[dict[str, int], Meta(description="Records that were given up, by reason.")]
    lag: Annotated[float, Meta(description="Seconds for which the oldest record has waited in memory.")]
    error: Annotated[str | None, Meta(description="What fails at present.")]
    database: Literal["sqlite", "postgresql"]


# -- keys --------------------------------------------------------------------------------------------------------------


class Spent(Answer, frozen=True):
    """What was spent of a budget in its day or month, as noted a second ago at most."""

    unit: Literal["usd", "tokens"]
    per: Literal["day", "month"]
    zone: str
    start: Annotated[float, Meta(description="When that day or month began.")]
    spent: float
    unpriced: Annotated[int, Meta(description="Calls whose cost nobody knew.")]


class Key(Answer, frozen=True):
    """A virtual key: nothing in it opens anything."""

    id: str
    name: str
    owner: str
    role: Literal["admin", "operator", "auditor", "user"]
    hint: Annotated[str, Meta(description="Its last four characters.")]
    disabled: bool
    created: float
    expires: float | None
    used: Annotated[str | None, Meta(description="The last day of use, in UTC.")]
    routes: list[str]
    store: Annotated[
        Literal["none", "metadata", "bodies"] | None,
        Meta(description="The most that the ledger keeps of its calls; null: as routes say."),
    ]
    limits: list[str]
    budgets: list[str]
    tags: dict[str, str]
    former_until: Annotated[list[float], Meta(description="Until when keys before a rotation still open.")]
    spent: list[Spent]


class Keys(Answer, frozen=True):
    keys: list[Key]


class Removed(Answer, frozen=True):
    """The key that is gone."""

    id: str
    name: str


class Secret(Answer, frozen=True):
    """A key that was made or rotated."""

    key: Key
    secret: Annotated[str, Meta(description="The key itself. Shown this once, and kept nowhere.")]


# -- errors ------------------------------------------------------------------------------------------------------------


class Error(Answer, frozen=True):
    message: Annotated[str, Meta(description="What was wrong, where, and what to do.")]
    type: Literal["invalid_request_error", "server_error"]
    param: Annotated[str | None, Meta(description="Which part of the request.")]
    code: Annotated[str, Meta(description="For programs.")]


class Failed(Answer, frozen=True):
    """Every error has this shape, which is that of OpenAI's API."""

    error: Error
