"""The behaviours in every dialect: those of the one table that can be told in any voice, played with its frames.

What happens below HTTP (silence, a reset) is played as it stands. An error that is one HTTP answer keeps its status,
message and `retry-after`, and takes the voice's shape. The rest is `_PLAYS`; what is in neither is refused clearly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from understudy.sim import answers, wire
from understudy.sim.answers import Reply
from understudy.sim.asked import Refused
from understudy.sim.behaviour import Behaviour, Call
from understudy.sim.refusals import REFUSALS
from understudy.sim.table import BEHAVIOURS, unlucky
from understudy.sim.voices.voice import Trouble, Voice
from understudy.sim.wire import LAST_CHUNK, Ending, Script

Play = Callable[[Voice, Call, Reply], Script]

_OWN_SHAPES = ("azure", "openrouter", "groq", "vllm", "mistral", "xai", "llamacpp")
"""Variants of one provider's `openai-chat`: they have no counterpart elsewhere."""

_BELOW_HTTP = frozenset({"silent", "reset", "close", "invalid-http"})
_OPENAI = frozenset({"openai-responses", "openai-completions"})
_REFUSALS = frozenset(behaviour.name for behaviour in REFUSALS)
_FAILED = Trouble("internal", 500, "The simulated provider had an error while it answered.")


def refusal(voice: Voice, trouble: Trouble) -> bytes:
    """An error as a whole answer, in the voice's shape."""
    status, body, headers = voice.refuse(trouble)
    after = {"retry-after": trouble.retry} if trouble.retry else {}
    return wire.refuse(status, body, {**after, **headers})


def _head(voice: Voice) -> bytes:
    return wire.stream_head({"content-type": voice.content_type})


def _whole(voice: Voice, call: Call, said: Reply) -> bytes:
    return wire.whole(200, msgspec.json.encode(voice.answer(call, said)))


def told(voice: Voice, call: Call, said: Reply) -> Script:
    """`said`, the way the client asked for it."""
    if not call.asked.stream:
        yield _whole(voice, call, said)
        return
    frames = voice.frames(call, said)
    yield _head(voice)
    for frame in (*frames.opening, *frames.content, *frames.closing):
        yield wire.chunk(frame)
    yield LAST_CHUNK


def _slow(voice: Voice, call: Call, said: Reply) -> Script:
    first, between = call.seconds("first"), call.seconds("between")
    if not call.asked.stream:
        yield first + between * max(len(said.tokens) - 1, 0)
        yield _whole(voice, call, said)
        return
    frames = voice.frames(call, said)
    yield first
    yield _head(voice)
    for frame in frames.opening:
        yield wire.chunk(frame)
    for number, frame in enumerate(frames.content):
        if number:
            yield between
        yield wire.chunk(frame)
    for frame in frames.closing:
        yield wire.chunk(frame)
    yield LAST_CHUNK


def _broken(ending: Ending, last: bytes = b"") -> Play:
    def script(voice: Voice, call: Call, said: Reply) -> Script:
        if not call.asked.stream:
            body = _whole(voice, call, said)
            yield body[: (body.index(b"\r\n\r\n") + 4 + len(body)) // 2]
            yield ending
            return
        yield _head(voice)
        yield from _begun(voice, call, said)
        if last:
            yield last
        yield ending

    return script


def _begun(voice: Voice, call: Call, said: Reply) -> Iterator[bytes]:
    """The stream up to the content event `after`; nothing at all for 0."""
    frames, after = voice.frames(call, said), call.count("after")
    if after:
        for frame in (*frames.opening, *frames.content[:after]):
            yield wire.chunk(frame)


def _head_only(voice: Voice, _call: Call, _said: Reply) -> Script:
    return [_head(voice), Ending.HOLD]


def _in_band(voice: Voice, call: Call, said: Reply) -> Script:
    """Without a stream there is no band: the plain error."""
    if not call.asked.stream:
        yield refusal(voice, _FAILED)
        return
    yield _head(voice)
    yield from _begun(voice, call, said)
    for frame in voice.error_frames(_FAILED):
        yield wire.chunk(frame)
    yield LAST_CHUNK


def _altered(finish: str, count: Callable[[Call], int]) -> Play:
    def script(voice: Voice, call: Call, said: Reply) -> Script:
        return told(voice, call, msgspec.structs.replace(said, tokens=said.tokens[: count(call)], finish=finish))

    return script


_PLAYS: dict[str, Play] = {
    "ok": told,
    "slow": _slow,
    "drip": _slow,
    "length": _altered("length", lambda call: call.count("tokens")),
    "filtered": _altered("content_filter", lambda call: call.count("tokens")),
    "empty": _altered("stop", lambda _call: 0),
    "head-only": _head_only,
    "cut": _broken(Ending.CLOSE),
    "cut-reset": _broken(Ending.RESET),
    "cut-clean": _broken(Ending.CLOSE, LAST_CHUNK),
    "hang": _broken(Ending.HOLD),
    "error-event": _in_band,
    "error-event-late": _in_band,
}
_MIXED = ("status", "fail-first", "flaky")


def spoken(name: str) -> bool:
    """Whether every voice has the behaviour `name`."""
    if name.endswith(_OWN_SHAPES):
        return False
    return name in _PLAYS or name in _MIXED or name in _BELOW_HTTP or name in _REFUSALS


def play(voice: Voice, behaviour: Behaviour, call: Call) -> Script:
    """What `behaviour` does in this voice. Raises `Refused` when the voice has no such behaviour."""
    name = behaviour.name
    if not spoken(name):
        raise Refused(f"The behaviour `{name}` is available in openai-chat only, not in {voice.name}.", "model")
    if name in {"fail-first", "flaky"}:
        fails = call.number <= call.count("n") if name == "fail-first" else unlucky(call)
        other = BEHAVIOURS[str(call.values["like"]) if fails else "ok"]
        return play(voice, other, msgspec.structs.replace(call, values=other.defaults))
    if name in _PLAYS:
        return _PLAYS[name](voice, call, answers.reply(call))
    script = behaviour.script(call)
    if name in _BELOW_HTTP or voice.name in _OPENAI:
        return script
    return [_retold(voice, name, step) if isinstance(step, bytes) else step for step in script]


def _retold(voice: Voice, name: str, answer: bytes) -> bytes:
    """An error of `openai-chat` in the voice's shape; one that is no JSON error (a page, no body) as it stands."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return answer
    wrong = found.get("error") if isinstance(found, dict) else None
    if status < 400 or not isinstance(wrong, dict):
        return answer
    retry = next((line[13:] for line in head.decode("latin-1").split("\r\n") if line.startswith("retry-after: ")), None)
    return refusal(voice, Trouble(name, status, str(wrong.get("message")), retry))
