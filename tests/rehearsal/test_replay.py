"""Cases are asked once each, within a budget, whatever fails or stops amid them."""

import asyncio

import msgspec
import pytest

from tests.rehearsal.making import answered, case
from understudy.rehearsal.replay import Budget, Estimate, Reply, Results, ResultsError, jobs, replay
from understudy.rehearsal.suite import Suite

SUITE = Suite(cases=tuple(case(str(number)) for number in range(20)))


def estimate(_case, _target):
    return Estimate(100, 0.5)


def reply(case, role, target, **more):
    given = {"answer": msgspec.Raw(msgspec.json.encode(answered())), "tokens": (60, 20), "cost_usd": 0.25, **more}
    return Reply(case=case.id, role=role, target=target, **given)


class Provider:
    """Answers, and remembers what it was asked. `fails` are kinds of faults, one for each of the first calls."""

    def __init__(self, *fails, **more):
        self.asked, self.fails, self.more, self.at_once, self.most = [], list(fails), more, 0, 0

    async def __call__(self, case, role, target):
        self.asked.append((case.id, role, target))
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if self.fails and (kind := self.fails.pop(0)):
            return reply(
                case, role, target, answer=msgspec.Raw(b"null"), fault=kind, tokens=(None, None), cost_usd=None
            )
        return reply(case, role, target, **self.more)


def played(provider, results=None, **more):
    wanted = jobs(SUITE, "c/m", "i/m", estimate)
    results = results if results is not None else Results(None)
    return asyncio.run(replay(wanted, provider, results, **{"waits": (0.0, 0.0), **more})), results


def test_each_case_is_asked_once_of_both():
    provider = Provider()
    progress, results = played(provider)
    assert len(provider.asked) == len(set(provider.asked)) == len(results.replies) == progress.done == 40
    assert (progress.spent_tokens, progress.spent_usd) == (3200, 10.0)
    assert progress.reserved_tokens == progress.reserved_usd == 0


def test_no_more_calls_at_once_than_allowed():
    provider = Provider()
    played(provider, concurrency=3)
    assert provider.most == 3


@pytest.mark.parametrize("budget", [Budget(tokens=1000), Budget(usd=3.0)])
def test_a_budget_is_never_exceeded(budget):
    progress, _ = played(Provider(tokens=(70, 30), cost_usd=0.5), budget=budget)
    assert progress.exhausted
    assert progress.spent_tokens <= 1000
    assert progress.spent_usd <= 5.0
    assert progress.done == (10 if budget.tokens else 6)


def test_what_calls_leave_over_is_there_for_others():
    progress, _ = played(Provider(tokens=(5, 5)), budget=Budget(tokens=150))
    assert progress.exhausted
    assert progress.done == 6, "sixty are spent, and a seventh call might take a hundred"


def test_what_nobody_billed_counts_as_estimated():
    progress, _ = played(Provider(tokens=(None, None), cost_usd=None), budget=Budget(tokens=500))
    assert (progress.done, progress.spent_tokens, progress.spent_usd) == (5, 500, 2.5)


def test_a_run_goes_on_where_it_was(tmp_path):
    path = tmp_path / "r.jsonl"
    with Results(path) as results:
        first, _ = played(Provider(), results, budget=Budget(tokens=1000))
    with path.open("ab") as file:
        file.write(b'{"case":"cut in ha')
    provider = Provider()
    with Results(path) as results:
        second, _ = played(provider, results)
    assert second.before == first.done
    assert len(provider.asked) == 40 - first.done
    assert second.spent_tokens == 3200
    with Results(path) as results:
        assert len(results.replies) == 40


def test_enough_is_enough():
    provider = Provider()
    progress, _ = played(provider, concurrency=1, enough=lambda: len(provider.asked) >= 7)
    assert progress.done == 7


def test_a_busy_target_is_asked_again():
    provider = Provider("rate_limit", "overloaded")
    progress, results = played(provider, concurrency=1)
    assert len(provider.asked) == 42
    assert progress.unanswered == 0
    assert all(one.fault is None for one in results.replies.values())


def test_what_stays_away_is_left_out_and_asked_again_by_the_next_run(tmp_path):
    path = tmp_path / "r.jsonl"
    with Results(path) as results:
        progress, _ = played(Provider(*["overloaded"] * 3), results, concurrency=1)
    assert progress.unanswered == 1
    provider = Provider()
    with Results(path) as results:
        played(provider, results)
    assert provider.asked == [("0", "candidate", "c/m")]


def test_what_a_target_cannot_do_is_an_answer():
    provider = Provider("context_too_long")
    _, results = played(provider, concurrency=1)
    assert len(provider.asked) == 40
    assert results.get("0", "candidate", "c/m").fault == "context_too_long"


def test_an_error_of_ours_ends_the_run_and_frees_what_was_set_aside():
    async def broken(case, role, target):
        raise RuntimeError("a mistake")

    with pytest.raises(ExceptionGroup, match="unhandled errors"):
        played(broken)


def test_a_file_of_something_else_is_left_as_it_is(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("dear diary\n")
    with pytest.raises(ResultsError, match=r"notes\.txt:1"):
        Results(path)
    assert path.read_text() == "dear diary\n"
