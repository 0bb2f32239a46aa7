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
    first = asyncio.run(codes("flaky:rate=0.3,seed=7", 100))
    assert first == asyncio.run(codes("flaky:rate=0.3,seed=7", 100))
    assert first != asyncio.run(codes("flaky:rate=0.3,seed=8", 100))
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


def continued(model: str, *turns: tuple[str, str]) -> Seen:
    return see(ask(model, messages=[{"role": role, "content": text} for role, text in turns]))


def said(seen: Seen) -> str:
    text: str = seen.json["choices"][0]["message"]["content"]
    return text


WHOLE = " ".join([SAID, *(f"more{i}" for i in range(len(SAID.split()), 60))])
NOTICE = "Your previous response was interrupted and ended with: '{}'. Continue from there."


@pytest.mark.parametrize("cut", [1, 22, 57, 100, len(WHOLE) - 1])
def test_an_answer_goes_on_where_the_assistant_turn_stops(cut: int) -> None:
    turns = [("user", "naïve question"), ("assistant", WHOLE[:cut])]
    assert said(continued("ok:tokens=60", turns[0])) == WHOLE
    assert said(continued("ok:tokens=60", *turns)) == WHOLE[cut:]
    assert said(continued("restarts", *turns)) == WHOLE
    assert said(continued("differs", *turns)) != WHOLE
    seen = continued("no-prefill", *turns)
    assert (seen.status, seen.json["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("cut", [22, 57, 100, len(WHOLE) - 1])
@pytest.mark.parametrize("model", ["ok:tokens=60", "no-prefill"])
def test_an_answer_goes_on_when_it_is_told_how_it_ended(model: str, cut: int) -> None:
    question, notice = ("user", "naïve question"), NOTICE.format(WHOLE[max(0, cut - 40) : cut])
    rest = WHOLE[cut:]
    assert said(continued(model, question, ("user", notice))) == rest
    assert said(continued(model, question, ("assistant", WHOLE[:cut]), ("user", notice))) == rest
    assert said(continued(model, ("user", f"naïve question\n\n{notice}"))) == rest


def test_what_is_no_beginning_of_the_answer_is_not_continued() -> None:
    assert said(continued("ok:tokens=60", ("user", "naïve question"), ("assistant", "Something else"))) == WHOLE


def test_an_answer_breaks_after_so_many_characters() -> None:
    for cut in (1, 30, 31, 64, 200):
        assert see(ask(f"cut:truncate_after={cut},tokens=60", stream=True)).text == WHOLE[:cut]


def test_the_rest_of_an_answer_can_be_cut_as_well() -> None:
    turns = [{"role": "user", "content": "naïve question"}, {"role": "assistant", "content": WHOLE[:30]}]
    seen = see(ask("cut:truncate_after=20,tokens=60", stream=True, messages=turns))
    assert seen.text == WHOLE[30:50]


def test_flaky_fails_as_any_other_behaviour_with_its_parameters() -> None:
    async def main() -> list[int]:
        async with Sim() as sim:
            pieces = []
            for _ in range(20):
                line = await dial(sim)
                await line.send(request(ask("flaky:rate=0.5,like=cut,after=2", stream=True)))
                pieces.append((await line.answer()).pieces)
                await line.close()
            return pieces

    assert set(asyncio.run(main())) == {2, len(SAID.split())}


def test_a_whole_provider_can_ail_and_get_well() -> None:
    async def main() -> None:
        async with Sim() as sim:
            line = await dial(sim)

            async def status(model: str) -> int:
                await line.send(request(ask(model)))
                return (await line.answer()).status

            sim.ail("overloaded")
            assert [await status("ok"), await status("rate-limit")] == [503, 503]
            sim.ail("fail-first:n=1,like=internal")
            assert [await status("rate-limit"), await status("rate-limit"), await status("ok")] == [500, 429, 200]
            sim.ail(None)
            assert await status("ok") == 200
            await line.close()

    asyncio.run(main())


def test_health_can_be_ordered_by_http() -> None:
    async def main() -> None:
        async with Sim() as sim:
            line = await dial(sim)

            async def answer(method: str, path: str, body: bytes = b"") -> Seen:
                await line.send(request(body, path=path, method=method))
                return await line.answer()

            assert (await answer("PUT", "/simulated", b"overloaded")).json["behaviour"] == "overloaded"
            assert (await answer("POST", "/v1/chat/completions", ask("ok"))).status == 503
            assert (await answer("DELETE", "/simulated")).status == 200
            assert (await answer("PUT", "/simulated/my%2Fmodel", b"ok")).json["model"] == "my/model"
            assert (await answer("POST", "/v1/chat/completions", ask("my/model"))).status == 200
            assert (await answer("PUT", "/simulated", b"no-such-thing")).status == 400
            assert (await answer("POST", "/simulated", b"ok")).status == 405
            await line.close()

    asyncio.run(main())


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
