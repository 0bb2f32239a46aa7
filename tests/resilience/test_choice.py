import math

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from understudy.resilience import Cooldowns, Place, choose


class Target(msgspec.Struct, frozen=True):
    name: str
    cooldown: bool = True

    @property
    def place(self):
        return Place("p", self.name)


A, B, C = Target("a"), Target("b"), Target("c")


def cooling(**seconds):
    cooldowns = Cooldowns()
    for name, value in seconds.items():
        cooldowns.start(Place("p", name), "model", "overloaded", 0, value)
    return cooldowns


def test_without_cooldowns_nothing_is_left_out():
    targets = (A, B)
    assert choose(targets, cooling(), 1) is targets


def test_who_cools_down_is_left_out_and_the_order_is_kept():
    assert choose((A, B, C), cooling(b=10), 1) == [A, C]
    assert choose((A, B, C), cooling(b=10), 11) == [A, B, C]


def test_when_all_cool_down_the_least_bad_one_is_tried_once():
    assert choose((A, B, C), cooling(a=30, b=10, c=20), 1) == [B]
    assert choose((A, B), cooling(a=math.inf, b=math.inf), 1) == [A]


def test_a_target_for_test_benches_is_never_left_out():
    bench = Target("a", cooldown=False)
    assert choose((bench, B), cooling(a=30, b=10), 1) == [bench]


@given(st.lists(st.sampled_from("abcdef"), min_size=1, unique=True), st.dictionaries(st.sampled_from("abcdef"),
       st.floats(0.1, 100)), st.floats(0, 120))  # fmt: skip
def test_there_is_always_somebody_and_never_a_stranger(names, seconds, now):
    targets = [Target(name) for name in names]
    chosen = choose(targets, cooling(**seconds), now)
    assert chosen
    assert [target for target in targets if target in chosen] == list(chosen)
    free = [target for target in targets if seconds.get(target.name, 0) <= now]
    assert list(chosen) == free if free else len(chosen) == 1
