"""What happened to a call, as the ledger, the demo and the operator will see it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from understudy import clock
from understudy.canon import Fault, Loss, Usage
from understudy.dialects import StreamEncoder
from understudy.gateway.call import Call
from understudy.gateway.routing import Route, Target

if TYPE_CHECKING:
    from understudy.access import Verdict
    from understudy.gateway.omissions import Omission
    from understudy.gateway.splicing import Splice
    from understudy.gateway.trail import Trail
    from understudy.ledger.consent import Store
    from understudy.ledger.cost import Charge
    from understudy.resilience import Health, Mark, Way

Headers = list[tuple[bytes, bytes]]

Outcome = Literal["answered", "failed", "broken", "client_left", "stopped"]
"""`failed`: the client got an error and nothing else. `broken`: the answer had begun and ended with an error."""


_PREFIX = f"ex_{int(clock.wall()):08x}{clock.token(6)}"
_COUNT = itertools.count(1)
"""Exchange ids are unique among all processes, and sort by time within one; a random one each would cost more."""


class Attempt:
    """One try of an exchange at one target. Times are `clock.monotonic` seconds, None for what did not happen.

    `skipped` counts events of a stream that could not be read and were left out. `losses` are what translation could
    not carry: of the request from the start, of the answer as it came. `way` is how it was to go on with an answer
    that another attempt had begun. `usage` is what the provider said of its tokens; of a whole answer that was passed
    on as it came it stands in `answer`, unread. `answered_by` and `tier` are the model and the service tier that the
    answer names, for its price; `charge` is what it cost, once that has been looked up.
    """

    __slots__ = (
        "action",
        "answer",
        "answered_by",
        "charge",
        "connected",
        "ended",
        "fault",
        "first_content",
        "head",
        "label",
        "losses",
        "mark",
        "skipped",
        "started",
        "target",
        "tier",
        "usage",
        "way",
    )

    def __init__(self, target: Target) -> None:
        self.target = target.name
        self.label = target.label
        self.started = clock.monotonic()
        self.connected: float | None = None
        self.head: float | None = None
        self.first_content: float | None = None
        self.ended: float | None = None
        self.skipped = 0
        self.losses: list[Loss] = []
        self.fault: Fault | None = None
        self.action: str | None = None
        self.way: Way | None = None
        self.usage: Usage | None = None
        self.answer: bytes | None = None
        self.answered_by = ""
        self.tier: str | None = None
        self.charge: Charge | None = None
        self.mark: Mark | None = None


class Hit(msgspec.Struct):
    """An answer out of the cache: `exchange` had it first, from `target`, `age` seconds ago, for `usage`. `charge` is
    what that would have cost now, once that has been looked up.
    """

    exchange: str
    target: str
    age: float
    usage: Usage | None
    charge: Charge | None = None


_NONE: Mapping[str, tuple[Omission, ...]] = {}


class Exchange:
    """A call, its route and its attempts. `outcome` is None while it runs; `wall` is the Unix time of its start.

    `health` is what is known of the targets. `encoder` writes the client's stream, if that is a translated one and has
    begun. `trail` is what was sent of a stream, and `splice` how it goes on, once it broke off. `omissions` are what
    targets would not take, by their names. `status` is what the client was shown. `verdict` is what admitted the call,
    where its key has limits, and `told` the headers that say so. `consent` is what the key lets be kept. `left_out`
    says of targets that the call must not go to why that is so. `cache` says what the cache had to do with it, where
    the route has one, and `hit` what it gave.
    """

    __slots__ = (
        "attempts", "cache", "call", "consent", "deadline", "encoder", "ended", "health", "hit", "id", "left_out",
        "omissions",
        "outcome", "route", "splice", "started", "status", "told", "trail", "verdict", "wall",
    )  # fmt: skip

    def __init__(self, call: Call, route: Route, health: Health) -> None:
        self.wall = clock.wall()
        self.started = clock.monotonic()
        self.id = f"{_PREFIX}{next(_COUNT):08x}"
        self.deadline = self.started + route.deadline
        self.call = call
        self.route = route
        self.health = health
        self.attempts: list[Attempt] = []
        self.encoder: StreamEncoder | None = None
        self.trail: Trail | None = None
        self.splice: Splice | None = None
        self.omissions: Mapping[str, tuple[Omission, ...]] = _NONE
        self.left_out: Sequence[str] = ()
        self.status: int | None = None
        self.verdict: Verdict | None = None
        self.told: Headers = []
        self.consent: Store | None = None
        self.ended: float | None = None
        self.outcome: Outcome | None = None
        self.cache: Literal["hit", "miss", "bypass"] | None = None
        self.hit: Hit | None = None


class Failure(msgspec.Struct, frozen=True):
    """A fault, and the provider's answer word for word where it gave one, to pass on if nobody does better.

    `told` is what clients hear of it, where that is not the fault's own words.
    """

    fault: Fault
    status: int = 0
    headers: Headers = []
    body: bytes = b""
    dialect: str = ""
    told: str = ""
