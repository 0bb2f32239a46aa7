"""Each behaviour does on the wire what its row says. Generated over the table: a row without a check fails."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from understudy import clock
from understudy.sim import BEHAVIOURS, Sim

from .wire_client import TOOL, Seen, ask, dial, request, see, until, unzip

SAID = "This is a simulated answer, it only echoes what you said: naïve question"

# status, where in the body, what stands there; and headers that must be there
REFUSALS: dict[str, tuple[int, dict[str, Any], dict[str, str]]] = {
    "rate-limit": (429, {"error.code": "rate_limit_exceeded", "error.type": "requests"},
                   {"retry-after": "20", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "20s"}),
    "rate-limit-reset": (429, {"error.code": "rate_limit_exceeded"}, {"x-ratelimit-reset-requests": "12ms"}),
    "rate-limit-bare": (429, {"error.code": "rate_limit_exceeded"}, {}),
    "rate-limit-azure": (429, {"error.code": "429"}, {"retry-after": "20", "retry-after-ms": "20000"}),
    "rate-limit-openrouter": (429, {"error.code": 429}, {"x-ratelimit-reset": "1767225600000"}),
    "rate-limit-tokens": (429, {"error.code": "rate_limit_exceeded", "error.type": "tokens"},
                          {"retry-after": "2", "x-ratelimit-remaining-tokens": "0"}),
    "rate-limit-day": (429, {"error.type": "tokens"}, {"retry-after": "25920"}),
    "request-too-large": (429, {"error.type": "tokens", "error.code": "rate_limit_exceeded"}, {}),
    "request-too-large-groq": (413, {"error.type": "tokens", "error.code": "rate_limit_exceeded"}, {}),
    "slow-down": (429, {"error.type": "rate_limit_error", "error.code": "slow_down"}, {"retry-after": "20"}),
    "slow-down-503": (503, {"error.code": "slow_down"}, {}),
    "retry-negative": (429, {}, {"retry-after": "-1", "x-ratelimit-remaining-tokens": "-1"}),
    "retry-huge": (429, {}, {"retry-after": "999999999"}),
    "retry-nonsense": (429, {}, {"retry-after": "soon"}),
    "insufficient-quota": (429, {"error.code": "insufficient_quota", "error.type": "insufficient_quota"}, {}),
    "credit-exhausted": (429, {"error.code": "credit_balance_exhausted", "error.type": "insufficient_quota"}, {}),
    "payment-required": (402, {"error.code": 402}, {}),
    "spend-limit": (429, {"error.code": "project_spend_limit_exceeded"}, {}),
    "invalid-key": (401, {"error.code": "invalid_api_key"}, {}),
    "invalid-key-openrouter": (401, {"error.code": 401}, {}),
    "invalid-key-mistral": (401, {"detail": "Invalid API Key"}, {}),
    "invalid-key-vllm": (401, {"error": "Unauthorized"}, {}),
    "account-closed": (401, {"error.code": "account_deactivated"}, {}),
    "ip-not-authorized": (401, {"error.code": "ip_not_authorized"}, {}),
    "region": (403, {"error.code": "unsupported_country_region_territory", "error.type": "request_forbidden"}, {}),
    "no-access": (403, {"error.code": "model_not_found"}, {}),
    "sample-forbidden": (403, {"error.code": None}, {}),
    "not-found": (404, {"error.code": "model_not_found"}, {}),
    "retired": (404, {"error.code": "model_not_found"}, {}),
    "not-found-vllm": (404, {"object": "error", "code": 404, "type": "NotFoundError"}, {}),
    "not-found-azure": (404, {"error.code": "DeploymentNotFound"}, {}),
    "unsupported-parameter": (400, {"error.code": "unsupported_parameter", "error.param": "max_tokens"}, {}),
    "malformed": (400, {"error.code": "missing_required_parameter", "error.param": "messages[1].content[0].type"}, {}),
    "malformed-xai": (400, {"code": "Client specified an invalid argument"}, {}),
    "unprocessable": (422, {"detail": [{"type": "string_type", "loc": ["body", "tool_choice"],
                      "msg": "Input should be a valid string", "input": {"type": "function"}}]}, {}),
    "context-length": (400, {"error.code": "context_length_exceeded", "error.param": "messages"}, {}),
    "context-length-llamacpp": (400, {"error.type": "exceed_context_size_error", "error.n_ctx": 4096,
                                      "error.n_prompt_tokens": 4476}, {}),
    "context-length-vllm": (400, {"error.type": "BadRequestError", "error.code": 400}, {}),
    "body-too-large": (413, {"error.code": "request_too_large"}, {}),
    "body-too-large-html": (413, {}, {"content-type": "text/html; charset=UTF-8"}),
    "content-policy": (400, {"error.code": "content_policy_violation"}, {}),
    "invalid-prompt": (400, {"error.code": "invalid_prompt"}, {}),
    "content-policy-azure": (400, {"error.code": "content_filter",
                             "error.innererror.code": "ResponsibleAIPolicyViolation"}, {}),
    "timeout": (408, {"error.code": None}, {}),
    "conflict": (409, {"error.code": None}, {}),
    "overloaded": (503, {"error.code": "server_is_overloaded", "error.type": "service_unavailable_error"}, {}),
    "overloaded-529": (529, {"error.type": "overloaded_error"}, {}),
    "loading": (503, {"error.type": "unavailable_error", "error.code": 503}, {}),
    "capacity-groq": (498, {"error.code": "capacity_exceeded"}, {}),
    "internal": (500, {"error.type": "server_error"}, {}),
    "internal-vllm": (500, {}, {"content-type": "text/plain; charset=utf-8"}),
    "upstream-timeout": (504, {"error.code": "upstream_timeout"}, {}),
    "upstream-error": (502, {"error.code": 502, "error.metadata.raw": "upstream connect error"}, {}),
    "html-502": (502, {}, {"content-type": "text/html; charset=UTF-8"}),
    "html-503": (503, {}, {"content-type": "text/html; charset=UTF-8", "server": "cloudflare"}),
    "html-504": (504, {}, {"content-type": "text/html; charset=UTF-8"}),
    "html-200": (200, {}, {"content-type": "text/html; charset=UTF-8"}),
    "html-403": (403, {}, {"content-type": "text/html; charset=UTF-8", "server": "cloudflare"}),
    "error-200": (200, {"error.code": 502}, {"content-type": "application/json"}),
    "redirect": (302, {}, {"location": "http://127.0.0.1:9/elsewhere"}),
    "unknown-error": (418, {"fault.what": "teapot"}, {}),
    "null-body": (500, {}, {"content-length": "4"}),
    "empty-body": (500, {}, {"content-length": "0"}),
    "status": (503, {"error.code": None}, {}),
    "fail-first": (503, {"error.code": "server_is_overloaded"}, {}),
}  # fmt: skip


def fine(seen: Seen) -> None:
    """A whole stream with the whole answer."""
    assert (seen.status, seen.end, seen.framed) == (200, "kept", True)
    assert seen.text == SAID
    assert seen.finishes[-1] == "stop"


def longer(seen: Seen) -> None:
    """The same words and more of them, about sixty in all."""
    assert seen.text.startswith(SAID)
    assert (seen.finishes, seen.done) == (["stop"], True)
    assert seen.pieces == 60


def differs(seen: Seen) -> None:
    assert seen.text.startswith("Another model")
    assert (seen.finishes, seen.pieces, seen.done) == (["stop"], 60, True)


def fine_and_done(seen: Seen) -> None:
    fine(seen)
    assert seen.done
    assert seen.events[-1] == b"data: [DONE]"


def broke_off(seen: Seen) -> None:
    """Five content events, no finish, no end."""
    assert seen.status == 200
    assert seen.pieces == 5
    assert SAID.startswith(seen.text)
    assert not seen.finishes
    assert not seen.done


def closed(seen: Seen) -> None:
    broke_off(seen)
    assert seen.end == "closed"


def was_reset(seen: Seen) -> None:
    broke_off(seen)
    assert seen.end == "reset"


def ended_in_order(seen: Seen) -> None:
    broke_off(seen)
    assert (seen.end, seen.framed) == ("kept", True)


def half_an_event(seen: Seen) -> None:
    closed(seen)
    assert seen.body.rsplit(b"\n\n", 1)[1].startswith(b"data: {")


def half_a_character(seen: Seen) -> None:
    half_an_event(seen)
    assert seen.body[-1:] == "ï".encode()[:1]


def bad_framing(seen: Seen) -> None:
    broke_off(seen)
    assert not seen.framed


def no_finish_but_done(seen: Seen) -> None:
    assert seen.text == SAID
    assert not seen.finishes
    assert seen.done


def fine_without_done(seen: Seen) -> None:
    fine(seen)
    assert not seen.done


def finished(reason: str, pieces: int) -> Callable[[Seen], None]:
    def check(seen: Seen) -> None:
        assert seen.finishes == [reason]
        assert seen.pieces == pieces
        assert seen.done

    return check


def declined(seen: Seen) -> None:
    assert "".join(d.get("refusal") or "" for d in seen.deltas) == "I'm sorry, I can't help with that."
    assert seen.text == ""


def thought(seen: Seen) -> None:
    fine_and_done(seen)
    kinds = ["thought" if d.get("reasoning_content") else "text" for d in seen.deltas if any(d.values())]
    assert kinds[:6] == ["text", "thought", "thought", "thought", "thought", "text"]  # the first has only the role


def commented(seen: Seen) -> None:
    fine_and_done(seen)
    assert seen.events[:3] == [b": ping"] * 3


def finished_early(seen: Seen) -> None:
    fine_and_done(seen)
    assert seen.finishes == ["stop", "stop"]


def crlf(seen: Seen) -> None:
    fine_and_done(seen)
    assert seen.body.count(b"\n") == seen.body.count(b"\r\n") > 20


def broken_events(times: int) -> Callable[[Seen], None]:
    def check(seen: Seen) -> None:
        fine_and_done(seen)
        assert len(seen.events) - len(seen.data) - 1 == times

    return check


def usage_everywhere(seen: Seen) -> None:
    fine_and_done(seen)
    completed = [chunk["usage"]["completion_tokens"] for chunk in seen.data]
    assert completed == sorted(completed)
    assert completed[-1] == seen.pieces


def no_usage(seen: Seen) -> None:
    fine_and_done(seen)
    assert not any("usage" in chunk for chunk in seen.data)


def zipped(seen: Seen) -> None:
    assert seen.headers["content-encoding"] == "gzip"
    seen.body = unzip(seen.body)
    fine_and_done(seen)


def other_model(seen: Seen) -> None:
    fine_and_done(seen)
    assert {chunk["model"] for chunk in seen.data} == {"simulated-other-model"}


def big(seen: Seen) -> None:
    assert len(seen.text) == 8 * 2**20


def big_head(seen: Seen) -> None:
    assert len(seen.headers["x-padding"]) == 256 * 1024


def first_event(is_error: Callable[[Seen], bool], pieces: int) -> Callable[[Seen], None]:
    def check(seen: Seen) -> None:
        assert (seen.status, seen.end, seen.pieces) == (200, "kept", pieces)
        assert is_error(seen)
        assert seen.finishes in ([], ["error"])

    return check


def short(seen: Seen) -> None:
    assert seen.end == "closed"
    assert len(seen.body) == int(seen.headers["content-length"]) - 100


def cut_json(seen: Seen) -> None:
    assert len(seen.body) == int(seen.headers["content-length"])
    with pytest.raises(msgspec.DecodeError):
        _ = seen.json


def arguments(seen: Seen) -> str:
    calls = [call for delta in seen.deltas for call in delta.get("tool_calls", ())]
    return "".join(call["function"]["arguments"] for call in calls)


def cut_call(end: str, finishes: list[str]) -> Callable[[Seen], None]:
    def check(seen: Seen) -> None:
        assert (seen.end, seen.finishes) == (end, finishes)
        assert arguments(seen)
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(arguments(seen))

    return check


def nothing(end: str) -> Callable[[Seen], None]:
    def check(seen: Seen) -> None:
        assert (seen.raw, seen.end) == (b"", end)

    return check


def not_http(seen: Seen) -> None:
    assert seen.raw
    assert not seen.raw.startswith(b"HTTP/")


STREAMS: dict[str, Callable[[Seen], None]] = {
    "ok": fine_and_done, "slow": fine_and_done, "drip": fine_and_done, "restarts": longer, "thinks": thought,
    "comments": commented, "no-done": fine_without_done, "early-finish": finished_early, "crlf": crlf,
    "split": fine_and_done, "malformed-once": broken_events(1), "malformed-twice": broken_events(2),
    "length": finished("length", 5), "filtered": finished("content_filter", 5), "refusal": declined,
    "usage-always": usage_everywhere, "no-usage": no_usage, "gzip": zipped, "other-model": other_model,
    "huge-body": big, "huge-head": big_head, "close-after": fine_and_done, "close-on-reuse": fine_and_done,
    "no-prefill": longer, "differs": differs,
    "close": nothing("closed"), "reset": nothing("reset"), "invalid-http": not_http,
    "cut": closed, "cut-reset": was_reset, "cut-clean": ended_in_order, "cut-event": half_an_event,
    "cut-chunk": half_an_event, "cut-utf8": half_a_character, "bad-chunk": bad_framing,
    "done-without-finish": no_finish_but_done, "short-body": short, "cut-json": cut_json,
    "empty": finished("stop", 0), "tool-length": cut_call("kept", ["length"]), "tool-cut": cut_call("closed", []),
    "tool-garbled": cut_call("kept", ["tool_calls"]),
    "error-event": first_event(lambda s: s.events[0].startswith(b'data: {"error":') and len(s.events) == 1, 0),
    "error-event-late": first_event(lambda s: s.events[-1].startswith(b'data: {"error":'), 5),
    "error-event-vllm": first_event(lambda s: s.data[-1]["object"] == "error" and s.done, 5),
    "error-event-groq": first_event(lambda s: s.events[-1].startswith(b'event: error\ndata: {"error":'), 5),
    "error-event-openrouter": first_event(lambda s: s.data[-1]["error"]["code"] == 502 and s.done, 5),
    "error-line": first_event(lambda s: s.events[-1].startswith(b'error: {"error":'), 5),
}  # fmt: skip

SILENT = {"silent": 0, "head-only": 0, "hang": 5}
"""Behaviours that hold the line, and the content events that come before they do."""

OWN = {"pings", "flaky"}
"""Behaviours with a test of their own below."""


def test_every_behaviour_has_a_check() -> None:
    checked = [*REFUSALS, *STREAMS, *SILENT, *OWN]
    assert sorted(checked) == sorted(name for name, row in BEHAVIOURS.items() if "openai-chat" in row.dialects)


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_has_the_status_body_and_headers_of_its_row(name: str, stream: bool) -> None:
    status, fields, headers = REFUSALS[name]
    seen = see(ask(name, stream=stream))
    assert (seen.status, seen.end) == (status, "kept")
    assert seen.headers["x-understudy-simulated"] == "true"
    assert headers.items() <= seen.headers.items()
    for path, value in fields.items():
        node = seen.json
        for step in path.split("."):
            node = node[step]
        assert node == value
    assert b"{retry}" not in seen.body
    assert b"{model}" not in seen.body


def test_a_limit_without_headers_has_none() -> None:
    assert not [name for name in see(ask("rate-limit-bare")).headers if "rate" in name or "retry" in name]


@contextlib.contextmanager
def fast() -> Any:
    """Frozen time that runs on as fast as the loop turns."""
    with clock.frozen() as time:

        async def run() -> None:
            while True:
                time.advance(0.5)
                await asyncio.sleep(0)

        yield run


def see_fast(body: bytes) -> Seen:
    async def main() -> Seen:
        with fast() as run:
            ticking = asyncio.create_task(run())
            async with Sim() as sim:
                line = await dial(sim)
                await line.send(request(body))
                seen = await line.answer()
                await line.close()
            ticking.cancel()
            return seen

    return asyncio.run(main())


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_does_on_the_wire_what_its_row_says(name: str) -> None:
    tools = {"tools": [TOOL]} if name.startswith("tool-") else {}
    STREAMS[name](see_fast(ask(name, stream=True, **tools)))


def contents(data: bytes) -> int:
    """How many events with some content there are in it; the one with the role has an empty one."""
    return data.count(b'"content":"') - data.count(b'"content":""')


@pytest.mark.parametrize("name", SILENT)
def test_a_silent_behaviour_says_so_much_and_no_more(name: str) -> None:
    async def main() -> None:
        async with Sim() as sim:
            line = await dial(sim)
            await line.send(request(ask(name, stream=True)))
            data = b""
            while contents(data) < SILENT[name] or (name == "head-only" and not data):
                data += await asyncio.wait_for(line.reader.read(65536), 5)
            with pytest.raises(asyncio.TimeoutError):
                data += await asyncio.wait_for(line.reader.read(65536), 0.05)
            assert contents(data) == SILENT[name]
            assert (b'finish_reason":"' in data, b"[DONE]" in data) == (False, False)
            assert data.startswith(b"HTTP/1.1 200 OK\r\n") is (name != "silent")
            await line.close()

    asyncio.run(main())


def test_pings_go_on_without_content_until_the_client_leaves() -> None:
    async def main() -> None:
        with fast() as run:
            ticking = asyncio.create_task(run())
            async with Sim() as sim:
                line = await dial(sim)
                await line.send(request(ask("pings", stream=True)))
                data = b""
                while data.count(b": ping\n\n") < 20:
                    data += await asyncio.wait_for(line.reader.read(4096), 5)
                assert b"data:" not in data
                await line.close()
                await until(lambda: not sim._connections)
            ticking.cancel()

    asyncio.run(main())


PLAIN_BROKEN = ("cut", "cut-reset", "cut-clean", "cut-event", "cut-chunk", "cut-utf8", "bad-chunk", "tool-cut")


@pytest.mark.parametrize("name", [n for n in STREAMS if n not in {"close", "reset", "invalid-http"}])
def test_without_stream_the_body_is_whole_cut_or_an_error_and_never_half_of_each(name: str) -> None:
    seen = see_fast(ask(name, tools=[TOOL]))
    assert seen.headers["content-type"] == "application/json"
    promised = int(seen.headers["content-length"])
    if name in PLAIN_BROKEN or name == "short-body":
        assert 0 < len(seen.body) < promised
    elif name == "cut-json":
        cut_json(seen)
    elif name.startswith("error-"):
        assert seen.json.get("error") or seen.json["object"] == "error"
    else:
        body = unzip(seen.body) if name == "gzip" else seen.body
        assert msgspec.json.decode(body)["system_fingerprint"] == "simulated"
