"""Scores against cases whose right answer is plain, and against changes that must not matter, or must."""

import itertools
import json
import random

import msgspec
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rehearsal.making import TOOL, answered, asked
from understudy import dialects
from understudy.rehearsal import scores
from understudy.rehearsal.scores import Scored, agreement, form, tools, words

CHAT = dialects.get("openai-chat")


def request(**more):
    return CHAT.decode_request(msgspec.json.encode(asked(**more)))


def answer(*args, **more):
    return CHAT.decode_answer(msgspec.json.encode(answered(*args, **more)))


def value(score, wanted, found, **more):
    result = score(request(**more), wanted, found)
    return None if result is None else result.value


# -- tools -----------------------------------------------------------------------------------------------------------

PARIS = ("weather", '{"city": "Paris"}')
ROME = ("weather", '{"city": "Rome"}')


@pytest.mark.parametrize(
    ("wanted", "found", "score"),
    [
        ([PARIS], [PARIS], 1.0),
        ([PARIS], [("weather", '{ "city":"Paris" }')], 1.0),
        ([PARIS], [("weather", '{"city": "Paris", "days": 1}')], 1.0),  # the schema's default, written out
        ([("weather", '{"city": "Paris", "days": 2}')], [PARIS], 0.5),
        ([PARIS], [ROME], 0.0),
        ([PARIS], [], 0.0),
        ([], [PARIS], 0.0),
        ([PARIS, ROME], [PARIS], 0.5),
        ([PARIS], [PARIS, ROME], 0.5),
        ([PARIS, ROME], [ROME, PARIS], 1.0),
        ([PARIS], [("forecast", '{"city": "Paris"}')], 0.0),
        ([PARIS], [("weather", "{city: Paris")], 0.0),
        ([("weather", '{"city": "Paris", "days": 2}')], [("weather", '{"city": "Paris", "days": "2"}')], 0.75),
        ([("weather", '{"city": "Paris", "days": 2}')], [("weather", '{"city": "Paris", "days": 2.0}')], 1.0),
        ([PARIS], [("weather", '{"city": "paris "}')], 0.95),
        ([("weather", "")], [("weather", "{}")], 1.0),
    ],
)
def test_tool_calls(wanted, found, score):
    assert value(tools.tools, answer(calls=wanted), answer(calls=found), tools=[TOOL]) == pytest.approx(score)


def test_no_calls_on_either_side_say_nothing():
    assert tools.tools(request(), answer(), answer()) is None


def test_a_near_miss_is_explained():
    found = tools.tools(request(tools=[TOOL]), answer(calls=[PARIS]), answer(calls=[ROME]))
    assert found.why == 'weather: city is "Rome", not "Paris"'


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text("abc ", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_a_value_agrees_with_itself(one):
    assert tools.agreement(one, one) == (1.0, "")


@given(JSON, JSON)
def test_agreement_is_between_0_and_1_and_a_difference_has_a_reason(one, other):
    found, why = tools.agreement(one, other)
    assert 0 <= found <= 1
    assert bool(why) == (found < 1)


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=4), JSON, max_size=6), st.randoms())
def test_the_order_of_arguments_does_not_count(arguments, chance):
    items = list(arguments.items())
    chance.shuffle(items)
    one, other = answer(calls=[("f", json.dumps(arguments))]), answer(calls=[("f", json.dumps(dict(items), indent=2))])
    assert value(tools.tools, one, other) == 1.0


@settings(deadline=None)
@given(st.permutations([("f", json.dumps({"n": number})) for number in range(5)]))
def test_the_order_of_parallel_calls_does_not_count(calls):
    assert value(tools.tools, answer(calls=sorted(calls)), answer(calls=calls)) == 1.0


def test_many_calls_are_paired_too():
    calls = [("f", json.dumps({"n": number})) for number in range(20)]
    mixed = calls.copy()
    random.Random(1).shuffle(mixed)
    assert value(tools.tools, answer(calls=calls), answer(calls=mixed)) == 1.0


def test_a_set_may_come_in_any_order():
    schema = {"type": "array", "uniqueItems": True}
    assert tools.agreement(["a", "b"], ["b", "a"], schema)[0] == 1.0
    assert tools.agreement(["a", "b"], ["b", "a"])[0] == 0.0


# -- form ------------------------------------------------------------------------------------------------------------

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
STRUCTURED = {"response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": SCHEMA}}}


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ('{"name": "Ada", "age": 36}', 1.0),
        ('```json\n{"name": "Ada", "age": 36}\n```', 1.0),
        ('{"name": "Ada"}', 0.0),
        ('{"name": "Ada", "age": "36"}', 0.0),
        ('{"name": "Ada", "age": 36, "more": 1}', 0.0),
        ("Ada is 36.", 0.0),
        ("", 0.0),
    ],
)
def test_structured_output_is_held_to_its_schema(said, score):
    assert value(form.schema, answer('{"name": "Ada", "age": 36}'), answer(said), **STRUCTURED) == score


def test_a_schema_that_points_elsewhere_is_not_fetched():
    more = {"response_format": {"type": "json_schema",
                                "json_schema": {"name": "p", "schema": {"$ref": "http://127.0.0.1:1/x"}}}}  # fmt: skip
    found = form.schema(request(**more), answer("{}"), answer("{}"))
    assert found.value == 1.0
    assert "cannot be checked" in found.why


def test_values_of_structured_output_are_compared():
    one, other = '{"name": "Ada", "age": 36}', '{"age": 37, "name": "Ada"}'
    assert value(form.fields, answer(one), answer(other), **STRUCTURED) == 0.5
    assert value(form.fields, answer(one), answer("Ada"), **STRUCTURED) == 0.0
    assert value(form.fields, answer("no JSON"), answer(one), **STRUCTURED) is None
    assert value(form.fields, answer(one), answer(other)) is None


CODE = "Here:\n```python\nprint(1)\n```\n"


@pytest.mark.parametrize(
    ("wanted", "found", "score"),
    [
        ("Some words.", "Other words.", 1.0),
        ("Some words.", "- a\n- b\n", 0.9),
        ('{"a": 1}', "The value is one.", 0.0),
        ("The value is one.", '{"a": 1}', 0.0),
        ("<p>hi</p>", "hi", 0.0),
        (CODE, CODE.replace("1", "2"), 1.0),
        (CODE, "Use print.", 0.0),
        ("words", "", 0.0),
    ],
)
def test_layout(wanted, found, score):
    assert value(form.layout, answer(wanted), answer(found)) == pytest.approx(score)


def test_code_that_does_not_parse_is_broken_code():
    broken = "```python\nprint(\n```\n"
    assert value(form.code, answer(CODE), answer(CODE)) == 1.0
    assert value(form.code, answer(CODE), answer(broken)) == 0.0
    assert value(form.code, answer(CODE), answer(CODE + broken)) == 0.5
    assert value(form.code, answer(CODE), answer("```rust\nfn main(\n```\n")) is None  # nobody here can tell
    assert value(form.code, answer("words"), answer(broken)) is None


ENGLISH = "The weather will be fine tomorrow, with a light wind from the west and some clouds in the evening."
GERMAN = "Das Wetter wird morgen schön, mit leichtem Wind aus Westen und einigen Wolken am Abend."


def test_another_language_is_seen():
    assert value(form.language, answer(ENGLISH), answer(ENGLISH)) == 1.0
    assert value(form.language, answer(ENGLISH), answer(GERMAN)) == 0.0
    assert value(form.language, answer("Paris"), answer(GERMAN)) is None


@pytest.mark.parametrize(
    "said",
    [
        "I'm sorry, but I can't help with that.",
        "I\u2019m sorry, but I can\u2019t assist with that request.",
        "I cannot provide instructions for this.",
        "Sorry, I am not able to discuss that.",
        "Es tut mir leid, dabei kann ich nicht helfen.",
    ],
)
def test_refusals_are_known(said):
    assert form.refuses(answer(said))
    assert value(form.refusal, answer("Here you are."), answer(said)) == 0.0
    assert value(form.refusal, answer(said), answer(said)) == 1.0


@pytest.mark.parametrize(
    "said", ["Sorry for the delay! Your order ships today.", "You cannot divide by zero.", "I can help with that."]
)
def test_what_only_sounds_like_a_refusal_is_none(said):
    assert not form.refuses(answer(said))


@pytest.mark.parametrize(("count", "score"), [(40, 1.0), (20, 1.0), (80, 1.0), (10, 0.5), (160, 0.5)])
def test_length_counts_beyond_twice_and_half(count, score):
    assert value(form.length, answer("word " * 40), answer("word " * count)) == pytest.approx(score)


def test_an_answer_that_was_cut_is_not_whole():
    assert value(form.ended, answer("a"), answer("a", finish="length")) == 0.0
    assert value(form.ended, answer("a"), answer("a")) == 1.0
    assert value(form.ended, answer("a", finish="length"), answer("a", finish="length")) is None


# -- agreement -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "found", "score"),
    [
        ("positive", "Positive.", 1.0),
        ("positive", "negative", 0.0),
        ("Paris", "The answer is Paris.", 0.5),
        ("42", "42", 1.0),
        ("42", "The answer is 42.", 1.0),
        ("42", "43", 0.0),
        ("1,000", "1000", 1.0),
        ("$3.50", "3.5", 1.0),
        ("42", "42 or 43", 0.5),
        ("yes", "yesterday", 0.0),
    ],
)
def test_short_answers_are_right_or_wrong(wanted, found, score):
    assert value(agreement.short, answer(wanted), answer(found)) == score


def test_long_answers_are_no_matter_of_right_and_wrong():
    assert agreement.short(request(), answer(ENGLISH), answer(ENGLISH)) is None
    assert value(agreement.similar, answer(ENGLISH), answer(ENGLISH)) == 1.0
    assert value(agreement.similar, answer("42"), answer("42")) is None


TEXTS = ["The cat sat on the mat.", "A dog lay under the table, asleep.", "The cat sits on a mat!", GERMAN, "x", ""]


@pytest.mark.parametrize(("wanted", "found"), list(itertools.product(TEXTS[:5], TEXTS[:5])))
def test_similarity_is_chrf_as_sacrebleu_has_it(wanted, found):
    theirs = sacrebleu.sentence_chrf(found, [wanted]).score / 100
    assert words.similarity(wanted, found) == pytest.approx(theirs, abs=0.02)


@settings(deadline=None)
@given(st.text(max_size=200), st.text(max_size=200))
def test_similarity_is_between_0_and_1(one, other):
    assert 0 <= words.similarity(one, other) <= 1 + 1e-9
    assert words.similarity(one, one) == 1.0


# -- all together ----------------------------------------------------------------------------------------------------


def worth(wanted, found, **more):
    return scores.worth(scores.scored(request(**more), wanted, found))


@pytest.mark.parametrize("same", [answer(), answer("42"), answer(calls=[PARIS]), answer(ENGLISH), answer(CODE)])
def test_the_same_answer_is_worth_everything(same):
    assert worth(same, same, tools=[TOOL]) == 1.0


def test_a_gate_takes_all():
    assert worth(answer(ENGLISH), answer("I'm sorry, I can't help with that.")) == 0.0


def test_similarity_counts_only_where_nothing_better_does():
    found = {"tools": Scored(1.0), "similar": Scored(0.1)}
    assert scores.worth(found) == 1.0
    assert scores.worth({"similar": Scored(0.1)}) == 0.1
    assert scores.worth({}) is None


def test_scores_are_chosen_by_name():
    assert [score.name for score in scores.chosen(["tools", "refusal"])] == ["refusal", "tools"]
    with pytest.raises(scores.UnknownScoreError, match="refusal"):
        scores.chosen(["nonsense"])


class Point:
    name = "own"

    def __init__(self, loaded):
        self.loaded = loaded

    def load(self):
        return self.loaded


def test_own_scores_come_by_entry_point(monkeypatch):
    own = scores.Score("own", "measure", lambda *_: Scored(0.25))
    monkeypatch.setattr(scores, "entry_points", lambda group: [Point(own)] if group == "understudy.scores" else [])
    assert scores.chosen(["own"]) == (own,)


@pytest.mark.parametrize(
    ("loaded", "error"), [("no score", TypeError), (scores.Score("tools", "measure", lambda *_: None), ValueError)]
)
def test_what_is_no_score_is_refused(monkeypatch, loaded, error):
    monkeypatch.setattr(scores, "entry_points", lambda group: [Point(loaded)])
    with pytest.raises(error):
        scores.installed()
