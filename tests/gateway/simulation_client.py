"""A client as the gateway sees one: it may leave, read slowly, and keeps every byte that it was sent.

Its driver does what `gateway/turn.py` does: admission, the call, refusals. What it has got is judged without any code
of the gateway (`look.py`).
"""

import asyncio
import collections
import json
import re

from tests.gateway import look
from tests.gateway.simulation_provider import answers
from understudy import clock
from understudy.gateway import surface
from understudy.gateway.app import CLIENT_LEFT
from understudy.gateway.refusing import RefusedError

PATHS = {
    "openai-chat": "/v1/chat/completions", "openai-responses": "/v1/responses", "openai-completions": "/v1/completions",
    "anthropic-messages": "/v1/messages", "cohere-chat": "/v2/chat", "ollama": "/api/chat",
}  # fmt: skip

_TOKENS = {
    "openai-chat": rb'"completion_tokens":\s*(\d+)', "openai-completions": rb'"completion_tokens":\s*(\d+)',
    "openai-responses": rb'"output_tokens":\s*(\d+)', "anthropic-messages": rb'"output_tokens":\s*(\d+)',
    "gemini": rb'"candidatesTokenCount":\s*(\d+)', "cohere-chat": rb'"output_tokens":\s*(\d+)',
    "ollama": rb'"eval_count":\s*(\d+)', "bedrock-converse": rb'"outputTokens":\s*(\d+)',
}  # fmt: skip


def asking(dialect, route, question, *, stream):
    """Door and body of a call."""
    turn = {"role": "user", "content": question}
    body = {"model": route, "stream": stream}
    if dialect == "gemini":
        how = "streamGenerateContent" if stream else "generateContent"
        door = surface.door(f"/v1beta/models/{route}:{how}", "alt=sse")
        return door, {"contents": [{"role": "user", "parts": [{"text": question}]}]}
    if dialect == "bedrock-converse":
        door = surface.door(f"/model/{route}/{'converse-stream' if stream else 'converse'}")
        return door, {"messages": [{"role": "user", "content": [{"text": question}]}]}
    if dialect == "openai-responses":
        body["input"] = question
    elif dialect == "openai-completions":
        body["prompt"] = question
    else:
        body["messages"] = [turn]
    if dialect == "anthropic-messages":
        body["max_tokens"] = 4000
    if dialect == "openai-chat":
        body["stream_options"] = {"include_usage": True}
        if not stream:
            del body["stream_options"]
    return surface.door(PATHS[dialect]), body


class Caller:
    """One call and what came of it. `wrong` are the broken rules that it has seen itself."""

    def __init__(self, gateway, number, dialect, route, *, chance, note):
        self.gateway, self.number, self.dialect, self.chance, self.note = gateway, number, dialect, chance, note
        self.size = chance.choice((2, 5, 12, 30))
        self.stream = chance.random() < 0.8
        question = f"call-{number}-{self.size}- what is it?"
        self.door, body = asking(dialect, route, question, stream=self.stream)
        if self.stream and dialect in ("openai-chat", "anthropic-messages") and chance.random() < 0.1:
            body["temperature"] = 0.5  # what a provider may refuse
        self.body = json.dumps(body).encode()
        self.slow = chance.choice((0.0, 0.0, 0.0, 0.3))
        self.exchange = None
        self.committed = self.left = self.stopped = False
        self.task = None
        self.status = None
        self.streamed = False
        self.got = []
        self.ends = 0
        self.refused = None
        self.blocked = 0.0
        self.blocked_since = None
        self.began = self.ended = 0.0
        self.wrong = []

    # -- as the gateway's client ---------------------------------------------------------------------------------------

    async def start(self, status, headers):
        self._begin(status, headers)

    async def write(self, data):
        if self.slow and self.chance.random() < self.slow and not self.left:
            await self._block(self.chance.choice((0.05, 0.5, 3.0, 9.0)))
        self._got(data)

    async def end(self, data=b""):
        self._got(data)
        self.ends += 1

    async def whole(self, status, headers, body):
        self._begin(status, headers)
        self.got.append(body)
        self.ends += 1

    def _begin(self, status, headers):
        self.committed = True
        kind = dict(headers).get(b"content-type", b"")
        self.streamed = kind.startswith(surface.STREAM_TYPES[self.dialect])
        if self.status is not None or self.ends:
            self.wrong.append("an answer began twice")
        self.status = status

    def _got(self, data):
        if self.status is None:
            self.wrong.append("bytes before an answer began")
        if self.ends:
            self.wrong.append("bytes behind the end")
        self.got.append(data)

    async def _block(self, seconds):
        since = clock.monotonic()
        try:
            await asyncio.sleep(seconds)
        finally:
            self.blocked += clock.monotonic() - since

    # -- as its server -------------------------------------------------------------------------------------------------

    async def run(self):
        gateway = self.gateway
        self.began = clock.monotonic()
        headers = {b"content-type": b"application/json"}
        self.note(f"call {self.number} begins: {self.dialect}, {'stream' if self.stream else 'whole'}")
        try:
            gateway.admit(headers, self.door)
        except RefusedError as refused:
            self.refused = refused
            self.ended = clock.monotonic()
            return
        gateway.open += 1
        try:
            await gateway.call(headers, self.body, self.door, self, None)
        except RefusedError as refused:
            self.refused = refused
        finally:
            gateway.open -= 1
            self.ended = clock.monotonic()
            outcome = self.exchange and self.exchange.outcome
            self.note(f"call {self.number} is over: {outcome}, status {self.status}")

    def leave(self):
        if self.task is not None and not self.task.done() and not self.ends:
            self.note(f"call {self.number}: the client leaves")
            self.left = True
            self.task.cancel(CLIENT_LEFT)

    def stop(self):
        if not self.task.done():
            self.stopped = True
            self.task.cancel()

    # -- judged --------------------------------------------------------------------------------------------------------

    def judge(self, told, first_was_empty):
        """The rules that were broken. `told` are the figures of tokens that providers gave for this call."""
        wrong = list(self.wrong)
        if self.refused is not None:
            return wrong if self.status is None else [*wrong, "refused, with an answer already begun"]
        body = b"".join(self.got)
        if self.stopped and self.exchange is None:
            return wrong  # the server stopped before the call could begin
        if not self.left and self.ends != 1:
            wrong.append(f"{self.ends} ends instead of one")
        if self.status is None:
            return wrong if self.left else [*wrong, "no answer at all"]
        if self.status != 200:
            return wrong if self.left or json.loads(body) else [*wrong, "an error without a body"]
        if self.left and not self.ends and not self.streamed:
            return wrong
        try:
            seen = (look.stream if self.streamed else look.whole)(self.dialect, body)
        except (ValueError, LookupError, TypeError) as error:
            return wrong if self.left else [*wrong, f"it cannot be read ({error!r}): {body[:200]!r}...{body[-200:]!r}"]
        return wrong + self._judged(seen, body, told, first_was_empty)

    def _judged(self, seen, body, told, first_was_empty):
        wrong = []
        known = ["".join(one) for one in answers(self.number, self.size)]
        if not any(one.startswith(seen.text) for one in known):
            wrong.append(f"its text is no beginning of an answer: {seen.text!r}")
        if self.left and not seen.ends and not seen.errors:
            return wrong
        if self.dialect.startswith("openai-") and seen.finishes and not seen.errors:
            seen.ends = 1  # `[DONE]` is passed on, never made up: the finish before it says that the answer is whole
        if (seen.ends, seen.errors) not in ((1, 0), (0, 1)):
            wrong.append(f"{seen.ends} ends and {seen.errors} errors in its stream")
        outcome = self.exchange.outcome
        if seen.ends:
            if seen.text not in known and not (seen.text == "" and first_was_empty):
                wrong.append(f"finished after half an answer: {seen.text!r}")
            if len(seen.finishes) != 1:
                wrong.append(f"finish reasons: {seen.finishes}")
            if outcome != "answered" and not self.left and not self.stopped:
                wrong.append(f"it has an answer, and its record says {outcome}")
            late = self.ended >= self.exchange.deadline - 0.1  # the finish had come, what it cost had not
            figures = [int(found) for found in re.findall(_TOKENS[self.dialect], body)]
            if (
                figures
                and figures[-1] not in (told | {0} if late else told)
                and not (seen.text == "" and first_was_empty)
            ):
                wrong.append(f"usage of {figures[-1]} tokens, which nobody told: {sorted(told)}")
        elif outcome not in ("failed", "broken", "stopped") and not self.left:
            wrong.append(f"it has an error, and its record says {outcome}")
        return wrong


def doubled(attempts):
    """Attempts by their targets' names."""
    return collections.Counter(attempt.target for attempt in attempts)
