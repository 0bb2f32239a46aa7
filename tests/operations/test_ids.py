import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.dialects.wire import Malformed
from understudy.operations import ids

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


@given(WORDS, WORDS)
def test_every_id_comes_back_and_fits_one_url_segment(provider, known):
    shown = ids.wrap(provider, known)
    assert ids.unwrap(shown) == (provider, known)
    assert re.fullmatch(r"[A-Za-z0-9_.~-]+", shown)
    assert len(shown) <= ids.LIMIT


@given(st.text(max_size=60) | st.text("understdy.~AQ-", max_size=20).map(lambda text: ids.PREFIX + text))
def test_a_made_up_id_is_read_exactly_or_refused(shown):
    try:
        pair = ids.unwrap(shown)
    except Malformed:
        return
    assert ids.wrap(*pair) == shown


def test_a_plain_id_stays_readable():
    assert ids.wrap("openai", "file-abc") == "understudy.openai.file-abc"


def test_an_id_too_long_is_refused():
    with pytest.raises(Malformed, match="too long"):
        ids.wrap("openai", "x" * ids.LIMIT)


def test_ids_in_a_list_are_rewritten_both_ways_and_the_original_is_left_alone():
    answer = {"data": [{"id": "batch_1", "input_file_id": "file-1", "output_file_id": None}], "last_id": "batch_1"}
    shown = ids.wrap_fields(answer, "openai")
    assert shown["data"][0]["input_file_id"] == "understudy.openai.file-1"
    assert shown["last_id"] == "understudy.openai.batch_1"
    assert ids.unwrap_fields(shown, "openai") == answer
    assert answer["last_id"] == "batch_1"


def test_an_id_of_another_provider_is_refused_by_name():
    with pytest.raises(Malformed, match="held by provider other"):
        ids.unwrap_fields({"input_file_id": "understudy.other.file-1"}, "openai")


CALL = {
    "model": "m",
    "messages": [
        {
            "content": [
                {"type": "file", "file": {"file_id": "understudy.openai.file-1"}},
                {"text": "understudy.openai.x"},
            ]
        },
        {"tool_calls": [{"input": {"file_id": "understudy.other.file-1"}}]},
    ],
    "tools": [{"container": {"file_ids": ["understudy.openai.file-2", "file-3"]}}],
}


def test_files_in_a_call_become_the_providers_own_and_nothing_else_changes():
    known = ids.known_to(("openai",), CALL)
    assert known["messages"][0]["content"][0]["file"]["file_id"] == "file-1"
    assert known["tools"][0]["container"]["file_ids"] == ["file-2", "file-3"]
    assert known["messages"][0]["content"][1] is CALL["messages"][0]["content"][1]
    assert known["messages"][1] is CALL["messages"][1], "what an application's own tools are given is its own"
    assert CALL["messages"][0]["content"][0]["file"]["file_id"] == "understudy.openai.file-1"


def test_a_call_without_files_of_ours_is_the_very_same():
    call = {"messages": [{"content": [{"file": {"file_id": "file-1"}}, {"file_ids": ["file-1"]}]}]}
    assert ids.known_to(("openai",), call) is call


@pytest.mark.parametrize(("provider", "words"), [("other", "openai holds"), ("openai", "no id of this gateway")])
def test_a_file_that_the_provider_cannot_have_is_refused_with_its_place(provider, words):
    shown = "understudy.openai.file-1" if provider == "other" else "understudy.openai"
    call = {"input": [{"content": [{"file_id": shown}]}]}
    with pytest.raises(Malformed, match=words) as refused:
        ids.known_to((provider,), call)
    assert refused.value.field == "input[0].content[0].file_id"


@given(st.text(max_size=20) | st.sampled_from(["..", ".", "a/b", "a\\b", "a%2e", "a?b", "a#b", "", "\n", "a b", "ä"]))
def test_an_id_in_a_path_stays_one_segment_or_is_refused(known):
    try:
        found = ids.segment(known)
    except Malformed:
        return
    assert unquote(found) == known
    assert known.strip(".")
    assert re.fullmatch(r"(?:[A-Za-z0-9_.~-]|%[0-9A-F]{2})+", found)
    assert not re.search(r"%2[Ff]|%5[Cc]|%25", found)
