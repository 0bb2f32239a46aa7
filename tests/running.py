"""A gateway and simulated providers on real sockets, in a thread of their own, for any client to be pointed at."""

import asyncio
import concurrent.futures
import threading
import time

import httpx2
import msgspec
import uvloop

from understudy.gateway.assemble import assemble
from understudy.gateway.config import parse
from understudy.gateway.server import Server
from understudy.sim import Sim


class Running:
    """`config` may use `{a}` and `{b}`: the base URLs of two simulated providers. Use as a context manager.

    `{root}` is the first's without `/v1`, `{other}` the second's.
    """

    def __init__(self, config="", environ=None, *, local=False, port=0):
        self.config, self.environ, self.local, self.port = config, environ or {}, local, port
        self.exchanges = []
        self.a, self.b = Sim(), Sim()
        self._ready = concurrent.futures.Future()

    def __enter__(self):
        self._thread = threading.Thread(target=lambda: uvloop.run(self._main()))
        self._thread.start()
        self.url = self._ready.result(30)
        self.http = httpx2.Client(base_url=self.url, timeout=30, trust_env=False)
        return self

    def __exit__(self, *_raised):
        self.http.close()
        self.call(lambda: setattr(self.server, "should_exit", True))
        self._thread.join(30)
        assert not self._thread.is_alive(), "the gateway did not stop"

    def call(self, function):
        """Run `function` in the gateway's thread and give its result."""
        done = concurrent.futures.Future()

        def run():
            try:
                done.set_result(function())
            except Exception as error:  # noqa: BLE001  # whatever it is, it belongs to the caller
                done.set_exception(error)

        self.loop.call_soon_threadsafe(run)
        return done.result(10)

    def until(self, condition):
        """Whether `condition` comes true, in the gateway's thread, within some seconds."""
        end = time.monotonic() + 5
        while not (true := self.call(condition)) and time.monotonic() < end:
            time.sleep(0.005)
        return true

    def exchange(self, response):
        """The record of the exchange that gave `response`. It is made after the client has its answer."""
        name = response.headers["x-understudy-exchange"]
        assert self.until(lambda: any(exchange.id == name for exchange in self.exchanges))
        return next(exchange for exchange in self.exchanges if exchange.id == name)

    async def _main(self):
        try:
            self.loop = asyncio.get_running_loop()
            async with self.a, self.b:
                text = self.config.replace("{a}", self.a.url).replace("{b}", self.b.url).replace("{root}", self.a.root)
                text = text.replace("{other}", self.b.root)
                self.gateway = await assemble(parse(text, "test.toml", self.environ), self.environ)
                if not self.local:
                    self.gateway.routing.providers.pop("local", None)
                self.gateway.observers.append(self.exchanges.append)
                self.server = Server(self.gateway, host="127.0.0.1", port=self.port)
                self.server.on_ready = self._ready.set_result
                self.server.install_signal_handlers = lambda: None
                await self.server.serve()
                self.left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            raise

    def chat(self, model, *, stream=False, headers=None, **more):
        body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Hello there"}], **more}
        return self.http.post("/v1/chat/completions", json=body, headers=headers)


def read(stream_text):
    """A stream as a client sees it: (content, finish reason, error, whether [DONE] came)."""
    content, finish, error, done = "", None, None, False
    for line in stream_text.splitlines():
        if line == "data: [DONE]":
            done = True
        elif line.startswith("data: "):
            chunk = msgspec.json.decode(line[6:])
            error = chunk.get("error") or error
            for choice in chunk.get("choices", []):
                content += choice["delta"].get("content") or ""
                finish = choice["finish_reason"] or finish
    return content, finish, error, done


TWO = """
[providers.first]
dialect = "openai-chat"
base_url = "{a}"
cooldown = false
[providers.second]
dialect = "openai-chat"
base_url = "{b}"
[defaults]
retries = 0
connect_timeout = 2
first_token_timeout = 2
answer_timeout = 2
liveness_timeout = 2
progress_timeout = 2
"""
"""Two providers, quick clocks, no memory of what happened before."""
