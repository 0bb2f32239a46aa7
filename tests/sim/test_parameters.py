"""Behaviours that depend on more than one request: counts, chance, reuse of a connection, time, parameters."""

from __future__ import annotations

import asyncio

import pytest

from understudy import clock
from understudy.sim import Sim

from .test_behaviours import SAID
from .wire_client import Line, Seen, ask, dial, request, see, until


async def codes(model: str, count: int) -> list[int]:
    async with Sim() as sim:
        line = await dial(sim)
        seen = []
        for _ in range(count):
            await line.send(request(ask(model)))
            seen.append((await line.answer()).status)
        await line.close()
        return seen


def test_fail_first_fails_n_times_and_then_works() -> None:
    assert asyncio.run(codes("fail-first:n=2,like=rate-limit", 4)) == [429, 429, 200, 200]


def test_flaky_fails_the_same_calls_for_the_same_seed_about_as_often_as_asked() -> None:
    first = asyncio.run(codes("flaky:p=0.3,seed=7", 100))
    assert first == asyncio.run(codes("flaky:p=0.3,seed=7", 100))
    assert first != asyncio.run(codes("flaky:p=0.3,seed=8", 100))
    assert 15 <= first.count(503) <= 45


def test_a_status_can_be_any_error() -> None:
    assert asyncio.run(codes("status:code=451", 1)) == [451]
    assert asyncio.run(codes("status:code=200", 1)) == [400]


async def second_request(name: str) -> tuple[Seen, Seen]:
    async with Sim() as sim:
        line = await dial(sim)
        await line.send(request(ask(name)))
        first = await line.answer()
        await line.send(request(ask(name)))
        second = await line.answer()
        await line.close()
        return first, second


def test_close_on_reuse_answers_once_and_then_closes_without_a_byte() -> None:
    first, second = asyncio.run(second_request("close-on-reuse"))
    assert first.status == 200
    assert (second.raw, second.end) == (b"", "closed")


def test_close_after_closes_a_connection_that_it_seemed_to_keep() -> None:
    async def main() -> None:
        async with Sim() as sim:
            line = await dial(sim)
            await line.send(request(ask("close-after")))
            seen = await line.answer()
            assert "connection" not in seen.headers
            assert await line.ended()
            await line.close()

    asyncio.run(main())


def test_slow_waits_before_the_first_token_and_between_tokens() -> None:
    async def read_until(line: Line, pieces: int) -> bytes:
        data = b""
        while data.count(b'"content":"') < pieces + 1:  # the chunk with the role counts too
            data += await asyncio.wait_for(line.reader.read(4096), 5)
        return data

    async def main() -> None:
        async with Sim() as sim:
            with clock.frozen() as time:
                line = await dial(sim)
                await line.send(request(ask("slow:first=2,between=0.1", stream=True)))
                await until(lambda: time._due)
                time.advance(1.9)
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(line.reader.read(1), 0.02)
                time.advance(0.1)
                data = await read_until(line, 1)
                await until(lambda: time._due)
                assert time._due[0][0] == pytest.approx(time.now + 0.1)
                assert data.count(b'"content":"') == 2
                await line.close()

    asyncio.run(main())


def test_continues_goes_on_where_the_assistant_turn_stops_and_ok_starts_again() -> None:
    messages = [{"role": "user", "content": "naïve question"}, {"role": "assistant", "content": SAID[:22]}]
    texts = [see(ask(m, messages=messages)).json["choices"][0]["message"]["content"] for m in ("continues", "ok")]
    assert texts == [SAID[22:], SAID]


def test_prefill_rejected_refuses_a_trailing_assistant_turn() -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hello"}]
    seen = see(ask("prefill-rejected", messages=messages))
    assert (seen.status, seen.json["error"]["type"]) == (400, "invalid_request_error")


def test_reasoning_comes_in_the_field_that_is_asked_for() -> None:
    for stream in (False, True):
        seen = see(ask("thinks:thoughts=1,field=reasoning", stream=stream))
        message = seen.deltas[1] if stream else seen.json["choices"][0]["message"]
        assert message["reasoning"] == message["reasoning_details"][0]["text"] == "thought 0 "


@pytest.mark.parametrize("after", [0, 1, 3])
@pytest.mark.parametrize("name", ["cut", "hang", "error-event-groq", "cut-clean"])
def test_after_says_how_many_content_events_come_first(name: str, after: int) -> None:
    async def main() -> None:
        async with Sim() as sim:
            line = await dial(sim)
            await line.send(request(ask(f"{name}:after={after}", stream=True)))
            reading = asyncio.create_task(line.answer())
            if name == "hang":
                await asyncio.sleep(0.05)
                await sim.stop()
            seen = await reading
            assert seen.pieces == after
            if not after:
                assert b"assistant" not in seen.body
            await line.close()

    asyncio.run(main())
