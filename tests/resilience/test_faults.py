"""The fault table itself; how real errors are recognised by it is in `test_wire.py`."""

import re
from pathlib import Path

import msgspec
import pytest

import understudy
from understudy.canon import Fault
from understudy.dialects.openai_chat import decode_fault
from understudy.resilience import classify, row, table
from understudy.resilience.faults import Scope

KINDS = table().kinds
SIGNS = table().signs
SOURCE = "".join(path.read_text("utf-8") for path in Path(understudy.__file__).parent.rglob("*.py"))


def test_the_table_is_read_once():
    assert table() is table()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_an_error_status_and_words(kind):
    entry = row(kind)
    assert 400 <= entry.status <= 599
    assert 1 <= entry.row <= 53
    assert entry.what
    assert entry.what[0].islower()
    assert not entry.what.endswith(".")


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_row_says_makes_sense(kind):
    entry = row(kind)
    assert entry.cool is None or entry.cool in Scope.__args__
    assert entry.cool_seconds >= 0
    if entry.cool is None:
        assert not entry.cool_seconds
        assert not entry.trust_reset
    if entry.trust_reset:
        assert entry.cool_seconds, "without a reset from the provider it would cool down for ever"
    if entry.cool_until is not None:
        assert entry.cool_seconds, "where nobody knows the day or the date it would cool down for ever"
        assert not entry.trust_reset
    if entry.surface:
        assert not entry.counts, "what is the client's own doing says nothing about the target"
        assert 400 <= entry.status < 500
        assert entry.cool is None
    if not entry.fail_over:
        assert entry.surface or kind == "deadline"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_reached(kind):
    """By a sign, a status, or code of ours that says it."""
    assert kind in {sign.kind for sign in SIGNS} | set(table().status.values()) or f'"{kind}"' in SOURCE


def test_a_kind_that_is_not_in_the_table_is_a_mistake_of_ours():
    with pytest.raises(KeyError):
        row("no_such_kind")


@pytest.mark.parametrize("sign", SIGNS, ids=lambda sign: sign.kind)
def test_every_sign_names_a_kind_and_something_to_see(sign):
    assert sign.kind in KINDS
    fields = (sign.status, sign.code, sign.type, sign.param, sign.param_like, sign.phrase)
    assert any(field is not None for field in fields)
    assert [] not in fields
    if sign.phrase is not None:
        assert sign.status is not None, "a phrase alone could be anybody's words"
        re.compile(sign.phrase)


def test_statuses_name_kinds():
    for status, kind in table().status.items():
        assert 300 <= int(status) <= 599
        assert kind in KINDS


@pytest.mark.parametrize("status", range(300, 600))
def test_every_status_without_a_body_has_a_kind(status):
    kind = classify(Fault(status=status), "openai-chat").kind
    assert kind in KINDS
    if status >= 500:
        assert row(kind).fail_over


def test_a_fault_that_has_a_kind_keeps_it():
    fault = Fault("silence", status=429, code="insufficient_quota")
    assert classify(fault, "openai-chat") is fault


def test_recognising_changes_nothing_but_the_kind():
    error = {"code": "insufficient_quota", "message": "x"}
    answer = msgspec.json.encode({"error": error})
    fault = decode_fault(429, {"retry-after": "7", "x-request-id": "req_1"}, answer)
    assert msgspec.structs.replace(classify(fault, "openai-chat"), kind="unknown") == fault


def test_recognising_fills_in_the_parameter_that_a_message_names_and_keeps_one_that_a_field_names():
    said = Fault(status=400, message="parameter 'connectors' was removed from the Chat API on September 15 2025.")
    assert classify(said, "cohere-chat").param == "connectors"
    assert classify(msgspec.structs.replace(said, param="p"), "cohere-chat").param == "p"


def test_what_has_no_status_is_known_by_its_phase():
    assert classify(Fault(phase="stream"), "openai-chat").kind == "stream_error"
    assert classify(Fault(status=200, phase="stream"), "openai-chat").kind == "stream_error"
    assert classify(Fault(), "openai-chat").kind == "unknown"
    assert classify(Fault(status=700), "openai-chat").kind == "unknown"


def test_a_sign_of_one_dialect_says_nothing_about_another(monkeypatch):
    sign = msgspec.structs.replace(SIGNS[0], dialect="another", code=None, status=500)
    monkeypatch.setattr("understudy.resilience.faults.table", lambda: msgspec.structs.replace(table(), signs=[sign]))
    assert classify(Fault(status=500), "another").kind == sign.kind
    assert classify(Fault(status=500), "openai-chat").kind == "internal"
