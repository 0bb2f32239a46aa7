"""Calls by way of the canonical form: what a URL names is fetched once, and who has finished is not waited for."""

import threading
import time

import pytest

from tests.gateway.sockets import Provider
from tests.running import Running
from understudy.canon import Loss
from understudy.gateway import arriving, fetch

CONFIG = """
[providers.ollama]
dialect = "ollama"
base_url = "{root}"
cooldown = false
[providers.bedrock-like]
dialect = "bedrock-converse"
base_url = "{root}"
api_key = "x"
cooldown = false
[routes.same]
targets = ["ollama/overloaded", "ollama/internal", "ollama/ok"]
[routes.both]
targets = ["ollama/overloaded", "bedrock-like/overloaded", "ollama/internal", "bedrock-like/ok"]
[defaults]
retries = 1
"""
LOST = Loss("messages[0].parts[0].source", "made up")


@pytest.fixture
def fetched(monkeypatch):
    asked = []

    async def inline(request, wanted):
        asked.append(wanted)
        return request, (LOST,)

    monkeypatch.setattr(fetch, "inline", inline)
    return asked


@pytest.mark.parametrize(("route", "times"), [("same", 1), ("both", 2)])
def test_what_a_url_names_is_fetched_once_for_each_dialect_however_often_it_is_tried(fetched, route, times):
    image = {"type": "image_url", "image_url": {"url": "https://images.example/a.png"}}
    body = {
        "model": route,
        "messages": [{"role": "user", "content": [image, {"type": "text", "text": "What is this?"}]}],
    }
    with Running(CONFIG) as gateway:
        response = gateway.http.post("/v1/chat/completions", json=body)
        exchange = gateway.exchange(response)
    assert response.status_code == 200, response.text
    assert len(fetched) == times
    assert len(exchange.attempts) == 2 * (len(exchange.route.targets) - 1) + 1, "all but the last twice"
    assert all(LOST in attempt.losses for attempt in exchange.attempts), "each attempt says what could not be had"


FINISHED = b"""HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n\
data: {"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":"Fine."}}]}

data: {"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}

"""


def test_a_provider_that_finishes_and_then_keeps_silent_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(arriving, "AFTER_FINISH", 0.1)
    stop = threading.Event()

    def reply(connection):
        connection.sendall(FINISHED)
        stop.wait(10)

    with Provider(reply) as provider:
        config = f'[providers.p]\ndialect = "openai-chat"\nbase_url = "{provider.url}"\napi_key = "x"\n'
        with Running(config) as gateway:
            body = {"model": "p/m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
            began = time.monotonic()
            response = gateway.http.post("/v1/messages", json=body)
            took = time.monotonic() - began
            stop.set()
    assert response.text.count("message_stop") == 2  # the event's name and its type
    assert took < 5
