"""The official SDK on each of the four ways to the gateway: blocking or asynchronous, over HTTP or in process."""

import asyncio
import inspect
import time

import httpx2
import openai
import pytest

from tests.running import Running
from understudy.inprocess import InProcess
from understudy.local.models import WHEEL_MODEL, available
from understudy.sim import Sim

KEY = "gateway-key"

CONFIG = f"""
[server]
keys = ["{KEY}"]
max_body = 65536
[providers.first]
dialect = "openai-chat"
base_url = "{{a}}"
cooldown = false
[providers.second]
dialect = "openai-chat"
base_url = "{{b}}"
[defaults]
retries = 0
first_token_timeout = 30
[routes.plain]
targets = ["first/ok"]
[routes.moves]
targets = ["first/overloaded", "second/ok"]
[routes.moves-in-stream]
targets = ["first/error-event", "second/ok"]
[routes.slow-to-start]
targets = ["first/silent"]
first_token_timeout = 0.2
answer_timeout = 0.2
[routes.falls-silent]
targets = ["first/hang:after=3"]
liveness_timeout = 1
[routes.all-broken]
targets = ["first/overloaded", "first/internal"]
[routes.to-local]
targets = ["first/overloaded", "local/{WHEEL_MODEL}"]
[routes.to-local-in-stream]
targets = ["first/error-event", "local/{WHEEL_MODEL}"]
"""


class Paused(Sim):
    """A provider that takes breath after the first word, so that the gateway has passed it on before the stream breaks.

    Else both can arrive as one: then nothing has gone to the client yet, and the failure is one before commit.
    """

    def script(self, request, *keys, reused):
        breaks = any(b'"model":"' + name in request.body for name in (b"error-", b"cut", b"bad-", b"malformed-"))
        for step in super().script(request, *keys, reused=reused):
            yield step
            if breaks and isinstance(step, bytes) and b'"content":"This"' in step:
                yield 0.05


class Sdk:
    """One client of the SDK, so that a test is written once: what may have to be awaited goes through `result`."""

    def __init__(self, kind, http_client, base_url, runner):
        self.settings = {"base_url": base_url, "http_client": http_client, "max_retries": 0}
        self.kind = kind
        self.client = kind(api_key=KEY, **self.settings)
        self.runner = runner
        self.exchanges = []
        self.gateway = None

    def result(self, value):
        async def wait():
            return await value

        return self.runner.run(wait()) if inspect.isawaitable(value) else value

    def create(self, model, content="Hello there", **more):
        return self.result(
            self.client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}], **more)
        )

    def all(self, stream):
        async def collect():
            return [item async for item in stream]

        return self.runner.run(collect()) if hasattr(stream, "__aiter__") else list(stream)

    def first(self, stream):
        return self.result(anext(stream) if hasattr(stream, "__anext__") else next(stream))

    def until_error(self, stream):
        """What came of a stream, and the exception that ended it."""
        items = []
        while True:
            try:
                items.append(self.first(stream))
            except (StopIteration, StopAsyncIteration):
                return items, None
            except openai.OpenAIError as error:
                return items, error

    def helper(self, model, content="Hello there", **more):
        """The `.stream()` helper, entered; the second value leaves it."""
        manager = self.client.chat.completions.stream(
            model=model, messages=[{"role": "user", "content": content}], **more
        )
        if hasattr(manager, "__aenter__"):
            return self.result(manager.__aenter__()), lambda: self.result(manager.__aexit__(None, None, None))
        return manager.__enter__(), lambda: manager.__exit__(None, None, None)

    def events(self, model, content="Hello there", **more):
        """All the helper's events, and its final completion."""
        stream, leave = self.helper(model, content, **more)
        try:
            return self.all(stream), self.result(stream.get_final_completion())
        finally:
            leave()

    def as_(self, key):
        """The same client with another API key."""
        return self.kind(api_key=key, **self.settings)

    def idle(self, seconds=5):
        """Whether the gateway has no call open, soon."""
        end = time.monotonic() + seconds
        while not self.gateway.idle and time.monotonic() < end:
            time.sleep(0.005)
        return self.gateway.idle


@pytest.fixture(scope="package")
def running():
    running = Running(CONFIG, local=True)
    running.a = Paused()
    with running:
        yield running


@pytest.fixture(scope="package")
def in_process(running, tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "understudy.toml"
    path.write_text(CONFIG.replace("{a}", running.a.url).replace("{b}", running.b.url))
    with InProcess(path, environ={}) as transport:
        yield transport


WAYS = [(kind, way) for way in ("http", "in_process") for kind in (openai.OpenAI, openai.AsyncOpenAI)]


@pytest.fixture(scope="package", params=WAYS, ids=lambda pair: f"{pair[0].__name__}-{pair[1]}")
def sdk(request, running, in_process):
    kind, way = request.param
    asynchronous = kind is openai.AsyncOpenAI
    client = httpx2.AsyncClient if asynchronous else httpx2.Client
    with asyncio.Runner() as runner:
        if way == "http":
            made = Sdk(kind, client(trust_env=False, timeout=60), f"{running.url}/v1", runner)
            made.gateway = running.gateway
        else:
            made = Sdk(kind, client(transport=in_process, timeout=60), "http://understudy/v1", runner)
            made.all(made.client.models.list())
            made.gateway = in_process._host.gateway
        made.gateway.observers.append(made.exchanges.append)
        yield made
        made.gateway.observers.remove(made.exchanges.append)
        if way == "http":  # to close the client of the other way would close the transport, which several share
            made.result(made.client.close())


@pytest.fixture(scope="package")
def local():
    if WHEEL_MODEL not in available():
        pytest.skip("the embedded model is not installed")
    return f"local/{WHEEL_MODEL}"
