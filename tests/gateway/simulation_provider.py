"""Providers that live in memory: the real HTTP client of `upstream/` above, a scripted server below, no socket between.

What a provider says is in the simulator's voices, which share nothing with the gateway's readers. Every provider knows
the same answer to the same call (`truth`), and a second one that begins alike (`rival`): so whatever a client has read
must be the beginning of one of the two, whoever said it.
"""

import asyncio
import collections
import functools
import random
import re

import msgspec

from understudy import clock
from understudy.sim import wire
from understudy.sim.answers import Reply
from understudy.sim.asked import Refused, text_of
from understudy.sim.behaviour import Call
from understudy.sim.refusals import _ROWS, trouble
from understudy.sim.voices import (
    anthropic_messages,
    bedrock_converse,
    cohere_chat,
    gemini,
    ollama,
    openai_chat,
    openai_completions,
    openai_responses,
)
from understudy.upstream import Client, TransportError
from understudy.upstream.connection import Connection
from understudy.upstream.pool import Origin

VOICES = {
    module.VOICE.name: module.VOICE
    for module in (
        anthropic_messages, bedrock_converse, cohere_chat, gemini, ollama, openai_chat, openai_completions,
        openai_responses,
    )
}  # fmt: skip

_MARK = re.compile(rb"call-(\d+)-(\d+)-")
_IN_PATH = re.compile(
    rb"/(?:models|model)/([^/]+?)[:/](generateContent|streamGenerateContent|converse|converse-stream)"
)
_LENGTH = re.compile(rb"content-length: (\d+)")
_KEY = re.compile(rb"key-\d+-\d+")
_WORDS = ("été", "naïve", "雪", "🙂", 'say "so"', "a\\b", "line\nbreak", "tab\there", "<b>", "plain")

KINDS = {
    "whole": 30, "slow": 10, "refusal": 22, "cut": 16, "silence": 6, "error": 6, "torn": 4, "early": 6, "empty": 4,
    "closed": 3, "nonsense": 3, "dripping": 3,
}  # fmt: skip
"""What an answer may come to, and how often."""

LONG_WAIT = 2.0
"""Seconds: a provider that asks for more is to be left alone for as long."""


@functools.lru_cache(4096)
def answers(number, size):
    """The two answers to call `number`, as lists of pieces that differ behind a common beginning."""
    words = random.Random(number * 1009 + size)
    begin = ["This", " is", " the", f" answer-{number}"]
    true = [*begin, *(f" {words.choice(_WORDS)}{at}" for at in range(size))]
    fork = 4 + size // 3
    other = [*true[:fork], *(f" else{at}" for at in range(size // 2 + 1))]
    return true, other


def _tellable(told):
    """Whether an error can also be told inside a stream, by every voice: it is JSON, and says why."""
    return told.raw.startswith(b"{") and (b'"error"' in told.raw or b'"message"' in told.raw)


class Wire(asyncio.Transport):
    """The provider's end of a connection."""

    def __init__(self, loop, provider):
        super().__init__()
        self.loop, self.provider = loop, provider
        self.protocol = None
        self.closing = self.paused = self.lost = False
        self.served = 0
        self._got = b""
        self._script = None
        self._held = None

    def write(self, data):
        if self.closing:
            return
        self._got += bytes(data)
        head, blank, rest = self._got.partition(b"\r\n\r\n")
        found = _LENGTH.search(head.lower()) if blank else None
        if found is not None and len(rest) >= int(found[1]):
            body, self._got = rest[: int(found[1])], rest[int(found[1]) :]
            over = self._script is None or next(self._script, None) is None
            assert over, "a request before the answer to the last one was over"
            self._script = iter(self.provider.answer(head, body, self))
            self.served += 1
            self.loop.call_later(0.001, self._step, self._script)

    def _step(self, script):
        if self.closing or self._script is not script:
            return
        if self.paused:
            self._held = script
            return
        step = next(self._script, None)
        if step is None:
            self._script = None
        elif isinstance(step, float):
            self.loop.call_later(step, self._step, script)
        elif isinstance(step, bytes):
            self.protocol.data_received(step)
            if not self.closing:
                self.loop.call_soon(self._step, script)
        elif step is wire.Ending.CLOSE:
            self.protocol.eof_received()
            self._close(None)
        elif step is wire.Ending.RESET:
            self._close(ConnectionResetError("reset by peer"))

    def _close(self, error):
        if not self.closing:
            self.closing = True
            self._script = None
            self.loop.call_soon(self._lose, error)

    def _lose(self, error):
        self.lost = True
        self.protocol.connection_lost(error)

    def abort(self):
        self._close(None)

    def close(self):
        self._close(None)

    def is_closing(self):
        return self.closing

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False
        if self._held is not None:
            held, self._held = self._held, None
            self.loop.call_soon(self._step, held)


class Net(Client):
    """The gateway's own HTTP client, with `dial` in the place of sockets."""

    def __init__(self, loop, chance, note):
        super().__init__(environ={}, limit=chance.choice((1, 2, 1024)), queue=chance.choice((2, 1024)), idle=30.0)
        self.loop, self.chance, self.note = loop, chance, note
        self.providers = {}
        self.wires = []

    def _new_origin(self, address, proxy):
        provider = self.providers[address.host]

        async def dial(origin):
            drawn = self.chance.random()
            await asyncio.sleep(self.chance.choice((0.0, 0.01, 0.05)))
            if drawn < provider.unreachable:
                raise TransportError("unreachable", f"{address.host}: refused")
            if drawn < 2 * provider.unreachable:
                await asyncio.sleep(1000)
            connection = Connection(origin, self.loop)
            made = Wire(self.loop, provider)
            made.protocol = connection
            connection.connection_made(made)
            self.wires.append(made)
            return connection

        return Origin(address.label, dial, self._limits)


class Provider:
    """One server. `kinds` are the weights of what its answers come to."""

    def __init__(self, name, dialect, chance, note):
        self.name, self.chance, self.note = name, chance, note
        self.voice = VOICES[dialect]
        self.unreachable = chance.choice((0.0, 0.0, 0.05))
        mood = chance.random()
        self.kinds = {kind: weight * chance.choice((0, 1, 1, 3)) for kind, weight in KINDS.items()}
        if mood < 0.2:
            self.kinds = {"refusal": 5, "error": 1, "cut": 2}  # down, more or less
        elif mood < 0.5 or not sum(self.kinds.values()):
            self.kinds["whole"] = 150
        self.names = sorted(name for name, told in _ROWS[dialect].items() if _tellable(told))
        self.arrivals = []  # when, the call's number, the key
        self.told = collections.defaultdict(set)  # completion tokens told, by the call's number
        self.emptied = set()  # calls that were answered with nothing

    def answer(self, head, body, connection):
        """The script of one answer."""
        chance = self.chance
        found, path = _MARK.search(body), _IN_PATH.search(head)
        assert found is not None, body
        number, size = int(found[1]), int(found[2])
        key = _KEY.search(head)
        self.arrivals.append((clock.monotonic(), number, key and key[0].decode()))
        model = path[1].decode() if path else ""
        by_path = bool(path) and path[2] in (b"streamGenerateContent", b"converse-stream")
        try:
            asked = self.voice.read(body, model, by_path)
        except Refused as refused:
            raise AssertionError(f"{self.name} was sent what is no request: {refused.message}") from None
        kind = chance.choices(list(self.kinds), self.kinds.values())[0]
        reply = self._reply(asked, number, size)
        if kind == "empty" and b"This" not in body:
            # A model that is given all of its answer says nothing more: nobody could tell a failure from that.
            reply = Reply([])
            self.emptied.add(number)
        self.note(f"{self.name} gets call {number} ({key and key[0].decode()}): {kind}, {reply.text[:30]!r}")
        call = Call(asked, {"retry": chance.choice((1, 3, 40))}, id=f"chatcmpl-{number}")
        self.told[number].add(len(reply.tokens))
        if kind in ("silence", "cut", "early", "error"):
            self.told[number].update(range(len(reply.tokens)))  # some count as they go on, and it may not come further
        if kind == "refusal":
            return self._refuse(call)
        if kind == "closed":
            return [wire.Ending.CLOSE if connection.served else wire.Ending.RESET]
        if kind == "nonsense":
            return [chance.choice((wire.whole(200, b"<html>"), b"HTTP/2 nonsense\r\n\r\n", wire.whole(200, b"{}")))]
        return self._streamed(kind, call, reply) if asked.stream else self._at_once(kind, call, reply)

    def _reply(self, asked, number, size):
        """What it says: all of one answer, or the rest of what it is given the beginning of, as it pleases."""
        chance = self.chance
        true, other = answers(number, size)
        whole = other if chance.random() < 0.1 else true
        thoughts = ["Let me", " think."] if chance.random() < 0.08 else []
        if asked.last_role == "assistant":
            begun = text_of(asked.messages[-1])
        elif len(asked.messages) > 1:  # asked to go on, after its own words
            begun = text_of(asked.messages[-2])
        else:
            return Reply(whole, thoughts=thoughts)
        manner = chance.choice(("goes on", "goes on", "goes on", "repeats", "begins again"))
        whole = next((one for one in (true, other) if "".join(one).startswith(begun)), None)
        assert whole is not None, (begun, true, other)
        rest = "".join(whole)[len(begun) :]
        if manner == "begins again":
            return Reply(other if chance.random() < 0.5 else true)
        if manner == "repeats" and len(begun) >= 40:
            rest = begun[-chance.randrange(24, 39) :] + rest
        return Reply(re.findall(r"\s*\S+|\s+", rest))

    def _refuse(self, call):
        chance = self.chance
        told = trouble(chance.choice(self.names), self.voice, call)
        status, body, headers = self.voice.refuse(told)
        wait = chance.choice((None, None, "0", "1", "3", "30"))
        if wait is not None:
            headers = {**headers, "retry-after": wait}
        data = wire.refuse(status, body, headers)
        at = chance.randrange(1, len(data))
        return [self._pause(), data] if chance.random() < 0.7 else [data[:at], self._pause(), data[at:]]

    def _pause(self):
        return self.chance.choice((0.0, 0.0, 0.01, 0.05, 0.4))

    def _streamed(self, kind, call, reply):
        chance, voice = self.chance, self.voice
        frames = voice.frames(call, reply)
        content = list(frames.content)
        if kind == "torn" and content:
            content.insert(chance.randrange(len(content) + 1), voice.torn(frames.content[-1]))
        pieces = [*frames.opening, *content, *frames.closing, *frames.ends]
        ending = None
        if kind == "error":
            count = chance.randrange(len(frames.content) + 1)
            told = trouble(chance.choice(self.names), voice, call)
            pieces = [*frames.first(count), *voice.error_frames(told)]
        elif kind == "early":
            pieces = [*frames.opening, *frames.content[: chance.randrange(len(frames.content) + 1)]]
        head = wire.stream_head({"content-type": voice.content_type})
        if kind == "silence":
            pieces, ending = pieces[: chance.randrange(len(pieces))], wire.Ending.HOLD
            return self._timed(kind, [head, *map(wire.chunk, pieces)], ending)
        together = chance.choice((1, 1, 2, 7))
        joined = [b"".join(pieces[at : at + together]) for at in range(0, len(pieces), together)]
        script = [head, *map(wire.chunk, joined), wire.LAST_CHUNK]
        if kind == "cut":
            script, ending = self._cut(script)
        return self._timed(kind, script, ending)

    def _at_once(self, kind, call, reply):
        chance = self.chance
        body = msgspec.json.encode(self.voice.answer(call, reply))
        if kind in ("early", "torn"):
            body = body[: chance.randrange(len(body))]
        script, ending = [wire.whole(200, body)], None
        if kind == "error":
            return self._refuse(call)
        if kind == "silence":
            script, ending = [script[0][: chance.randrange(len(script[0]))]], wire.Ending.HOLD
        elif kind == "cut":
            script, ending = self._cut(script)
        return self._timed(kind, script, ending)

    def _cut(self, script):
        at = self.chance.randrange(1, sum(map(len, script)))
        kept = []
        for piece in script:
            kept.append(piece[:at])
            at -= len(kept[-1])
            if not at:
                break
        return kept, self.chance.choice((wire.Ending.CLOSE, wire.Ending.RESET))

    def _timed(self, kind, script, ending):
        """`script` with its pauses, and torn into other pieces than it was made of."""
        chance = self.chance
        most = {"slow": 1.5, "dripping": 2.5}.get(kind, 0.0)
        if chance.random() < 0.3:
            data = b"".join(script)
            size = chance.choice((7, 50, 400))
            if len(data) // size < 200:
                script = [data[at : at + size] for at in range(0, len(data), size)]
        for piece in script:
            if most:
                yield chance.random() * most if chance.random() < 0.4 else 0.0
            elif chance.random() < 0.5:
                yield self._pause()
            if piece:
                yield piece
        if ending is not None:
            yield ending
