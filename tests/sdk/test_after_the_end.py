"""What comes, or does not come, once a provider has said all there is to say."""

import httpx2
import openai

from tests.running import TWO, Running, read
from understudy.sim import Sim
from understudy.sim.wire import LAST_CHUNK, Ending

HELLO = [{"role": "user", "content": "Hello there"}]


class LastChunk(Sim):
    """A provider that takes its time, or for ever, from `[DONE]` to the end of the HTTP answer."""

    def __init__(self, delay):
        super().__init__()
        self.delay = delay

    def script(self, request, *keys, reused):
        for step in super().script(request, *keys, reused=reused):
            if step == LAST_CHUNK:
                yield self.delay
            yield step


def test_a_client_that_hangs_up_at_done_has_had_its_answer():
    running = Running(TWO)
    running.a = LastChunk(0.1)
    with running, httpx2.Client(trust_env=False) as http:
        client = openai.OpenAI(api_key="-", base_url=f"{running.url}/v1", http_client=http, max_retries=0)
        chunks = list(client.chat.completions.create(model="first/ok", stream=True, messages=HELLO))
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert running.until(lambda: running.exchanges)
        assert running.exchanges[0].outcome == "answered"


def test_a_provider_that_never_closes_its_answer_has_given_it():
    running = Running(TWO)
    running.a = LastChunk(Ending.HOLD)
    with running:
        response = running.chat("first/ok", stream=True)
        assert response.text.endswith("data: [DONE]\n\n")
        assert running.exchange(response).outcome == "answered"


def test_a_finish_without_done_is_a_finish_though_the_connection_stays_open():
    running = Running(TWO)
    running.a = LastChunk(Ending.HOLD)
    with running:
        response = running.chat("first/no-done", stream=True)
        content, finish, error, _ = read(response.text)
        assert content
        assert (finish, error) == ("stop", None)
