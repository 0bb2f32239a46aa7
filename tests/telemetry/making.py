"""Finished exchanges as the gateway records them."""

from decimal import Decimal

from understudy import clock
from understudy.canon import Fault, Loss, Usage
from understudy.gateway import surface
from understudy.gateway.call import Call
from understudy.gateway.record import Attempt, Exchange, Hit
from understudy.ledger.cost import Charge
from understudy.resilience import Health

CANARY = "sk-canary-0123456789abcdef"


class _Route:
    def __init__(self, name):
        self.name = name
        self.deadline = 60.0


class _Target:
    label = ""

    def __init__(self, name):
        self.name = name


def attempt(
    target="openai/gpt-5", *, after=0.0, lasts=2.0, first=0.5, fault=None, action="answered", way=None, usage=None
):
    made = Attempt(_Target(target))
    made.started += after
    made.first_content = None if first is None else made.started + first
    made.ended = made.started + lasts
    made.fault, made.action, made.way, made.usage = fault, action, way, usage
    return made


def exchange(*attempts, route="gpt-5", outcome="answered", headers=None, lasts=3.0, stream=True):
    said = b'[{"role":"user","content":"hi"}]'
    body = b'{"model":"%s","stream":%s,"messages":%s}' % (CANARY.encode(), b"true" if stream else b"false", said)
    call = Call(body, {b"authorization": CANARY.encode(), **(headers or {})}, surface.DOORS["/v1/chat/completions"])
    made = Exchange(call, _Route(route), Health())
    made.attempts = list(attempts)
    made.status, made.outcome, made.ended = 200, outcome, made.started + lasts
    return made


def switched(**changes):
    """A call that failed at one target, was begun by the next and gone on with by a third."""
    failed = attempt(first=None, lasts=0.5, fault=Fault("overloaded", 529, message=CANARY), action="fail_over")
    broke = attempt(
        "anthropic/opus", after=0.5, lasts=1.0, fault=Fault("stream_broken", message=CANARY, phase="stream"),
        action="fail_over", usage=Usage(100, 7, estimated=True),
    )  # fmt: skip
    went_on = attempt(
        "local/smollm2-135m", after=1.5, lasts=1.5, way="prefill",
        usage=Usage(107, 20, cached_read=50, cached_write=0, reasoning=5, extra={"note": CANARY}),
    )  # fmt: skip
    went_on.losses.append(Loss(f"messages[0].{CANARY}", "dropped it"))
    return exchange(failed, broke, went_on, **changes)


def given_again(*, saved):
    """A call that the cache answered, which saved so many micro-dollars."""
    made = exchange(route="gpt-5")
    made.cache = "hit"
    made.hit = Hit("ex_1", "openai/gpt-5", 5.0, Usage(1, 1))
    made.hit.charge = None if saved is None else Charge(Decimal(saved) / 1_000_000, "list", "1")
    return made


def frozen():
    return clock.frozen()
