"""What is known of all targets together: who is ready, who must wait, what an attempt's end changes and who is told."""

import math

import msgspec
import pytest

from understudy.canon import Fault
from understudy.resilience import Cooling, Health, Place, Reaction
from understudy.resilience.health import Change


class Target(msgspec.Struct, frozen=True):
    place: Place
    cooldown: bool = True


A, B = (Target(Place(name, "m", f"http://{name}", "k")) for name in "ab")
BENCH = Target(Place("bench", "m", "http://bench", "k"), cooldown=False)
SURFACE = Reaction("surface")
BROKEN = Fault("internal")


def failing(health, target=A, *, times=1, reaction=SURFACE):
    for _ in range(times):
        health.obstacle(target, 1, 0.0)
        health.failed(target, 0.0, BROKEN, reaction, 0.0)


def told(health):
    changes = []
    health.tell.append(changes.append)
    return changes


def test_in_good_health_everybody_is_ready_and_nothing_is_copied():
    targets = (A, B)
    assert Health().ready(targets, 0.0) is targets


def test_who_cools_down_is_left_out_until_it_is_over():
    health = Health()
    failing(health, reaction=Reaction("fail_over", cooling=Cooling("model", 10.0)))
    assert health.ready((A, B), 1.0) == [B]
    obstacle = health.obstacle(A, 1, 1.0)
    assert (obstacle.why, obstacle.wait, obstacle.kind) == ("cooldown", 9.0, "internal")
    assert health.ready((A, B), 10.0) == [A, B]


def test_five_failures_open_a_breaker_and_one_call_at_a_time_probes_it():
    health = Health()
    failing(health, times=5)
    assert health.ready((A, B), 1.0) == [B]
    assert health.lasting(A, 5.0) is None
    assert health.obstacle(A, 1, 5.0) is None  # the probe
    assert health.obstacle(A, 1, 5.0).why == "breaker"
    health.answered(A, 5.0, 5.1, 5.2)
    assert health.obstacle(A, 1, 5.3) is None


def test_a_probe_that_ends_without_a_word_lets_the_next_try():
    health = Health()
    failing(health, times=5)
    assert health.obstacle(A, 1, 5.0) is None
    health.dropped(A, 5.0, 5.1)
    assert health.obstacle(A, 1, 5.2) is None


def test_a_target_for_test_benches_is_never_refused():
    health = Health()
    failing(health, BENCH, times=20, reaction=Reaction("fail_over", cooling=Cooling("model", math.inf)))
    assert health.ready((BENCH,), 1.0) == (BENCH,)
    assert health.obstacle(BENCH, 1, 1.0, moved=True) is None


def test_when_nobody_is_left_one_call_a_second_may_try():
    health = Health()
    failing(health, reaction=Reaction("fail_over", cooling=Cooling("model", 60.0)))
    assert health.spell(A, 1.0)
    assert not health.spell(A, 1.5)
    assert health.spell(A, 2.0)


def test_but_nobody_tries_what_is_drained_or_behind_an_open_breaker():
    health = Health()
    failing(health, times=5)
    assert not health.spell(A, 1.0)
    health.drain(B.place)
    assert not health.spell(B, 1.0)


def test_load_that_moves_is_let_in_step_by_step():
    health = Health()
    at_once = sum(health.obstacle(A, 1, 0.0, moved=True) is None for _ in range(100))
    assert at_once == 10
    obstacle = health.obstacle(A, 1, 0.0, moved=True)
    assert (obstacle.why, obstacle.passing) == ("limit", True)
    assert 0 < obstacle.wait <= 0.1


@pytest.mark.parametrize("ending", ["answered", "failed", "dropped"])
def test_every_ending_gives_the_place_back(ending):
    health = Health()
    assert health.obstacle(A, 1, 0.0) is None
    if ending == "answered":
        health.answered(A, 0.0, 0.1, 0.2)
    elif ending == "failed":
        health.failed(A, 0.0, BROKEN, SURFACE, 0.2)
    else:
        health.dropped(A, 0.0, 0.2)
    assert health.limiter.flying(A.place) == 0


def test_retries_have_a_budget():
    health = Health()
    health.sent(A, 100.0, 0.0, first=True)
    allowed = 0
    while health.may_retry(A, 100.0, 0.0) and allowed < 100:
        health.sent(A, 100.0, 0.0, first=False)
        allowed += 1
    assert allowed == 10  # the floor: a fifth of one call is none


def test_changes_are_told_once():
    health = Health()
    changes = told(health)
    failing(health, times=6, reaction=Reaction("fail_over", cooling=Cooling("model", 10.0)))
    assert [change.what for change in changes].count("breaker_open") == 1
    assert [change.what for change in changes].count("cooldown") == 1
    health.answered(A, 0.0, 0.1, 20.0)
    assert {"cooldown_over", "breaker_closed"} <= {change.what for change in changes}


def test_a_command_drains_and_reopens():
    health = Health()
    changes = told(health)
    health.drain(A.place)
    assert health.obstacle(A, 1, 0.0).why == "drained"
    assert math.isinf(health.lasting(A, 0.0).wait)
    health.reopen(A.place)
    assert health.obstacle(A, 1, 0.0) is None
    assert [change.what for change in changes] == ["drained", "reopened"]


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (Change("cooldown", A.place, "model", "overloaded", 10.0), "cooldown"),
        (Change("breaker_open", A.place, kind="internal", seconds=10.0), "breaker"),
        (Change("drained", A.place, "model", "operator"), "drained"),
    ],
)
def test_what_another_replica_found_is_taken_over_silently_and_undone(change, state):
    health = Health()
    changes = told(health)
    health.apply(change, 0.0)
    assert health.lasting(A, 1.0).why == state
    health.apply(Change("reopened", A.place), 1.0)
    assert health.lasting(A, 1.0) is None
    assert changes == []
