import pytest

from understudy.dialects.sse import COMMENT, STRAY, SseDecoder


def whole(data: bytes, limit: int = 1000) -> list[tuple[str, bytes]]:
    decoder = SseDecoder(limit)
    return decoder.feed(data) + decoder.close()


@pytest.mark.parametrize(
    ("data", "pairs"),
    [
        (b"data: a\n\n", [("", b"a")]),
        (b"data:a\r\n\r\n", [("", b"a")]),
        (b"data: a\rdata: b\r\r", [("", b"a\nb")]),
        (b"event: error\ndata: x\n\ndata: y\n\n", [("error", b"x"), ("", b"y")]),
        (b"error: x\n\n", [("error", b"x")]),
        (b": ping\n\n:\n", [(COMMENT, b"ping"), (COMMENT, b"")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("", b"a")]),
        (b"  data: a\n\n", [("", b"a")]),
        (b"id: 1\nretry: 2\nevent: x\n\ndata\n\n", [("", b"")]),
        (b'{"error": 1}\n', [(STRAY, b'{"error": 1}')]),
        (b"data: [DONE]", [("", b"[DONE]")]),
        (b"data: a\n", [("", b"a")]),
        (b"   \n\n", []),
        (b"", []),
    ],
)
def test_an_event_stream_is_read_as_servers_write_it(data: bytes, pairs: list[tuple[str, bytes]]) -> None:
    assert whole(data) == pairs
    decoder = SseDecoder()
    assert [p for i in range(len(data)) for p in decoder.feed(data[i : i + 1])] + decoder.close() == pairs


@pytest.mark.parametrize("data", [b"data: " + b"x" * 95, b"data: x\n" * 20, b"data: " + b"x" * 95 + b"\n\n"])
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_an_event_beyond_the_limit_stops_the_reading(data: bytes, step: int) -> None:
    decoder = SseDecoder(limit=100)
    got = [pair for i in range(0, len(data), step) for pair in decoder.feed(data[i : i + step])]
    assert decoder.overflowed
    assert got == decoder.feed(b"data: more\n\n") == decoder.close() == []


def test_many_events_are_not_one_large_one() -> None:
    decoder = SseDecoder(limit=100)
    assert len(decoder.feed(b"data: abc\n\n: c\n\n" * 1000)) == 2000
    assert not decoder.overflowed
