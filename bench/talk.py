"""Clients that believe nobody: they ask in five dialects, read what comes to its end, and say what is wrong with it.

An answer counts only if it is the whole text that the simulated model gives to this question and no other, with a
finish and the end that the dialect has. The readers here know nothing of the gateway's own code: what is wrong there
must not be wrong here alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Callable
from typing import Any

import msgspec

DIALECTS = ("chat", "anthropic", "responses", "gemini", "ollama")

KEY = "bench-key"
_SAID = "This is a simulated answer, it only echoes what you said: "
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class Heard(msgspec.Struct):
    """One answer as a client had it. Times are `time.monotonic` seconds, 0 for what did not happen."""

    status: int = 0
    text: str = ""
    finish: str = ""
    over: bool = False
    """The dialect's own end of a stream was there."""
    late: bool = False
    """Something came after it."""
    error: str = ""
    """The error that the answer consists of or ends with."""
    broke: str = ""
    """How the connection ended, if not in order."""
    left: bool = False
    """The client went away on purpose."""
    target: str = ""
    attempts: int = 0
    continued: bool = False
    asked: float = 0.0
    first: float = 0.0
    latest: float = 0.0
    gap: float = 0.0
    """The longest time between two pieces, seconds."""


def expected(question: str, tokens: int) -> str:
    """What the simulated model says to `question` in `tokens` pieces (0: as many as it takes)."""
    pieces: list[str] = re.findall(r"\s*\S+", _SAID + question[:200])
    wanted = tokens or len(pieces)
    return "".join(pieces[i] if i < len(pieces) else f" more{i}" for i in range(wanted))


def wrong(heard: Heard, text: str) -> str:
    """What is wrong with an answer that should be `text`; "" if nothing is."""
    if heard.left:
        return ""
    if heard.status == 0:
        return f"no answer: {heard.broke}"
    if heard.status != 200:
        return f"status {heard.status}: {heard.error[:300]}"
    if heard.error:
        return f"ended with an error: {heard.error[:300]}"
    if heard.broke:
        return f"broke off without a word: {heard.broke}"
    if not heard.finish or not heard.over:
        return f"ended without {'a finish' if not heard.finish else 'its end'} after {len(heard.text)} characters"
    if heard.late:
        return "went on behind its end"
    if heard.text != text:
        same = next((i for i, (a, b) in enumerate(zip(heard.text, text, strict=False)) if a != b), len(text))
        return f"other words from character {same}: {heard.text[max(0, same - 20) : same + 40]!r}"
    return ""


def silent_truncation(heard: Heard, text: str) -> bool:
    """The worst case: it looks whole, and is not."""
    return heard.status == 200 and bool(heard.finish) and not heard.error and not heard.left and heard.text != text


# -- what each dialect asks, and what its stream says ----------------------------------------------------------------


def request(dialect: str, route: str, question: str, *, stream: bool) -> bytes:
    """The bytes of one call."""
    turns = [{"role": "user", "content": question}]
    body: dict[str, Any] = {"model": route, "messages": turns, "stream": stream}
    path = "/v1/chat/completions"
    if dialect == "anthropic":
        path, body = "/v1/messages", {**body, "max_tokens": 8192}
    elif dialect == "responses":
        path, body = "/v1/responses", {"model": route, "input": question, "stream": stream, "store": False}
    elif dialect == "ollama":
        path = "/api/chat"
    elif dialect == "gemini":
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        path, body = f"/v1beta/models/{route}:{verb}", {"contents": [{"role": "user", "parts": [{"text": question}]}]}
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {KEY}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def _chat(event: dict[str, Any], heard: Heard) -> None:
    for choice in event.get("choices") or ():
        said = choice.get("delta") or choice.get("message") or {}
        heard.text += said.get("content") or ""
        heard.finish = choice.get("finish_reason") or heard.finish


def _anthropic(event: dict[str, Any], heard: Heard) -> None:
    delta = event.get("delta") or {}
    heard.text += delta.get("text") or ""
    heard.finish = delta.get("stop_reason") or event.get("stop_reason") or heard.finish
    for block in event.get("content") or ():
        heard.text += block.get("text") or ""
    heard.over = heard.over or event.get("type") in ("message_stop", "message")


def _responses(event: dict[str, Any], heard: Heard) -> None:
    if event.get("type") == "response.output_text.delta":
        heard.text += event.get("delta") or ""
    answer = event.get("response") or event
    if event.get("type") in ("response.failed", "response.incomplete"):
        heard.error = json.dumps(answer.get("error") or answer.get("incomplete_details"))
    if event.get("type") == "response.completed" or event.get("object") == "response":
        heard.finish, heard.over = "completed", True
    if event.get("object") == "response":
        parts = [part for item in event.get("output") or () for part in item.get("content") or ()]
        heard.text += "".join(part.get("text") or "" for part in parts)


def _gemini(event: dict[str, Any], heard: Heard) -> None:
    for candidate in event.get("candidates") or ():
        for part in (candidate.get("content") or {}).get("parts") or ():
            heard.text += part.get("text") or ""
        heard.finish = candidate.get("finishReason") or heard.finish
    heard.over = bool(heard.finish)


def _ollama(event: dict[str, Any], heard: Heard) -> None:
    heard.text += (event.get("message") or {}).get("content") or ""
    if event.get("done"):
        heard.finish, heard.over = event.get("done_reason") or "done", True


_READ: dict[str, Callable[[dict[str, Any], Heard], None]] = {
    "chat": _chat,
    "anthropic": _anthropic,
    "responses": _responses,
    "gemini": _gemini,
    "ollama": _ollama,
}


def _event(data: bytes, dialect: str, heard: Heard) -> None:
    if data == b"[DONE]":
        heard.late = heard.late or heard.over
        heard.over = True
        return
    before = len(heard.text)
    was_over = heard.over
    event = json.loads(data)
    if event.get("error"):
        heard.error = json.dumps(event["error"])
    elif event.get("type") == "error":
        heard.error = json.dumps(event)
    else:
        heard.continued = heard.continued or "continued" in (event.get("understudy") or {})
        _READ[dialect](event, heard)
    heard.late = heard.late or (was_over and len(heard.text) > before)
    if len(heard.text) > before:
        now = time.monotonic()
        heard.first = heard.first or now
        heard.gap = max(heard.gap, now - heard.latest) if heard.latest else 0.0
        heard.latest = now


# -- connections -----------------------------------------------------------------------------------------------------


class Line:
    """One kept connection to `port`, opened when it is needed. One call at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._pipe: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, dialect: str, route: str, question: str, *, stream: bool, limit: float, leave: int | None = None
    ) -> Heard:
        """One call and all that came of it within `limit` seconds; `leave` goes away after so many characters."""
        heard = Heard(asked=time.monotonic())
        try:
            async with asyncio.timeout(limit):
                keep = await self._call(request(dialect, route, question, stream=stream), dialect, heard, leave)
        except TimeoutError:
            heard.broke, keep = f"hung: not over after {limit:g} s", False
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            heard.broke, keep = f"{type(error).__name__}: {error}", False
        if not keep:
            self.close()
        return heard

    def close(self) -> None:
        if self._pipe is not None:
            self._pipe[1].transport.abort()
            self._pipe = None

    async def _call(self, data: bytes, dialect: str, heard: Heard, leave: int | None) -> bool:
        if self._pipe is None:
            self._pipe = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._pipe
        writer.write(data)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        found = _STATUS.match(head.replace(b"http", b"HTTP", 1))
        heard.status = int(found[1]) if found else -1
        heard.target = _header(head, b"x-understudy-target")
        heard.attempts = int(_header(head, b"x-understudy-attempts") or 0)
        if b"\r\ntransfer-encoding: chunked" not in head:
            body = await reader.readexactly(int(_header(head, b"content-length")))
            _whole(body, dialect, heard)
            return b"\r\nconnection: close" not in head
        if not await self._stream(reader, dialect, heard, leave):
            return False
        return b"\r\nconnection: close" not in head

    async def _stream(self, reader: asyncio.StreamReader, dialect: str, heard: Heard, leave: int | None) -> bool:
        rest = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            rest += (await reader.readexactly(size + 2))[:-2]
            *lines, rest = rest.split(b"\n")
            for line in lines:
                data = line.removeprefix(b"data:").strip()
                if data[:1] in (b"{", b"["):
                    _event(data, dialect, heard)
            if leave is not None and len(heard.text) >= leave:
                heard.left = True
                return False
        await reader.readexactly(2)
        if rest.strip():
            heard.broke = f"half a line at the end: {rest[:80]!r}"
        return True


def _whole(body: bytes, dialect: str, heard: Heard) -> None:
    if heard.status != 200:
        heard.error = body.decode("utf-8", "replace")
        return
    _event(body, dialect, heard)
    heard.over = True


def _header(head: bytes, name: bytes) -> str:
    found = re.search(rb"\r\n%b: *([^\r]*)" % re.escape(name), head)
    return found[1].decode("latin-1") if found else ""


async def order(port: int, method: str, path: str, body: str = "", key: str = KEY) -> Any:
    """A request beside the load: commands to providers, questions to the gateway. The answer's JSON, None if none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = body.encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    writer.write(head.encode() + data)
    try:
        answer = await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    head_, _, content = answer.partition(b"\r\n\r\n")
    if not head_.startswith(b"HTTP/1.1 200 "):
        raise ValueError(f"{method} {path} was answered {answer[:300]!r}")
    if b"chunked" in head_.lower():
        content = content.partition(b"\r\n")[2].rpartition(b"\r\n0\r\n")[0]
    return json.loads(content) if content else None
