from hypothesis import given
from hypothesis import strategies as st

from understudy.resilience import Breakers, BreakerState, Place
from understudy.resilience.breaker import EASE, FIRST_OPEN, HALF_LIFE, LEASE, LONGEST_OPEN, THRESHOLD

HERE = Place("openai", "gpt-5", "https://api", "env:A")
OTHER_KEY = Place("openai", "gpt-5", "https://api", "env:B")


def opened(now=0.0):
    breakers = Breakers()
    for _ in range(THRESHOLD):
        breakers.failed(HERE, now)
    return breakers


def test_a_healthy_place_is_not_even_known():
    breakers = Breakers()
    breakers.succeeded(HERE, 1)
    breakers.released(HERE)
    assert breakers.admits(HERE, 1)
    assert len(breakers.troubled) == 0
    assert breakers.state(HERE, 1) == BreakerState("closed")


def test_five_failures_open_it_and_four_do_not():
    breakers = Breakers()
    for second in range(THRESHOLD - 1):
        breakers.failed(HERE, second)
        assert breakers.admits(HERE, second)
    breakers.failed(HERE, 4)
    assert not breakers.admits(HERE, 4)
    assert breakers.state(HERE, 4).name == "open"
    assert breakers.state(HERE, 4).until == 4 + FIRST_OPEN
    assert breakers.admits(OTHER_KEY, 4)


def test_failures_far_apart_do_not_add_up():
    breakers = Breakers()
    for time in range(20):
        breakers.failed(HERE, time * HALF_LIFE)
    assert breakers.state(HERE, 19 * HALF_LIFE).name == "closed"
    assert 1.9 < breakers.state(HERE, 19 * HALF_LIFE).failures < 2


def test_a_success_takes_back_half_of_the_failures():
    breakers = Breakers()
    for _ in range(4):
        breakers.failed(HERE, 0)
    breakers.succeeded(HERE, 0)
    assert breakers.state(HERE, 0).failures == 2
    breakers.failed(HERE, 0)
    breakers.failed(HERE, 0)
    assert breakers.admits(HERE, 0)
    breakers.failed(HERE, 0)
    assert not breakers.admits(HERE, 0)


def test_who_mostly_succeeds_is_forgotten():
    breakers = Breakers()
    breakers.failed(HERE, 0)
    breakers.succeeded(HERE, 0)
    breakers.succeeded(HERE, 0)
    assert len(breakers.troubled) == 0


def test_half_open_lets_one_probe_through_and_its_success_closes():
    breakers = opened()
    assert not breakers.admits(HERE, FIRST_OPEN - 0.1)
    assert breakers.state(HERE, FIRST_OPEN).name == "half-open"
    assert breakers.admits(HERE, FIRST_OPEN)
    assert not breakers.admits(HERE, FIRST_OPEN)
    assert not breakers.admits(HERE, FIRST_OPEN + 30)
    breakers.succeeded(HERE, FIRST_OPEN + 30)
    assert breakers.state(HERE, FIRST_OPEN + 30).name == "closed"
    for _ in range(THRESHOLD):
        assert breakers.admits(HERE, FIRST_OPEN + 30)
        breakers.failed(HERE, FIRST_OPEN + 30)
    assert not breakers.admits(HERE, FIRST_OPEN + 30)


def test_a_failed_probe_opens_again_for_twice_as_long_up_to_five_minutes():
    breakers, now = opened(), 0.0
    lengths = []
    for _ in range(9):
        until = breakers.state(HERE, now).until
        lengths.append(until - now)
        now = until
        assert breakers.admits(HERE, now)
        breakers.failed(HERE, now)
    assert lengths == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert breakers.state(HERE, now).until == now + LONGEST_OPEN
    now += LONGEST_OPEN
    breakers.succeeded(HERE, now)
    breakers.succeeded(HERE, now + EASE)
    for _ in range(THRESHOLD + 1):
        breakers.failed(HERE, now + EASE)
    assert breakers.state(HERE, now + EASE).until == now + EASE + 160


def test_good_answers_shrink_the_open_time_again_but_not_all_at_once():
    breakers, now = opened(), 0.0
    for _ in range(3):  # open times of 5, 10, 20; the next would be 80
        now = breakers.state(HERE, now).until
        assert breakers.admits(HERE, now)
        breakers.failed(HERE, now)
    now = breakers.state(HERE, now).until
    for _ in range(1000):
        breakers.succeeded(HERE, now)
    breakers.succeeded(HERE, now + EASE)
    breakers.succeeded(HERE, now + 2 * EASE)
    now += 2 * EASE
    for _ in range(THRESHOLD):
        breakers.failed(HERE, now)
    assert breakers.state(HERE, now).until == now + 20


def test_a_probe_that_never_reports_is_given_up():
    breakers = opened()
    assert breakers.admits(HERE, FIRST_OPEN)
    assert not breakers.admits(HERE, FIRST_OPEN + LEASE - 0.1)
    assert breakers.admits(HERE, FIRST_OPEN + LEASE)


def test_a_probe_without_a_verdict_lets_the_next_one_try():
    breakers = opened()
    assert breakers.admits(HERE, 5)
    breakers.released(HERE, began=5)
    assert breakers.state(HERE, 6).name == "half-open"
    assert breakers.admits(HERE, 6)


def test_calls_older_than_the_probe_neither_free_its_place_nor_open_again():
    breakers = opened(now=10)
    assert breakers.admits(HERE, 15)
    breakers.released(HERE, began=9)
    breakers.failed(HERE, 16, began=9)
    assert breakers.state(HERE, 16).name == "half-open"
    assert not breakers.admits(HERE, 16)


def test_failures_while_open_do_not_prolong_it():
    breakers = opened()
    breakers.failed(HERE, 3)
    assert breakers.state(HERE, 3).until == FIRST_OPEN


def test_another_replicas_finding_opens_it_for_as_long_as_was_said():
    breakers = Breakers()
    breakers.open(HERE, 0, 40)
    assert breakers.state(HERE, 0) == BreakerState("open", 40, THRESHOLD)
    assert not breakers.admits(HERE, 39)
    assert breakers.admits(HERE, 40)
    breakers.open(HERE, 40, 1)
    breakers.close(HERE)
    assert breakers.admits(HERE, 40)
    assert len(breakers.troubled) == 0


def test_however_many_names_clients_invent_memory_has_an_end():
    breakers = Breakers()
    for number in range(9000):
        breakers.failed(Place("p", str(number)), 0)
    assert len(breakers.troubled) == 8192


@given(
    st.lists(
        st.tuples(st.sampled_from(["ask", "failed", "succeeded", "released"]), st.floats(0, 100)),
        max_size=80,
    )
)
def test_never_two_probes_at_once(steps):
    """Whatever happens in whatever order: while a probe is out and its lease runs, nobody else gets through."""
    breakers, now, probe = opened(), 0.0, None
    for step, pause in steps:
        now += pause
        state = breakers.state(HERE, now)
        assert 0 <= state.failures <= THRESHOLD
        assert state.until <= now + LONGEST_OPEN
        if step == "ask":
            admitted = breakers.admits(HERE, now)
            if state.name == "open":
                assert not admitted
            elif state.name == "half-open":
                out = probe is not None and now < probe + LEASE
                assert admitted is not out
                if admitted:
                    probe = now
        elif step == "released":
            if probe is not None:
                breakers.released(HERE, began=probe)
                probe = None
        else:
            getattr(breakers, step)(HERE, now)
            assert breakers.state(HERE, now).name != "half-open"
            if state.name == "half-open":
                probe = None
        if breakers.state(HERE, now).name != "half-open":
            probe = None
