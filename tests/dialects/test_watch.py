"""A stream that is passed on as it came: in every dialect nothing is changed, and nothing broken looks whole."""

import json

import pytest

from tests.dialects.test_dialect_suite import FIXTURES, each_fixture, read
from understudy import dialects
from understudy.canon import Ended, Failed

STEP = 7


def passed(name, pieces):
    """What a watch passes on of a stream that comes in `pieces`, and the watch."""
    watch = dialects.watch(name)
    out = []
    for piece in pieces:
        out.append(watch.feed(piece))
        if watch.done or watch.fault is not None:
            return b"".join(out), watch
    out.append(watch.close())
    return b"".join(out), watch


def verdict(watch):
    kind = watch.fault.kind if watch.fault is not None else None
    return watch.done, kind, watch.content, watch.finish, watch.skipped


def decoded(name, data):
    decoder = dialects.get(name).StreamDecoder()
    return [*decoder.feed(data), *decoder.close()]


def is_array(name, data):
    """Gemini's arrays are never passed on as they came (see `gateway/relay.py`)."""
    return name == "gemini" and data.lstrip()[:1] == b"["


@each_fixture
def test_any_split_passes_the_same_bytes_with_the_same_verdict(name, path):
    data, _ = read(path)
    if is_array(name, data):
        return
    whole, watch = passed(name, [data])
    for cut in range(1, len(data), STEP):
        out, split = passed(name, [data[:cut], data[cut:]])
        assert verdict(split) == verdict(watch), cut
        assert out.rstrip() == whole.rstrip(), cut  # a blank line's own CR LF may be torn


@each_fixture
def test_what_ended_in_order_for_the_decoder_has_ended_for_the_watch(name, path):
    data, _ = read(path)
    if is_array(name, data):
        return
    events = decoded(name, data)
    out, watch = passed(name, [data])
    if not watch.content and watch.finish in (None, "stop"):
        return  # the relay takes it for an empty answer, however it ended
    assert watch.done == isinstance(events[-1], Ended)
    assert (watch.fault is not None) == isinstance(events[-1], Failed)
    if watch.done and not watch.skipped:
        assert data.startswith(out.removesuffix(b"\n\n"))


@each_fixture
def test_a_cut_is_an_end_only_where_the_decoder_says_so_too(name, path):
    data, _ = read(path)
    if is_array(name, data):
        return
    for cut in range(0, len(data), STEP):
        out, watch = passed(name, [data[:cut]])
        if watch.done and (watch.content or watch.finish not in (None, "stop")):  # else it is an empty answer
            assert isinstance(decoded(name, data[:cut])[-1], Ended), cut
        assert watch.skipped or data.startswith(out.removesuffix(b"\n\n")), cut


@pytest.mark.parametrize("name", dialects.DIALECTS)
def test_every_dialect_has_streams_to_watch(name):
    assert any(known == name for known, _ in FIXTURES)


@pytest.mark.parametrize("name", dialects.DIALECTS)
def test_a_body_that_is_no_answer_is_a_fault(name):
    assert dialects.answer_fault(name, b"<html>", streamed=False).kind == "bad_answer"
    assert dialects.answer_fault(name, b"[]", streamed=False) is not None


def test_an_answer_that_says_it_failed_is_a_fault():
    error = {"code": "server_error", "message": "It broke."}
    failed = {"id": "r", "object": "response", "created_at": 1, "model": "m", "status": "failed", "output": []}
    fault = dialects.answer_fault("openai-responses", json.dumps({**failed, "error": error}).encode(), streamed=False)
    assert fault.message == "It broke."


def test_done_without_a_finish_does_not_reach_the_client():
    chunk = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
    out, watch = passed("openai-chat", [chunk + b"data: [DONE]\n\n"])
    assert watch.fault.kind == "stream_cut"
    assert out == chunk


def test_a_torn_last_event_is_not_passed_on():
    choice = {"index": 0, "text": "a", "finish_reason": "stop"}
    body = {"id": "1", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]}
    chunk = b"data: %b\n\n" % json.dumps(body).encode()
    out, watch = passed("openai-completions", [chunk + b'data: {"us'])
    assert watch.done
    assert out == chunk


@pytest.mark.parametrize("name", ["openai-chat", "gemini"])
def test_half_a_line_end_waits_for_the_other_half(name):
    """Alone it would be the end of an event to some clients, and join the error that follows a cut to it for others."""
    event = b'data: {"choices":[],"candidates":[]}\r\n\r\n'
    watch = dialects.watch(name)
    assert watch.feed(event[:-1]) == b""
    assert watch.feed(event[-1:] + event[:-1]) == event
    assert watch.feed(event[-1:]) == event


@pytest.mark.parametrize("rest", [b"data:", b"data: ", b"da", b"data: [DO", b"data: {"])
def test_an_event_cut_before_its_data_is_not_passed_on(rest):
    watch = dialects.watch("openai-completions")
    watch.feed(b'data: {"id":"c","choices":[{"index":0,"text":"a","finish_reason":"stop"}]}\n\n')
    assert watch.feed(rest) == b""
    assert watch.close() == b""
    assert watch.done
