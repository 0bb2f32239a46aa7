"""Errors of Bedrock, and the binary framing they come in."""

import json
import struct
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dialects.recorded_bedrock_converse import event, exception, message, messages
from understudy.canon import Event, Failed, Fault, Started
from understudy.dialects import bedrock_converse
from understudy.dialects.bedrock_converse.framing import FrameDecoder, encode_frame

CORAL = "http://internal.amazon.com/coral/com.amazon.bedrock/"


@pytest.mark.parametrize(
    ("headers", "body", "kind"),
    [
        ({"x-amzn-errortype": f"ValidationException:{CORAL}"}, {"message": "m"}, "ValidationException"),
        ({"x-amzn-errortype": "ExpiredTokenException"}, {"Message": "m"}, "ExpiredTokenException"),
        ({}, {"__type": "com.amazon.coral.service#ThrottlingException", "message": "m"}, "ThrottlingException"),
        ({}, {"message": "m"}, None),
    ],
)
def test_the_type_is_found_where_amazon_puts_it(headers: dict[str, str], body: Any, kind: str | None) -> None:
    fault = bedrock_converse.decode_fault(400, {"x-amzn-requestid": "r", **headers}, json.dumps(body).encode())
    assert (fault.type, fault.message, fault.status, fault.request_id) == (kind, "m", 400, "r")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"message": 3}'])
def test_a_body_without_words_is_a_fault_all_the_same(body: bytes) -> None:
    fault = bedrock_converse.decode_fault(503, {"retry-after": "2"}, body)
    assert (fault.status, fault.message, fault.retry_after) == (503, "", 2.0)


@pytest.mark.parametrize(
    ("status", "sent", "kind"),
    [
        (None, 503, "ServiceUnavailableException"),
        (200, 503, "ServiceUnavailableException"),
        (400, 400, "ValidationException"),
        (401, 401, "UnrecognizedClientException"),
        (402, 429, "ThrottlingException"),
        (418, 418, "ValidationException"),
        (429, 429, "ThrottlingException"),
        (529, 503, "ServiceUnavailableException"),
        (599, 599, "InternalServerException"),
    ],
)
def test_every_fault_has_a_status_and_an_exception_of_amazons(status: int | None, sent: int, kind: str) -> None:
    found, headers, body = bedrock_converse.encode_fault(Fault(kind="slow", status=status, type="other"))
    assert (found, headers["x-amzn-errortype"]) == (sent, kind)
    wire = json.loads(body)
    assert (wire["__type"], wire["code"], wire["type"]) == (kind, "slow", "other")


def test_an_exception_of_amazons_keeps_its_name() -> None:
    fault = Fault(status=424, type="ModelErrorException", message="m", retry_after=float("inf"))
    _, headers, body = bedrock_converse.encode_fault(fault)
    assert headers == {"content-type": "application/json", "x-amzn-errortype": "ModelErrorException"}
    assert json.loads(body) == {"__type": "ModelErrorException", "message": "m"}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(status=429), "throttlingException"),
        (Fault(status=400), "validationException"),
        (Fault(status=404), "validationException"),
        (Fault(status=502), "serviceUnavailableException"),
        (Fault(kind="stream_cut"), "modelStreamErrorException"),
        (Fault(), "internalServerException"),
        (Fault(type="ValidationException"), "validationException"),
    ],
)
def test_a_stream_ends_with_an_exception_that_streams_have(fault: Fault, kind: str) -> None:
    headers, payload = next(messages(bedrock_converse.StreamEncoder().encode(Failed(fault))))
    assert (headers[":message-type"], headers[":exception-type"]) == ("exception", kind)
    assert json.loads(payload)["message"] == "The provider gave no reason."


# --- framing ---------------------------------------------------------------------------------------------------------


def read(data: bytes) -> list[Event]:
    decoder = bedrock_converse.StreamDecoder()
    return decoder.feed(data) + decoder.close()


def test_a_frame_is_what_the_specification_says() -> None:
    headers = {":event-type": "messageStop", ":content-type": "application/json", ":message-type": "event"}
    assert encode_frame(headers, b"{}") == message(headers, b"{}")
    assert FrameDecoder().feed(message(headers, b"{}") * 2) == [(headers, b"{}")] * 2


def test_headers_of_every_type_are_stepped_over() -> None:
    sizes = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
    block = b"".join(b"\x01" + b"abcdefgh"[i : i + 1] + bytes([kind]) + bytes(size)
                     for i, (kind, size) in enumerate(sizes.items()))  # fmt: skip
    block += b"\x01z\x06\x00\x02ab" + b"\x01y\x07\x00\x01v"
    assert FrameDecoder().feed(framed(block, b"p")) == [({"y": "v"}, b"p")]


def framed(block: bytes, payload: bytes) -> bytes:
    prelude = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    body = prelude + struct.pack(">I", crc32(prelude)) + block + payload
    return body + struct.pack(">I", crc32(body))


@pytest.mark.parametrize("block", [b"\x05ab", b"\x01a\x63", b"\x01a\x07\x00\x09x", b"\x01\xff\x00", b"\x01a\x07\x00"])
def test_headers_that_cannot_be_read_break_the_stream(block: bytes) -> None:
    decoder = FrameDecoder()
    assert decoder.feed(framed(block, b"")) == []
    assert decoder.broken == "the headers of a message cannot be read"
    assert decoder.feed(b"more") == []


@pytest.mark.parametrize(("total", "headers"), [(15, 0), (16 * 1024 * 1024 + 1, 0), (20, 5), (2**20, 2**17 + 1)])
def test_lengths_out_of_bounds_break_the_stream_at_once(total: int, headers: int) -> None:
    prelude = struct.pack(">II", total, headers)
    events = read(prelude + struct.pack(">I", crc32(prelude)))
    assert isinstance(events[-1], Failed)
    assert "is not allowed" in events[-1].fault.message


def test_any_flipped_bit_of_a_frame_is_a_failure_and_never_other_content() -> None:
    good = event("messageStart", {"role": "assistant"}) + event("messageStop", {"stopReason": "end_turn"})
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 4
        assert isinstance(read(bytes(bad))[-1], Failed), at


def test_what_is_no_event_stream_at_all_is_a_failure() -> None:
    assert isinstance(read(b'{"message": "Not a stream."}')[-1], Failed)
    assert [type(found) for found in read(b"")] == [Started, Failed]


@pytest.mark.parametrize("payload", [b"no json", b"[]"])
def test_an_exception_without_a_readable_payload_is_one_all_the_same(payload: bytes) -> None:
    headers = {":message-type": "exception", ":exception-type": "throttlingException"}
    last = read(message(headers, payload))[-1]
    assert isinstance(last, Failed)
    assert (last.fault.type, last.fault.status) == ("ThrottlingException", 429)


KINDS = st.sampled_from(["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop",
                         "metadata", "other"])  # fmt: skip
KEYS = st.sampled_from(["contentBlockIndex", "delta", "start", "text", "toolUse", "input", "toolUseId", "name", "usage",
                        "reasoningContent", "signature", "toolResult", "image", "citation", "stopReason"])  # fmt: skip
VALUES = st.recursive(
    st.none() | st.integers(0, 2) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=4),
)


@given(st.lists(st.tuples(KINDS, st.dictionaries(KEYS, VALUES, max_size=4)), max_size=6), st.binary(max_size=20))
def test_no_stream_raises_anything(events: list[tuple[str, Any]], rest: bytes) -> None:
    wire = b"".join(event(kind, payload) for kind, payload in events)
    found = read(wire + rest)
    assert found == read(wire + rest)
    encoder = bedrock_converse.StreamEncoder()
    for one in found:
        encoder.encode(one)
    assert isinstance(read(wire + exception("validationException", {"message": "m"}))[-1], Failed | type(found[-1]))
