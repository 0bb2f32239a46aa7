from hypothesis import given
from hypothesis import strategies as st

from understudy.resilience import RetryBudget
from understudy.resilience.budget import BUCKET, BUCKETS, FLOOR

WINDOW = BUCKET * BUCKETS


def test_a_quiet_client_may_always_retry_however_long_the_prompt():
    budget = RetryBudget()
    budget.sent(200_000, 0)
    assert budget.allows(200_000, 1)


def test_the_floor_has_an_end_and_comes_back_after_the_window():
    budget = RetryBudget()
    for _ in range(FLOOR):
        assert budget.allows(1000, 0)
        budget.spent(1000, 0)
    assert not budget.allows(1000, 0)
    assert not budget.allows(1000, WINDOW - 1)
    assert budget.allows(1000, WINDOW)


def test_a_fifth_of_the_tokens_of_first_attempts_may_be_spent():
    budget = RetryBudget(floor=0)
    for _ in range(100):
        budget.sent(500, 3)
    assert budget.allows(10_000, 4)
    assert not budget.allows(10_001, 4)
    budget.spent(9_000, 4)
    assert budget.allows(1_000, 4)
    assert not budget.allows(1_001, 4)


def test_a_small_retry_fits_where_a_large_one_does_not():
    budget = RetryBudget(ratio=0.1, floor=0)
    budget.sent(1000, 0)
    assert budget.allows(100, 0)
    assert not budget.allows(101, 0)


def test_first_attempts_are_forgotten_after_a_minute():
    budget = RetryBudget(floor=0)
    budget.sent(1000, 9.9)
    assert budget.allows(200, 59.9)
    assert not budget.allows(200, 60)


def test_retries_are_forgotten_after_a_minute_too():
    budget = RetryBudget(floor=0)
    budget.sent(1000, 0)
    budget.spent(200, 0)
    budget.sent(1000, 30)
    assert not budget.allows(201, 59)
    assert budget.allows(200, 60)


def test_after_a_long_silence_nothing_old_is_left():
    budget = RetryBudget(floor=1)
    budget.sent(1000, 0)
    budget.spent(300, 0)
    assert not budget.allows(300, 0)
    assert budget.allows(300, 1e6)
    assert not RetryBudget(floor=0).allows(1, 1e6)


def test_a_ratio_of_nothing_and_no_floor_never_retries():
    budget = RetryBudget(ratio=0, floor=0)
    budget.sent(1e6, 0)
    assert not budget.allows(1, 0)


@given(
    st.floats(0, 1),
    st.integers(0, 5),
    st.lists(st.tuples(st.booleans(), st.integers(1, 5000), st.floats(0, 25)), max_size=120),
)
def test_retries_never_exceed_share_and_floor_in_any_window(ratio, floor, steps):
    budget, now = RetryBudget(ratio, floor), 0.0
    first: list[tuple[int, int]] = []
    retries: list[tuple[int, int]] = []
    for retry, tokens, pause in steps:
        now += pause
        bucket = int(now // BUCKET)
        if not retry:
            budget.sent(tokens, now)
            first.append((bucket, tokens))
        elif budget.allows(tokens, now):
            budget.spent(tokens, now)
            retries.append((bucket, tokens))
            oldest = bucket - BUCKETS + 1
            # Whatever the share does not cover must be no more calls than the floor has. Buckets of first attempts
            # that have left the window meanwhile may have paid for retries that are still in it.
            paid = ratio * sum(size for at, size in first if at >= oldest - BUCKETS + 1)
            beyond = sorted(size for at, size in retries if at >= oldest)
            while beyond and sum(beyond) > paid * (1 + 1e-9):
                beyond.pop()
                floor_used = len([1 for at, _ in retries if at >= oldest]) - len(beyond)
                assert floor_used <= floor
