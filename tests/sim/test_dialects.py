"""Every behaviour in every dialect that its row names: what it writes, as that dialect's provider would write it."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any

import msgspec
import pytest

from understudy import dialects
from understudy.canon import Delta, Ended, Event, Failed, PartStarted, Reasoning, Skipped, Text
from understudy.sim import BEHAVIOURS, answers
from understudy.sim.asked import Asked, Refused
from understudy.sim.behaviour import EVERY, Call, resolve
from understudy.sim.refusals import REFUSALS
from understudy.sim.voices import (
    anthropic_messages,
    bedrock_converse,
    cohere_chat,
    gemini,
    ollama,
    openai_chat,
    openai_completions,
    openai_responses,
)
from understudy.sim.voices.play import play
from understudy.sim.voices.voice import Voice
from understudy.sim.wire import Ending

VOICES: dict[str, Voice] = {
    module.VOICE.name: module.VOICE
    for module in (
        anthropic_messages, bedrock_converse, cohere_chat, gemini, ollama, openai_chat, openai_completions,
        openai_responses,
    )
}  # fmt: skip
SHOWN = [
    (name, voice)
    for name, row in BEHAVIOURS.items()
    for voice in sorted(row.dialects)
    if name not in {"flaky", "fail-first"}
]
REFUSED = [(name, voice) for name, voice in SHOWN if name in REFUSALS and name != "no-prefill"]
SAID = "This is a simulated answer, it only echoes what you said: naïve question"


def steps(model: str, voice: str, *, stream: bool) -> list[Any]:
    behaviour, values = resolve(model, BEHAVIOURS)
    asked = Asked(model=model, messages=[{"role": "user", "content": "naïve question"}], stream=stream)
    found = []
    for step in play(VOICES[voice], behaviour, Call(asked, values)):
        found.append(step)
        if isinstance(step, Ending) or len(found) > 20_000:
            break
    return found


def unchunked(raw: bytes) -> tuple[bytes, bool]:
    """What is in the chunks, and whether they ended in order."""
    body = b""
    while raw:
        size, _, rest = raw.partition(b"\r\n")
        if not re.fullmatch(rb"[0-9a-f]+", size):
            return body, False
        length = int(size, 16)
        if not length:
            return body, True
        body, raw = body + rest[:length], rest[length + 2 :]
    return body, False


def heard(voice: str, played: list[Any]) -> list[Event]:
    """The events that the dialect's own reader finds; a cut ends them with a failure."""
    head, _, raw = b"".join(step for step in played if isinstance(step, bytes)).partition(b"\r\n\r\n")
    body, _whole = unchunked(raw)
    if b"content-encoding: gzip" in head:
        body = gzip.decompress(body)
    decoder = dialects.get(voice).StreamDecoder()
    return [*decoder.feed(body), *decoder.close()]


def text_in(events: list[Event]) -> str:
    texts = {e.index for e in events if isinstance(e, PartStarted) and isinstance(e.part, Text)}
    return "".join(e.text for e in events if isinstance(e, Delta) and e.index in texts)


def test_there_is_a_voice_for_every_dialect() -> None:
    assert set(VOICES) == set(EVERY) == set(dialects.DIALECTS)


def test_every_behaviour_says_what_it_does_and_where() -> None:
    assert all(row.summary and row.dialects <= EVERY and row.dialects for row in BEHAVIOURS.values())


def test_every_row_of_the_catalogue_of_faults_is_shown_but_those_that_no_provider_can_show() -> None:
    nobody_listens, our_translation, the_client_left = 1, 26, 50
    shown = {row for behaviour in BEHAVIOURS.values() for row in behaviour.rows}
    assert shown == set(range(1, 54)) - {nobody_listens, our_translation, the_client_left}


STREAMED = [(n, v) for n, v in SHOWN if n not in REFUSALS and n not in {
    "silent", "close", "reset", "invalid-http", "pings", "status", "huge-head", "short-body", "cut-json"}]  # fmt: skip


@pytest.mark.parametrize(("name", "voice"), STREAMED)
def test_a_stream_is_whole_or_broken_as_its_row_says(name: str, voice: str) -> None:
    events = heard(voice, steps(name, voice, stream=True))
    fails = BEHAVIOURS[name].fails
    if fails == "never":
        assert isinstance(events[-1], Ended), events[-1]
    elif name not in {"empty", "tool-length", "tool-garbled", "prompt-blocked"}:
        assert isinstance(events[-1], Failed), events[-1]
    if fails == "before":
        assert text_in(events) == ""
    elif name not in {"differs", "huge-body", "refusal", "prompt-refused"} and not name.startswith("tool-"):
        assert text_in(events).startswith("This")


CUT = [n for n, row in BEHAVIOURS.items() if "truncate_after" in row.defaults]


@pytest.mark.parametrize("voice", sorted(EVERY))
@pytest.mark.parametrize("name", CUT)
def test_a_stream_breaks_after_so_many_pieces_or_characters(name: str, voice: str) -> None:
    assert text_in(heard(voice, steps(f"{name}:after=0", voice, stream=True))) == ""
    assert text_in(heard(voice, steps(f"{name}:after=3", voice, stream=True))) == "This is a"
    assert text_in(heard(voice, steps(f"{name}:truncate_after=12", voice, stream=True))) == SAID[:12]


@pytest.mark.parametrize("voice", sorted(EVERY))
def test_a_pause_comes_before_the_break_and_only_after_content(voice: str) -> None:
    assert 0.5 in steps("cut:pause=0.5", voice, stream=True)
    assert 0.5 not in steps("cut:after=0,pause=0.5", voice, stream=True)


@pytest.mark.parametrize("voice", sorted(EVERY))
def test_malformed_events_are_passed_over_by_the_dialects_own_reader(voice: str) -> None:
    events = heard(voice, steps("malformed-once:after=2", voice, stream=True))
    assert sum(isinstance(event, Skipped) for event in events) == 1
    assert text_in(events) == SAID


@pytest.mark.parametrize("voice", sorted(BEHAVIOURS["thinks"].dialects))
def test_thoughts_come_before_the_answer(voice: str) -> None:
    events = heard(voice, steps("thinks:thoughts=2", voice, stream=True))
    parts = [type(event.part) for event in events if isinstance(event, PartStarted)]
    assert parts == [Reasoning, Text]
    said = "".join(event.text for event in events if isinstance(event, Delta))
    assert said == "thought 0 thought 1 " + SAID


@pytest.mark.parametrize("kind", ["internal", "overloaded", "rate-limit", "context-length"])
@pytest.mark.parametrize("voice", sorted(EVERY))
def test_any_error_can_come_inside_a_stream(voice: str, kind: str) -> None:
    row = BEHAVIOURS[kind]
    if voice not in row.dialects:
        pytest.skip("the dialect does not show it")
    (failed,) = [
        e for e in heard(voice, steps(f"error-event:kind={kind}", voice, stream=True)) if isinstance(e, Failed)
    ]
    assert failed.fault.message


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("name", "voice"), REFUSED)
def test_a_refusal_is_one_whole_answer_without_blanks_to_fill(name: str, voice: str, stream: bool) -> None:
    (raw,) = steps(name, voice, stream=stream)
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"content-length: %d\r\n" % len(body) in head + b"\r\n"
    assert not re.search(rb"\{(retry|reset|date|model)\}", raw)


MESSAGES = {
    "anthropic-messages": lambda body: (body["type"], body["error"]["type"], body["error"]["message"])[2],
    "bedrock-converse": lambda body: body["message"],
    "cohere-chat": lambda body: body["message"],
    "gemini": lambda body: (body["error"]["status"], body["error"]["message"])[1],
    "ollama": lambda body: body["error"],
    "openai-responses": lambda body: body["error"]["message"],
    "openai-completions": lambda body: body["error"]["message"],
}
"""Where each provider has its message. In `openai-chat` it depends on the server: `test_behaviours.py` has those."""


@pytest.mark.parametrize(
    ("name", "voice"),
    [(n, v) for n, v in REFUSED if v in MESSAGES and REFUSALS[n].dialects != EVERY]
    + [(n, v) for n in ("internal", "overloaded", "rate-limit", "not-found") for v in MESSAGES],
)
def test_a_refusal_has_its_message_where_the_provider_has_it(name: str, voice: str) -> None:
    (raw,) = steps(name, voice, stream=False)
    head, _, body = raw.partition(b"\r\n\r\n")
    assert MESSAGES[voice](json.loads(body))
    if voice == "bedrock-converse":
        assert re.search(rb"x-amzn-errortype: \w+Exception\b", head)
    if voice == "anthropic-messages":
        assert json.loads(body)["request_id"].encode() in head


def test_a_behaviour_that_a_dialect_cannot_show_is_refused_with_those_that_can() -> None:
    with pytest.raises(Refused, match="anthropic-messages"):
        steps("paused", "ollama", stream=True)


@pytest.mark.parametrize("voice", sorted(EVERY))
def test_a_whole_answer_is_read_by_the_dialects_own_reader(voice: str) -> None:
    (raw,) = steps("ok", voice, stream=False)
    answer = dialects.get(voice).decode_answer(raw.partition(b"\r\n\r\n")[2])
    (part,) = answer.choices[0].parts
    assert isinstance(part, Text)
    assert part.text == SAID


@pytest.mark.parametrize("voice", sorted(EVERY - {"openai-completions"}))
def test_every_dialect_continues_a_trailing_assistant_turn(voice: str) -> None:
    turns = {
        "gemini": {"contents": [{"role": "user", "parts": [{"text": "naïve question"}]},
                                {"role": "model", "parts": [{"text": SAID[:30]}]}]},
        "openai-responses": {"model": "ok", "input": [
            {"role": "user", "content": "naïve question"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": SAID[:30]}]}]},
        "bedrock-converse": {"messages": [{"role": "user", "content": [{"text": "naïve question"}]},
                                          {"role": "assistant", "content": [{"text": SAID[:30]}]}]},
    }  # fmt: skip
    plain = {"model": "ok", "max_tokens": 99, "messages": [
        {"role": "user", "content": "naïve question"}, {"role": "assistant", "content": SAID[:30]}]}  # fmt: skip
    asked = VOICES[voice].read(msgspec.json.encode(turns.get(voice, plain)), "ok", False)
    assert answers.reply(Call(asked, {})).text == SAID[30:]
