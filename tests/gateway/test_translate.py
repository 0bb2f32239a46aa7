"""What a call costs that is tried at several targets of other dialects: what its URLs name is fetched once for each."""

import pytest

from tests.running import Running
from understudy.canon import Loss
from understudy.gateway import fetch

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
