"""A suite is a file that people keep, read and edit; whatever is wrong with it is said with its line."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rehearsal.making import asked, case
from understudy.rehearsal import sampling
from understudy.rehearsal.suite import Suite, SuiteError, dump, load, mix


def written(path, suite):
    path.write_bytes(b"".join(dump(suite)))
    return path


@pytest.fixture
def suite():
    cases = (case("a"), case("b", gold="Hi", task="t", tags=("x",), extra=True), case("c", score=0.5))
    return Suite(cases=cases, route="r", incumbent="i/m", seed=3, at=5.0, population=9, mix={"kind:text": 1.0})


def test_what_is_written_is_read(tmp_path, suite):
    assert load(written(tmp_path / "s.jsonl", suite)) == suite


def test_the_digest_is_of_what_is_said_and_not_of_how(tmp_path, suite):
    path = written(tmp_path / "s.jsonl", suite)
    lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    turned = [dict(reversed(line.items())) for line in lines]
    path.write_bytes(b"\n\n".join(msgspec.json.format(msgspec.json.encode(line), indent=0) for line in turned))
    again = load(path)
    assert again.digest == suite.digest
    assert not again.edited


def test_an_edited_suite_is_another(tmp_path, suite):
    path = written(tmp_path / "s.jsonl", suite)
    path.write_text(path.read_text().replace("Good day", "Good night"))
    again = load(path)
    assert again.edited
    assert again.digest != suite.digest


HEAD = '{"understudy_suite":1}\n'
BARE = '{"model":"m","messages":[{"role":"user","content":"x"}]}'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ('{"understudy_suite":2}', "version 2"),
        ('{"understudy_suite":1}', "has no cases"),
        ("nonsense", ":1: "),
        ('{"understudy_suite":1}\n{"id":"a"}', ":2: "),
        ('{"understudy_suite":1}\n\n{"id":"a","dialect":"openai-chat","request":{"model":1}}', ":3: case 'a'"),
        ('{"understudy_suite":1}\n{"id":"a","dialect":"latin","request":{}}', "latin"),
        (HEAD + f'{{"id":"a","dialect":"openai-chat","request":{BARE}}}', "neither `answer` nor `gold`"),
        ('{"understudy_suite":1}\n{"id":"a","unknown":1,"dialect":"x","request":{}}', "unknown"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_says_where(tmp_path, text, says):
    path = tmp_path / "s.jsonl"
    path.write_text(text)
    with pytest.raises(SuiteError) as error:
        load(path)
    assert says in str(error.value)
    assert str(path) in str(error.value)


def test_two_cases_of_one_id_are_refused(tmp_path):
    with pytest.raises(SuiteError, match="line 2 already"):
        load(written(tmp_path / "s.jsonl", Suite(cases=(case("a"), case("a")))))


def test_a_score_out_of_bounds_is_refused(tmp_path):
    with pytest.raises(SuiteError, match="between 0 and 1"):
        load(written(tmp_path / "s.jsonl", Suite(cases=(case("a", score=2.0),))))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SuiteError, match="cannot be read"):
        load(tmp_path / "nowhere")


def test_the_mix_is_the_share_of_each_kind():
    requests = [case(request=asked(tools=[])).asked(), case(request=asked("x" * 5000)).asked()]
    assert mix(requests) == {"kind:text": 1.0, "length:medium": 0.5, "length:short": 0.5, "turn:first": 1.0}


KINDS = st.dictionaries(
    st.integers(0, 10_000).map(str), st.sampled_from(["text", "tools", "media"]).map(lambda k: (k,))
)


@given(KINDS, st.integers(1, 50), st.integers(0, 20), st.integers(0, 1000))
def test_a_sample_is_repeatable_and_has_enough_of_what_is_rare(kinds, size, least, seed):
    sample, more = sampling.draw(kinds, size, seed, least=least)
    assert (sample, more) == sampling.draw(dict(reversed(kinds.items())), size, seed, least=least)
    assert len(sample) == min(size, len(kinds))
    assert len({*sample, *more}) == len(sample) + len(more)
    for name in ("text", "tools", "media"):
        there = sum(kind == (name,) for kind in kinds.values())
        assert sum(kinds[one] == (name,) for one in [*sample, *more]) >= min(least, there)


def test_each_exchange_is_as_likely_as_any_other():
    kinds = {str(number): ("text",) for number in range(10)}
    drawn = [name for seed in range(2000) for name in sampling.draw(kinds, 3, seed)[0]]
    assert all(500 < drawn.count(name) < 700 for name in kinds)
