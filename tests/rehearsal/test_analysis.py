"""What came back, as a verdict, a report, a JUnit file and a page."""

import xml.etree.ElementTree as ET

import msgspec
import pytest

from tests.rehearsal.making import answered, asked, case
from understudy.rehearsal import report
from understudy.rehearsal.analysis import analysis
from understudy.rehearsal.page import marked, page
from understudy.rehearsal.replay import Reply, Results
from understudy.rehearsal.scoring import scored
from understudy.rehearsal.suite import Suite

NASTY = "<script>alert(1)</script>"
LONG = "The parcel was sent on Monday and will be there within two days, as you had asked us to do."


def cases(count):
    return tuple(
        case(str(number), request=asked(f"Where is {NASTY}?"), answer=answered(LONG)) for number in range(count)
    )


@pytest.fixture
def suite():
    return Suite(cases=cases(60), route="r", incumbent="i/m")


def results(suite, candidate, *, ceiling=LONG, faults=()):
    found = Results(None)
    for number, one in enumerate(suite.cases):
        for role, target, words in (("candidate", "c/m", candidate), ("ceiling", "i/m", ceiling)):
            fault = faults[number] if role == "candidate" and number < len(faults) else None
            answer = msgspec.Raw(b"null" if fault else msgspec.json.encode(answered(words)))
            given = Reply(case=one.id, role=role, target=target, answer=answer, fault=fault, seconds=0.5 + number / 100,
                          tokens=(10, 5), cost_usd=0.001 if role == "ceiling" else None)  # fmt: skip
            found.add(scored(one, given))
    return found


def test_the_same_answers_are_as_good_as_the_incumbents(suite):
    found = analysis(suite, results(suite, LONG), "c/m", "i/m")
    assert found.verdict.overall.difference.mean == 0
    assert (found.compared, found.left_out, found.missing) == (60, 0, 0)
    assert found.worst == []
    assert found.candidate.worth == 1.0
    assert found.candidate.cost_usd is None
    assert found.candidate.cost_unknown == 60
    assert found.incumbent.cost_usd == pytest.approx(0.06)
    assert found.candidate.seconds_median == pytest.approx(0.795)


def test_other_answers_are_worse_and_the_worst_come_first(suite):
    found = analysis(suite, results(suite, NASTY), "c/m", "i/m")
    assert found.verdict.state == "not ready"
    assert len(found.worst) == 20
    assert found.worst[0].difference <= found.worst[-1].difference < 0


def test_what_could_not_be_asked_is_left_out_and_what_a_target_cannot_do_is_worth_nothing(suite):
    found = analysis(suite, results(suite, LONG, faults=["overloaded", "context_too_long"]), "c/m", "i/m")
    assert (found.compared, found.left_out) == (59, 1)
    assert found.candidate.faults == {"overloaded": 1, "context_too_long": 1}
    assert (found.candidate.unanswered, found.candidate.failed) == (1, 1)
    assert found.worst[0].candidate.scores["answered"].why == "context_too_long: "


def test_what_was_not_asked_is_missing(suite):
    found = analysis(suite, Results(None), "c/m", "i/m")
    assert (found.missing, found.compared) == (60, 0)
    assert found.verdict.state == "unknown"
    assert found.candidate.seconds_median is None


def test_an_answer_that_cannot_be_read_is_worth_nothing():
    one = case()
    found = scored(one, Reply(case="a", role="candidate", target="c/m", answer=msgspec.Raw(b'{"choices": 3}')))
    assert found.worth == 0.0


def test_gold_goes_before_what_the_user_got():
    one = case(gold="Paris", answer=answered("London"))
    given = Reply(case="a", role="candidate", target="c/m", answer=msgspec.Raw(msgspec.json.encode(answered("Paris"))))
    assert scored(one, given).worth == 1.0


FACTS = {"candidate": "c/m", "incumbent": "i/m", "route": "r", "at": 0.0, "budget_exhausted": True}


def test_people_read_it_on_a_terminal(suite):
    found = analysis(suite, results(suite, NASTY, faults=["overloaded"]), "c/m", "i/m")
    text = "\n".join(report.lines(found, FACTS))
    for part in ("not ready", "59 of 60 cases", "kind text", "1 cases say nothing", "cost unknown", "$0.00100 a call"):
        assert part in text
    text = "\n".join(report.lines(analysis(suite, Results(None), "c/m", "i/m"), FACTS))
    assert "60 cases were not asked: the budget was used up" in text


def test_a_test_runner_reads_it(suite):
    kept = results(suite, "bad \x00 answer", faults=["overloaded"])
    root = ET.fromstring(report.junit(analysis(suite, kept, "c/m", "i/m"), kept, "c/m"))
    tests = root.find("testsuite")
    assert (tests.get("tests"), tests.get("failures")) == ("61", "1")
    assert tests.find("testcase[@name='verdict']/failure").get("message") == "c/m is not ready"
    assert len(tests.findall("testcase/skipped")) == 1


def test_the_page_is_whole_by_itself_and_runs_nothing(suite):
    kept = results(suite, NASTY)
    text = page(analysis(suite, kept, "c/m", "i/m"), FACTS, suite, kept).decode()
    assert NASTY not in text
    assert "&lt;script&gt;" in text.replace("<ins>", "").replace("</ins>", "").replace("<del>", "").replace(
        "</del>", ""
    )
    assert "default-src 'none'" in text
    assert "http://" not in text
    assert "src=" not in text.replace("default-src=", "")
    assert text.count("<svg") == 2
    assert "not ready" in text


def test_the_page_of_nothing_is_a_page_too(suite):
    empty = Results(None)
    text = page(analysis(suite, empty, "c/m", None), {**FACTS, "incumbent": None}, suite, empty).decode()
    assert "Nowhere." in text


def test_what_differs_is_marked():
    assert marked("the cat sat", "the dog sat") == ("the <del>cat</del> sat", "the <ins>dog</ins> sat")
    assert marked("a < b", "a < b") == ("a &lt; b", "a &lt; b")
