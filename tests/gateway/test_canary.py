"""No secret is anywhere: canaries in every place where secrets come in, and a look at everything that goes out.

A real `understudy serve`, at log level DEBUG, with lines for exchanges, traces, figures, keys and a ledger that keeps
bodies. Each canary is a string of its own, so a failure says what leaked. The control, with redaction off, finds the
one in the bodies: so the search can find.
"""

import contextlib
import functools
import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import httpx2
import pytest

from tests.cli.process import CLEAN
from tests.gateway.sockets import Provider, answer
from understudy.access.store import Store
from understudy.ledger import frames
from understudy.ledger.bodies import unpacked

CANARIES = {
    "client": "canary-client-7Qm2xW9pLr4T",
    "wrong key": "canary-wrong-3Hn8sV5kZb1Y",
    "admin": "canary-admin-6Jc4dF0gNu2R",
    "provider": "canary-provider-8Tk5wB1mXe7P",
    "headed": "canary-headed-2Vd9rC6yGs3L",
    "header": "canary-header-5Zf1jK8hQa0M",
    "cookie": "canary-cookie-4Wp7nE3vUo6S",
    "url": "canary-url-9Rb2tM4cDx8K",
    "body": "sk-proj-canary1Gh6yL3zJw5FqN8vB2kT",
    "password": "canary-password-0Sx5uH7eIr1C",
    "e-mail": "canary.address@example.org",
}
OURS = ("provider", "headed", "admin")
"""What clients must not see either, whatever a provider says."""

PRELUDE = """
import logging
logging.basicConfig(level=logging.DEBUG)
from understudy.gateway import relay
attempt = relay.attempt
def attempted(target, exchange, client, transport):
    if target.model == "boom":
        raise RuntimeError(f"cannot send {exchange.call.body!r}")
    return attempt(target, exchange, client, transport)
relay.attempt = attempted
from understudy.cli import main
main()
"""
"""A gateway that logs all it can, and makes a mistake of its own whose words quote the request."""

CONFIG = """
[server]
port = 0
keys = ["env:CLIENT"]
admin_keys = ["env:ADMIN"]
key_store = "keys.sqlite"
log_exchanges = true
[ledger]
url = "{folder}/ledger.sqlite"
[redaction]
on = {on}
[defaults]
store = "bodies"
retries = 0
[providers.box]
dialect = "openai-chat"
base_url = "{url}"
api_key = "env:PROVIDER"
headers = {{ x-tenant = "env:HEADED" }}
[routes.moves]
targets = ["box/fails", "box/ok"]
"""
ROUTED = ("ok", "streams", "fails", "denied", "limited", "boom")


def said():
    return (
        f"My key is {CANARIES['body']}, my password={CANARIES['password']} and I am {CANARIES['e-mail']}, "
        "but the weather is fine."
    )


def streamed(text):
    """An answer in pieces of three characters."""
    pieces = [text[start : start + 3] for start in range(0, len(text), 3)]
    chunks = [
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
         "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}
        for piece in pieces
    ]  # fmt: skip
    chunks.append({**chunks[-1], "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"


def reply(connection, provider):
    """What this provider answers repeats all that it was shown: the key, the header, the prompt."""
    head, body = provider.requests[-1]
    if not body:
        connection.sendall(answer(b"404 Not Found", body=b"{}"))
        return
    model = json.loads(body)["model"]
    shown = f"{CANARIES['provider']} {CANARIES['headed']} {said()}".replace('"', "")
    leaking = f"x-request-id: {CANARIES['provider']}\r\nx-debug: {shown}\r\n".encode()
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": f"You said: {said()}"}, "finish_reason": "stop"}
    ]}  # fmt: skip
    failed = json.dumps(
        {"error": {"message": f"cannot serve {shown}", "type": "t", "code": "c", "param": None}}
    ).encode()
    statuses = {
        "fails": b"500 Internal Server Error",
        "denied": b"401 Unauthorized",
        "limited": b"429 Too Many Requests",
    }
    if model == "streams":
        connection.sendall(answer(body=streamed(f"You said: {said()}"), kind=b"text/event-stream"))
    elif model in statuses:
        connection.sendall(answer(statuses[model], leaking, failed))
    else:
        connection.sendall(answer(body=json.dumps(whole).encode()))
    assert CANARIES["provider"].encode() in head


class Collector:
    """Takes traces, as an OpenTelemetry collector would."""

    def __init__(self):
        taken = self.taken = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                taken.append(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_raised):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Gateway:
    """The process, with all that it prints, in a folder of its own."""

    def __init__(self, folder, provider, collector, *, on):
        self.folder = folder
        store = Store(folder / "keys.sqlite")
        self.virtual = store.create("team")[1].reveal()
        store.close()
        config = folder / "understudy.toml"
        text = CONFIG.format(folder=folder, on="true" if on else "false", url=provider.url)
        config.write_text(text + "".join(f'[routes.{name}]\ntargets = ["box/{name}"]\n' for name in ROUTED))
        environ = {
            **CLEAN, "XDG_DATA_HOME": str(folder), "CLIENT": CANARIES["client"], "ADMIN": CANARIES["admin"],
            "PROVIDER": CANARIES["provider"], "HEADED": CANARIES["headed"],
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100",
        }  # fmt: skip
        self._out = (folder.parent / "stdout", folder.parent / "stderr")
        with self._out[0].open("wb") as out, self._out[1].open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PRELUDE, "serve", "-c", config], stdout=out, stderr=errors, env=environ
            )
        assert until(lambda: b"answers at http://" in self.printed()), self.printed()
        assert until((folder / "ledger.sqlite").exists)
        assert until(lambda: self.rows("select 1 from sqlite_master where name = 'hours_by'"))
        url = self.printed().split(b"answers at ")[1].split(b"/v1")[0].decode()
        self.http = httpx2.Client(base_url=url, timeout=30, trust_env=False)

    def printed(self):
        return b"\n".join(path.read_bytes() for path in self._out)

    def files(self):
        """Every file that it keeps, by name."""
        return {str(path): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}

    def rows(self, question):
        with contextlib.closing(sqlite3.connect(self.folder / "ledger.sqlite", timeout=30)) as database:
            return database.execute(question).fetchall()

    def bodies(self):
        """Every body of the ledger, unpacked."""
        return b"\n".join(unpacked(*row) for row in self.rows("select data, encoding from bodies"))

    def close(self):
        """Stop as a supervisor would; kill what does not."""
        self.http.close()
        self._process.send_signal(signal.SIGTERM)
        try:
            assert self._process.wait(60) == 0, self.printed()
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()


def until(condition, patience=60.0):
    end = time.monotonic() + patience
    while not (true := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return true


def seen(text, names=CANARIES):
    """Which canaries are in `text`, as they are or as they stand in a URL."""
    data = text if isinstance(text, bytes) else text.encode()
    return [
        name for name in names
        if CANARIES[name].encode() in data or quote(CANARIES[name], safe="").encode() in data
    ]  # fmt: skip


def ask(gateway, model, *, key=CANARIES["client"], path="/v1/chat/completions", **more):
    headers = {
        "authorization": f"Bearer {key}", "x-canary": CANARIES["header"], "cookie": f"session={CANARIES['cookie']}",
        "x-understudy-session": CANARIES["body"], "x-understudy-tags": f"a, {CANARIES['body']}",
    }  # fmt: skip
    body = {"model": model, "messages": [{"role": "user", "content": said()}], **more}
    return gateway.http.post(path, json=body, headers=headers)


def everything(gateway):
    """Calls that go well and that fail, in every way; what clients were told of the failures."""
    for model in ("ok", "moves"):
        assert ask(gateway, model).status_code == 200
        assert CANARIES["body"] in ask(gateway, model, key=gateway.virtual).text, "the client gets its answer whole"
    assert ask(gateway, "streams", stream=True).status_code == 200
    expected = {
        500: [ask(gateway, "fails"), ask(gateway, "boom")],
        401: [
            ask(gateway, "ok", key=CANARIES["wrong key"]),
            gateway.http.post(f"/v1beta/models/ok:generateContent?key={CANARIES['url']}", json={}),
        ],
        404: [
            ask(gateway, "nobody"),
            ask(gateway, f"box/{CANARIES['body']}"),
            gateway.http.get(f"/v1/nothing?key={CANARIES['url']}", headers={"cookie": CANARIES["cookie"]}),
        ],
        400: [gateway.http.post(
            "/v1/chat/completions", content=f"{{{said()}", headers={"content-type": "application/json",
            "authorization": f"Bearer {CANARIES['client']}"},
        )],
        429: [ask(gateway, "limited")],
    }  # fmt: skip
    for status, responses in expected.items():
        assert [response.status_code for response in responses] == [status] * len(responses)
    denied = ask(gateway, "denied")
    assert denied.status_code >= 400
    url = f"/v1beta/models/ok:generateContent?key={CANARIES['client']}&x={CANARIES['url']}"
    google = gateway.http.post(url, json={"contents": [{"role": "user", "parts": [{"text": said()}]}]})
    assert google.status_code == 200, google.text
    feedback = {"exchange": google.headers["x-understudy-exchange"], "comment": said(), "label": CANARIES["body"]}
    key = {"authorization": f"Bearer {CANARIES['client']}"}
    assert gateway.http.post("/understudy/feedback", json=feedback, headers=key).status_code == 200
    return [*(response for responses in expected.values() for response in responses), denied]


def told_to_operators(gateway):
    headers = {"authorization": f"Bearer {CANARIES['admin']}"}
    answers = [gateway.http.get(path, headers=headers) for path in ("/admin/targets", "/admin/events", "/metrics")]
    assert [one.status_code for one in answers] == [200] * 3
    return "\n".join(one.text for one in answers)


EXCHANGES = 10
"""What of `everything` becomes one."""


@contextlib.contextmanager
def running(tmp_path, *, on):
    folder = tmp_path / "kept"
    folder.mkdir()
    with Provider() as provider, Collector() as collector:
        provider.reply = functools.partial(reply, provider=provider)
        gateway = Gateway(folder, provider, collector, on=on)
        try:
            yield gateway, collector
        finally:
            gateway.close()


def spooled(gateway):
    """What is in the spool, its bodies unpacked, beside the bytes as they are."""
    found = []
    for path in (gateway.folder / "ledger-spool").glob("*.spool"):
        data = path.read_bytes()
        found.append(data)
        with contextlib.suppress(frames.BadFrameError):
            for payload in frames.Cutter().feed(data):
                for record in frames.decode(payload)[0]:
                    found += [unpacked(body.data, body.encoding) for body in getattr(record, "bodies", ())]
    return b"\n".join(found)


def test_no_secret_is_anywhere(tmp_path):
    pytest.importorskip("kingfisher_sdk")
    with running(tmp_path, on=True) as (gateway, collector):
        with contextlib.closing(sqlite3.connect(gateway.folder / "ledger.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            failures = everything(gateway)
            assert until(lambda: b"the weather is fine" in spooled(gateway)), "the spool has what the database does not"
            assert until(lambda: b"fb_" in spooled(gateway))
            assert seen(spooled(gateway)) == []
            other.execute("ROLLBACK")
        assert until(lambda: gateway.rows("select count(*) from exchanges") == [(EXCHANGES,)]), gateway.printed()
        assert until(lambda: gateway.rows("select count(*) from feedback") == [(1,)])
        assert seen(b"\n".join(gateway.files().values())) == []
        assert any(name.endswith("-wal") for name in gateway.files()), "the log of the database is looked at too"
        operators = told_to_operators(gateway)
        assert seen(operators) == []
        assert "box/fails" in operators
        for response in failures:
            assert seen(response.text + str(response.headers), OURS) == []
        assert gateway.virtual.encode() not in b"\n".join(gateway.files().values())
        bodies = gateway.bodies()
        assert bodies.count(b"the weather is fine") >= EXCHANGES
        assert seen(bodies) == []
        assert b"[secret:1]" in bodies
        assert gateway.rows("select count(*) from attempts where fault_message like '%cannot serve%'") != [(0,)]
        assert gateway.rows("select distinct session from exchanges") == [("[secret:1]",), (None,)]
    printed = gateway.printed()
    assert seen(printed) == []
    assert gateway.virtual.encode() not in printed
    assert b"RuntimeError: cannot send" in printed, "our own mistake is told, without what it quotes"
    assert b'"outcome":"answered"' in printed
    assert b"DEBUG" in printed
    assert seen(b"\n".join(gateway.files().values())) == []
    assert seen(gateway.bodies()) == []
    assert b"box" in b"".join(collector.taken)
    assert seen(b"".join(collector.taken)) == []


def test_without_redaction_words_are_in_the_ledger_and_still_nowhere_else(tmp_path):
    with running(tmp_path, on=False) as (gateway, collector):
        everything(gateway)
        assert until(lambda: gateway.rows("select count(*) from exchanges") == [(EXCHANGES,)]), gateway.printed()
        assert set(seen(gateway.bodies())) == {"body", "password", "e-mail"}
        assert seen(told_to_operators(gateway)) == []
        ledger = "ledger.sqlite"
        others = b"\n".join(data for name, data in gateway.files().items() if ledger not in name)
        assert seen(others) == []
        kept = b"\n".join(data for name, data in gateway.files().items() if ledger in name)
        assert "body" in seen(kept), "so the search finds what is there"
    assert seen(gateway.printed()) == []
    assert seen(b"".join(collector.taken)) == []
