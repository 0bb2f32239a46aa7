import math

import pytest

from understudy.resilience import Cooldowns, Place, seconds_left

HERE = Place("openai", "gpt-5", "https://api", "env:A")
OTHER_MODEL = Place("openai", "gpt-5-mini", "https://api", "env:A")
OTHER_KEY = Place("openai", "gpt-5", "https://api", "env:B")
OTHER_PROVIDER = Place("azure", "gpt-5", "https://azure", "env:A")
SAME_ENDPOINT = Place("proxy", "x", "https://api", "env:C")


@pytest.mark.parametrize(
    ("scope", "also"),
    [
        ("endpoint", {OTHER_MODEL, OTHER_KEY, SAME_ENDPOINT}),
        ("key", {OTHER_MODEL}),
        ("account", {OTHER_MODEL}),
        ("key-model", set()),
        ("model", {OTHER_KEY}),
        ("provider", {OTHER_MODEL, OTHER_KEY}),
    ],
)
def test_a_cooldown_reaches_as_far_as_its_scope(scope, also):
    cooldowns = Cooldowns()
    cooldowns.start(HERE, scope, "overloaded", now=100, seconds=10)
    others = {OTHER_MODEL, OTHER_KEY, OTHER_PROVIDER, SAME_ENDPOINT}
    assert {place for place in others if cooldowns.of(place, 101)} == also
    assert cooldowns.of(HERE, 101).scope == scope


def test_it_ends_when_its_time_is_over():
    cooldowns = Cooldowns()
    cooldowns.start(HERE, "model", "overloaded", now=100, seconds=10)
    assert cooldowns.of(HERE, 109.9).kind == "overloaded"
    assert cooldowns.of(HERE, 110) is None
    assert len(cooldowns.running) == 0
    assert cooldowns.of(HERE, 110) is None


def test_a_longer_one_is_not_cut_short_by_a_shorter_one():
    cooldowns = Cooldowns()
    first = cooldowns.start(HERE, "model", "overloaded", now=100, seconds=60)
    assert cooldowns.start(HERE, "model", "internal", now=101, seconds=5) is first
    assert cooldowns.start(HERE, "model", "internal", now=101, seconds=600).until == 701
    assert len(cooldowns.running) == 1


def test_of_several_the_longest_counts():
    cooldowns = Cooldowns()
    cooldowns.start(HERE, "endpoint", "unreachable", now=0, seconds=50)
    cooldowns.start(HERE, "provider", "region_refused", now=0, seconds=math.inf)
    cooldowns.start(HERE, "key", "bad_key", now=0, seconds=20)
    assert cooldowns.of(HERE, 1).kind == "region_refused"


def test_an_answer_ends_whatever_kept_the_target_out():
    cooldowns = Cooldowns()
    cooldowns.clear(HERE)
    cooldowns.start(HERE, "key", "bad_key", now=0, seconds=math.inf)
    cooldowns.start(HERE, "model", "overloaded", now=0, seconds=9)
    cooldowns.start(OTHER_PROVIDER, "model", "overloaded", now=0, seconds=9)
    cooldowns.clear(HERE)
    assert cooldowns.of(HERE, 1) is None
    assert cooldowns.of(OTHER_PROVIDER, 1) is not None


def test_what_only_a_person_can_end_has_no_seconds_left():
    cooldowns = Cooldowns()
    assert seconds_left(cooldowns.start(HERE, "key", "bad_key", 0, math.inf), 5) is None
    assert seconds_left(cooldowns.start(HERE, "model", "overloaded", 0, 8), 5) == 3
    assert seconds_left(cooldowns.start(HERE, "model", "overloaded", 0, 8), 50) == 0
