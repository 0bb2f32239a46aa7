"""What is read of a call beside model and stream."""

import msgspec
import pytest

from understudy.gateway import surface
from understudy.gateway.call import BadCallError, Call

BODY = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


def end_user(path, headers=None, **more):
    return Call(msgspec.json.encode({**BODY, **more}), headers or {}, surface.DOORS[path]).end_user()


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/chat/completions", {"user": "u-1"}),
        ("/v1/chat/completions", {"safety_identifier": "u-1", "user": "older"}),
        ("/v1/responses", {"safety_identifier": "u-1"}),
        ("/v1/completions", {"user": "u-1"}),
        ("/v1/messages", {"metadata": {"user_id": "u-1", "more": [1]}}),
    ],
)
def test_an_end_user_is_who_the_clients_dialect_says(path, more):
    assert end_user(path, **more) == "u-1"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/api/chat", "/v2/chat"])
def test_a_header_says_so_in_every_dialect_and_comes_first(path):
    more = {"user": "other", "metadata": {"user_id": "other"}}
    assert end_user(path, {b"x-understudy-user": b"u-1"}, **more) == "u-1"


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/chat/completions", {}),
        ("/v1/chat/completions", {"user": None}),
        ("/v1/chat/completions", {"user": ""}),
        ("/v1/chat/completions", {"user": {"id": 1}}),
        ("/v1/chat/completions", {"metadata": {"user_id": "a tag of OpenAI's, and nobody"}}),
        ("/v1/messages", {"metadata": {}}),
        ("/v1/messages", {"metadata": [1]}),
        ("/v1/messages", {"metadata": {"user_id": 7}}),
        ("/v1/messages", {"user": "not Anthropic's word"}),
    ],
)
def test_what_names_nobody_is_nobody_and_no_error(path, more):
    assert end_user(path, **more) is None


def test_models_in_the_path_leave_the_header():
    door = surface.door("/v1beta/models/gemini:generateContent")
    assert Call(b"{}", {b"x-understudy-user": b"u-1"}, door).end_user() == "u-1"
    assert Call(b"{}", {}, door).end_user() is None


def test_a_body_that_is_no_call_is_still_refused():
    with pytest.raises(BadCallError):
        Call(b'{"user": "u-1"}', {}, surface.DOORS["/v1/chat/completions"])
