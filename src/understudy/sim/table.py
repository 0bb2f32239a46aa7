"""All behaviours by name: the errors of `refusals.py`, and here what needs more than one complete answer.

A new behaviour is one entry, either there or here; `docs/reference/sim.md` is made from this table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from understudy.sim import answers, streams, wire
from understudy.sim.answers import Reply
from understudy.sim.behaviour import Behaviour, Call, Fails, Value
from understudy.sim.refusals import REFUSALS
from understudy.sim.wire import DONE, Ending, Script, error

_HTTP_ERROR_FROM = 400
_MOST_MIB = 256


def _row(name: str, row: int | None, summary: str, fails: Fails, script: streams.Play, **defaults: Value) -> Behaviour:
    return Behaviour(name, row, summary, script, defaults, fails)


def _or_else(fails: Callable[[Call], bool]) -> streams.Play:
    """Fails as the behaviour named by `like` does, when `fails` says so; answers otherwise."""

    def script(call: Call) -> Script:
        if not fails(call):
            return streams.ok(call)
        other = BEHAVIOURS[str(call.values["like"])]
        return other.script(msgspec.structs.replace(call, values=other.defaults))

    return script


def unlucky(call: Call) -> bool:
    """Chance, but the same for the same seed and call: a failing test can be run again."""
    drawn = hashlib.blake2b(f"{call.values['seed']}:{call.number}".encode(), digest_size=8).digest()
    return int.from_bytes(drawn, "big") / 2**64 < call.seconds("p")


def _status(call: Call) -> Script:
    code = max(call.count("code"), _HTTP_ERROR_FROM)
    return [wire.refuse(code, error(f"Simulated status {code}.", "server_error" if code >= 500 else "request_error"))]


def _reused(call: Call) -> Script:
    return [Ending.CLOSE] if call.reused else streams.ok(call)


def _prefilled(call: Call) -> Script:
    if call.asked.last_role != "assistant":
        return streams.ok(call)
    message = "Assistant response prefill is incompatible with enable_thinking."
    return [wire.refuse(400, {"error": {"code": 400, "message": message, "type": "invalid_request_error"}})]


def _then(script: streams.Play, ending: Ending) -> streams.Play:
    return lambda call: [*script(call), ending]


def _short_body(call: Call) -> Script:
    """The body of an answer, whole, under a head that promises more."""
    body = msgspec.json.encode(answers.answer(call, answers.reply(call)))
    return [wire.whole(200, body, {"content-length": str(len(body) + 100)}), Ending.CLOSE]


def _cut_json(call: Call) -> Script:
    body = msgspec.json.encode(answers.answer(call, answers.reply(call)))
    return [wire.whole(200, body[: len(body) // 2])]


def _big(call: Call) -> Script:
    return streams.told(call, Reply(["x" * (min(call.count("mib"), _MOST_MIB) * 2**20)]))


def _big_head(call: Call) -> Script:
    body = msgspec.json.encode(answers.answer(call, answers.reply(call)))
    return [wire.whole(200, body, {"x-padding": "x" * (call.count("kib") * 1024)})]


def _kept(said: Reply, finish: str, tokens: int) -> Reply:
    return msgspec.structs.replace(said, tokens=said.tokens[:tokens], finish=finish)


def _garbled(said: Reply) -> Reply:
    return msgspec.structs.replace(said, tokens=['{"loca', "tion: Par", "is]"])


def _declined(said: Reply) -> Reply:
    return msgspec.structs.replace(said, tokens=["I'm sorry,", " I can't", " help with", " that."], field="refusal")


def _unfinished(chunk: dict[str, Any]) -> bool:
    return not any(choice["finish_reason"] for choice in chunk["choices"])


_FINE = (
    _row("ok", None, "answers, echoing the last user message", "never", streams.ok, tokens=0),
    _row("slow", None, "answers after `first` seconds, then a token every `between` seconds", "never", streams.slow,
         first=2.0, between=0.1, tokens=0),
    _row("drip", 41, "answers, a token every `between` seconds", "never", streams.slow, between=0.5, tokens=0),
    _row("continues", None, "answers, and continues a trailing assistant turn (prefill)", "never", streams.continues),
    _row("thinks", 39, "reasoning first (`field`: `reasoning_content`, or `reasoning` as OpenRouter), then the answer",
         "never", streams.thinks, thoughts=4, field="reasoning_content"),
    _row("comments", 39, "`pings` comments, `every` seconds one, then the answer", "never", streams.pinged,
         pings=3, every=0.1),
    _row("no-done", 36, "a finish, but no `[DONE]`", "never",
         streams.streamed(lambda _call, parts: streams.events(parts.all()))),
    _row("early-finish", 37, "a `finish_reason` in the middle, then more content and another", "never",
         streams.streamed(streams.early_finish)),
    _row("crlf", 42, "lines end in CRLF", "never", streams.streamed(streams.crlf)),
    _row("split", 42, "the stream in HTTP chunks of `size` bytes, through lines and characters", "never",
         streams.streamed(streams.split), size=1),
    _row("malformed-once", 43, "`times` events whose JSON breaks off, then the rest in order", "never",
         streams.streamed(streams.malformed), times=1),
    _row("length", 45, "stops at the token limit: `finish_reason` `length`", "never",
         streams.altered(lambda call, said: _kept(said, "length", call.count("tokens"))), tokens=5),
    _row("filtered", 33, "stops in the middle with `finish_reason` `content_filter`", "never",
         streams.altered(lambda call, said: _kept(said, "content_filter", call.count("tokens"))), tokens=5),
    _row("refusal", 33, "declines: `refusal` instead of `content`", "never",
         streams.altered(lambda _call, said: _declined(said))),
    _row("usage-always", None, "usage in every chunk, though not asked for", "never",
         streams.streamed(streams.usage_always)),
    _row("no-usage", 49, "never reports usage", "never", streams.usage_never),
    _row("gzip", None, "the answer comes compressed, though not asked for", "never", streams.gzipped),
    _row("other-model", 52, "the answer names another `model`", "never", streams.another_model,
         model="simulated-other-model"),
    _row("huge-body", None, "an answer of `mib` MiB (256 at most); streamed, in one event", "never", _big, mib=8),
    _row("close-after", 2, "answers, then closes the connection without having said so", "never",
         _then(streams.ok, Ending.CLOSE)),
)  # fmt: skip

_CONNECTION = (
    _row("silent", 3, "takes the request and never answers", "before", lambda _call: [Ending.HOLD]),
    _row("head-only", 3, "200 and the head of a stream at once, then nothing", "before",
         lambda _call: [wire.stream_head(), Ending.HOLD]),
    _row("close", 2, "closes before any byte", "before", lambda _call: [Ending.CLOSE]),
    _row("reset", 2, "resets (RST) before any byte", "before", lambda _call: [Ending.RESET]),
    _row("close-on-reuse", 2, "answers, but closes when a second request comes on the connection", "never", _reused),
    _row("invalid-http", None, "answers with bytes that are not HTTP", "before",
         lambda _call: [b"\x15\x03\x01\x00\x02\x02\x50 this is not HTTP\r\n\r\n", Ending.CLOSE]),
    _row("huge-head", None, "a response header of `kib` KiB", "before", _big_head, kib=256),
    _row("pings", 38, "comments for ever, `every` seconds one, no content", "before", streams.pinged,
         pings=0, every=1.0),
)  # fmt: skip

_CUT = (
    _row("cut", 35, "closes after `after` content events, in mid-stream: no last HTTP chunk", "after",
         streams.broken(Ending.CLOSE), after=5, tokens=0),
    _row("cut-reset", 35, "resets (RST) after `after` content events", "after",
         streams.broken(Ending.RESET), after=5, tokens=0),
    _row("cut-clean", 35, "ends in order as HTTP after `after` content events, but without a finish", "after",
         streams.broken(Ending.CLOSE, streams.last_chunk), after=5, tokens=0),
    _row("cut-event", 35, "closes in the middle of an event", "after",
         streams.broken(Ending.CLOSE, streams.half_event), after=5, tokens=0),
    _row("cut-chunk", 35, "closes in the middle of an HTTP chunk", "after",
         streams.broken(Ending.CLOSE, streams.half_chunk), after=5, tokens=0),
    _row("cut-utf8", 35, "closes in the middle of a character", "after",
         streams.broken(Ending.CLOSE, streams.half_character), after=5, tokens=0),
    _row("bad-chunk", 35, "an HTTP chunk without a valid size after `after` content events", "after",
         streams.broken(Ending.CLOSE, streams.bad_chunk), after=5, tokens=0),
    _row("done-without-finish", 35, "all the content and `[DONE]`, but no `finish_reason`", "after",
         streams.streamed(lambda _call, parts: [*streams.events(c for c in parts.all() if _unfinished(c)), DONE])),
    _row("hang", 40, "dead silence after `after` content events", "after",
         streams.broken(Ending.HOLD), after=5, tokens=0),
    _row("malformed-twice", 43, "two events whose JSON breaks off", "after",
         streams.streamed(streams.malformed), times=2),
    _row("short-body", 35, "a JSON body shorter than its content-length, then a close", "before", _short_body),
    _row("cut-json", 43, "a JSON body that breaks off, with a content-length that agrees", "before", _cut_json),
    _row("empty", 46, "a success without content", "before",
         streams.altered(lambda _call, said: _kept(said, "stop", 0))),
    _row("tool-length", 44, "a tool call cut amid its arguments by the token limit", "after",
         streams.altered(lambda _call, said: _kept(said, "length", 1), tool=True)),
    _row("tool-cut", 44, "closes amid the arguments of a tool call", "after",
         streams.broken(Ending.CLOSE, tool=True), after=1),
    _row("tool-garbled", 44, "a finished tool call whose arguments are not JSON", "after",
         streams.altered(lambda _call, said: _garbled(said), tool=True)),
)  # fmt: skip

_SERVER_ERROR = error("The server had an error while processing your request. Sorry about that!", "server_error")

_IN_BAND = (
    _row("error-event", 34, "an error as the first event of a stream, as OpenAI sends it", "before",
         streams.in_band(_SERVER_ERROR, lambda _call, data: [b"data: " + data + b"\n\n"]), after=0),
    _row("error-event-late", 34, "the same after `after` content events", "after",
         streams.in_band(_SERVER_ERROR, lambda _call, data: [b"data: " + data + b"\n\n"]), after=5),
    _row("error-event-vllm", 34, '`object` "error" without `error`, then `[DONE]`, as vLLM sends it', "after",
         streams.in_band(
             {"object": "error", "message": "EngineCore encountered an issue.", "type": "InternalServerError",
              "param": None, "code": 500},
             lambda _call, data: [b"data: " + data + b"\n\n", DONE]), after=5),
    _row("error-event-groq", 34, "`event: error` with a `status_code`, as Groq sends it", "after",
         streams.in_band(
             {"error": {"message": "Failed to generate. Please try again.", "type": "server_error",
                        "code": "internal_error", "status_code": 500}},
             lambda _call, data: [b"event: error\ndata: " + data + b"\n\n"]), after=5),
    _row("error-event-openrouter", 34, "`error` in a chunk that finishes with `error`, as OpenRouter sends it", "after",
         streams.in_band(
             {"error": {"message": "Provider returned error", "code": 502, "metadata": {"provider_name": "Simulated"}}},
             streams.openrouter_error), after=5),
    _row("error-line", 34, "an `error:` line instead of `data:`, as llama.cpp's descendants send it", "after",
         streams.in_band({"error": {"message": "failed to decode, try again", "code": 500, "type": "server_error"}},
                         lambda _call, data: [b"error: " + data + b"\n\n"]), after=5),
)  # fmt: skip

_MIXED = (
    _row("status", None, "an error with the HTTP status `code` (400 or more)", "before", _status, code=503),
    _row("fail-first", None, "fails `n` times as the behaviour named by `like` does, then answers", "before",
         _or_else(lambda call: call.number <= call.count("n")), n=1, like="overloaded"),
    _row("flaky", None, "fails with probability `p` as `like` does; `seed` decides which calls", "before",
         _or_else(unlucky), p=0.5, seed=0, like="overloaded"),
    _row("prefill-rejected", 29, "400 to a trailing assistant turn, as llama.cpp sends it; answers others", "never",
         _prefilled),
)  # fmt: skip

BEHAVIOURS: Mapping[str, Behaviour] = {
    behaviour.name: behaviour for behaviour in (*_FINE, *_CONNECTION, *_CUT, *_IN_BAND, *_MIXED, *REFUSALS)
}
