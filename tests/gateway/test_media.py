"""Images, speech and transcripts through the gateway: whole, moved, or plainly broken."""

import base64

import msgspec
import pytest

from tests.gateway.sockets import Line, Provider, answer
from tests.running import TWO, Running
from understudy.sim import Sim
from understudy.sim.voices.media import PNG, SOUND

CONFIG = (
    TWO
    + """
[server]
max_body = 65536
[providers.claude]
dialect = "anthropic-messages"
base_url = "{root}"
[routes.fine]
targets = ["first/ok"]
[routes.fine-both]
targets = ["first/ok", "second/ok"]
[routes.moves]
targets = ["first/overloaded", "second/ok"]
[routes.breaks-first]
targets = ["first/cut:after=0", "second/ok"]
[routes.errs-first]
targets = ["first/error-event", "second/ok"]
[routes.breaks-late]
targets = ["first/cut:after=3", "second/ok"]
[routes.errs-late]
targets = ["first/error-event-late", "second/ok"]
[routes.ends-early]
targets = ["first/cut-clean:after=3", "second/ok"]
[routes.beside]
targets = ["claude/ok", "second/ok"]
[routes.claude-only]
targets = ["claude/ok"]
"""
)
JSON_PATHS = ("/v1/images/generations", "/v1/audio/speech")
FORM_PATHS = ("/v1/images/edits", "/v1/images/variations", "/v1/audio/transcriptions", "/v1/audio/translations")
EVENT_STREAMS = (*JSON_PATHS, "/v1/images/edits", "/v1/audio/transcriptions")


class Paused(Sim):
    """Takes breath after each piece of a stream: what has gone out has then reached the client before it breaks."""

    def script(self, request, *keys, reused):
        for step in super().script(request, *keys, reused=reused):
            yield step
            if any(name in request.body for name in (b"cut-clean:", b"error-event-late")):
                yield 0.02


@pytest.fixture(scope="module")
def running():
    running = Running(CONFIG)
    running.a = Paused()
    with running:
        yield running


def ask(running, path, model, *, stream=False, **more):
    """A request that `path` takes, for events where `stream` says so."""
    if path == "/v1/audio/speech":
        form = {"stream_format": "sse"} if stream else {}
        return running.http.post(path, json={"model": model, "input": "Hello", "voice": "alloy", **form, **more})
    if path == "/v1/images/generations":
        return running.http.post(path, json={"model": model, "prompt": "A cat", "stream": stream, **more})
    field = "image" if "images" in path else "file"
    data = {"model": model, "prompt": "A cat", **({"stream": "true"} if stream else {}), **more}
    return running.http.post(path, files={field: ("a.bin", b"spoken words")}, data=data)


def said(response):
    """What the simulated provider said, out of whatever it said it in."""
    kind = response.headers["content-type"]
    if kind == "audio/mpeg":
        return b"".join(response.content.split(SOUND)).decode()
    value = response.json()
    if "text" in value:
        return value["text"]
    return base64.b64decode(value["data"][0]["b64_json"]).removeprefix(PNG).decode()


def events(response):
    return [msgspec.json.decode(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]


@pytest.mark.parametrize("path", [*JSON_PATHS, *FORM_PATHS])
@pytest.mark.parametrize(("model", "target"), [("fine", "first/ok"), ("moves", "second/ok")])
def test_the_answer_comes_from_the_first_target_that_can(running, path, model, target):
    response = ask(running, path, model)
    assert response.status_code == 200
    assert response.headers["x-understudy-target"] == target
    assert said(response).startswith("This is a simulated answer")
    assert running.exchange(response).outcome == "answered"


@pytest.mark.parametrize("path", EVENT_STREAMS)
@pytest.mark.parametrize("model", ["fine", "moves", "breaks-first", "errs-first"])
def test_a_stream_that_fails_before_content_is_moved_unseen(running, path, model):
    response = ask(running, path, model, stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    found = events(response)
    assert not any("error" in event for event in found)
    assert found[-1]["type"].endswith((".completed", ".done"))


@pytest.mark.parametrize("path", EVENT_STREAMS)
@pytest.mark.parametrize("model", ["breaks-late", "errs-late", "ends-early"])
def test_a_stream_that_fails_after_content_ends_with_an_error_and_no_end(running, path, model):
    found = events(ask(running, path, model, stream=True))
    assert found[-1]["error"]["message"]
    assert not any(event.get("type", "").endswith((".completed", ".done")) for event in found)
    assert sum("error" in event for event in found) == 1


@pytest.mark.parametrize("path", ["/v1/images/generations", *FORM_PATHS])
def test_a_whole_answer_that_breaks_off_is_moved(running, path):
    response = ask(running, path, "breaks-late")
    assert response.headers["x-understudy-target"] == "second/ok"


def test_content_and_an_error_that_arrive_as_one_are_moved():
    body = b'data: {"type":"image_generation.partial_image"}\n\ndata: {"error":{"message":"no"}}\n\n'
    with Provider(answer(body=body, kind=b"text/event-stream")) as bad:
        config = TWO.replace("{a}", bad.url) + '[routes.r]\ntargets = ["first/x", "second/ok"]'
        with Running(config) as running:
            response = ask(running, "/v1/images/generations", "r", stream=True)
    assert response.headers["x-understudy-target"] == "second/ok"


def test_a_sound_that_breaks_before_its_first_byte_is_moved(running):
    response = ask(running, "/v1/audio/speech", "breaks-first")
    assert response.headers["x-understudy-target"] == "second/ok"


def test_a_sound_that_breaks_off_is_cut_and_never_ended(running):
    body = b'{"model":"breaks-late","input":"Hello","voice":"alloy"}'
    with Line(running.url) as line:
        line.post(body, b"connection: keep-alive\r\n", b"/v1/audio/speech")
        whole = line.rest()
    assert whole.startswith(b"HTTP/1.1 200")
    assert SOUND + b"This" in whole
    assert b"\r\n0\r\n\r\n" not in whole
    assert b"error" not in whole


def test_a_sound_that_breaks_off_is_reset_where_a_close_would_be_its_end(running, capfd):
    body = b'{"model":"breaks-late","input":"Hello","voice":"alloy"}'
    head = b"POST /v1/audio/speech HTTP/1.0\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    with Line(running.url) as line:
        line.send(head % len(body), body)
        with pytest.raises(ConnectionResetError):
            line.rest()
    assert running.until(lambda: running.exchanges[-1].outcome == "broken")
    assert "ASGI" not in capfd.readouterr().err


def test_sound_goes_on_as_it_comes():
    def reply(line):
        line.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        assert line.recv(1) == b""  # says no more until the client has gone

    with Provider(reply) as provider:
        config = f'[providers.slow]\ndialect = "openai-chat"\nbase_url = "{provider.url}"'
        with Running(config) as running, Line(running.url) as line:
            line.post(b'{"model":"slow/tts","input":"x","voice":"y"}', path=b"/v1/audio/speech")
            assert line.until(b"one").endswith(b"3\r\none")
            line.socket.close()
            assert running.until(lambda: running.exchanges and running.exchanges[-1].outcome == "client_left")
            assert running.call(lambda: running.gateway.open) == 0


@pytest.mark.parametrize("path", FORM_PATHS)
def test_only_the_models_name_in_a_form_is_replaced(running, path):
    ask(running, path, "fine", understudy="kept")
    sent = running.a.requests[-1]
    assert sent.path == path
    assert b"\r\n\r\nok\r\n" in sent.body
    assert b"fine" not in sent.body
    assert b"spoken words" in sent.body


def test_a_json_edit_is_taken_as_well(running):
    body = {"model": "fine", "prompt": "A cat", "images": [{"image_url": "https://example.invalid/a.png"}]}
    response = running.http.post("/v1/images/edits", json=body)
    assert response.status_code == 200
    assert running.a.requests[-1].json()["model"] == "ok"


def test_an_edit_of_a_file_goes_to_the_provider_that_holds_it(running):
    made = running.http.post(
        "/v1/files", files={"file": ("a.png", b"x")}, data={"purpose": "vision", "understudy_provider": "second"}
    ).json()["id"]
    body = {"model": "fine-both", "prompt": "A cat", "images": [{"file_id": made}]}
    response = running.http.post("/v1/images/edits", json=body)
    assert response.headers["x-understudy-target"] == "second/ok"
    assert running.b.requests[-1].json()["images"][0]["file_id"].startswith("file-")
    response = running.http.post("/v1/images/edits", json={**body, "model": "fine"})
    assert response.status_code == 400
    assert "provider second holds" in response.json()["error"]["message"]


def test_a_transcript_as_text_is_passed_on_as_text(running):
    response = ask(running, "/v1/audio/transcriptions", "fine", response_format="text")
    assert response.headers["content-type"].startswith("text/plain")
    assert response.text.endswith("spoken words\n")


def test_a_text_that_breaks_off_is_moved(running):
    response = ask(running, "/v1/audio/transcriptions", "breaks-late", response_format="text")
    assert response.headers["x-understudy-target"] == "second/ok"
    assert response.text.endswith("spoken words\n")


def test_targets_whose_dialect_has_no_such_path_are_left_out(running):
    assert ask(running, "/v1/audio/speech", "beside").headers["x-understudy-target"] == "second/ok"
    response = ask(running, "/v1/audio/speech", "claude-only")
    assert response.status_code == 501
    assert response.json()["error"]["code"] == "not_supported"
    assert "first, second" in response.json()["error"]["message"]


def test_a_provider_without_the_path_does_not_end_the_call_or_cool_its_chat():
    with Provider(answer(b"404 Not Found", body=b'{"detail":"Not Found"}')) as lacking:
        config = TWO.replace("{a}", lacking.url) + '[routes.r]\ntargets = ["first/tts", "second/ok"]'
        with Running(config) as running:
            assert ask(running, "/v1/audio/speech", "r").headers["x-understudy-target"] == "second/ok"
            assert ask(running, "/v1/audio/speech", "r").headers["x-understudy-attempts"] == "2"


# -- what clients get wrong


def form(*fields):
    return b"".join(
        b'--b0\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % field for field in fields
    ) + b"--b0--\r\n"  # fmt: skip


@pytest.mark.parametrize(
    ("body", "kind", "word"),
    [
        (form((b"model", b"fine"), (b"model", b"moves"), (b"file", b"x")), "multipart/form-data; boundary=b0", "twice"),
        (form((b"file", b"x")), "multipart/form-data; boundary=b0", "model"),
        (form((b"model", b""), (b"file", b"x")), "multipart/form-data; boundary=b0", "model"),
        (form((b"model", b"fine"), (b"file", b"x")), "multipart/form-data; boundary=b1", "boundary"),
        (form((b"model", b"fine"), (b"file", b"x"))[:-8], "multipart/form-data; boundary=b0", "end"),
        (b"", "multipart/form-data; boundary=b0", "boundary"),
    ],
)
def test_a_form_that_cannot_be_read_is_refused_and_sent_nowhere(running, body, kind, word):
    before = len(running.a.requests) + len(running.b.requests)
    response = running.http.post("/v1/audio/transcriptions", content=body, headers={"content-type": kind})
    assert response.status_code == 400
    assert word in response.json()["error"]["message"]
    assert len(running.a.requests) + len(running.b.requests) == before


def test_a_form_that_is_too_large_is_refused(running):
    data = {"model": "fine"}
    response = running.http.post("/v1/audio/transcriptions", files={"file": ("a", b"x" * 70000)}, data=data)
    assert response.status_code == 413


def test_the_providers_own_refusal_is_passed_on(running):
    response = running.http.post("/v1/audio/speech", json={"model": "fine", "input": "no voice"})
    assert response.status_code == 400
    assert "voice" in response.json()["error"]["message"]


# -- what providers get wrong


@pytest.mark.parametrize(
    "reply",
    [
        answer(body=b'{"data": [', kind=b"application/json"),
        answer(body=b""),
        answer(body=b'{"error":{"message":"overloaded","type":"server_error"}}'),
        answer(body=b"", kind=b"audio/mpeg"),
        answer(body=b"data: {\n\n", kind=b"text/event-stream"),
        answer(body=b": nothing\n\n", kind=b"text/event-stream"),
        answer(body=b"data: [DONE]\n\n", kind=b"text/event-stream"),
        answer(body=b'event: error\ndata: "what"\n\n', kind=b"text/event-stream"),
        answer(body=b": x\n\n" * 250000, kind=b"text/event-stream"),
    ],
    ids=[
        "cut-json",
        "empty",
        "error-in-200",
        "no-sound",
        "torn",
        "comment",
        "done-only",
        "odd-error",
        "endless-comments",
    ],
)
def test_an_answer_that_is_none_is_moved(reply):
    with Provider(reply) as bad:
        config = TWO.replace("{a}", bad.url).replace("0.4", "5") + '[routes.r]\ntargets = ["first/x", "second/ok"]'
        with Running(config) as running:
            response = ask(running, "/v1/images/generations", "r")
    assert response.status_code == 200
    assert response.headers["x-understudy-target"] == "second/ok"


def test_an_answer_above_the_bound_is_moved():
    huge = 65 * 1024 * 1024
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % huge
    with Provider(lambda line: line.sendall(head + b" " * huge)) as bad:
        config = TWO.replace("{a}", bad.url).replace("0.4", "20") + '[routes.r]\ntargets = ["first/x", "second/ok"]'
        with Running(config) as running:
            response = ask(running, "/v1/images/generations", "r")
    assert response.headers["x-understudy-target"] == "second/ok"


def test_events_of_servers_that_end_with_done_alone_are_whole():
    body = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\ndata: [DONE]\n\n'
    with Provider(answer(body=body, kind=b"text/event-stream")) as other:
        config = TWO.replace("{a}", other.url)
        with Running(config) as running:
            response = ask(running, "/v1/audio/transcriptions", "first/x", stream=True)
    assert response.content == body
