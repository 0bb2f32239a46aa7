import pytest

from tests.ledger.making import exchange
from understudy.ledger import Body
from understudy.ledger.bodies import bounded, packed, sampled, unpacked, zstd


def test_a_packed_body_is_smaller_and_comes_back():
    data = b'{"messages": []}' * 100
    body = packed(Body("request", data), limit=10_000, level=3)
    assert len(body.data) < len(data) / 10
    assert (unpacked(body.data, body.encoding), body.size, body.kept) == (data, len(data), len(data))
    assert packed(body, limit=10, level=3) is body


def test_what_packing_would_make_longer_is_kept_plain():
    body = packed(Body("request", b"\xff\x00"), limit=10, level=3)
    assert (body.data, body.encoding, body.size) == (b"\xff\x00", "", 2)


def test_a_body_beyond_the_bound_is_cut_and_says_how_long_it_was():
    body = packed(Body("answer", b"a" * 5000), limit=1000, level=3)
    assert (unpacked(body.data, body.encoding), body.size) == (b"a" * 1000, 5000)


def test_the_gateway_cuts_before_it_copies():
    small = exchange(bodies=(Body("request", b"abc"),))
    assert bounded(small, 3) is small
    large = bounded(exchange(bodies=(Body("request", b"abcd"), Body("answer", b"x"))), 3)
    assert large.bodies == (Body("request", b"abc", size=4), Body("answer", b"x", size=1))
    assert bounded(large, 2).bodies[0] == Body("request", b"ab", size=4)


def test_sampling_keeps_the_share_it_is_told_and_decides_alike_each_time():
    names = [f"ex_{number}" for number in range(10_000)]
    kept = [name for name in names if sampled(name, 0.1)]
    assert 850 < len(kept) < 1150
    assert all(sampled(name, 0.1) for name in kept)
    assert not any(sampled(name, 0) for name in names)
    assert all(sampled(name, 1) for name in names)


@pytest.mark.parametrize("data", [b"", b"nonsense", zstd.compress(b"a" * 1000)[:-4]])
def test_a_stored_body_that_is_damaged_is_an_error_and_not_half_a_body(data):
    with pytest.raises(ValueError, match="stored body"):
        unpacked(data, "zstd")


def test_an_unknown_encoding_is_an_error():
    with pytest.raises(ValueError, match="brotli"):
        unpacked(b"", "brotli")


def test_a_stored_body_cannot_unpack_to_gigabytes(monkeypatch):
    monkeypatch.setattr("understudy.ledger.bodies.LARGEST", 1000)
    with pytest.raises(ValueError, match="more than is sensible"):
        unpacked(zstd.compress(b"a" * 1001), "zstd")
