import json
from pathlib import Path

import pytest
from openai.types.responses.response_item_list import ResponseItemList

from understudy.gateway.responses import BadPageError, expand, input_items, input_items_of
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
