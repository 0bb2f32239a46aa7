import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.canon import Ended, Failed, Finished
from understudy.dialects.watch import EVENTS, Watch
from understudy.operations import media

WHOLE = (
    b': warming up\n\nevent: image_generation.partial_image\ndata: {"type":"image_generation.partial_image"}\n\n'
    b'event: image_generation.completed\ndata: {"type":"image_generation.completed"}\n\n'
)
SOUND = b'data: {"type":"speech.audio.delta","audio":"AA=="}\r\n\r\ndata: {"type":"speech.audio.done"}\r\n\r\n'
PLAIN = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\ndata: [DONE]\n\n'


def read(pieces):
    decoder = media.StreamDecoder()
    events = []
    for piece in pieces:
        events += decoder.feed(piece)
    return events + decoder.close()


def passed(pieces):
    watch = Watch(media.StreamDecoder(), EVENTS)
    out = b"".join([watch.feed(piece) for piece in pieces if not watch.done]) + (b"" if watch.done else watch.close())
    return out, watch


@pytest.mark.parametrize("stream", [WHOLE, SOUND, PLAIN])
def test_a_whole_stream_is_passed_on_as_it_came_however_it_is_split(stream):
    for at in range(len(stream)):
        out, watch = passed([stream[:at], stream[at:]])
        assert out.rstrip() == stream.rstrip()  # the second half of the very last line end says nothing
        assert watch.done
        assert watch.content
        assert watch.fault is None


@pytest.mark.parametrize("stream", [WHOLE, SOUND, PLAIN])
def test_a_stream_cut_before_its_last_event_is_never_done(stream):
    last = stream.rindex(b"data: ")
    for at in range(last):
        out, watch = passed([stream[:at]])
        assert not watch.done
        assert watch.fault.kind == "stream_cut"
        assert stream.startswith(out)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (b'event: error\ndata: {"error":{"message":"no","code":"x"}}\n\n', "no"),
        (b'data: {"error":{"message":"no"}}\n\n', "no"),
        (b'data: {"type":"error","message":"no"}\n\n', "no"),
        (b'event: error\ndata: {"message":"no"}\n\n', "no"),
        (b'event: error\ndata: "no"\n\n', "without saying"),
        (b'data: {"type":"error"}\n\n', ""),
    ],
)
def test_an_error_in_a_stream_ends_it_whatever_its_form(event, message):
    events = read([event, WHOLE])
    assert isinstance(events[0], Failed)
    assert message in events[0].fault.message
    assert len(events) == 1


def test_an_error_of_null_is_none():
    assert isinstance(read([b'data: {"type":"image_edit.completed","error":null}\n\n'])[-1], Ended)


def test_several_images_finish_once_each_and_the_stream_ends_once():
    events = read([WHOLE, WHOLE])
    assert [type(event) for event in events].count(Finished) == 2
    assert [type(event) for event in events].count(Ended) == 1


@given(st.lists(st.binary(max_size=40)))
def test_any_bytes_end_in_exactly_one_way(pieces):
    events = read(pieces)
    assert sum(isinstance(event, Failed | Ended) for event in events) == 1


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"{}", None), (b'{"error":null}', None), (b"[1]", None), (b"{", "bad_answer"), (b"", "bad_answer")],
)
def test_a_whole_answer_is_judged_by_its_json(body, kind):
    fault = media.whole_fault(body)
    assert (fault and fault.kind) == kind


def test_an_error_in_a_success_is_no_answer():
    assert media.whole_fault(b'{"error":{"message":"no","code":"overloaded"}}').code == "overloaded"
    assert media.whole_fault(b'{"error":"no"}') is not None
