"""Streams of every dialect, split and cut at every byte on their way to a client, over real sockets.

The streams are the committed fixtures of `tests/wire/` that are whole answers. A piece more or less must change
nothing; an end that comes early must never look like one. What clients see is read by `look.py`, not by code of ours.

The suite takes some offsets of each fixture; `UNDERSTUDY_TORTURE=full` takes all of them, which is some minutes.
"""

import asyncio
import contextlib
import os
import socket
import zlib
from pathlib import Path
from typing import NamedTuple

import pytest
from botocore.eventstream import ParserError

from tests.gateway import look
from tests.gateway.test_dialects import ask
from tests.running import TWO, Running
from understudy import dialects
from understudy.canon import Ended
from understudy.gateway import surface

WIRE = Path(__file__).parents[1] / "wire"
NAMES = sorted(dialects.DIALECTS)
PATIENT = TWO.replace("0.4", "5")
FULL = os.environ.get("UNDERSTUDY_TORTURE") == "full"
SPLITS, CUTS, PAIRS = 4, 6, 4
"""Offsets of each case, in the suite."""


class Case(NamedTuple):
    """A fixture, and the dialect of the client that it goes to."""

    dialect: str
    name: str
    client: str

    @property
    def plain(self):
        """Whether it finishes once, in a word that another can say when it goes on."""
        own = self.client == self.dialect
        return own or not (self.name.startswith("compatible-server") or "early-finish" in self.name)


def wire(path):
    """The bytes of a fixture: what stands before its line of dashes."""
    found = path.read_bytes().rpartition(b"-----\n")[0]
    return bytes.fromhex(found.decode()) if path.suffix == ".hex" else found


def fixtures():
    """(dialect, name) of each fixture that outside eyes, too, take for a whole answer with a finish."""
    for name in NAMES:
        for path in sorted((WIRE / name).iterdir()):
            if path.suffix not in (".txt", ".hex"):
                continue
            decoder = dialects.get(name).StreamDecoder()
            events = [*decoder.feed(wire(path)), *decoder.close()]
            if not isinstance(events[-1], Ended):
                continue
            with contextlib.suppress(ValueError, TypeError, KeyError, ParserError):  # odd ones are not for eyes
                seen = look.stream(name, wire(path))
                if (seen.ends, seen.errors) == (1, 0) and seen.finishes:
                    yield name, path.name


FIXTURES = list(fixtures())


class Torn:
    """A provider that sends `pieces`, each in a write of its own, and closes; at `/whole` it sends `whole` at once."""

    def __init__(self):
        self.pieces, self.whole, self.kind = [], b"", b""

    async def serve(self, listener):
        self._server = await asyncio.start_server(self._answer, sock=listener)

    async def stop(self):
        self._server.close()
        await self._server.wait_closed()

    async def _answer(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            await reader.readexactly(int(lengths[0].split(b":")[1]))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\nconnection: close\r\n\r\n" % self.kind)
            for at, piece in enumerate([self.whole] if b" /whole" in head.split(b"\r\n")[0] else self.pieces):
                if at:
                    await asyncio.sleep(0.001)  # so that it is read before the next one comes
                writer.write(piece)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@pytest.fixture(scope="module")
def provider():
    return Torn()


@pytest.fixture(scope="module")
def gateway(provider):
    """With a route to a provider of each dialect, and one that has another behind it."""
    listener = socket.create_server(("127.0.0.1", 0))
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    text = "[server]\nkeys = ['gateway-key']\n" + PATIENT
    for name in NAMES:
        for way in ("torn", "whole"):
            text += f'[providers.{way}-{name}]\ndialect = "{name}"\nbase_url = "{base}/{way}"\napi_key = "x"\n'
            text += "cooldown = false\n"
        text += f'[routes.torn-{name}]\ntargets = ["torn-{name}/m"]\n'
        text += f'[routes.pair-{name}]\ntargets = ["torn-{name}/m", "whole-{name}/m"]\n'
    with Running(text) as running:
        asyncio.run_coroutine_threadsafe(provider.serve(listener), running.loop).result(10)
        yield running
        asyncio.run_coroutine_threadsafe(provider.stop(), running.loop).result(10)


def offsets(data, case, count):
    """Some of the places between two bytes of `data`, others for each fixture; all of them if wanted."""
    if FULL:
        return range(1, len(data))
    step = max(1, len(data) // count)
    return range(1 + zlib.crc32("".join(case).encode()) % step, len(data), step)


def clients(dialect):
    """The dialect's own clients, and those of one other."""
    return dialect, "anthropic-messages" if dialect == "openai-chat" else "openai-chat"


CASES = [Case(dialect, name, client) for dialect, name in FIXTURES for client in clients(dialect)]
plain = pytest.mark.parametrize("case", [case for case in CASES if case.plain], ids="-".join)
each = pytest.mark.parametrize("case", CASES, ids="-".join)


@pytest.fixture
def torn(provider, gateway, case):
    """Asks for a stream that comes in the given pieces."""

    def asked(*pieces, way="torn"):
        provider.pieces, provider.kind = pieces, surface.STREAM_TYPES[case.dialect]
        more = {"choices": 2} if "-two-c" in case.name or case.name.startswith("two-c") else {}
        return ask(gateway, case.client, f"{way}-{case.dialect}", stream=True, **more)

    return asked


@pytest.fixture
def usual(provider, torn, case):
    """The stream's bytes, and what the client sees when nothing happens to them."""
    data = provider.whole = wire(WIRE / case.dialect / case.name)
    response = torn(data)
    assert response.status_code == 200, response.text
    seen = look.stream(case.client, response.content)
    given = look.stream(case.dialect, data)
    assert (seen.ends, seen.errors) == (1, 0)
    if case.client == case.dialect:
        assert (seen.text, seen.finishes) == (given.text, given.finishes)
    else:
        assert len(seen.finishes) >= 1
    return data, seen


@each
def test_where_a_stream_is_split_makes_no_difference(torn, usual, case):
    data, whole = usual
    for at in offsets(data, case, SPLITS):
        response = torn(data[:at], data[at:])
        assert response.status_code == 200, f"split at {at}: {response.text}"
        seen = look.stream(case.client, response.content)
        assert seen == whole, f"split at {at}"


def told(dialect, data):
    """The finishes in what a provider has sent before it was cut off."""
    end = data
    while True:
        with contextlib.suppress(ValueError):
            return look.stream(dialect, end).finishes
        lines = end.rstrip(b"\r\n").splitlines(keepends=True)
        end = b"".join(lines[:-1])


def one_end(seen, whole, finishes, at):
    """Whether a client sees exactly one end: that of the answer, or one error."""
    assert whole.text.startswith(seen.text), f"cut at {at}: words that were not said, or twice"
    assert seen.finishes == whole.finishes[: len(seen.finishes)], f"cut at {at}"
    assert len(seen.finishes) <= len(finishes), f"cut at {at}: a finish that the provider had not sent"
    if seen.errors:
        assert (seen.errors, seen.ends) == (1, 0), f"cut at {at}"
    else:  # a finish alone is an end, too: some providers send no `[DONE]`
        assert seen.finishes == (whole.finishes[: len(finishes)] or None), f"cut at {at}: no end"
        assert seen.text == whole.text, f"cut at {at}: half an answer as a whole one"
        assert seen.ends <= 1
    return True


@plain
def test_a_stream_that_is_cut_anywhere_ends_with_one_error(torn, usual, case):
    data, whole = usual
    for at in offsets(data, case, CUTS):
        response = torn(data[:at])
        if response.status_code != 200:
            assert response.status_code >= 500, f"cut at {at}"
            assert b"broke off" in response.content
            continue
        assert one_end(look.stream(case.client, response.content), whole, told(case.dialect, data[:at]), at)


@plain
def test_where_another_target_goes_on_there_is_one_answer_or_one_error(torn, usual, case):
    data, whole = usual
    for at in offsets(data, case[::-1], PAIRS):
        response = torn(data[:at], way="pair")
        if response.status_code != 200:
            assert not whole.text, f"cut at {at}: {response.text}"  # the whole one is no answer either
            continue
        seen = look.stream(case.client, response.content)
        sent = told(case.dialect, data[:at])
        # Some finish in the middle and go on: cut behind the first finish, that one may be all there is.
        assert one_end(seen, whole, sent if sent and len(seen.finishes) == len(sent) else whole.finishes, at)


def test_there_are_whole_streams_of_every_dialect():
    assert {dialect for dialect, _ in FIXTURES} == set(NAMES)
    assert len(FIXTURES) >= 60
