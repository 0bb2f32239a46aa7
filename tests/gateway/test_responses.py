import json
from pathlib import Path
from typing import get_args

import pytest
from openai.types.responses import ResponseIncludable
from openai.types.responses.response_item_list import ResponseItemList

from understudy.gateway import responses
from understudy.gateway.responses import (
    BadPageError,
    BadQueryError,
    Retrieval,
    check_includes,
    expand,
    input_items,
    input_items_of,
    retrieval,
)
from understudy.gateway.stored import Entry

SPEC = Path(__file__).parents[3] / "shared/material/specs/openai/openapi.yaml"

HELLO = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2VhbGVk"}
SAID = {
    "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
    "content": [{"type": "output_text", "text": "Hi", "annotations": []}],
}  # fmt: skip


def entry(items):
    return Entry(id="resp_1", owner="me", created=1, model="m", target="t", input=items, answer={"output": []})


def test_what_was_stored_comes_before_what_is_new_and_the_id_goes():
    body = {
        "model": "m",
        "previous_response_id": "resp_0",
        "input": [{"role": "user", "content": "And?"}],
        "top_p": 0.5,
    }
    got = json.loads(expand(json.dumps(body).encode(), [HELLO, THOUGHT, SAID]))
    assert got == {"model": "m", "input": [HELLO, THOUGHT, SAID, {"role": "user", "content": "And?"}], "top_p": 0.5}


def test_a_text_becomes_a_message_of_the_user():
    got = json.loads(expand(b'{"model":"m","input":"Hello"}', [SAID]))
    assert got["input"] == [SAID, HELLO]


def test_no_input_adds_nothing():
    assert json.loads(expand(b'{"model":"m","previous_response_id":"resp_0"}', [HELLO]))["input"] == [HELLO]
    assert input_items_of(b'{"model":"m"}') == []


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"input":5}', b'{"input":["a"]}', b'{"input":{"a":1}}'])
def test_a_body_that_makes_no_sense_is_a_value_error(body):
    with pytest.raises(ValueError):  # noqa: PT011  # msgspec's own and ours
        expand(body, [])
    with pytest.raises(ValueError):  # noqa: PT011
        input_items_of(body)


def test_pages_go_through_every_item_once_in_either_order():
    items = [HELLO, THOUGHT, SAID, {"role": "user", "content": "And?"}, {"role": "assistant", "content": "So."}]
    for order in ("asc", "desc"):
        seen, after = [], None
        while True:
            page = input_items(entry(items), 2, order, after)
            seen += page["data"]
            after = page["last_id"]
            assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
            if not page["has_more"]:
                break
        assert [s["type"] for s in (seen if order == "asc" else seen[::-1])] == [
            "message", "reasoning", "message", "message", "message"
        ]  # fmt: skip
        assert len({s["id"] for s in seen}) == 5


def test_the_newest_twenty_come_first_unless_told_otherwise():
    page = input_items(entry([{"role": "user", "content": str(n)} for n in range(25)]))
    assert [item["content"][0]["text"] for item in page["data"]] == [str(n) for n in range(24, 4, -1)]
    assert page["has_more"]


def test_the_official_client_reads_a_page_by_its_types():
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c", "output": "1"}
    items = [HELLO, SAID, call, result, {"role": "assistant", "content": "So."}]
    page = input_items(entry(items), order="asc")
    listed = ResponseItemList.model_validate(page)
    assert [type(item).__name__ for item in listed.data] == [
        "ResponseInputMessageItem", "ResponseOutputMessage", "ResponseFunctionToolCallItem",
        "ResponseFunctionToolCallOutputItem", "ResponseOutputMessage",
    ]  # fmt: skip


def test_an_empty_list_is_still_a_list_by_its_types():
    assert input_items(entry([])) == {"object": "list", "data": [], "first_id": "", "last_id": "", "has_more": False}


@pytest.mark.parametrize(
    ("asked", "param"), [({"limit": 0}, "limit"), ({"limit": 101}, "limit"), ({"order": "up"}, "order"),
                         ({"after": "msg_none"}, "after")]
)  # fmt: skip
def test_a_page_that_does_not_exist_names_its_parameter(asked, param):
    with pytest.raises(BadPageError) as raised:
        input_items(entry([HELLO]), **asked)
    assert raised.value.param == param


def test_the_list_has_every_field_that_the_specification_requires():
    if not SPEC.exists():
        pytest.skip("the specification is not here")
    lines = SPEC.read_text().split("    ResponseItemList:\n", 1)[1].split("required:\n", 1)[1].splitlines()
    required = {line.strip("- ").strip() for line in lines[:5]}
    assert set(input_items(entry([HELLO]))) == required


# -- retrieving --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        (b"", Retrieval()),
        (b"stream=false&include_obfuscation=false", Retrieval()),
        (b"stream=true", Retrieval(stream=True)),
        (b"stream=true&starting_after=0", Retrieval(stream=True, after=0)),
        (b"include[]=reasoning.encrypted_content&include%5B%5D=code_interpreter_call.outputs",
         Retrieval(include=("reasoning.encrypted_content", "code_interpreter_call.outputs"))),
        (b"include=reasoning.encrypted_content", Retrieval(include=("reasoning.encrypted_content",))),
    ],
)  # fmt: skip
def test_a_retrieval_asks_by_its_query(query, asked):
    assert retrieval(query) == asked


@pytest.mark.parametrize(
    ("query", "param"),
    [
        (b"stream=yes", "stream"),
        (b"stream=", "stream"),
        (b"stream=true&starting_after=x", "starting_after"),
        (b"stream=true&starting_after=-1", "starting_after"),
        (b"stream=true&starting_after=" + b"9" * 5000, "starting_after"),
        (b"starting_after=1", "starting_after"),
        (b"include[]=everything", "include"),
    ],
)
def test_a_retrieval_that_makes_no_sense_names_its_parameter(query, param):
    with pytest.raises(BadQueryError) as raised:
        retrieval(query)
    assert raised.value.param == param


def test_every_documented_include_is_known():
    assert set(responses._INCLUDES) == set(get_args(ResponseIncludable))


TEXT = {"type": "output_text", "text": "Hi", "logprobs": []}
LOGGED = {**TEXT, "logprobs": [{"token": "Hi", "logprob": 0.0}]}
REFUSED = {"type": "refusal", "refusal": "No"}


@pytest.mark.parametrize(
    ("value", "lacking", "having"),
    [
        ("file_search_call.results", {"results": None}, {"results": []}),
        ("web_search_call.results", {}, {"results": [{"url": "u"}]}),
        ("web_search_call.action.sources", {"action": {"type": "search"}}, {"action": {"sources": []}}),
        ("code_interpreter_call.outputs", {"outputs": None}, {"outputs": []}),
        ("reasoning.encrypted_content", {"encrypted_content": None}, {"encrypted_content": "x"}),
        ("message.output_text.logprobs", {"content": [LOGGED, TEXT]}, {"content": [LOGGED, REFUSED]}),
    ],
)
def test_what_a_kept_answer_lacks_cannot_be_included(value, lacking, having):
    kind = value.partition(".")[0]
    check_includes({"output": [{"type": kind, **having}, {"type": "other"}, None]}, [value])
    check_includes({"output": []}, [value])
    check_includes({}, [value])
    with pytest.raises(BadQueryError, match="when a response is created"):
        check_includes({"output": [{"type": kind, **having}, {"type": kind, **lacking}]}, [value])


@pytest.mark.parametrize("value", ["message.input_image.image_url", "computer_call_output.output.image_url"])
def test_what_belongs_to_the_input_is_missing_in_no_answer(value):
    check_includes({"output": [SAID, {"type": ""}]}, [value])
