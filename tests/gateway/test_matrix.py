"""Every behaviour of the simulated provider, in every dialect, to a client of every dialect: what it sees.

The cells and what must hold in each are in `matrix.py`. Here are the cases, and what takes more than one call.
"""

import asyncio
import socket

import httpx2
import pytest

from tests.gateway import matrix as cells
from tests.running import TWO, Running


class Asked:
    """The answers of one behaviour at a time: its cases follow each other, and all their calls run at once."""

    def __init__(self, matrix):
        self.matrix = matrix
        self.behaviour = None
        self.answers = {}

    def of(self, behaviour):
        if behaviour != self.behaviour:
            asked = cells.asked(behaviour)
            self.behaviour, self.answers = behaviour, dict(zip(asked, self.matrix.ask(asked), strict=True))
        return self.answers


@pytest.fixture(scope="module")
def asked():
    with cells.Matrix() as running:
        yield Asked(running)


@pytest.mark.parametrize(("behaviour", "client"), cells.CASES)
def test_the_client_gets_one_whole_answer_or_one_clear_error(asked, behaviour, client):
    wrong, mended = {}, []
    for cell, answer in asked.of(behaviour).items():
        if cell.client != client:
            continue
        known = cells.known_gap(cell)
        try:
            cells.check(answer)
        except Exception as error:  # noqa: BLE001  # what cannot be read at all is as wrong as what reads wrongly
            if known is None:
                wrong[cell] = error
        else:
            mended += [(cell, known)] if known else []
    assert not wrong
    assert not mended, "these hold by now: take them out of KNOWN"


EXPECTED = {
    "model_retired": "retired",
    "first_token_timeout": "silent head-only pings",
    "silence": "hang",
    "stream_cut": "cut cut-reset cut-clean cut-event done-without-finish",
    "malformed_events": "malformed-twice",
    "empty_answer": "empty",
    "credit_gone": "insufficient-quota credit-exhausted payment-required",
    "spend_cap": "spend-limit",
    "bad_key": "invalid-key invalid-key-openrouter invalid-key-mistral invalid-key-vllm",
    "account_closed": "account-closed",
    "address_refused": "ip-not-authorized",
    "region_refused": "region",
    "no_access": "no-access sample-forbidden html-403",
    "model_gone": "not-found not-found-vllm not-found-azure",
    "unsupported": "unsupported-parameter",
    "malformed_request": "malformed malformed-xai unprocessable",
    "context_too_long": "context-length context-length-llamacpp context-length-vllm",
    "body_too_large": "body-too-large body-too-large-html",
    "prompt_blocked": "content-policy content-policy-azure",
    "timeout": "timeout conflict",
    "overloaded": "overloaded overloaded-529 loading capacity-groq html-503",
    "rate_limit": (
        "rate-limit rate-limit-reset rate-limit-bare rate-limit-azure rate-limit-openrouter retry-negative "
        "retry-huge retry-nonsense"
    ),
    "token_rate_limit": "rate-limit-tokens rate-limit-day",
    "request_over_limit": "request-too-large request-too-large-groq",
    "ramp_too_fast": "slow-down slow-down-503",
    "internal": "internal internal-vllm null-body empty-body upstream-error html-502",
    "upstream_timeout": "upstream-timeout html-504",
    "bad_answer": "html-200",
    "redirected": "redirect",
}
"""Kinds of the table of faults, and the behaviours in `openai-chat` that are to be recognised as that very kind."""


@pytest.mark.parametrize("kind", EXPECTED)
def test_each_behaviour_is_recognised_as_what_it_is(asked, kind):
    for name in EXPECTED[kind].split():
        usually = bool(cells.TABLE[name].defaults.get("after"))
        wanted = [
            cell
            for cell in cells.cells(name, "openai-chat")
            if cell.provider == "openai-chat" and cell.stream and cell.after in (None, usually)
        ]
        (answer,) = asked.matrix.ask(wanted)
        assert answer.exchange.attempts[0].fault.kind == kind, name


@pytest.mark.parametrize("client", cells.NAMES)
def test_a_client_that_leaves_is_no_fault_of_the_provider(asked, client):
    matrix = asked.matrix

    async def leave(provider):
        reader, writer, *_ = await matrix.begin(cells.Cell("hang", client, provider, stream=True, after=True))
        await reader.read(1)
        writer.close()

    async def every():
        matrix.records.clear()
        await asyncio.gather(*map(leave, cells.NAMES))

    asyncio.run_coroutine_threadsafe(every(), matrix.loop).result(30)
    assert matrix.until(lambda: len(matrix.records) == len(cells.NAMES))
    for record in matrix.records.values():
        exchange = record.result()
        assert exchange.outcome == "client_left"
        assert [attempt.fault for attempt in exchange.attempts] == [None]


def test_a_client_that_leaves_ends_the_call_at_the_provider_at_once():
    with Running(TWO + '[routes.r]\ntargets = ["first/drip:between=0.2"]\n') as running:
        with running.http.stream("POST", "/v1/chat/completions", json={
            "model": "r", "stream": True, "messages": [{"role": "user", "content": "Tell me a long story about foxes"}],
        }) as response:  # fmt: skip
            next(response.iter_bytes())
        exchange = running.exchange(response)
        assert exchange.outcome == "client_left"
        assert exchange.attempts[0].fault is None
        assert running.call(lambda: running.gateway.open) == 0
        assert running.until(lambda: running.gateway.transport.open_connections == 0)


def test_the_same_connection_serves_call_after_call():
    with Running(TWO + '[routes.r]\ntargets = ["first/ok"]\n') as running:
        for stream in (False, True, False, True):
            assert running.chat("r", stream=stream).status_code == 200
        assert running.a.requests[-1].headers["host"].startswith("127.0.0.1")


def test_httpx_sees_no_difference_between_gateway_and_provider():
    with Running(TWO + '[routes.r]\ntargets = ["first/ok"]\n') as running, httpx2.Client(trust_env=False) as direct:
        body = {"model": "ok", "messages": [{"role": "user", "content": "Hello there"}]}
        straight = direct.post(f"{running.a.url}/chat/completions", json=body)
        relayed = running.chat("r")
        ignore = ("id", "created")
        assert {k: v for k, v in relayed.json().items() if k not in ignore} == {
            k: v for k, v in straight.json().items() if k not in ignore
        }


def test_the_first_content_does_not_wait_for_what_comes_next():
    body = b'{"model":"r","stream":true,"messages":[{"role":"user","content":"Hello"}]}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
    with Running(TWO + '[routes.r]\ntargets = ["first/hang:after=1"]\n') as running:
        url = httpx2.URL(running.url)
        with socket.create_connection((url.host, url.port), 10) as line:
            line.sendall(head % len(body) + body)
            data = b""
            while b'"content":"This"' not in data:
                data += line.recv(65536)
            assert b'"error"' not in data, "it came while the provider was silent"
            while piece := line.recv(65536):
                data += piece
    assert b'"error"' in data, "and when the time was up, the error"
