"""Going on with an answer: what may be continued, how it is asked for, and that no word comes twice or is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.canon import (
    Delta,
    Finished,
    Message,
    PartEnded,
    PartStarted,
    Reasoning,
    ReasoningEffort,
    Request,
    ResponseFormat,
    Sampling,
    Started,
    Text,
    ToolCall,
)
from understudy.resilience.splice import MismatchError, Said, Seam, continued, obstacle, ways

ASKED = Request("test", "m", (Message("user", (Text("Tell me."),)),))
SAID = "The quick brown fox jumps over the lazy dog, and"


def said(*events):
    found = Said()
    found.note_all([Started("test"), *events])
    return found


def text(words):
    return (PartStarted(0, 0, Text("")), Delta(0, 0, words))


def joined(seam, pieces):
    return "".join([*map(seam.take, pieces), seam.end()])


def test_plain_text_can_be_gone_on_with():
    found = said(*text("Hello "), Delta(0, 0, "there"))
    assert found.text == "Hello there"
    assert found.open == 0
    assert obstacle(ASKED, found) is None


@pytest.mark.parametrize(
    "events",
    [
        (PartStarted(0, 0, Reasoning("")),),
        (*text("I will call"), PartStarted(0, 1, ToolCall("c", "f"))),
        (PartStarted(1, 0, Text("")),),
        (*text("all"), PartEnded(0, 0), Finished(0, "stop")),
    ],
)
def test_anything_else_cannot(events):
    assert obstacle(ASKED, said(*events))


@pytest.mark.parametrize(
    "asked",
    [
        Request("test", "m", ASKED.messages, choices=2),
        Request("test", "m", ASKED.messages, response_format=ResponseFormat("json")),
    ],
)
def test_nor_can_an_answer_that_must_have_a_shape(asked):
    assert obstacle(asked, said(*text("{")))


def test_ways_are_tried_in_the_order_of_what_they_change():
    found = said(*text("Hello"))
    assert ways(found, prefills=True, instructs=True) == ("prefill", "replay", "instruct")
    assert ways(found, prefills=False, instructs=False) == ("replay",)
    assert ways(said(*text("  ")), prefills=True, instructs=True) == ("replay",)


def test_a_prefill_is_a_last_turn_without_white_space_at_its_end():
    asked = continued(ASKED, "Hello \n", "prefill")
    assert asked.messages[-1] == Message("assistant", (Text("Hello"),))
    assert asked.messages[:-1] == ASKED.messages


def test_a_turn_that_the_client_began_is_gone_on_with():
    own = Request("test", "m", (*ASKED.messages, Message("assistant", (Text("{"),))))
    assert continued(own, '"a": 1', "prefill").messages == (
        *ASKED.messages,
        Message("assistant", (Text('{"a": 1'),)),
    )


def test_an_instruction_quotes_the_end_and_comes_after_what_was_said():
    asked = continued(ASKED, SAID, "instruct")
    assert [message.role for message in asked.messages] == ["user", "assistant", "user"]
    assert SAID[-40:] in asked.messages[-1].parts[0].text


def test_what_was_said_is_taken_off_the_tokens_asked_for_and_thinking_is_off_for_a_prefill():
    asked = Request(
        "test", "m", ASKED.messages, sampling=Sampling(max_tokens=100), reasoning=ReasoningEffort(effort="high")
    )
    assert continued(asked, "x" * 200, "prefill").sampling.max_tokens == 50
    assert continued(asked, "x" * 4000, "prefill").sampling.max_tokens == 16
    assert continued(asked, "x" * 4, "prefill").reasoning is None
    assert continued(asked, "x" * 4, "replay") is asked


@pytest.mark.parametrize("way", ["prefill", "instruct"])
def test_a_continuation_is_passed_on_as_it_is(way):
    assert joined(Seam(SAID, way), [" then", " it", " sleeps."]) == " then it sleeps."


@pytest.mark.parametrize("way", ["prefill", "replay", "instruct"])
def test_an_answer_begun_anew_with_the_same_words_is_as_good(way):
    whole = SAID + " then it sleeps."
    assert joined(Seam(SAID, way), [whole[at : at + 3] for at in range(0, len(whole), 3)]) == " then it sleeps."


@pytest.mark.parametrize("way", ["prefill", "replay", "instruct"])
def test_an_answer_begun_anew_with_other_words_is_refused(way):
    with pytest.raises(MismatchError):
        joined(Seam(SAID, way), ["The quick brown fox sleeps all day and all night, mostly on a chair."])


def test_a_replay_that_ends_too_soon_is_refused():
    with pytest.raises(MismatchError):
        joined(Seam(SAID, "replay"), ["The quick"])


@pytest.mark.parametrize("way", ["prefill", "instruct"])
def test_words_repeated_at_the_seam_are_dropped(way):
    assert joined(Seam(SAID, way), ["jumps over the", " lazy dog, and", " sleeps."]) == " sleeps."


def test_a_chance_likeness_is_no_repetition():
    assert joined(Seam("ha ha ha", "prefill"), [" ha", " ha"]) == " ha ha"
    assert joined(Seam(SAID, "prefill"), [" and", " and."]) == " and and."


@pytest.mark.parametrize(
    ("sent", "came", "wanted"),
    [
        ("One.\n\n", "\n\nTwo.", "Two."),
        ("One.\n", "\n\nTwo.", "\nTwo."),
        ("One ", " two", "two"),
        ("One ", "two", "two"),
        ("One", " two", " two"),
        ("O", "ne", "ne"),
    ],
)
def test_white_space_left_out_of_a_prefill_comes_once(sent, came, wanted):
    assert joined(Seam(sent, "prefill"), [came]) == wanted


def test_one_who_is_asked_to_go_on_begins_with_a_word():
    assert joined(Seam("One two", "instruct"), ["three"]) == " three"
    assert joined(Seam("One two", "instruct"), [", three"]) == ", three"


@given(
    st.text(alphabet="ab .", min_size=1, max_size=60),
    st.text(alphabet="ab .", max_size=60),
    st.lists(st.integers(1, 7), min_size=1, max_size=60),
)
def test_a_replay_gives_exactly_the_rest_however_it_is_cut(sent, rest, sizes):
    seam, whole, out, at = Seam(sent, "replay"), sent + rest, "", 0
    while at < len(whole):
        size = sizes[at % len(sizes)]
        out += seam.take(whole[at : at + size])
        at += size
    assert out + seam.end() == rest


@given(
    st.sampled_from(["prefill", "instruct"]),
    st.text(max_size=80).filter(str.strip),
    st.text(alphabet="XYZ", min_size=1, max_size=40),
    st.lists(st.integers(1, 7), min_size=1, max_size=40),
)
def test_new_words_are_neither_lost_nor_changed_however_they_are_cut(way, sent, rest, sizes):
    seam, out, at = Seam(sent, way), "", 0
    if set(rest) & set(sent):
        return
    while at < len(rest):
        size = sizes[at % len(sizes)]
        out += seam.take(rest[at : at + size])
        at += size
    assert (out + seam.end()).lstrip() == rest
