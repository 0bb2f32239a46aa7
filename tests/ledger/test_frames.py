import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ledger.making import exchange, whole
from understudy.ledger import frames
from understudy.ledger.frames import BadFrameError, Cutter, frame

PAYLOADS = [b"", b"a", b"hello" * 50, bytes(range(256))]
STREAM = b"".join(map(frame, PAYLOADS))


def cut(pieces):
    cutter = Cutter()
    found = [payload for piece in pieces for payload in cutter.feed(piece)]
    return found, cutter.rest


@pytest.mark.parametrize("at", range(len(STREAM)))
def test_frames_are_the_same_however_the_bytes_were_split_and_a_torn_one_is_none(at):
    assert cut([STREAM[:at], STREAM[at:]]) == (PAYLOADS, 0)
    found, rest = cut([STREAM[:at]])
    assert found == PAYLOADS[: len(found)]
    assert sum(len(frame(payload)) for payload in found) + rest == at


@given(st.integers(0, len(STREAM) - 1), st.integers(1, 255))
def test_a_changed_byte_is_never_taken_for_a_record(at, change):
    damaged = bytearray(STREAM)
    damaged[at] ^= change
    cutter, found = Cutter(), []
    try:
        for payload in cutter.feed(bytes(damaged)):
            found.append(payload)  # noqa: PERF402  # what came before the error counts
    except BadFrameError:
        pass
    assert found == PAYLOADS[: len(found)]
    assert len(found) < len(PAYLOADS)


def test_records_survive_the_way():
    records = [exchange(), whole()]
    assert frames.decode(frames.encode(records)) == (records, 0)


@pytest.mark.parametrize("payload", [b"", b"\xc1", frames.encode([whole()])[:-3]])
def test_a_payload_that_holds_no_records_says_so(payload):
    with pytest.raises(BadFrameError):
        frames.decode(payload)
