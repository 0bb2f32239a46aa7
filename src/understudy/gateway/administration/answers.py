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
    continues: Annotated[Any, Meta(description="How it goes on with an answer that another has begun; null: not.")]


class Sharing(Answer, frozen=True):
    """What this replica shares with others through Redis."""

    connected: bool
    replica: str
    others: Annotated[int, Meta(description="Replicas that were heard lately.")]
    sent: int
    heard: int
    dropped: int
    refused: int


class Targets(Answer, frozen=True):
    targets: list[Target]
    sharing: Annotated[Sharing | None, Meta(description="null: `server.redis` is not set.")]


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
