import re

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
