import math

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from understudy.resilience import Cooldowns, Place, Quotas, arrange, rotate


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


# --- orders ----------------------------------------------------------------------------------------------------------


class Weighted(msgspec.Struct, frozen=True):
    name: str
    rank: int = 0
    weight: float = 1.0
    load: float = 0.0
    cooldown: bool = True

    @property
    def place(self):
        return Place("p", self.name)


def rank(target):
    return target.rank


def weight(target):
    return target.weight


def load(target):
    return target.load


def names(targets):
    return "".join(target.name for target in targets)


HEAVY, LIGHT, NEVER = Weighted("h", weight=3), Weighted("l", weight=1), Weighted("n", weight=0)
CONVERSATIONS = [f"conversation {number}" for number in range(3000)]


def test_weights_are_kept_in_proportion():
    firsts = [
        names(arrange((LIGHT, HEAVY, NEVER), "weighted", chance=step / 1000, weight=weight)) for step in range(1000)
    ]
    assert sum(order.startswith("h") for order in firsts) == 750
    assert all(order.endswith("n") for order in firsts)


def test_one_number_decides_about_all_places_of_the_order():
    orders = [names(arrange((A, B, C), "weighted", chance=step / 600)) for step in range(600)]
    assert {order: orders.count(order) for order in set(orders)} == {
        "abc": 100, "acb": 100, "bac": 100, "bca": 100, "cab": 100, "cba": 100,
    }  # fmt: skip


def test_the_least_loaded_goes_first_and_equals_stay_as_listed():
    targets = (Weighted("a", load=2), Weighted("b", load=0.5), Weighted("c", load=2))
    assert names(arrange(targets, "least_loaded", load=load)) == "bac"
    assert names(arrange(targets, "least_loaded")) == "abc"


def test_a_lower_rank_comes_first_whatever_the_load():
    targets = (Weighted("a", rank=2), Weighted("b", rank=1, load=9), Weighted("c", rank=1, load=8))
    assert names(arrange(targets, "least_loaded", load=load, rank=rank)) == "cba"


def test_a_conversation_stays_with_its_target():
    for key in CONVERSATIONS[:50]:
        first = arrange((A, B, C), "weighted", affinity=key, chance=0.1)
        assert first == arrange((C, A, B), "least_loaded", affinity=key, chance=0.9)


def test_conversations_are_spread_evenly_or_by_weight():
    firsts = [names(arrange((A, B, C), "weighted", affinity=key))[0] for key in CONVERSATIONS]
    for name in "abc":
        assert 900 < firsts.count(name) < 1100
    firsts = [
        names(arrange((HEAVY, LIGHT, NEVER), "weighted", affinity=key, weight=weight))[0] for key in CONVERSATIONS
    ]
    assert 2150 < firsts.count("h") < 2350
    assert firsts.count("n") == 0


def test_when_a_target_is_left_out_only_its_own_conversations_move():
    for key in CONVERSATIONS[:300]:
        whole = arrange((A, B, C), "weighted", affinity=key)
        without = arrange((A, C), "weighted", affinity=key)
        assert without == [target for target in whole if target is not B]


def test_affinity_does_not_reach_beyond_a_rank():
    targets = (Weighted("a", rank=1), Weighted("b", rank=1), Weighted("c", rank=2))
    orders = {names(arrange(targets, "listed", affinity=key, rank=rank)) for key in CONVERSATIONS[:50]}
    assert orders == {"abc", "bac"}
    assert names(arrange(targets, "listed", affinity="x")) == "abc"


def test_an_affinity_that_is_no_proper_text_is_one_all_the_same():
    assert arrange((A, B), "weighted", affinity="\ud800\0\n")


@given(
    st.lists(st.builds(Weighted, st.sampled_from("abcdef"), st.integers(0, 2), st.sampled_from([0, 0.5, 1, 7]),
                       st.floats(0, 9)), min_size=1, unique_by=lambda target: target.name),
    st.sampled_from(["listed", "weighted", "least_loaded"]),
    st.floats(0, 1, exclude_max=True),
    st.text(max_size=5),
    st.booleans(),
)  # fmt: skip
def test_no_order_loses_or_invents_a_target_or_breaks_the_ranks(targets, order, chance, affinity, ranked):
    arranged = arrange(
        targets,
        order,
        chance=chance,
        affinity=affinity,
        rank=rank if ranked else None,
        weight=weight,
        load=load,
    )
    assert sorted(names(arranged)) == sorted(names(targets))
    if ranked:
        assert [target.rank for target in arranged] == sorted(target.rank for target in targets)


# --- keys ------------------------------------------------------------------------------------------------------------

KEYS = [Place("openai", "gpt-5", "https://api", f"env:{name}") for name in "ABC"]


def keys(places):
    return "".join(place.key[-1] for place in places)


def left(quotas, place, remaining, now=0.0):
    quotas.heard(place, [(b"x-ratelimit-limit-tokens", b"1000"), (b"x-ratelimit-remaining-tokens", remaining)], now)


def test_equal_keys_take_turns():
    quotas, cooldowns = Quotas(), Cooldowns()
    assert [keys(rotate(KEYS, cooldowns, quotas, 1, turn=turn)) for turn in range(4)] == ["ABC", "BCA", "CAB", "ABC"]
    assert keys(rotate(KEYS[:1], cooldowns, quotas, 1, turn=7)) == "A"


def test_the_key_with_most_quota_left_goes_first():
    quotas = Quotas()
    for place, remaining in zip(KEYS, (b"300", b"900", b"600"), strict=True):
        left(quotas, place, remaining)
    assert keys(rotate(KEYS, Cooldowns(), quotas, 0, tokens=100, turn=2)) == "BCA"


def test_a_key_that_cannot_take_the_call_now_comes_after_those_that_can():
    quotas = Quotas()
    left(quotas, KEYS[0], b"900")
    quotas.heard(KEYS[1], [(b"x-ratelimit-limit-tokens", b"9000"), (b"x-ratelimit-remaining-tokens", b"4000")], 0)
    assert keys(rotate(KEYS[:2], Cooldowns(), quotas, 0, tokens=500)) == "AB"
    assert keys(rotate(KEYS[:2], Cooldowns(), quotas, 0, tokens=2000)) == "BA"


def test_a_key_that_cools_down_comes_last_and_the_longest_of_all():
    quotas, cooldowns = Quotas(), Cooldowns()
    cooldowns.start(KEYS[0], "key", "bad_key", 0, math.inf)
    cooldowns.start(KEYS[1], "key-model", "rate_limit", 0, 10)
    left(quotas, KEYS[2], b"0")
    assert keys(rotate(KEYS, cooldowns, quotas, 1)) == "CBA"
