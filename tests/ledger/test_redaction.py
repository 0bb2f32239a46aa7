"""Redaction: what is personal or secret goes, everything else stays to the byte, in time, whatever the text."""

import contextlib
import json
import random
import sqlite3
import subprocess
import time

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.ledger.making import exchange
from understudy import clock, ledger
from understudy.canon import Loss
from understudy.ledger import Attempt, Audit, Body, Event, Feedback, frames, redaction
from understudy.ledger.bodies import unpacked
from understudy.ledger.consent import consent
from understudy.ledger.credentials import NoScannerError
from understudy.ledger.pieces import cut
from understudy.ledger.pseudonyms import PseudonymError, Pseudonyms
from understudy.ledger.recognise import NATIONAL
from understudy.ledger.record_redaction import RecordRedactor
from understudy.ledger.redaction import BadSettingsError, Numbers, Redactor, UnsearchableError
from understudy.ledger.settings import Redaction
from understudy.ledger.writer import Writer

REDACTOR = Redactor()
PATIENT = Redactor(Redaction(patience=300))
RECORDS = RecordRedactor(Redaction())
KEY = "0123456789abcdef" * 4

FOUND = {
    "email": [
        "jo.doe@example.org", "a+b@sub.example.co.uk", "jürgen@müller.de", "x_1@a-b.io", "o'neil@example.com",
    ],
    "card": ["4111111111111111", "4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005", "3782 822463 10005"],
    "iban": ["DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "GB82 WEST 1234 5698 7654 32", "NO9386011117947"],
    "ip": ["192.168.0.1", "8.8.8.8", "2001:db8::1", "fe80::1ff:fe23:4567:890a", "::ffff:192.0.2.128"],
    "phone": [
        "+49 170 1234567", "+1 (415) 555-2671", "0049 30 901820", "(415) 555-2671", "415-555-2671", "030 / 9018-2045",
        "+442071838750",
    ],
    "id": [
        "123-45-6789", "AB 12 34 56 C", "12345678Z", "X1234567L", "1 84 12 76 451 089 46", "RSSMRA85T10A562S",
        "529.982.247-25",
    ],
    "secret": [
        "sk-proj-abcdefghijklmnop1234", "sk-ant-api03-aB3dE5fG7h_aB3dE5fG7h-AA", "AKIAIOSFODNN7EXAMPLE",
        "ghp_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8", "hf_abcdefgh1234567890ABCD",
        "AIzaSyA-1234567890abcdefghijklmnopqrstu",
        "xoxb-123456789012-abcdefGHIJKL", "sk_live_4eC39HqLyjWDarjtT1zdp7dc", "glpat-aBcD1234eFgH5678iJkL",
        "understudy-" + "a1B2c3D" * 7,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA",
    ],
}  # fmt: skip

LEFT = [
    "Version 1.2.3 of 2024-11-25 10:00:00 at 12:30:45", "4111111111111112", "1234567890123456",
    "std::vector<int>::size",
    "DE89370400440532013001", "user@localhost", "sk-learn-pipeline-steps-for-beginners",
    "task-force-12345678901234567890",
    "order 12345678", "10.000.000 Euro", "A::B and ::", "https://example.org/a?b=c:d", "max_tokens: 4096",
    "a password is a word", "529.982.247-24", "12345678A", "0 1 2 3 4 5 6 7 8 9", "3.14159265358979",
    "1732550400000", "550e8400-e29b-41d4-a716-446655440000", "999.1.1.1", "1.2.3.4.5", "@handle", "a@b",
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in FOUND.items() for value in values])
def test_it_is_found_wherever_it_stands(kind, value):
    assert REDACTOR.text(value) == f"[{kind}:1]"
    assert REDACTOR.text(f"x {value}\ny") in (
        f"x [{kind}:1]\ny",
        f"x [{kind}:1]",
    )  # a key without an end takes the rest
    if "\n" not in value:
        assert REDACTOR.text(f'("{value}"), "{value}".') == f'("[{kind}:1]"), "[{kind}:1]".'
    body = json.dumps({"messages": [{"content": f"my {value}"}]}).encode()
    assert json.loads(REDACTOR.body(body)) == {"messages": [{"content": f"my [{kind}:1]"}]}


@pytest.mark.parametrize("text", LEFT)
def test_what_only_looks_like_it_is_left(text):
    assert REDACTOR.text(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("password=hunter22", "password=[secret:1]"),
        ('DB_PASSWORD: "hunter 22"', 'DB_PASSWORD: "hunter 22"'),  # less than six characters up to the space is no find
        ("api_key='abc123def'", "api_key='[secret:1]'"),
        ("Authorization: Bearer abcdefghij1234567890", "Authorization: Bearer [secret:1]"),
        ("postgres://me:s3cret@db.local/x", "postgres://me:[secret:1]/x"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", "AWS_SECRET_ACCESS_KEY=[secret:1]"),
    ],
)
def test_a_secret_is_known_by_what_it_is_called(text, expected):
    if "hunter 22" in text:
        assert REDACTOR.text(text) in (expected, 'DB_PASSWORD: "[secret:1] 22"')
    else:
        assert REDACTOR.text(text) == expected


def test_a_field_with_a_secrets_name_is_emptied_whatever_it_says():
    body = b'{"db_password": "open sesame", "max_tokens": 5, "token": "Hello", "authorization": "whatever it is"}'
    assert REDACTOR.body(body) == (
        b'{"db_password": "[secret:1]", "max_tokens": 5, "token": "Hello", "authorization": "[secret:2]"}'
    )


@pytest.mark.parametrize(
    ("name", "value"), [("de-idnr", "86095742719"), ("nl-bsn", "111222333"), ("pl-pesel", "44051401359")]
)
def test_bare_digits_are_ids_only_where_that_is_asked_for(name, value):
    assert REDACTOR.text(f"id {value}") == f"id {value}"
    assert Redactor(Redaction(national=(name,))).text(f"id {value}") == "id [id:1]"
    wrong = value[:-1] + str((int(value[-1]) + 1) % 10)
    assert Redactor(Redaction(national=(name,))).text(f"id {wrong}") == f"id {wrong}"


def test_each_recogniser_can_be_switched_off():
    text = "jo@example.org 8.8.8.8"
    assert Redactor(Redaction(find=("email",))).text(text) == "[email:1] 8.8.8.8"
    assert Redactor(Redaction(find=(), national=())).text(text) == text


@pytest.mark.parametrize(
    "settings",
    [Redaction(find=("emails",)), Redaction(national=("xx-id",)), Redaction(patterns={"email": "x"}),
     Redaction(patterns={"Not A Name": "x"}), Redaction(patterns={"broken": "("}), Redaction(patterns={"all": "x*"})],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused_with_a_reason(settings):
    with pytest.raises(BadSettingsError, match=r"."):
        Redactor(settings)


def test_own_patterns_and_known_secrets_are_found():
    redactor = Redactor(Redaction(patterns={"employee": r"\bE-\d{5}\b"}, literals=("tulip/üben",)))
    assert redactor.text("E-12345 says tulip/üben or tulip%2F%C3%BCben") == "[employee:1] says [secret:1] or [secret:2]"


def test_an_own_pattern_cannot_take_for_ever():
    redactor = Redactor(Redaction(patterns={"evil": r"(a+)+b"}))
    began = time.perf_counter()
    redactor.text("a" * 100_000)
    assert time.perf_counter() - began < 60


def test_the_same_value_has_the_same_number_throughout_an_exchange():
    numbers = Numbers()
    assert REDACTOR.text("a@x.org b@x.org a@x.org", numbers) == "[email:1] [email:2] [email:1]"
    assert REDACTOR.body(b'{"content": "b@x.org"}', numbers) == b'{"content": "[email:2]"}'
    assert REDACTOR.text("b@x.org") == "[email:1]"


def test_a_number_that_the_text_has_already_is_not_given_again():
    assert REDACTOR.text("[email:3] and a@x.org") == "[email:3] and [email:4]"


# --- bodies ----------------------------------------------------------------------------------------------------------


def test_nothing_else_of_a_body_changes():
    start = b'{ "n" : 1.50, "n":1e5,\t"big": 123456789012345678901234567890, "s": "'
    end = b'", "e": "\\u00e9" }\r\n'
    assert REDACTOR.body(start + b"\\u00e9\\/ a@x.org" + end) == start + b"\xc3\xa9/ [email:1]" + end


def test_names_are_kept_but_for_secrets_in_them():
    body = b'{"a@x.org": {"sk-abcdefghijklmnop1234": 1}}'
    assert REDACTOR.body(body) == b'{"a@x.org": {"[secret:1]": 1}}'


def test_a_number_becomes_a_string_so_that_the_document_stays_one():
    body = b'{"card": 4111111111111111, "n": [4111111111111111]}'
    assert REDACTOR.body(body) == b'{"card": "[card:1]", "n": ["[card:1]"]}'
    assert REDACTOR.body(b"[-4111111111111111, 4111111111111111.5e3]") == b'["[card:1]", "[card:2]"]'
    assert REDACTOR.body(b"[0.4111111111111111]") == b"[0.4111111111111111]"


def test_documents_within_strings_are_searched():
    body = json.dumps({"arguments": json.dumps({"to": "jo@x.org"})}).encode()
    assert json.loads(json.loads(REDACTOR.body(body))["arguments"]) == {"to": "[email:1]"}


def test_a_body_that_was_cut_keeps_no_half_of_a_secret():
    body = b'{"content": "write to jo.doe@exam'
    assert REDACTOR.body(body, cut=True) == b'{"content": "write to '
    assert REDACTOR.body('{"content": "Größe 5 \xfc'.encode()[:-1], cut=True) == '{"content": "Größe 5 '.encode()
    key = b'{"content": "-----BEGIN PRIVATE KEY-----\\nMIIEow\\nIBAAKCAQ'
    assert REDACTOR.body(key, cut=True) == b'{"content": "[secret:1]'


def test_bytes_that_are_no_text_are_searched_as_far_as_they_can_be():
    assert REDACTOR.body(b"\xff\x00\x80 jo@example.org \xfe") == b"\xff\x00\x80 [email:1] \xfe"
    assert REDACTOR.body(b"\xff\x00\x80") == b"\xff\x00\x80"


def chat(*parts, choices=1):
    return b"".join(
        b'data: {"id":"c1","choices":[{"index":%d,"delta":{"content":%s}}]}\n\n' % (number, json.dumps(part).encode())
        for part in parts
        for number in range(choices)
    )


def spoken(body, index=0):
    lines = [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: {")]
    return "".join(c["delta"]["content"] for line in lines for c in line["choices"] if c["index"] == index)


def test_what_a_stream_tells_in_pieces_is_found():
    body = chat("I am j", "o.d", "oe@exam", "ple", ".org, 4111 11", "11 1111 ", "1111.")
    assert spoken(REDACTOR.body(body)) == "I am [email:1], [card:1]."


def test_interleaved_answers_are_read_apart():
    after = REDACTOR.body(chat("I am jo@ex", "ample.org", " bye", choices=2))
    assert spoken(after, 0) == spoken(after, 1) == "I am [email:1] bye"


@pytest.mark.parametrize(
    "form",
    [
        'event: x\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":%s}}\n\n',
        'data: {"type":"x.delta","output_index":0,"content_index":0,"sequence_number":7,"delta":%s}\n\n',
        'data: {"candidates":[{"content":{"parts":[{"text":%s}],"role":"model"},"index":0}]}\r\n\r\n',
        '{"model":"m","message":{"role":"assistant","content":%s},"done":false}\n',
        'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":%s}}]}}]}\n\n',
        'data: {"type":"content-delta","index":0,"delta":{"message":{"content":{"text":%s}}}}\n\n',
    ],
)
def test_pieces_are_joined_in_every_dialect(form):
    body = "".join(form % json.dumps(part) for part in ("my mail is jo", "@exam", "ple.org", " ok")).encode()
    after = REDACTOR.body(body)
    assert b"exam" not in after
    assert after.count(b"[email:1]") == 1
    assert len(after.splitlines()) == len(body.splitlines())


def test_a_stream_that_is_one_array_is_joined_too():
    told = [{"candidates": [{"content": {"parts": [{"text": part}]}}]} for part in ("jo@exam", "ple.org")]
    body = json.dumps(told, indent=2).encode()
    after = json.loads(REDACTOR.body(body))
    assert [part["candidates"][0]["content"]["parts"][0]["text"] for part in after] == ["[email:1]", ""]


# --- properties ------------------------------------------------------------------------------------------------------

VALUES = [value for values in FOUND.values() for value in values if "\n" not in value]
WORDS = st.one_of(
    st.text(max_size=20), st.sampled_from(VALUES), st.sampled_from(LEFT), st.sampled_from(list('"\\{}[]:, \n@.+0'))
)
TEXTS = st.lists(WORDS, max_size=8).map("".join)
DOCUMENTS = st.recursive(
    st.one_of(TEXTS, st.integers(), st.floats(allow_nan=False), st.booleans(), st.none()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(TEXTS)
def test_redacting_twice_is_redacting_once(text):
    once = REDACTOR.text(text)
    assert REDACTOR.text(once) == once
    body = text.encode("utf-8", "surrogatepass")
    after = REDACTOR.body(body)
    assert REDACTOR.body(after) == after


@given(DOCUMENTS, st.booleans())
def test_a_document_stays_the_document_it_was(document, ascii_only):
    body = json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    after = REDACTOR.body(body)
    assert shape(json.loads(after)) == shape(document)
    assert REDACTOR.body(after) == after


def shape(document):
    if isinstance(document, dict):
        return {name: shape(value) for name, value in document.items()}
    if isinstance(document, list):
        return [shape(value) for value in document]
    return "leaf" if isinstance(document, str | int | float) and not isinstance(document, bool) else document


@given(st.text(alphabet=st.characters(exclude_characters="@+(0123456789:=."), max_size=300))
def test_what_has_nothing_in_it_is_unchanged(text):
    assume("PRIVATE KEY" not in text)
    assert REDACTOR.text(text) == text
    body = text.encode("utf-8", "surrogatepass")
    assert REDACTOR.body(body) == body


@given(st.text(max_size=300))
def test_every_character_of_a_body_is_in_a_piece(text):
    pieces = list(cut(text))
    assert "".join(text[piece.start : piece.end] for piece in pieces) == text


@given(st.sampled_from(VALUES), TEXTS, TEXTS, st.integers(0, 5))
def test_a_canary_never_survives(value, before, after, where):
    assume(value not in before + after)  # part of a longer word it is another value
    before, after = before + " ", " " + after
    place = {
        0: before + value + after,
        1: json.dumps({"messages": [{"content": before + value + after}]}),
        2: json.dumps([[{"x": before, "y": [value]}]]),
        3: "data: " + json.dumps({"delta": {"content": value}}) + "\n\n: " + value + "\n\n",
        4: '{"content": "' + value + " ",
        5: json.dumps({"arguments": json.dumps({"v": value})}),
    }[where]
    assert value not in REDACTOR.body(place.encode("utf-8", "replace")).decode("utf-8", "replace")


@given(st.sampled_from(VALUES), st.integers(1, 4), st.randoms(use_true_random=False))
def test_a_canary_told_in_pieces_never_survives(value, length, chance):
    assert chance is not None
    parts = [value[start : start + length] for start in range(0, len(value), length)]
    after = REDACTOR.body(chat("so ", *parts, " end"))
    assert value not in spoken(after)
    assert spoken(after).startswith("so [")


# --- time ------------------------------------------------------------------------------------------------------------

CRUEL = [
    "a", "@", "a@", "a.", "@a.", "1", "1 ", "4 ", "411 ", "4111-", "+", "+1", "(", "(0", "00", "01 ", "1.", "1:", "a:",
    "::", "::1", "DE", "DE89 ", "sk-", "sk-a", "eyJ", "-eyJ", "eyJaaaaaaaa.", "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN ", "://a:", "://", "password=", "password: ", "bearer ", "pass", '"', '\\"', '"\\', '"a":', '{"a":"',
    'data: {"text":"a"}\n', "[email:1]", "[email:", "xox", "ghp_", "123-45-", "RSSMRA85T10A562", "\n", "\0",
    " ", "[", "{",
]  # fmt: skip


@pytest.mark.parametrize("atom", CRUEL)
def test_a_text_made_to_hurt_takes_no_more_time_than_its_length(atom):
    text = atom * (100_000 // len(atom))
    began = time.perf_counter()
    for body in (text.encode(), json.dumps({"content": text}).encode()):
        PATIENT.body(body)
    assert time.perf_counter() - began < 60  # half a second at most; where time grew with the square, minutes


@pytest.mark.parametrize("atom", ["a@", "411 ", "-eyJ", '"', "::1", "-----BEGIN PRIVATE KEY-----"])
def test_a_megabyte_made_to_hurt_is_done_in_seconds(atom):
    began = time.perf_counter()
    PATIENT.text(atom * (1_000_000 // len(atom)))
    assert time.perf_counter() - began < 120


def test_a_megabyte_of_prose_stays_as_it_is():
    chance = random.Random(1)
    words = [
        "the",
        "model",
        "answers",
        "12",
        "in",
        "2024,",
        "(mostly)",
        "https://example.org/a?b=1",
        "and",
        "API",
        "keys:",
    ]
    body = json.dumps({"messages": [{"content": " ".join(chance.choices(words, k=200_000))}]}).encode()
    assert PATIENT.body(body) == body


# --- pseudonyms ------------------------------------------------------------------------------------------------------


def test_who_has_the_key_can_turn_pseudonyms_back():
    redactor = Redactor(Redaction(key=KEY))
    text = "jo@example.org calls +49 170 1234567, jo@example.org"
    hidden = redactor.text(text)
    assert "jo@" not in hidden
    assert "1234567" not in hidden
    assert hidden.split()[0] == hidden.split()[-1]  # the same value, the same pseudonym
    assert redactor.text(hidden) == hidden
    assert Pseudonyms(KEY).restored(hidden) == text
    assert Pseudonyms("another key of thirty-two characters").restored(hidden) == hidden


def test_a_pseudonym_that_somebody_made_up_hides_nothing():
    made_up = "[email:~sk-abcdefghijklmnop1234567890abcdefgh]"
    assert "sk-abc" not in Redactor(Redaction(key=KEY)).text(made_up)
    assert "sk-abc" not in REDACTOR.text(made_up)


def test_a_short_key_is_refused():
    with pytest.raises(PseudonymError, match="openssl"):
        Redactor(Redaction(key="short"))


# --- records ---------------------------------------------------------------------------------------------------------


def test_every_text_of_a_record_is_redacted():
    record = exchange(
        attempts=(Attempt("a/b", 0.0, fault_message="bad prompt: jo@example.org"), Attempt("a/b", 0.0)),
        bodies=(Body("request", b'{"content": "jo@example.org"}'), Body("answer", b"hello jo@example.org", size=900)),
    )
    after = RECORDS.record(record)
    assert after.attempts[0].fault_message == "bad prompt: [email:1]"
    assert [body.data for body in after.bodies] == [b'{"content": "[email:1]"}', b"hello "]
    assert [body.size for body in after.bodies] == [0, 900]
    feedback = RECORDS.record(Feedback("f", "e", 1.0, comment="ask jo@example.org", corrected=None))
    assert (feedback.comment, feedback.corrected) == ("ask [email:1]", None)
    assert RECORDS.record(Event("v", 1.0, "k", detail='{"to": "jo@example.org"}')).detail == '{"to": "[email:1]"}'
    assert RECORDS.record(Audit("v", 1.0, "k", "a", detail="jo@example.org")).detail == "[email:1]"


def test_names_lose_secrets_and_nothing_else():
    secret = "sk-proj-abcdefghijklmnop1234"
    attempts = (
        Attempt(f"a/{secret}", 0.0, fault_code=secret, request_id=secret, losses=(Loss(secret, f"no {secret}"),)),
        Attempt("a/b", 0.0, losses=(Loss("tools", "unknown"),)),
    )
    record = exchange(
        route=secret, model=f"a/{secret}", target=f"a/{secret}", session=secret, task="jo@example.org", end_user="u-1",
        tags=("blue", secret), attempts=attempts,
    )  # fmt: skip
    redactor = RecordRedactor(Redaction())
    for _ in range(2):
        after = redactor.record(record)
        assert secret not in repr(after)
        assert (after.task, after.end_user, after.tags) == ("jo@example.org", "u-1", ("blue", "[secret:1]"))
        assert after.attempts[1] == attempts[1]
        plain = exchange(session="s1", tags=("blue",))
        assert redactor.record(plain) == plain
    assert secret not in repr(redactor.record(Feedback("f", secret, 1.0)))
    assert secret not in repr(redactor.record(Event("v", 1.0, "k", target=f"a/{secret}")))
    assert secret not in repr(redactor.record(Audit("v", 1.0, "k", "a", subject=secret)))


def test_only_so_many_names_are_remembered(monkeypatch):
    monkeypatch.setattr(redaction, "_REMEMBERED", 10)
    redactor = Redactor()
    for number in range(50):
        assert redactor.names([f"s{number}"], Numbers()) == {}
        assert len(redactor._clean) <= 10


def test_the_settings_do_not_show_their_secrets():
    shown = repr(ledger.Settings("sqlite://", "spool", redaction=Redaction(key=KEY, literals=("hunter22",))))
    assert "find=" in shown
    assert KEY not in shown
    assert "hunter22" not in shown


def test_a_body_that_cannot_be_searched_is_not_kept(monkeypatch):
    def slow(_text):
        raise TimeoutError

    records = RecordRedactor(Redaction())
    for kinds in ("_kinds", "_quick"):
        monkeypatch.setattr(records._redactor, kinds, [("secret", slow)])
    with pytest.raises(UnsearchableError):
        records._redactor.text("anything")
    attempts = (Attempt("a/b", 0.0, fault_message="anything"),)
    after = records.record(exchange(attempts=attempts, bodies=(Body("request", b"anything"),)))
    assert after.bodies[0].data == b"[unsearchable]"
    assert after.attempts[0].fault_message == "[unsearchable]"
    assert after.model == "[unsearchable]"
    assert records.record(Event("v", 1.0, "k", detail='{"a": "b"}')).detail == '"[unsearchable]"'
    assert records.given_up == 4  # the names, the message, the body, and of the event its detail


def test_a_text_that_takes_longer_than_patience_is_given_up():
    def slow(_text):
        time.advance(3)
        return ()

    with clock.frozen(0.0) as time:
        redactor = Redactor(Redaction(patience=5.0))
        redactor._kinds = [("secret", slow)] * 3
        with pytest.raises(UnsearchableError):
            redactor.text("anything")
        redactor._kinds = redactor._kinds[:2]
        assert redactor.text("anything") == "anything"


def test_packed_bodies_are_refused():
    with pytest.raises(ValueError, match="packed"):
        RECORDS.record(exchange(bodies=(Body("request", b"x", encoding="zstd"),)))


# --- consent ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "asked", "expected"),
    [
        ((), None, "bodies"),
        ((None, None), None, "bodies"),
        (("bodies", "metadata"), None, "metadata"),
        (("metadata", "bodies"), "bodies", "metadata"),
        (("none", "bodies"), "bodies", "none"),
        (("bodies", None), " Metadata ", "metadata"),
        (("bodies", "bodies"), "none", "none"),
        (("bodies", "bodies"), "off", "none"),
        (("bodies", "bodies"), "", "none"),
    ],
)
def test_the_strictest_word_wins(allowed, asked, expected):
    assert consent(*allowed, asked=asked) == expected


# --- the further detector --------------------------------------------------------------------------------------------


def test_the_further_detector_finds_what_only_it_knows(tmp_path):
    pytest.importorskip("kingfisher_sdk")
    redactor = Redactor(Redaction(scanner=True, find=(), national=(), cache=str(tmp_path)))
    token = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    assert redactor.text(f"ü the token {token} of ü") == "ü the token [secret:1] of ü"
    body = json.dumps({"a": "ü", "b": f"ü {token}", "c": "end"}).encode()
    assert json.loads(redactor.body(body)) == {"a": "ü", "b": "ü [secret:1]", "c": "end"}


def test_asking_for_a_detector_that_is_not_there_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NoScannerError, match=r"understudy\[redaction\]"):
        Redactor(Redaction(scanner=True))


def test_every_national_id_has_an_example():
    examples = set(FOUND["id"]) | {"86095742719", "111222333", "44051401359"}
    for name, recogniser in NATIONAL.items():
        assert [one for one in examples if list(recogniser(one)) == [(0, len(one))]], name


@pytest.mark.parametrize("kind", ["iban", "card", "phone", "id"])
def test_what_is_left_out_where_there_are_few_digits_has_more(kind):
    assert all(redaction._DIGITS.search(value) for value in FOUND[kind])
    assert not redaction._DIGITS.search("On 24 November 2024 at house number 7, in 3 of the rooms")


CANARY = "sk-canary-abcdef0123456789"


@pytest.fixture
def kept(tmp_path):
    """Settings of a ledger that redacts, and what its database says to a question."""
    settings = ledger.Settings(
        url=f"sqlite:///{tmp_path}/ledger.sqlite", spool=str(tmp_path / "spool"), redaction=Redaction()
    )

    def ask(question):
        with contextlib.closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as database:
            return database.execute(question).fetchall()

    return settings, ask


def spoken_of():
    return exchange(
        session="s", tags=("t",), attempts=(Attempt("a/b", 0.0, fault_message=CANARY, losses=(Loss(CANARY, "x"),)),),
        bodies=(Body("request", json.dumps({"content": f"my key is {CANARY}"}).encode()),),
    )  # fmt: skip


def test_the_writer_redacts_before_it_writes_anywhere(kept, tmp_path):
    settings, ask = kept
    absent = msgspec.structs.replace(settings, url=f"sqlite:///{tmp_path}/none/ledger.db")
    with contextlib.closing(Writer(absent)) as writer:
        assert writer.take([frames.encode([spoken_of()])])
        (spooled,) = (tmp_path / "spool").iterdir()
        assert b"my key is" in b"".join(
            unpacked(body.data, body.encoding) for record in frames.decode(spooled.read_bytes()[8:])[0]
            for body in record.bodies
        )  # fmt: skip
        assert CANARY.encode() not in spooled.read_bytes()
    with contextlib.closing(Writer(settings)) as writer:
        assert writer.take([frames.encode([spoken_of()])])
    ((data, encoding),) = ask("select data, encoding from bodies")
    assert unpacked(data, encoding) == b'{"content": "my key is [secret:1]"}'


def test_where_redaction_itself_fails_the_exchange_is_kept_without_any_text(kept, monkeypatch, caplog):
    settings, ask = kept
    beats = []
    with contextlib.closing(Writer(settings, lambda: beats.append(1))) as writer:
        for name in ("names", "text", "body"):
            monkeypatch.setattr(writer._redactor._redactor, name, lambda *_args, **_more: 1 / 0)
        told = [
            spoken_of(),
            spoken_of(),
            Feedback("f", "e", 1.0, score=0.5, comment=CANARY),
            Event("v", 1.0, "k", detail=CANARY),
        ]
        assert writer.take([frames.encode(told)])
        assert writer.lost == {"redaction": 4}
    assert ask("select count(*) from exchanges where session is null") == [(2,)]
    assert ask("select count(*) from bodies") == [(0,)]
    assert ask("select fault_message from attempts") == [(None,), (None,)]
    assert ask("select score, comment from feedback") == [(0.5, None)]
    assert ask("select detail from events") == [("",)]
    assert len(beats) == 4, "the gateway hears that it goes on"
    assert caplog.text.count("redaction fails (ZeroDivisionError)") == 1
    assert CANARY not in caplog.text


def test_a_text_that_could_not_be_searched_is_counted_as_lost(kept, monkeypatch):
    def never(*_args, **_more):
        raise UnsearchableError

    settings, ask = kept
    with contextlib.closing(Writer(settings)) as writer:
        monkeypatch.setattr(writer._redactor._redactor, "body", never)
        assert writer.take([frames.encode([spoken_of()])])
        assert writer.lost == {"unsearchable": 1}
    ((data, encoding),) = ask("select data, encoding from bodies")
    assert unpacked(data, encoding) == b"[unsearchable]"


def test_the_gateways_process_never_puts_a_secret_on_a_command_line(kept, monkeypatch):
    settings, ask = kept
    settings = msgspec.structs.replace(settings, redaction=Redaction(key=KEY, literals=("hunter22",)))
    commands = []
    start = subprocess.Popen

    def popen(command, **more):
        commands.append((command, more.get("env")))
        return start(command, **more)

    monkeypatch.setattr("understudy.ledger.link.subprocess.Popen", popen)
    ledger_ = ledger.Ledger(settings)
    ledger_.start()
    ledger_.put(exchange(bodies=(Body("request", b"say hunter22 to jo@example.org"),)))
    assert ledger_.stop().lost == {}
    ((command, environ),) = commands
    assert environ is None
    assert KEY not in str(command)
    ((data, encoding),) = ask("select data, encoding from bodies")
    text = unpacked(data, encoding).decode()
    assert "hunter22" not in text
    assert Pseudonyms(KEY).restored(text) == "say hunter22 to jo@example.org"
