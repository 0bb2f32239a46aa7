"""What a client may ask of a cache, in the words of RFC 9111, section 5.2.1."""

import math

import pytest

from understudy.cache import Asked, asked, forbidden


@pytest.mark.parametrize(
    ("value", "means"),
    [
        (None, Asked()),
        (b"", Asked()),
        (b"no-store", Asked(no_store=True)),
        (b"No-Store, max-age=5", Asked(no_store=True, max_age=5)),
        (b"no-cache", Asked(max_age=-1)),
        (b"max-age=60", Asked(max_age=60)),
        (b'max-age="60"', Asked(max_age=60)),
        (b"max-age=soon", Asked(max_age=-1)),
        (b"max-age=-5", Asked(max_age=-1)),
        (b"max-age", Asked(max_age=-1)),
        (b"max-age=" + b"9" * 5000, Asked(max_age=9_999_999_999)),
        (b"min-fresh=10", Asked(min_fresh=10)),
        (b"min-fresh=x", Asked(min_fresh=math.inf)),
        (b"only-if-cached , max-stale=10", Asked(only_if_cached=True)),
        (b"\xff, nonsense=1", Asked()),
    ],
)
def test_every_directive_is_understood(value, means):
    assert asked(value) == means


def test_age_and_freshness_are_both_asked_for():
    assert Asked().takes(1e6, 0.1)
    assert Asked(max_age=10).takes(10, 1)
    assert not Asked(max_age=10).takes(10.1, 1)
    assert Asked(min_fresh=5).takes(1, 5)
    assert not Asked(min_fresh=5).takes(1, 4.9)


def test_only_no_store_of_a_provider_forbids_to_keep():
    assert forbidden(b"private, no-store")
    assert not forbidden(b"no-cache, private, must-revalidate")
