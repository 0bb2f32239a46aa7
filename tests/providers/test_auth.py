import traceback

import pytest

from understudy.providers import auth

KEY = "sk-secret-0123456789"


@pytest.mark.parametrize(
    ("scheme", "pairs"),
    [
        ("bearer", ((b"authorization", b"Bearer sk-secret-0123456789"),)),
        ("api-key", ((b"api-key", b"sk-secret-0123456789"),)),
        ("none", ()),
    ],
)
def test_each_scheme_sends_the_key_in_its_own_way(scheme, pairs):
    assert auth.headers(scheme, KEY) == pairs


@pytest.mark.parametrize("scheme", auth.SCHEMES)
def test_header_names_are_lower_case(scheme):
    assert all(name == name.lower() for name, _ in auth.headers(scheme, KEY))


def test_a_key_may_use_all_of_latin_1():
    assert auth.headers("api-key", "clé") == ((b"api-key", b"cl\xe9"),)


def test_an_unknown_scheme_is_refused_with_those_there_are():
    with pytest.raises(auth.AuthError, match=r"'basic'.*api-key, bearer, none"):
        auth.headers("basic", KEY)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("sk-secret\r\nx-admin: 1", "a line break at position 10 of 21"),
        ("sk-secret\n", "a line break at position 10"),
        ("sk-secret\t1", "a control character at position 10"),
        ("sk-secret\x00", "a control character at position 10"),
        ("sk-secret\x7f", "a control character at position 10"),
        ("sk-secret\x85", "a control character at position 10"),
        ("sk-secret…", "a character that no HTTP header can carry at position 10"),
        ("sk-secret ", "white space around it"),
        ("", "is empty"),
        ("  ", "is empty"),
    ],
)
@pytest.mark.parametrize("scheme", ["bearer", "api-key"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(scheme, key, words):
    with pytest.raises(auth.AuthError) as caught:
        auth.headers(scheme, key)
    assert words in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value))
    assert "sk-secret" not in str(caught.value)
    assert "sk-secret" not in shown.replace("sk-secret-0123456789", "")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_scheme_that_sends_nothing_needs_no_key():
    assert auth.headers("none", "") == ()
