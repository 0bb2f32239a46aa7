import gzip
import zlib

import pytest

from understudy.upstream.encoding import Inflate


def whole(inflate, data):
    found = inflate.feed(data)
    while not inflate.hungry:
        found += inflate.feed(b"")
    inflate.end()
    return found


def test_gzip_members_follow_each_other():
    assert whole(Inflate(b"x-gzip"), gzip.compress(b"hello ") + gzip.compress(b"world")) == b"hello world"


def test_deflate_does_not_go_on_after_its_end():
    with pytest.raises(ValueError, match="goes on after its end"):
        whole(Inflate(b"deflate"), zlib.compress(b"hello") + b"xx")


def test_one_call_gives_no_more_than_its_bound():
    inflate = Inflate(b"deflate")
    data = zlib.compress(bytes(1_000_000))
    sizes = [len(inflate.feed(data))]
    while not inflate.hungry:
        assert inflate.pending <= len(data)
        sizes.append(len(inflate.feed(b"")))
    inflate.end()
    assert sum(sizes) == 1_000_000
    assert max(sizes) == 65536
