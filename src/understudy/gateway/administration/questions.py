"""What is asked of the admin API: parts of paths, query strings, bodies. The OpenAPI document says what stands here.

What is not given is UNSET, never None: a query string has no null.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from understudy.access.keys import Kept, Role

MOST = 500
"""Lines of a page."""

_DAY = 86400.0
_TEXT = r"^[^\x00]*$"

Moment = Annotated[float, Meta(ge=0, le=1e11)]
Word = Annotated[str, Meta(min_length=1, max_length=200, pattern=_TEXT)]
EndUser = Annotated[str, Meta(min_length=1, max_length=256, pattern=_TEXT)]
Identity = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,100}$", examples=["ex_6b070b89"])]
Since = Annotated[Moment, Meta(description="Unix seconds: from then on.")]
Until = Annotated[Moment, Meta(description="Unix seconds: before then.")]
After = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{1,12}(\.[0-9]{1,20})?~[A-Za-z0-9_-]{1,100}$",
        description="The `next` of the page before, as it was. Without, the newest.",
    ),
]
Limit = Annotated[int, Meta(ge=1, le=MOST, description="Lines of a page, at most.")]
By = Literal["route", "target", "key", "task", "day", "hour"]
Outcome = Literal["answered", "failed", "broken", "client_left", "stopped"]


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all of them are."""


def given(question: Question) -> dict[str, Any]:
    """What was asked, without what was left out."""
    return {name: value for name, value in msgspec.structs.asdict(question).items() if value is not UNSET}


# -- the running gateway -----------------------------------------------------------------------------------------------


class Events(Question, frozen=True):
    since: Annotated[int, Meta(ge=0, lt=10**18, description="The number of an event; later ones are shown.")] = 0


# -- the ledger --------------------------------------------------------------------------------------------------------


class ExchangePlace(Question, frozen=True):
    id: Annotated[Identity, Meta(description="The exchange's id, as in `x-understudy-exchange`.")]


class BodyPlace(Question, frozen=True):
    id: Annotated[Identity, Meta(description="The exchange's id.")]
    side: Annotated[Literal["request", "answer"], Meta(description="What the client sent, or the answer as it saw it.")]


class Exchanges(Question, frozen=True, kw_only=True):
    """Exchanges that match all that is given."""

    since: Since | UnsetType = UNSET
    until: Until | UnsetType = UNSET
    route: Annotated[Word, Meta(description="The route's name.")] | UnsetType = UNSET
    target: Annotated[Word, Meta(description="The target that answered last.")] | UnsetType = UNSET
    key: Annotated[Word, Meta(description="The id of a virtual key.")] | UnsetType = UNSET
    task: Annotated[Word, Meta(description="As the client named it.")] | UnsetType = UNSET
    session: Annotated[Word, Meta(description="As the client named it.")] | UnsetType = UNSET
    end_user: Annotated[EndUser, Meta(description="Whom the client called for.")] | UnsetType = UNSET
    tag: Annotated[Word, Meta(description="One of the client's tags.")] | UnsetType = UNSET
    model: Annotated[Word, Meta(description="The model that the client asked for.")] | UnsetType = UNSET
    outcome: Annotated[Outcome, Meta(description="How it ended.")] | UnsetType = UNSET
    status: Annotated[int, Meta(ge=100, le=599, description="The HTTP status that the client got.")] | UnsetType = UNSET
    failed: Annotated[bool, Meta(description="true: only those whose client did not get its whole answer.")] = False
    after: After | UnsetType = UNSET
    limit: Limit = 50


class Usage(Question, frozen=True, kw_only=True):
    """Sums over a span. Whole hours cost next to nothing, however many exchanges they hold."""

    by: Annotated[
        list[By], Meta(max_length=6, description="Sums by this; several: by their combinations. Default: route.")
    ] = []
    since: Since | UnsetType = UNSET
    until: Until | UnsetType = UNSET
    route: Annotated[Word, Meta(description="Only this route.")] | UnsetType = UNSET
    target: Annotated[Word, Meta(description="Only this target.")] | UnsetType = UNSET
    key: Annotated[Word, Meta(description="Only the virtual key with this id.")] | UnsetType = UNSET
    task: Annotated[Word, Meta(description="Only this task.")] | UnsetType = UNSET


class FeedbackList(Question, frozen=True, kw_only=True):
    exchange: Annotated[Word, Meta(description="Only of this exchange.")] | UnsetType = UNSET
    since: Since | UnsetType = UNSET
    until: Until | UnsetType = UNSET
    after: After | UnsetType = UNSET
    limit: Limit = 50


class AuditList(Question, frozen=True, kw_only=True):
    actor: Annotated[Word, Meta(description="Only what this one did: a key's id.")] | UnsetType = UNSET
    action: Annotated[Word, Meta(description="Only this action, such as `purge`.")] | UnsetType = UNSET
    since: Since | UnsetType = UNSET
    until: Until | UnsetType = UNSET
    after: After | UnsetType = UNSET
    limit: Limit = 50


class Purge(Question, frozen=True, kw_only=True):
    """Exchanges that match all that is given; one of `before`, `key`, `end_user` and `session` must be."""

    before: Annotated[Moment, Meta(description="Unix seconds: those that began before then.")] | UnsetType = UNSET
    key: Annotated[Word, Meta(description="Those of the virtual key with this id.")] | UnsetType = UNSET
    end_user: Annotated[EndUser, Meta(description="Those for this end user.")] | UnsetType = UNSET
    session: Annotated[Word, Meta(description="Those of this session.")] | UnsetType = UNSET
    bodies_only: Annotated[bool, Meta(description="Delete only what was asked and answered.")] = False
    confirm: Annotated[bool, Meta(description="true: delete. Else it is only counted what would be.")] = False


NARROWED = ("before", "key", "end_user", "session")

PurgeBody = Annotated[
    Purge, Meta(extra_json_schema={"anyOf": [{"type": "object", "required": [name]} for name in NARROWED]})
]

# -- keys --------------------------------------------------------------------------------------------------------------

Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        pattern=r"^[A-Za-z0-9._@:+-]+( [A-Za-z0-9._@:+-]+)*$",
        description="What to call it. Names are unique.",
        examples=["team-a"],
    ),
]
Owner = Annotated[str, Meta(max_length=200, pattern=_TEXT, description="Who answers for it.")]
RoleOf = Annotated[Role, Meta(description="What it may do.")]
Routes = Annotated[
    tuple[Word, ...],
    Meta(
        min_length=1, max_length=100, description="Routes and targets that it may ask for; `*` and `?` match.",
        examples=[["gpt-5", "openai/*"]],
    ),
]  # fmt: skip
Expires = Annotated[Moment | None, Meta(description="Unix seconds; null: never.")]
Keeps = Annotated[Kept | None, Meta(description="The most that the ledger keeps of its calls; null: as routes say.")]
Disabled = Annotated[bool, Meta(description="true: it opens nothing until that is taken back.")]
Limits = Annotated[
    list[
        Annotated[
            str,
            Meta(pattern=r"^((requests|tokens)=[0-9]{1,12}/(second|minute|hour|day)|parallel=[0-9]{1,12})$"),
        ]
    ],
    Meta(max_length=20, description="Rate limits.", examples=[["requests=100/minute", "parallel=8"]]),
]
Budgets = Annotated[
    list[
        Annotated[
            str,
            Meta(
                max_length=100,
                pattern=r"^(usd=[0-9]{1,6}(\.[0-9]{1,6})?|tokens=[0-9]{1,12})/(day|month)(,soft)?"
                r"(,zone=[A-Za-z0-9_+/-]+)?(,unknown=allow)?$",
            ),
        ]
    ],
    Meta(
        max_length=20, description="Budgets; a zone is one of the time zone database.",
        examples=[["usd=20/day", "tokens=1000000/month,soft,zone=Europe/Berlin"]],
    ),
]  # fmt: skip
Tags = Annotated[
    dict[Annotated[str, Meta(min_length=1, max_length=100)], Annotated[str, Meta(max_length=200)]],
    Meta(max_length=50, description="For reports.", examples=[{"team": "search"}]),
]


class KeyPlace(Question, frozen=True):
    name: Annotated[Word, Meta(description="The key's name or id; never the key itself.", examples=["team-a"])]


class Creation(Question, frozen=True, kw_only=True):
    name: Name
    owner: Owner = ""
    role: RoleOf = "user"
    routes: Routes = ("*",)
    store: Keeps = None
    expires: Expires = None
    disabled: Disabled = False
    limits: Limits = []
    budgets: Budgets = []
    tags: Tags = {}


class Alteration(Question, frozen=True, kw_only=True):
    """What is given replaces what was set; what is not stays."""

    owner: Owner | UnsetType = UNSET
    role: RoleOf | UnsetType = UNSET
    routes: Routes | UnsetType = UNSET
    store: Keeps | UnsetType = UNSET
    expires: Expires | UnsetType = UNSET
    disabled: Disabled | UnsetType = UNSET
    limits: Limits | UnsetType = UNSET
    budgets: Budgets | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET


class Rotation(Question, frozen=True):
    overlap: Annotated[
        float,
        Meta(ge=0, le=366 * _DAY, description="Seconds for which the key before still opens. 0: all former end now."),
    ] = _DAY
