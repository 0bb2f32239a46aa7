"""The vocabulary: frozen, nameable, and the same after a trip through JSON."""

import typing

import msgspec
import pytest

from understudy import canon

STRUCTS = [value for value in vars(canon).values() if isinstance(value, type) and issubclass(value, msgspec.Struct)]


def test_all_that_is_exported_is_there():
    assert len(set(canon.__all__)) == len(canon.__all__)
    assert not [name for name in canon.__all__ if not hasattr(canon, name)]


@pytest.mark.parametrize("kind", STRUCTS)
def test_nobody_can_change_what_has_been_said(kind):
    assert kind.__struct_config__.frozen


@pytest.mark.parametrize("union", [canon.Part, canon.Event])
def test_each_kind_of_a_union_has_a_name_of_its_own(union):
    tags = [kind.__struct_config__.tag for kind in typing.get_args(union)]
    assert all(tags)
    assert len(set(tags)) == len(tags)


def test_a_request_survives_json():
    request = canon.Request(
        dialect="openai-chat",
        model="m",
        messages=(
            canon.Message("user", (canon.Text("Hello"), canon.Image(canon.Url("https://x")))),
            canon.Message("assistant", (canon.Reasoning("hm", origin="a/b"), canon.ToolCall("1", "f", "{"))),
            canon.Message("tool", (canon.ToolResult("1", (canon.Text("42"),)),)),
        ),
        sampling=canon.Sampling(temperature=0.0, stop=("x",)),
        extra={"unknown": [1, None]},
    )  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(request), type=canon.Request) == request


def test_a_fault_says_how_far_the_attempt_had_got():
    assert canon.Fault().kind == "unknown"
    assert set(typing.get_args(canon.Phase)) == {"connect", "send", "head", "body", "stream"}
    assert canon.MESSAGE_LIMIT == 2000
