"""Responses that outlive their request: polled, resumed, cancelled, bounded, and never left without an end."""

import asyncio
import contextlib
import json
import threading

import pytest

from tests.gateway.sockets import Line, Provider
from tests.running import Running
from understudy.gateway import background
from understudy.gateway.stored import Stored

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
CHUNK = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[%b]}\n\n'
FIRST = CHUNK % b'{"index":0,"delta":{"role":"assistant","content":"One "},"finish_reason":null}'
REST = CHUNK % b'{"index":0,"delta":{"content":"two."},"finish_reason":"stop"}' + b"data: [DONE]\n\n"
WHOLE = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
    b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"One two."},"finish_reason":"stop"}]}'
)


class Held(Provider):
    """Says the beginning of an answer, and the rest once it is let go."""

    def __init__(self):
        self.asked, self.go = threading.Event(), threading.Event()
        super().__init__(self._answer)

    def _answer(self, connection):
        streamed = b'"stream":true' in self.calls[-1][1].replace(b" ", b"")
        if streamed:
            connection.sendall(HEAD + FIRST)
        self.asked.set()
        assert self.go.wait(10)
        connection.sendall(REST if streamed else WHOLE)

    def __exit__(self, *raised):
        self.go.set()
        super().__exit__(*raised)


@pytest.fixture
def held():
    with Held() as provider:
        yield provider


CONFIG = """
[providers.held]
dialect = "openai-chat"
base_url = "{held}"
[providers.chat]
dialect = "openai-chat"
base_url = "{{a}}"
cooldown = false
[providers.claude]
dialect = "anthropic-messages"
base_url = "{{root}}"
api_key = "x"
[providers.gemini]
dialect = "gemini"
base_url = "{{root}}"
api_key = "x"
[providers.own]
dialect = "openai-responses"
base_url = "{{a}}"
api_key = "x"
[defaults]
retries = 0
"""


@pytest.fixture
def gateway(held):
    with Running(CONFIG.format(held=held.url)) as running:
        yield running


def make(gateway, model="held/m", *, headers=None, **more):
    body = {"model": model, "input": "Hello there", "background": True, **more}
    return gateway.http.post("/v1/responses", json=body, headers=headers)


def made(gateway, model="held/m", **more):
    response = make(gateway, model, **more)
    assert response.status_code == 200, response.text
    return response.json()


def get(gateway, name, query="", headers=None):
    return gateway.http.get(f"/v1/responses/{name}{query}", headers=headers)


def finished(gateway):
    return gateway.until(lambda: gateway.gateway.background.running == 0)


def events(text):
    return [json.loads(block.partition("data: ")[2]) for block in text.split("\n\n") if block]


def kinds(text):
    return [event["type"] for event in events(text)]


def text_of(response):
    return "".join(part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"])


class Watching:
    """A stream that is read as it comes."""

    def __init__(self, gateway, method, path, **body):
        self.line = Line(gateway.url)
        data = json.dumps(body).encode() if body else b""
        self.line.send(
            b"%b %b HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n%b" % (method, path.encode(), len(data), data)
        )

    def until(self, mark):
        return self.line.until(mark)

    def rest(self):
        return self.line.rest().decode()

    def __enter__(self):
        return self

    def __exit__(self, *_raised):
        self.line.socket.close()


def watching(gateway, **more):
    return Watching(
        gateway, b"POST", "/v1/responses", model="held/m", input="Hello", background=True, stream=True, **more
    )


# -- polling -----------------------------------------------------------------------------------------------------------


def test_a_response_is_given_at_once_and_polled_until_it_is_done(gateway, held):
    response = made(gateway)
    assert (response["status"], response["background"], response["output"]) == ("queued", True, [])
    assert held.asked.wait(10)
    assert get(gateway, response["id"]).json()["status"] == "in_progress"
    held.go.set()
    assert finished(gateway)
    done = get(gateway, response["id"]).json()
    assert (done["id"], done["status"], done["background"]) == (response["id"], "completed", True)
    assert text_of(done) == "One two."
    assert done["created_at"] == response["created_at"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("provider", ["chat", "claude", "gemini", "own"])
def test_any_dialect_may_stand_behind_it_and_no_provider_is_asked_to_run_it_itself(gateway, provider, stream):
    response = make(gateway, f"{provider}/ok", stream=stream)
    name = events(response.text)[0]["response"]["id"] if stream else response.json()["id"]
    assert finished(gateway)
    done = get(gateway, name).json()
    assert done["status"] == "completed", done
    assert text_of(done).startswith("This is a simulated answer")
    assert done["usage"]["output_tokens"]
    sent = json.loads(gateway.call(lambda: gateway.a.requests)[-1].body)
    assert "background" not in sent


def test_what_failed_says_why(gateway):
    response = made(gateway, "chat/internal")
    assert finished(gateway)
    done = get(gateway, response["id"]).json()
    assert done["status"] == "failed"
    assert "chat/internal" in done["error"]["message"] or done["error"]["message"]
    assert done["error"]["code"]
    assert done["output"] == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_answer_that_breaks_off_is_a_failed_response(gateway, held, stream):
    held.reply = lambda connection: connection.sendall(HEAD + FIRST)
    response = make(gateway, stream=stream)
    assert finished(gateway)
    name = events(response.text)[0]["response"]["id"] if stream else response.json()["id"]
    done = get(gateway, name).json()
    assert done["status"] == "failed"
    assert done["error"]["message"]
    if stream:
        assert kinds(response.text).count("response.failed") == 1
        assert "error" not in kinds(response.text)


def test_a_conversation_goes_on_from_it(gateway, held):
    held.go.set()
    first = made(gateway)
    assert finished(gateway)
    second = gateway.http.post(
        "/v1/responses", json={"model": "chat/ok", "input": "And?", "previous_response_id": first["id"]}
    )
    assert second.status_code == 200
    sent = json.loads(gateway.call(lambda: gateway.a.requests)[-1].body)
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "user"]


def test_what_went_in_can_be_listed_while_it_runs(gateway):
    response = made(gateway)
    (item,) = get(gateway, response["id"] + "/input_items").json()["data"]
    assert item["content"][0]["text"] == "Hello there"


# -- streams -----------------------------------------------------------------------------------------------------------


def test_a_stream_counts_from_zero_and_can_be_resumed_after_any_event(gateway, held):
    held.go.set()
    stream = make(gateway, stream=True).text
    assert [event["sequence_number"] for event in events(stream)] == list(range(len(events(stream))))
    assert kinds(stream)[:3] == ["response.created", "response.queued", "response.in_progress"]
    assert kinds(stream)[-1] == "response.completed"
    assert kinds(stream).count("response.created") == kinds(stream).count("response.in_progress") == 1
    last = events(stream)[-1]["response"]
    assert text_of(last) == "One two."
    assert {event["response"]["id"] for event in events(stream) if "response" in event} == {last["id"]}
    assert get(gateway, last["id"], "?stream=true").text == stream
    blocks = stream.split("\n\n")
    for number in range(len(blocks) - 1):
        resumed = get(gateway, last["id"], f"?stream=true&starting_after={number}")
        assert resumed.headers["content-type"] == "text/event-stream"
        assert resumed.text == "\n\n".join(blocks[number + 1 :])
    assert get(gateway, last["id"], "?stream=true&starting_after=999").text == ""


def test_who_left_misses_nothing(gateway, held):
    with watching(gateway) as first:
        name = first.until(b'"One "').partition(b'"id":"')[2].partition(b'"')[0].decode()
    assert gateway.until(lambda: gateway.gateway.open == 1), "the connection is closed and the call goes on"
    with Watching(gateway, b"GET", f"/v1/responses/{name}?stream=true&starting_after=2") as second:
        assert b"response.created" not in second.until(b'"One "')
        held.go.set()
        assert "response.completed" in second.rest()
    assert finished(gateway)
    assert text_of(get(gateway, name).json()) == "One two."
    assert gateway.until(lambda: gateway.gateway.idle)


def test_what_cannot_be_streamed_says_why(gateway, held):
    held.go.set()
    polled = made(gateway)
    plain = gateway.http.post("/v1/responses", json={"model": "chat/ok", "input": "Hello"}).json()
    assert finished(gateway)
    for name, why in ((polled["id"], "stream=true"), (plain["id"], "background=true")):
        refused = get(gateway, name, "?stream=true")
        assert refused.status_code == 400
        assert (refused.json()["error"]["param"], refused.json()["error"]["code"]) == ("stream", "invalid_value")
        assert why in refused.json()["error"]["message"]


def test_events_are_kept_for_a_while_and_the_response_for_longer(gateway, held, monkeypatch):
    held.go.set()
    name = events(make(gateway, stream=True).text)[0]["response"]["id"]
    assert finished(gateway)
    assert get(gateway, name, "?stream=true").status_code == 200
    monkeypatch.setattr(background, "REPLAY", -1.0)
    assert get(gateway, name, "?stream=true").status_code == 400
    assert text_of(get(gateway, name).json()) == "One two."
    assert gateway.call(lambda: gateway.gateway.background._size) == 0


# -- cancelling --------------------------------------------------------------------------------------------------------


def cancel(gateway, name):
    return gateway.http.post(f"/v1/responses/{name}/cancel")


def test_a_cancelled_response_is_cancelled_at_once_and_for_good(gateway, held):
    response = made(gateway)
    assert held.asked.wait(10)
    cancelled = cancel(gateway, response["id"])
    assert cancelled.status_code == 200
    assert (cancelled.json()["id"], cancelled.json()["status"]) == (response["id"], "cancelled")
    assert cancel(gateway, response["id"]).json() == cancelled.json(), "twice is once"
    assert finished(gateway)
    assert gateway.until(lambda: gateway.gateway.transport.open_connections == 0), "the provider is not waited for"
    assert get(gateway, response["id"]).json() == cancelled.json()
    assert gateway.until(lambda: gateway.gateway.idle)
    assert gateway.exchanges[-1].outcome == "client_left"


def test_who_watches_a_cancelled_response_sees_its_end(gateway):
    with watching(gateway) as stream:
        name = stream.until(b'"One "').partition(b'"id":"')[2].partition(b'"')[0].decode()
        assert cancel(gateway, name).status_code == 200
        end = stream.rest()
    assert "event: response.failed" in end
    assert '"status":"cancelled"' in end
    assert text_of(get(gateway, name).json()) == ""


def test_what_is_over_or_was_never_in_the_background_cannot_be_cancelled(gateway, held):
    held.go.set()
    done = made(gateway)
    assert finished(gateway)
    plain = gateway.http.post("/v1/responses", json={"model": "chat/ok", "input": "Hello"}).json()
    for name, why in ((done["id"], "is completed"), (plain["id"], "synchronous")):
        refused = cancel(gateway, name)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "not_cancellable")
        assert why in refused.json()["error"]["message"]
    assert cancel(gateway, "resp_none").status_code == 404
    assert get(gateway, done["id"]).json()["status"] == "completed"


def test_a_deleted_response_is_stopped_and_forgotten(gateway, held):
    response = made(gateway)
    assert held.asked.wait(10)
    deleted = gateway.http.delete(f"/v1/responses/{response['id']}")
    assert deleted.json() == {"id": response["id"], "object": "response.deleted", "deleted": True}
    assert gateway.until(lambda: gateway.gateway.idle)
    assert get(gateway, response["id"]).status_code == 404
    assert gateway.http.delete(f"/v1/responses/{response['id']}").status_code == 404
    assert gateway.call(lambda: gateway.gateway.background._size) == 0


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_a_response_that_must_not_be_stored_cannot_run_in_the_background(gateway, held):
    refused = make(gateway, store=False)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "background")
    assert held.calls == []


def test_without_a_store_there_is_no_background(held):
    with Running('[server]\nstored_responses = "off"\n' + CONFIG.format(held=held.url)) as gateway:
        refused = make(gateway)
        assert (refused.status_code, refused.json()["error"]["code"]) == (501, "not_supported")
        assert "stored_responses" in refused.json()["error"]["message"]
        assert get(gateway, "resp_1").status_code == 404
    assert held.calls == []


@pytest.mark.parametrize(
    ("more", "status", "param"),
    [
        ({"model": "nobody"}, 404, "model"),
        ({"model": 5}, 400, "model"),
        ({"input": 5}, 400, "input"),
        ({"stream": "yes"}, 400, "stream"),
    ],
)
def test_a_bad_call_is_refused_at_once(gateway, more, status, param):
    body = {"model": "held/m", "input": "Hello", "background": True, **more}
    refused = gateway.http.post("/v1/responses", json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (status, param)
    assert gateway.call(lambda: gateway.gateway.background.running) == 0


def test_the_word_alone_means_nothing(gateway):
    for more in ({"background": False}, {"background": None}, {"background": False, "input": '"background":true'}):
        response = make(gateway, "chat/ok", **more)
        assert (response.status_code, response.json()["status"]) == (200, "completed")


def test_another_keys_response_is_not_there(held):
    config = '[server]\nkeys = ["mine", "yours"]\n' + CONFIG.format(held=held.url)
    mine, yours = ({"authorization": f"Bearer {key}"} for key in ("mine", "yours"))
    with Running(config) as gateway:
        name = make(gateway, headers=mine, stream=False).json()["id"]
        for query in ("", "?stream=true", "/input_items"):
            assert get(gateway, name, query, yours).status_code == 404
        assert gateway.http.post(f"/v1/responses/{name}/cancel", headers=yours).status_code == 404
        assert gateway.http.delete(f"/v1/responses/{name}", headers=yours).status_code == 404
        assert get(gateway, name, headers=mine).json()["status"] in ("queued", "in_progress")
        held.go.set()
        assert finished(gateway)


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_a_call_in_the_background_is_an_open_call(held):
    with Running("[server]\nmax_open = 1\n" + CONFIG.format(held=held.url)) as gateway:
        name = made(gateway)["id"]
        assert held.asked.wait(10)
        for refused in (make(gateway), make(gateway, "chat/ok", background=False)):
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert get(gateway, name).status_code == 200, "polling is no call"
        held.go.set()
        assert finished(gateway)
        assert gateway.until(lambda: gateway.gateway.idle)
        assert make(gateway, "chat/ok", background=False).status_code == 200


def test_events_that_pass_the_bound_end_the_response(gateway, held, monkeypatch):
    monkeypatch.setattr(background, "LARGEST", 20_000)
    flood = b"".join(CHUNK % b'{"index":0,"delta":{"content":"%d"},"finish_reason":null}' % n for n in range(400))
    held.reply = lambda connection: connection.sendall(HEAD + flood + REST)
    stream = make(gateway, stream=True).text
    assert kinds(stream)[-1] == "response.failed"
    assert kinds(stream).count("response.failed") == 1
    assert "no room" in events(stream)[-1]["response"]["error"]["message"]
    assert len(stream) < 30_000
    assert finished(gateway)
    assert gateway.until(lambda: gateway.gateway.idle)


def test_what_is_kept_of_finished_calls_makes_room_for_others(gateway, held, monkeypatch):
    held.go.set()
    first, second = (events(make(gateway, stream=True).text)[0]["response"]["id"] for _ in range(2))
    assert finished(gateway)
    size = gateway.call(lambda: gateway.gateway.background._size)
    monkeypatch.setattr(background, "LARGEST_TOGETHER", size)
    third = make(gateway, stream=True)
    assert kinds(third.text)[-1] == "response.completed"
    assert get(gateway, first, "?stream=true").status_code == 400
    assert text_of(get(gateway, first).json()) == "One two."
    assert get(gateway, second, "?stream=true").status_code == 200
    assert gateway.call(lambda: gateway.gateway.background._size) <= size


# -- the gateway's end -------------------------------------------------------------------------------------------------


def test_what_runs_when_the_gateway_stops_ends_as_failed(held, tmp_path):
    path = tmp_path / "responses.db"
    config = f'[server]\nstored_responses = "{path}"\n' + CONFIG.format(held=held.url)
    with Running(config) as gateway:
        name = made(gateway)["id"]
        assert held.asked.wait(10)
    assert gateway.left == []

    async def read():
        store = Stored(path)
        try:
            return (await store.get(name, "")).answer
        finally:
            await store.close()

    answer = asyncio.run(read())
    assert (answer["status"], answer["error"]["code"]) == ("failed", "gateway_stopping")


def test_who_watches_when_the_gateway_stops_is_told(held):
    with (
        Running("[server]\ndrain = 0.1\n" + CONFIG.format(held=held.url)) as gateway,
        contextlib.ExitStack() as watchers,
    ):
        first = watchers.enter_context(watching(gateway))
        name = first.until(b'"One "').partition(b'"id":"')[2].partition(b'"')[0].decode()
        second = watchers.enter_context(Watching(gateway, b"GET", f"/v1/responses/{name}?stream=true"))
        second.until(b'"One "')
        gateway.call(lambda: setattr(gateway.server, "should_exit", True))
        for stream in (first, second):
            end = stream.rest()
            assert end.count("event: response.failed") == 1
            assert "gateway_stopping" in end
    assert gateway.left == []


class Odd:
    """An exchange whose request only its provider can read."""

    model, stream, attempts = "m", True, ()

    @property
    def call(self):
        return self

    def request(self):
        raise background.Malformed("input", "is odd")


# -- odd answers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"id": "r", "object": "response", "status": "in_progress", "output": []}, "failed"),
        ({"id": "r", "object": "response", "status": "incomplete", "output": [], "model": "m"}, "incomplete"),
    ],
)
def test_no_response_is_left_under_way(answer, status):
    async def scenario():
        runs = [background.Run(Odd(), b"{}", "", lambda _run, _size: True) for _ in range(3)]
        for run in runs:
            run.begin()
        await runs[0].whole(200, [(b"content-type", b"application/json")], json.dumps(answer).encode())
        kind = b"response.completed" if status == "failed" else b"response.incomplete"
        event = {"type": kind.decode(), "response": answer}
        await runs[1].write(b": hello\n\nevent: %b\ndata: %b\n\ndata: [DONE]\n\n" % (kind, json.dumps(event).encode()))
        await runs[2].write(b'data: {"type":"error","error":{"message":"Broken.","code":7}}\n\ndata: {"type":5}\n\n')
        await runs[2].end()
        return runs

    whole, streamed, broken = asyncio.run(scenario())
    assert whole.response["status"] == status
    assert streamed.response["status"] == ("completed" if status == "failed" else status)
    assert (broken.response["status"], broken.response["error"]) == (
        "failed", {"code": "server_error", "message": "Broken."}
    )  # fmt: skip
    for run in (whole, streamed, broken):
        assert run.response["id"] == run.id
        assert run.events[-1].startswith(b"event: response.")
        assert run.response["status"] not in ("queued", "in_progress")


def test_a_body_that_cannot_be_read_is_left_to_whoever_reads_it_whole():
    for body in (b'{"background":true', b'{"background":"yes"}', b'["background"]'):
        assert not background.asked(body)


def test_a_stream_without_content_comes_whole_and_is_read_as_one():
    async def scenario():
        run = background.Run(Odd(), b"{}", "", lambda _run, _size: True)
        run.begin()
        response = {"object": "response", "status": "completed", "output": []}
        data = json.dumps({"type": "response.completed", "response": response}).encode()
        await run.whole(200, [(b"content-type", b"text/event-stream")], b"data: " + data)
        return run

    run = asyncio.run(scenario())
    assert run.response["status"] == "completed"
    assert run.events[-1].startswith(b"event: response.completed\n")


def test_a_call_that_never_came_to_run_has_an_end_too():
    async def never(_exchange, _run):
        raise AssertionError

    async def scenario():
        store = Stored(":memory:")
        kept = background.Background(store, "left")
        run = kept.begin(Odd(), b"{}", {}, never)
        await kept.close()
        stored = await store.get(run.id, run.owner)
        await store.close()
        return kept.running, stored.answer

    running, answer = asyncio.run(scenario())
    assert running == 0
    assert (answer["status"], answer["error"]["code"]) == ("failed", "gateway_stopping")


def test_a_mistake_of_ours_is_the_end_of_one_call_and_is_told(caplog):
    async def wrong(_exchange, _run):
        raise ZeroDivisionError

    async def scenario():
        store = Stored(":memory:")
        run = background.Background(store, "left").begin(Odd(), b"{}", {}, wrong)
        await asyncio.wait({run.task})
        await asyncio.sleep(0)  # its callbacks run in the next turn
        await store.close()
        return run.response

    assert asyncio.run(scenario())["error"] == {"code": "server_error", "message": "The gateway made a mistake."}
    assert "a call in the background" in caplog.text


@pytest.mark.parametrize("reason", [(), ("left",)], ids=["cancelled", "left"])
@pytest.mark.parametrize("stopping", [False, True])
def test_a_watcher_that_ends_takes_the_call_along_only_when_the_gateway_stops(reason, stopping):
    class Client:
        exchange, sent = None, b""

        def __init__(self):
            self.wrote = asyncio.Event()

        async def start(self, status, headers): ...

        async def write(self, data):
            self.sent += data
            self.wrote.set()

        end = write

    async def scenario():
        run = background.Run(Odd(), b"{}", "", lambda _run, _size: True)
        run.begin()
        run.task = asyncio.create_task(asyncio.Event().wait())
        run.task.add_done_callback(lambda _task: run.fail("gateway_stopping", "The gateway is stopping."))
        client = Client()
        watcher = asyncio.create_task(background.Watch(run).send(client, "left", lambda: stopping))
        await client.wrote.wait()
        watcher.cancel(*reason)
        await asyncio.wait({watcher})
        ended = run.ended is not None
        run.task.cancel()
        await asyncio.wait({run.task})
        return watcher.cancelled(), ended, client.sent.count(b"event: response.failed")

    quiet = bool(reason)
    assert asyncio.run(scenario()) == (not quiet, stopping and not quiet, int(stopping and not quiet))
