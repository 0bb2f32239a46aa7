import asyncio
import concurrent.futures
import gc
import json
import threading
import time

import httpx
import httpx2
import pytest

from tests.running import TWO, Running, read
from understudy.gateway.config import ConfigError
from understudy.inprocess import MOST_HELD, InProcess

CHAT = "http://understudy/v1/chat/completions"
LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda module: module.__name__)


@pytest.fixture(scope="module")
def sims():
    with Running() as running:
        yield running


@pytest.fixture(scope="module")
def written(sims, tmp_path_factory):
    """The path of a configuration with both simulated providers."""
    path = tmp_path_factory.mktemp("config") / "understudy.toml"
    path.write_text(TWO.replace("{a}", sims.a.url).replace("{b}", sims.b.url))
    return path


@pytest.fixture
def make(written, tmp_path):
    """Makes transports from routes, `name = targets`, and closes them."""
    made = []

    def make(extra="", **routes):
        text = written.read_text() + extra
        text += "".join(f"[routes.{name}]\ntargets = {json.dumps(targets)}\n" for name, targets in routes.items())
        path = tmp_path / f"{len(made)}.toml"
        path.write_text(text)
        made.append(InProcess(path, environ={}))
        return made[-1]

    yield make
    for transport in made:
        transport.close()
    assert not threads()


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "understudy"]


def body(model="r", content="Hello there", *, stream=False, **more):
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": content}], **more}


def gateway(transport):
    return transport._host.gateway


def until(condition, seconds=5):
    end = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < end:
        time.sleep(0.005)
    return true


@LIBRARIES
def test_a_blocking_client_needs_no_server(make, library):
    with library.Client(transport=make(r=["first/ok"])) as client:
        response = client.post(CHAT, json=body())
        assert isinstance(response, library.Response)
        assert response.json()["choices"][0]["message"]["content"].endswith("Hello there")
        assert response.headers["x-understudy-target"] == "first/ok"
        assert response.headers["content-length"] == str(len(response.content))
        assert response.http_version == "HTTP/1.1"
        assert client.get("http://any.host/v1/models").json()["object"] == "list"
        assert client.get("http://any.host/v1/models/r?x=1").json()["id"] == "r"


@LIBRARIES
def test_an_asynchronous_client_needs_no_server(make, library):
    async def main():
        async with library.AsyncClient(transport=make(r=["first/ok"])) as client:
            response = await client.post(CHAT, json=body())
            assert isinstance(response, library.Response)
            assert response.json()["choices"][0]["message"]["content"].endswith("Hello there")
            async with client.stream("POST", CHAT, json=body(stream=True)) as streamed:
                content, finish, error, done = read("\n".join([line async for line in streamed.aiter_lines()]))
            assert content.endswith("Hello there")
            assert (finish, error, done) == ("stop", None, True)

    asyncio.run(main())


@LIBRARIES
def test_the_first_bytes_arrive_before_the_last_are_made(make, sims, library):
    with library.Client(transport=make(r=["first/slow:first=0,between=0.1,tokens=3"])) as client:
        started = time.monotonic()
        with client.stream("POST", CHAT, json=body(stream=True)) as response:
            pieces = response.iter_bytes()
            first = next(pieces)
            at_first = time.monotonic() - started
            rest = b"".join(pieces)
        assert time.monotonic() - started - at_first > 0.15
        assert b"[DONE]" not in first
        assert rest.endswith(b"data: [DONE]\n\n")


def test_the_answer_is_what_comes_over_http(make, sims):
    def plain(text):
        return [{k: v for k, v in json.loads(line[6:]).items() if k not in ("id", "created")}
                for line in text.splitlines() if line.startswith("data: {")]  # fmt: skip

    with httpx2.Client(transport=make(r=["first/ok"])) as client, httpx2.Client(trust_env=False) as direct:
        inside = client.post(CHAT, json=body(stream=True))
        outside = direct.post(f"{sims.a.url}/chat/completions", json=body("ok", stream=True))
        assert plain(inside.text) == plain(outside.text)
        assert inside.headers["content-type"] == outside.headers["content-type"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_is_moved_before_the_caller_sees_anything(make, stream):
    with httpx2.Client(transport=make(r=["first/overloaded", "second/ok"])) as client:
        response = client.post(CHAT, json=body(stream=stream))
        assert response.status_code == 200
        assert response.headers["x-understudy-target"] == "second/ok"
        assert response.headers["x-understudy-attempts"] == "2"


def test_keys_are_checked_as_over_http(make):
    with httpx2.Client(transport=make('[server]\nkeys = ["secret"]\n', r=["first/ok"])) as client:
        assert client.post(CHAT, json=body()).status_code == 401
        assert client.post(CHAT, json=body(), headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert client.post(CHAT, json=body(), headers={"Authorization": "Bearer secret"}).status_code == 200


def test_bad_requests_are_answered_as_over_http(make):
    with httpx2.Client(transport=make("[server]\nmax_body = 1024\n", r=["first/ok"])) as client:
        assert client.post(CHAT, content=b"{").status_code == 400
        assert client.post(CHAT, json=body(content="x" * 2000)).status_code == 413
        assert client.get(CHAT).status_code == 405
        assert client.get("http://understudy/nowhere").status_code == 404


def test_a_request_may_be_streamed_in(make):
    content = json.dumps(body()).encode()

    async def pieces():
        yield content[:10]
        yield content[10:]

    async def main():
        async with httpx2.AsyncClient(transport=make(r=["first/ok"])) as client:
            headers = {"content-type": "application/json"}
            assert (await client.post(CHAT, content=pieces(), headers=headers)).status_code == 200

    asyncio.run(main())


@pytest.mark.parametrize("stream", [False, True])
@LIBRARIES
def test_the_read_timeout_is_the_librarys_own_and_ends_the_call(make, library, stream):
    transport = make(r=["first/slow:first=30"])
    with library.Client(transport=transport, timeout=0.05) as client:
        with pytest.raises(library.ReadTimeout, match=r"0\.05 s") as raised:
            client.post(CHAT, json=body(stream=stream))
        assert raised.value.request.url == CHAT
        assert until(lambda: gateway(transport).idle)


def test_the_read_timeout_counts_from_the_last_bytes(make):
    transport = make(r=["first/hang:after=2"])

    async def main():
        async with (
            httpx2.AsyncClient(transport=transport, timeout=0.15) as client,
            client.stream("POST", CHAT, json=body(stream=True)) as response,
        ):
            pieces = response.aiter_bytes()
            assert b"data: " in await anext(pieces)
            with pytest.raises(httpx2.ReadTimeout):
                [piece async for piece in pieces]
            assert until(lambda: gateway(transport).idle)

    asyncio.run(main())


@LIBRARIES
def test_closing_an_answer_early_ends_the_call_at_the_provider(make, library):
    transport = make(r=["first/drip:between=0.2"])
    with library.Client(transport=transport) as client:
        with client.stream("POST", CHAT, json=body(stream=True)) as response:
            next(response.iter_bytes())
            assert gateway(transport).open == 1
        assert until(lambda: gateway(transport).idle)
        assert until(lambda: gateway(transport).transport.open_connections == 0)


def test_a_cancelled_task_ends_the_call_at_the_provider(make):
    transport = make(r=["first/slow:first=30"])

    async def main():
        async with httpx2.AsyncClient(transport=transport) as client:
            call = asyncio.create_task(client.post(CHAT, json=body()))
            assert await asyncio.to_thread(until, lambda: transport._host and transport._host.calls)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert until(lambda: gateway(transport).idle)

    asyncio.run(main())


def test_an_answer_that_is_dropped_without_closing_it_ends_too(make):
    transport = make(r=["first/drip:between=0.2"])
    client = httpx2.Client(transport=transport)
    response = client.send(client.build_request("POST", CHAT, json=body(stream=True)), stream=True)
    assert response.status_code == 200
    assert gateway(transport).open == 1
    del response
    gc.collect()
    assert until(lambda: gateway(transport).idle)


def test_a_slow_reader_slows_the_gateway(make):
    transport = make(r=["first/ok:tokens=20000"])
    with (
        httpx2.Client(transport=transport) as client,
        client.stream("POST", CHAT, json=body(stream=True)) as response,
    ):
        call = next(iter(transport._host.calls))
        until(lambda: call._held > MOST_HELD)
        time.sleep(0.2)  # it would go on growing
        assert MOST_HELD < call._held < 3 * MOST_HELD + 256 * 1024
        content, finish, error, done = read(response.read().decode())
        assert len(content.split()) >= 20000
        assert (finish, error, done) == ("stop", None, True)


def test_a_stream_cut_at_the_provider_never_looks_finished(make):
    with httpx2.Client(transport=make(r=["first/cut:after=3"])) as client:
        _, finish, error, done = read(client.post(CHAT, json=body(stream=True)).text)
        assert (finish, done) == (None, False)
        assert error["message"]


def test_one_transport_serves_many_threads_and_event_loops_at_once(make):
    transport = make(r=["first/ok"])
    client = httpx2.Client(transport=transport)

    def blocking(number):
        return client.post(CHAT, json=body(content=f"number {number}")).json()["choices"][0]["message"]["content"]

    def looping(number):
        async def main():
            asynchronous = httpx2.AsyncClient(transport=transport)
            answers = await asyncio.gather(
                *(asynchronous.post(CHAT, json=body(content=f"number {number}")) for _ in range(3))
            )
            assert len({answer.text.partition("number")[2] for answer in answers}) == 1
            return answers[0].json()["choices"][0]["message"]["content"]

        return asyncio.run(main())

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        numbers = range(24)
        answers = list(pool.map(lambda n: (looping if n % 3 == 0 else blocking)(n), numbers))
    assert [answer.rpartition("number ")[2] for answer in answers] == [str(n) for n in numbers]
    assert len(threads()) == 1


def test_nothing_is_started_before_the_first_call(make):
    transport = make(r=["first/ok"])
    assert not threads()
    transport.close()
    assert not threads()


def test_close_ends_the_thread_and_may_be_repeated(make):
    transport = make(r=["first/ok"])
    with httpx2.Client(transport=transport) as client:
        client.post(CHAT, json=body())
        assert len(threads()) == 1
    assert not threads()
    transport.close()
    asyncio.run(transport.aclose())


def test_aclose_does_not_block_the_event_loop(make):
    transport = make(r=["first/ok"])

    async def main():
        async with transport:
            await httpx2.AsyncClient(transport=transport).post(CHAT, json=body())
            assert len(threads()) == 1
        await transport.aclose()

    asyncio.run(main())
    assert not threads()


def test_a_call_after_close_is_told_so(make):
    transport = make(r=["first/ok"])
    with transport:
        pass
    with pytest.raises(RuntimeError, match="has been closed"):
        httpx2.Client(transport=transport).post(CHAT, json=body())


@pytest.mark.parametrize("stream", [False, True])
@LIBRARIES
def test_close_ends_calls_under_way_with_an_error(make, library, stream):
    transport = make("", r=["first/slow:first=0.1,between=10"] if stream else ["first/slow:first=30"])
    failed = concurrent.futures.Future()

    def call():
        try:
            failed.set_result(library.Client(transport=transport).post(CHAT, json=body(stream=stream)))
        except library.HTTPError as error:
            failed.set_exception(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert until(lambda: transport._host and transport._host.calls)
    time.sleep(0.25 if stream else 0)
    transport.close()
    with pytest.raises(library.ReadError, match="closed while the call was under way"):
        failed.result(5)
    thread.join()


def test_reading_on_after_close_is_an_error(make):
    transport = make(r=["first/drip:between=0.05"])
    client = httpx2.Client(transport=transport)
    with client.stream("POST", CHAT, json=body(stream=True)) as response:
        pieces = response.iter_bytes()
        next(pieces)
        transport.close()
        with pytest.raises(httpx2.ReadError, match="closed"):
            list(pieces)


def test_close_while_it_starts_waits_for_the_start(make):
    transport = make(r=["first/ok"])
    transport._running()
    transport.close()
    assert not threads()


def test_a_transport_that_nobody_keeps_ends_its_thread(sims):
    transport = InProcess(environ={})
    httpx2.Client(transport=transport).get("http://understudy/healthz")
    assert threads()
    del transport
    gc.collect()
    assert until(lambda: not threads())


def test_a_bad_configuration_is_refused_at_once(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("[routes.r]\ntargets = []\n")
    with pytest.raises(ConfigError, match=r"bad\.toml:2"):
        InProcess(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        InProcess(str(tmp_path / "missing.toml"))


def test_what_fails_in_the_start_reaches_every_caller(monkeypatch):
    async def broken(_loaded, environ):
        raise ConfigError("understudy.toml", 1, "no", "Do not.")

    monkeypatch.setattr("understudy.inprocess.assemble", broken)
    with InProcess(environ={}) as transport:
        for _ in range(2):
            with pytest.raises(ConfigError, match="Do not"):
                httpx2.Client(transport=transport).get(CHAT)

        async def main():
            with pytest.raises(ConfigError, match="Do not"):
                await httpx2.AsyncClient(transport=transport).get(CHAT)

        asyncio.run(main())


@LIBRARIES
def test_a_defect_of_the_gateway_is_a_read_error_with_its_cause(make, library, monkeypatch):
    transport = make(r=["first/ok"])
    with library.Client(transport=transport) as client:
        client.get("http://understudy/healthz")

        async def broken(*_args):
            raise KeyError("surprise")

        monkeypatch.setattr("understudy.gateway.exchange.run", broken)
        with pytest.raises(library.ReadError, match="The gateway failed") as raised:
            client.post(CHAT, json=body())
        assert isinstance(raised.value.__cause__, KeyError)


def test_other_requests_are_refused():
    with InProcess(environ={}) as transport, pytest.raises(TypeError, match="not a request of httpx"):
        transport.handle_request(object())


def test_a_request_class_of_ones_own_is_fine(make):
    class Mine(httpx2.Request):
        pass

    with httpx2.Client(transport=make(r=["first/ok"])) as client:
        assert client.send(Mine("POST", CHAT, json=body())).status_code == 200


def test_the_public_name_makes_one():
    pytest.importorskip("understudy.upstream")
    import understudy

    with understudy.transport() as transport:
        assert isinstance(transport, InProcess)
