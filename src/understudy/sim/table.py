"""All behaviours by name: the errors of `refusals/`, and here what needs more than one complete answer.

A new behaviour is one entry, either there or here; `docs/reference/sim.md` and the fault matrix
(`tests/gateway/test_matrix.py`) are made from this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from understudy.sim import compatible, streams, wire
from understudy.sim.answers import Finish, Reply
from understudy.sim.behaviour import EVERY, Behaviour, Call, Fails, Value
from understudy.sim.refusals import REFUSALS
from understudy.sim.voices.play import refusal
from understudy.sim.voices.voice import Trouble, Voice
from understudy.sim.wire import DONE, Ending, Script, error

_HTTP_ERROR_FROM = 400
_MOST_MIB = 256

_CHAT = frozenset({"openai-chat"})
_TALKS = EVERY - {"openai-completions"}
"""Those that know tools and thoughts."""
_EVENTS = EVERY - {"ollama", "bedrock-converse"}
"""Those whose streams are server-sent events, and so have comments or pings and ends of lines."""
_UNDONE = frozenset({"openai-chat", "openai-completions"})
"""Those whose streams end with `[DONE]`."""
_FILTERING = EVERY - {"cohere-chat", "ollama"}
"""Those with a finish that says the output was filtered."""


def _row(
    name: str,
    row: int | None,
    summary: str,
    fails: Fails,
    script: streams.Play,
    *,
    shown: frozenset[str] = EVERY,
    **defaults: Value,
) -> Behaviour:
    return Behaviour(name, () if row is None else (row,), summary, script, defaults, fails, shown)


def _status(voice: Voice, call: Call) -> Script:
    code = max(call.count("code"), _HTTP_ERROR_FROM)
    if voice.name == "openai-chat":
        kind = "server_error" if code >= 500 else "request_error"
        return [wire.refuse(code, error(f"Simulated status {code}.", kind))]
    return [refusal(voice, Trouble("status", code, f"Simulated status {code}."))]


def _reused(voice: Voice, call: Call) -> Script:
    return [Ending.CLOSE] if call.reused else streams.ok(voice, call)


def _close_after(voice: Voice, call: Call) -> Script:
    return [*streams.ok(voice, call), Ending.CLOSE]


def _settled(_voice: Voice, _call: Call) -> Script:
    raise AssertionError("which behaviour this call meets is settled before it is played")


def _big(voice: Voice, call: Call) -> Script:
    return streams.told(voice, call, Reply(["x" * (min(call.count("mib"), _MOST_MIB) * 2**20)]))


def _kept(finish: Finish, tokens: int | None = None) -> streams.Play:
    """The first `tokens` pieces of the answer, or as many as the parameter of that name says."""

    def change(call: Call, said: Reply) -> Reply:
        kept = said.tokens[: call.count("tokens") if tokens is None else tokens]
        return msgspec.structs.replace(said, tokens=kept, finish=finish)

    return streams.altered(change)


def _garbled(_call: Call, said: Reply) -> Reply:
    return msgspec.structs.replace(said, tokens=['{"loca', "tion: Par", "is]"])


def _tool_length(_call: Call, said: Reply) -> Reply:
    return msgspec.structs.replace(said, tokens=said.tokens[:1], finish="length")


def _declined(_call: Call, said: Reply) -> Reply:
    return msgspec.structs.replace(said, tokens=["I'm sorry,", " I can't", " help with", " that."], field="refusal")


def _thinks(call: Call, said: Reply) -> Reply:
    return msgspec.structs.replace(said, thoughts=[f"thought {i} " for i in range(call.count("thoughts"))])


def _early(_call: Call, said: Reply) -> Reply:
    return msgspec.structs.replace(said, early=len(said.tokens) // 2)


def _uncounted(_call: Call, said: Reply) -> Reply:
    return msgspec.structs.replace(said, counted=False)


def _invalid_http(_voice: Voice, _call: Call) -> Script:
    return [b"\x15\x03\x01\x00\x02\x02\x50 this is not HTTP\r\n\r\n", Ending.CLOSE]


_FINE = (
    _row("ok", None, "answers, echoing the last user message; continues an answer that was cut, if asked to", "never",
         streams.ok, tokens=0),
    _row("restarts", None, "as `ok`, but asked to continue it starts again, with the same words", "never",
         streams.answered("restarts"), tokens=60),
    _row("differs", None, "as `ok`, but with other words: no continuation of what another model said", "never",
         streams.answered("differs"), tokens=60),
    _row("no-prefill", 29, "400 to a trailing assistant turn; answers others, and goes on where asked in words",
         "never", streams.no_prefill, shown=REFUSALS["no-prefill"].dialects, tokens=60),
    _row("slow", None, "answers after `first` seconds, then a token every `between` seconds", "never", streams.slow,
         first=2.0, between=0.1, tokens=0),
    _row("drip", 41, "answers, a token every `between` seconds", "never", streams.slow, between=0.5, tokens=0),
    _row("thinks", 39, "reasoning first (in openai-chat, `field` is `reasoning_content`, or `reasoning` as OpenRouter)"
         ", then the answer", "never", streams.altered(_thinks), shown=_TALKS, thoughts=4, field="reasoning_content",
         tokens=0),
    _row("comments", 39, "`pings` comments or pings, `every` seconds one, after `after` pieces; then the rest", "never",
         streams.pinged, shown=_EVENTS, pings=3, every=0.1, after=0),
    _row("no-done", 36, "a finish, but no `[DONE]`", "never", streams.streamed(streams.no_done), shown=_UNDONE),
    _row("early-finish", 37, "a finish reason in the middle, then more content and another", "never",
         streams.altered(_early), shown=_UNDONE | {"gemini"}),
    _row("crlf", 42, "lines end in CRLF", "never", streams.streamed(streams.crlf), shown=_EVENTS),
    _row("split", 42, "the stream in HTTP chunks of `size` bytes, through lines and characters", "never",
         streams.streamed(streams.split), size=1),
    _row("malformed-once", 43, "`times` events whose JSON breaks off, after `after` pieces, then the rest in order",
         "never", streams.malformed, times=1, after=1, pause=0.0),
    _row("length", 45, "stops at the token limit", "never", _kept("length"), tokens=5),
    _row("filtered", 33, "stops in the middle: the output was filtered", "never", _kept("content_filter"),
         shown=_FILTERING, tokens=5),
    _row("prompt-blocked", 32, "an answer that says no more than that the prompt was blocked", "before",
         _kept("blocked", 0), shown=frozenset({"gemini"})),
    _row("prompt-refused", 32, "an empty answer whose finish says that the model or a guardrail refused", "never",
         _kept("blocked", 0), shown=frozenset({"anthropic-messages", "bedrock-converse"})),
    _row("refusal", 33, "declines: `refusal` instead of `content`, or a finish that says so", "never",
         streams.altered(_declined), shown=frozenset({"openai-chat", "openai-responses", "anthropic-messages"})),
    _row("paused", 47, "stops in the middle with `pause_turn`: the client is to resume", "never", _kept("paused"),
         shown=frozenset({"anthropic-messages"}), tokens=5),
    _row("usage-always", None, "usage in every chunk, though not asked for", "never",
         streams.streamed(compatible.usage_always), shown=_CHAT),
    _row("no-usage", 49, "never reports usage", "never", streams.altered(_uncounted)),
    _row("gzip", None, "the answer comes compressed, though not asked for", "never", streams.gzipped),
    _row("other-model", 52, "the answer names another `model`", "never", streams.another_model,
         shown=EVERY - {"cohere-chat", "bedrock-converse"}, model="simulated-other-model"),
    _row("huge-body", None, "an answer of `mib` MiB (256 at most); streamed, in one event", "never", _big, mib=8),
    _row("close-after", 2, "answers, then closes the connection without having said so", "never", _close_after),
)  # fmt: skip

_CONNECTION = (
    _row("silent", 3, "takes the request and never answers", "before", lambda _voice, _call: [Ending.HOLD]),
    _row("head-only", 3, "200 and the head of a stream at once, then nothing", "before",
         lambda voice, _call: [streams.head(voice), Ending.HOLD]),
    _row("close", 2, "closes before any byte", "before", lambda _voice, _call: [Ending.CLOSE]),
    _row("reset", 2, "resets (RST) before any byte", "before", lambda _voice, _call: [Ending.RESET]),
    _row("close-on-reuse", 2, "answers, but closes when a second request comes on the connection", "never", _reused),
    _row("invalid-http", None, "answers with bytes that are not HTTP", "before", _invalid_http),
    _row("huge-head", None, "a response header of `kib` KiB", "before", streams.big_head, kib=256),
    _row("pings", 38, "comments or pings for ever, `every` seconds one, after `after` pieces", "before",
         streams.pinged, shown=_EVENTS, pings=0, every=1.0, after=0),
    _row("queued", 48, "a background job that stays queued", "before", streams.queued,
         shown=frozenset({"openai-responses"})),
)  # fmt: skip

_BREAK: dict[str, Any] = {"after": 5, "truncate_after": 0, "pause": 0.0, "tokens": 0}

_CUT = (
    _row("cut", 35, "closes after `after` pieces, in mid-stream: no last HTTP chunk", "after",
         streams.broken(Ending.CLOSE), **_BREAK),
    _row("cut-reset", 35, "resets (RST) after `after` pieces", "after", streams.broken(Ending.RESET), **_BREAK),
    _row("cut-clean", 35, "ends in order as HTTP after `after` pieces, but without a finish", "after",
         streams.broken(Ending.CLOSE, streams.last_chunk), **_BREAK),
    _row("cut-event", 35, "closes in the middle of an event", "after",
         streams.broken(Ending.CLOSE, streams.half_event), **_BREAK),
    _row("cut-chunk", 35, "closes in the middle of an HTTP chunk", "after",
         streams.broken(Ending.CLOSE, streams.half_chunk), **_BREAK),
    _row("cut-utf8", 35, "closes in the middle of a character", "after",
         streams.broken(Ending.CLOSE, streams.half_character), **_BREAK),
    _row("bad-chunk", 35, "an HTTP chunk without a valid size after `after` pieces", "after",
         streams.broken(Ending.CLOSE, streams.bad_chunk), **_BREAK),
    _row("done-without-finish", 35, "all the content (and `[DONE]`), but nothing that says it is the whole", "after",
         streams.unfinished),
    _row("hang", 40, "dead silence after `after` pieces", "after", streams.broken(Ending.HOLD), **_BREAK),
    _row("malformed-twice", 43, "`times` events whose JSON breaks off, after `after` pieces", "after",
         streams.malformed, times=2, after=1, pause=0.0),
    _row("short-body", 35, "a JSON body shorter than its content-length, then a close", "before", streams.short_body),
    _row("cut-json", 43, "a JSON body that breaks off, with a content-length that agrees", "before", streams.cut_json),
    _row("empty", 46, "a success without content", "before", _kept("stop", 0)),
    _row("tool-length", 44, "a tool call cut amid its arguments by the token limit", "after",
         streams.altered(_tool_length, tool=True), shown=_TALKS),
    _row("tool-cut", 44, "closes amid the arguments of a tool call", "after", streams.tool_cut, shown=_TALKS,
         after=1, pause=0.0),
    _row("tool-garbled", 44, "a finished tool call whose arguments are not JSON", "after",
         streams.altered(_garbled, tool=True), shown=_TALKS - {"ollama"}),
)  # fmt: skip

_LATE: dict[str, Any] = {"after": 5, "pause": 0.0}

_IN_BAND = (
    _row("error-event", 34, "the error `kind` (a behaviour of one answer) as the first event of a stream", "before",
         streams.in_band, after=0, truncate_after=0, pause=0.0, kind="internal"),
    _row("error-event-late", 34, "the same after `after` pieces", "after",
         streams.in_band, **_BREAK, kind="internal"),
    _row("error-event-vllm", 34, '`object` "error" without `error`, then `[DONE]`, as vLLM sends it', "after",
         compatible.error_in_stream(
             {"object": "error", "message": "EngineCore encountered an issue.", "type": "InternalServerError",
              "param": None, "code": 500},
             lambda _call, data: [b"data: " + data + b"\n\n", DONE]), shown=_CHAT, **_LATE),
    _row("error-event-groq", 34, "`event: error` with a `status_code`, as Groq sends it", "after",
         compatible.error_in_stream(
             {"error": {"message": "Failed to generate. Please try again.", "type": "server_error",
                        "code": "internal_error", "status_code": 500}},
             lambda _call, data: [b"event: error\ndata: " + data + b"\n\n"]), shown=_CHAT, **_LATE),
    _row("error-event-openrouter", 34, "`error` in a chunk that finishes with `error`, as OpenRouter sends it", "after",
         compatible.error_in_stream(
             {"error": {"message": "Provider returned error", "code": 502, "metadata": {"provider_name": "Simulated"}}},
             compatible.openrouter_error), shown=_CHAT, **_LATE),
    _row("error-line", 34, "an `error:` line instead of `data:`, as llama.cpp's descendants send it", "after",
         compatible.error_in_stream(
             {"error": {"message": "failed to decode, try again", "code": 500, "type": "server_error"}},
             lambda _call, data: [b"error: " + data + b"\n\n"]), shown=_CHAT, **_LATE),
)  # fmt: skip

_MIXED = (
    _row("status", None, "an error with the HTTP status `code` (400 or more)", "before", _status, code=503),
    _row("fail-first", None, "fails `n` times as `like` does (and takes its parameters), then answers", "before",
         _settled, n=1, like="overloaded"),
    _row("flaky", None, "fails at the rate `rate` as `like` does (and takes its parameters); `seed` decides which "
         "calls", "before", _settled, rate=0.5, seed=0, like="overloaded"),
)  # fmt: skip

BEHAVIOURS: Mapping[str, Behaviour] = {
    **{behaviour.name: behaviour for behaviour in (*_FINE, *_CONNECTION, *_CUT, *_IN_BAND, *_MIXED)},
    **{name: behaviour for name, behaviour in REFUSALS.items() if name != "no-prefill"},
}
