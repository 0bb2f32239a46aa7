"""The server itself: what it accepts, refuses, remembers and forgets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import uvloop

from understudy import clock
from understudy.sim import BEHAVIOURS, BehaviourError, Sim, server

from .wire_client import Seen, ask, dial, request, see, until


def with_sim(play: Callable[[Sim], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        async with Sim(**settings) as sim:
            await play(sim)

    asyncio.run(main())


async def get(sim: Sim, raw: bytes) -> Seen:
    line = await dial(sim)
    await line.send(raw)
    seen = await line.answer()
    await line.close()
    return seen


def test_models_lists_every_behaviour_and_every_switched_name() -> None:
    async def play(sim: Sim) -> None:
        sim.switch("gpt-5", "ok")
        async with httpx.AsyncClient() as client:
            listed = (await client.get(f"{sim.url}/models")).json()
        assert listed["object"] == "list"
        assert [model["id"] for model in listed["data"]] == [*BEHAVIOURS, "gpt-5"]

    with_sim(play)


def test_healthz_says_that_it_is_simulated_and_needs_no_key() -> None:
    async def play(sim: Sim) -> None:
        seen = await get(sim, request(b"", path="/healthz", method="GET"))
        assert (seen.status, seen.json) == (200, {"status": "ok", "simulated": True})

    with_sim(play, key="secret")


@pytest.mark.parametrize(
    ("headers", "status"),
    [("", 401), ("authorization: Bearer wrong\r\n", 401), ("authorization: bearer sk-right\r\n", 200),
     ("api-key: sk-right\r\n", 200)],
)  # fmt: skip
def test_a_key_is_checked_when_one_was_set(headers: str, status: int) -> None:
    async def play(sim: Sim) -> None:
        seen = await get(sim, request(ask("ok"), headers))
        assert seen.status == status
        if status == 401:
            assert seen.json["error"]["code"] == "invalid_api_key"

    with_sim(play, key="sk-right")


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (b"{", None, None),
        (b"\xff", None, None),
        (b"[]", None, "invalid_type"),
        (b'{"messages":[{}]}', "model", None),
        (b'{"model":"ok"}', "messages", "missing_required_parameter"),
        (b'{"model":"ok","messages":[]}', "messages", "empty_array"),
        (b'{"model":"ok","messages":[3]}', "messages[0]", "invalid_type"),
        (b'{"model":"ok","messages":[{}],"stream":"yes"}', "stream", "invalid_type"),
        (b'{"model":"ok","messages":[{}],"n":99}', "n", "invalid_value"),
    ],
)
def test_a_bad_request_gets_a_400_that_names_the_field(body: bytes, param: str | None, code: str | None) -> None:
    seen = see(body)
    assert (seen.status, seen.json["error"]["type"]) == (400, "invalid_request_error")
    assert (seen.json["error"]["param"], seen.json["error"]["code"]) == (param, code)


def test_an_unknown_model_gets_a_404_that_lists_the_known_ones() -> None:
    seen = see(ask("gpt-9"))
    assert (seen.status, seen.json["error"]["code"]) == (404, "model_not_found")
    assert all(name in seen.json["error"]["message"] for name in BEHAVIOURS)


@pytest.mark.parametrize(
    "model",
    ["slow:frist=1", "slow:first", "slow:first=x", "slow:first=-1", "slow:first=nan", "slow:first=inf", "cut:after=1.5",
     "ok:", "silent:x=1", "fail-first:like=nothing", "slow:first=1e9"],
)  # fmt: skip
def test_a_bad_parameter_gets_a_400_that_says_what_is_taken(model: str) -> None:
    seen = see(ask(model))
    assert (seen.status, seen.json["error"]["param"]) == (400, "model")


def test_unknown_paths_and_methods_are_refused() -> None:
    async def play(sim: Sim) -> None:
        assert (await get(sim, request(b"", path="/v2/x", method="GET"))).status == 404
        assert (await get(sim, request(b"", path="/v1/chat/completions?x=1", method="GET"))).status == 405

    with_sim(play)


def test_what_is_no_http_is_refused_and_the_connection_closed() -> None:
    async def play(sim: Sim) -> None:
        line = await dial(sim)
        await line.send(b"\x16\x03\x01 hello\r\n\r\n")
        seen = await line.answer()
        assert (seen.status, seen.headers["connection"]) == (400, "close")
        await line.send(b"more")
        assert await line.ended()
        await line.close()

    with_sim(play)


def test_what_is_sent_after_a_refusal_is_not_waited_for_longer_than_the_linger() -> None:
    async def play(sim: Sim) -> None:
        with clock.frozen() as time:
            line = await dial(sim)
            await line.send(b"no http\r\n\r\n")
            await line.answer()
            assert sim._connections
            time.advance(5)
            await until(lambda: not sim._connections)
            await line.close()

    with_sim(play)


def test_heads_and_bodies_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_BODY_BYTES", 1000)

    async def play(sim: Sim) -> None:
        big_head = b"GET /healthz HTTP/1.1\r\nx: " + b"x" * (server.MOST_HEADER_BYTES + 1)
        assert (await get(sim, big_head)).status == 431
        assert (await get(sim, request(ask("ok", say="x" * 2000)))).status == 413
        assert sim.requests == []

    with_sim(play)


def test_a_client_that_pipelines_is_answered_in_order_up_to_a_bound() -> None:
    async def play(sim: Sim) -> None:
        line = await dial(sim)
        await line.send(request(ask("ok")) + request(ask("rate-limit")) + request(ask("ok")))
        assert [(await line.answer()).status for _ in range(3)] == [200, 429, 200]
        await line.send(request(ask("silent")) * 30)
        assert await line.ended()
        await line.close()

    with_sim(play)


def test_a_client_that_asks_to_close_is_obeyed_and_one_that_expects_is_told_to_go_on() -> None:
    async def play(sim: Sim) -> None:
        line = await dial(sim)
        body = ask("ok")
        head, rest = request(body, "expect: 100-continue\r\nconnection: close\r\n"), body
        await line.send(head[: -len(rest)])
        assert await line.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await line.send(rest)
        assert (await line.answer()).status == 200
        assert await line.ended()
        await line.close()

    with_sim(play)


def test_requests_are_kept_with_their_credentials_masked() -> None:
    async def play(sim: Sim) -> None:
        headers = "Authorization: Bearer sk-secret-key-1234\r\nX-API-Key: short\r\nX-Other: seen\r\n"
        await get(sim, request(ask("ok"), headers))
        (kept,) = sim.requests
        assert (kept.method, kept.path, kept.json()["model"]) == ("POST", "/v1/chat/completions", "ok")
        assert kept.headers["authorization"] == "Bearer ***1234"
        assert kept.headers["x-api-key"] == "***"
        assert kept.headers["x-other"] == "seen"
        assert "secret" not in repr(sim.requests)

    with_sim(play)


def test_what_is_kept_is_bounded_in_number_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_KEPT_BYTES", 500)
    monkeypatch.setattr(server, "MOST_MODELS", 2)

    async def play(sim: Sim) -> None:
        for number in range(6):
            await get(sim, request(ask(f"slow:first=0,between=0,tokens={number + 1}", stream=True)))
        assert 1 <= len(sim.requests) < 6
        assert len(sim._calls) == 2
        assert sim.calls("slow:first=0,between=0,tokens=6") == 1

    with_sim(play)


def test_a_model_can_be_switched_while_it_runs_and_its_count_goes_on() -> None:
    async def play(sim: Sim) -> None:
        async def status() -> int:
            return (await get(sim, request(ask("gpt-5")))).status

        assert await status() == 404
        sim.switch("gpt-5", "ok")
        assert await status() == 200
        sim.switch("gpt-5", "fail-first:n=1")
        assert [await status(), await status()] == [503, 200]
        sim.switch("gpt-5", None)
        assert await status() == 404
        assert sim.calls("gpt-5") == 3
        with pytest.raises(BehaviourError, match="does not exist"):
            sim.switch("gpt-5", "no-such-behaviour")

    with_sim(play)


def test_a_stopped_provider_refuses_and_can_start_again_on_its_port() -> None:
    async def main() -> None:
        sim = Sim()
        await sim.stop()
        await sim.start()
        port = sim.port
        line = await dial(sim)
        await line.send(request(ask("silent")))
        await until(lambda: sim.calls("silent"))
        await sim.stop()
        assert (await line.answer()).end == "reset"
        await line.close()
        with pytest.raises(ConnectionRefusedError):
            await dial(sim)
        await sim.start(port=port)
        assert (await get(sim, request(ask("ok")))).status == 200
        await sim.stop()

    asyncio.run(main())


def test_an_ipv6_address_is_bracketed_in_the_url() -> None:
    sim = Sim()
    sim._host, sim.port = "::1", 8000
    assert sim.url == "http://[::1]:8000/v1"


def test_a_client_that_leaves_takes_its_answer_with_it() -> None:
    async def play(sim: Sim) -> None:
        line = await dial(sim)
        await line.send(request(ask("silent")))
        await until(lambda: sim.calls("silent"))
        (connection,) = sim._connections
        await line.close()
        await until(lambda: not sim._connections)
        await asyncio.sleep(0)
        assert connection.playing is not None
        assert connection.playing.cancelled()

    with_sim(play)


def test_a_slow_reader_slows_the_provider_down() -> None:
    async def play(sim: Sim) -> None:
        line = await dial(sim)
        line.writer.transport.pause_reading()
        await line.send(request(ask("ok:tokens=40000", stream=True)))
        await until(lambda: sim._connections and not next(iter(sim._connections))._writable.is_set())
        (connection,) = sim._connections
        assert connection._transport.get_write_buffer_size() < 2**20
        line.writer.transport.resume_reading()
        received, end = 0, b""
        while not end.endswith(b"0\r\n\r\n"):
            data = await asyncio.wait_for(line.reader.read(2**20), 5)
            received += len(data)
            end = (end + data)[-5:]
        assert received > 40_000 * 200
        await line.close()

    with_sim(play)


@pytest.mark.parametrize("model", ["ok", "reset", "cut-reset", "close"])
def test_it_does_the_same_on_uvloop(model: str) -> None:
    async def main() -> Seen:
        async with Sim() as sim:
            return await get(sim, request(ask(model, stream=True)))

    there, here = uvloop.run(main()), asyncio.run(main())
    assert (there.status, there.end, there.pieces) == (here.status, here.end, here.pieces)
