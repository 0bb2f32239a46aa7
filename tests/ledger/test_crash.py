import random

import pytest

from tests.ledger import crash


@pytest.mark.parametrize("mode", crash.MODES)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_kill_at_any_moment_costs_at_most_the_last_interval(url, tmp_path, mode, seed):
    chance = random.Random(f"{mode}{seed}")
    put, missing = crash.once(url, tmp_path, mode, name="run", rate=1000, chance=chance)
    assert put
    assert not missing or mode != "writer"
