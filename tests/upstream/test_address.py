import pytest

from understudy.upstream import split_url


@pytest.mark.parametrize(
    ("url", "parts", "authority", "label"),
    [
        ("https://API.example.com/v1/", ("https", "api.example.com", 443, "/v1"), "api.example.com", None),
        ("http://127.0.0.1:8000", ("http", "127.0.0.1", 8000, ""), "127.0.0.1:8000", None),
        ("http://[::1]:80/a/b", ("http", "::1", 80, "/a/b"), "[::1]", "http://[::1]:80"),
    ],
)
def test_a_base_url_is_taken_apart(url, parts, authority, label):
    address = split_url(url)
    assert tuple(address) == parts
    assert address.authority == authority
    assert address.label == label or label is None


@pytest.mark.parametrize(
    "url",
    [
        "api.example.com/v1",
        "ftp://host/",
        "http:///v1",
        "http://u:secret@host/v1",
        "http://host/?a",
        "http://host:99999/",
    ],
)
def test_what_is_no_base_url_is_refused_without_its_secrets(url):
    with pytest.raises(ValueError, match="base URL") as caught:
        split_url(url)
    assert "secret" not in str(caught.value)
