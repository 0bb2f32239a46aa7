"""A client that shows the bytes: what a behaviour does on the wire is the promise, not what a library makes of it."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from understudy.sim import Sim

WAIT = 5.0
"""Seconds after which a test gives up on bytes that should have come."""

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}  # fmt: skip


@dataclass
class Seen:
    """Everything that came for one request. `end`: "kept" open, "closed", "reset", or "silent" after the head."""

    raw: bytes
    end: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    framed: bool = True

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def events(self) -> list[bytes]:
        """Complete events, comments among them."""
        text = self.body.replace(b"\r\n", b"\n")
        return [part for part in text.split(b"\n\n")[:-1] if part]

    @property
    def data(self) -> list[Any]:
        """The JSON of the data events that are JSON."""
        found = []
        for event in self.events:
            payload = event.removeprefix(b"data: ")
            if payload in {event, b"[DONE]"}:
                continue
            try:
                found.append(msgspec.json.decode(payload))
            except msgspec.DecodeError:
                continue
        return found

    @property
    def done(self) -> bool:
        return b"data: [DONE]" in self.events

    @property
    def text(self) -> str:
        return "".join(d.get("content") or "" for d in self.deltas)

    @property
    def deltas(self) -> list[dict[str, Any]]:
        return [c["delta"] for chunk in self.data for c in chunk.get("choices", ())]

    @property
    def finishes(self) -> list[str]:
        return [c["finish_reason"] for d in self.data for c in d.get("choices", ()) if c.get("finish_reason")]

    @property
    def pieces(self) -> int:
        """Chunks with text in them."""
        return sum(bool(delta.get("content")) for delta in self.deltas)


def ask(model: str, *, stream: bool = False, say: str = "naïve question", **fields: Any) -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": say}], "stream": stream, **fields}
    return msgspec.json.encode(body)


def request(body: bytes, headers: str = "", path: str = "/v1/chat/completions", method: str = "POST") -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nhost: sim\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode("latin-1")
        + body
    )


class Line:
    """One connection to a simulated provider."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> Seen:
        """Reads until the answer is complete or the connection has ended."""
        seen = Seen(b"", "kept")
        try:
            head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), WAIT)
        except asyncio.IncompleteReadError as cut:
            return Seen(cut.partial, "closed")
        except ConnectionResetError:
            head, blank, rest = bytes(self.reader._buffer).partition(b"\r\n\r\n")
            if not blank:
                return Seen(head, "reset")
            head += blank
            self.reader._buffer[:] = rest
        seen.raw = head
        if not head.startswith(b"HTTP/1.1 "):
            return seen
        first, *lines = head.decode("latin-1").split("\r\n")
        seen.status = int(first.split(" ")[1])
        seen.headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines if line)}
        try:
            if "content-length" in seen.headers:
                seen.body = await asyncio.wait_for(self.reader.readexactly(int(seen.headers["content-length"])), WAIT)
            else:
                await self._chunks(seen)
        except asyncio.IncompleteReadError as cut:
            seen.body += cut.partial
            seen.end = "closed"
        except ConnectionResetError:
            seen.end = "reset"
            self._rest(seen)
        return seen

    async def _chunks(self, seen: Seen) -> None:
        while True:
            line = await asyncio.wait_for(self.reader.readuntil(b"\r\n"), WAIT)
            try:
                size = int(line, 16)
            except ValueError:
                seen.framed = False
                return
            data = await asyncio.wait_for(self.reader.readexactly(size + 2), WAIT)
            seen.body += data[:-2]
            if size == 0:
                return

    def _rest(self, seen: Seen) -> None:
        """The whole chunks that came before a reset: asyncio's reader raises at once and keeps them."""
        rest = bytes(self.reader._buffer)
        if "content-length" in seen.headers:
            seen.body = rest
            return
        while b"\r\n" in rest:
            size, rest = rest.split(b"\r\n", 1)
            seen.body += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]

    async def ended(self) -> bool:
        """Whether the provider closed the connection; waits for it."""
        try:
            return await asyncio.wait_for(self.reader.read(1), WAIT) == b""
        except ConnectionResetError:
            return True

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionResetError:
            return


async def dial(sim: Sim) -> Line:
    return Line(*await asyncio.open_connection("127.0.0.1", sim.port, limit=64 * 2**20))


def see(body: bytes, headers: str = "") -> Seen:
    """What one request on a new connection gives."""

    async def main() -> Seen:
        async with Sim() as sim:
            line = await dial(sim)
            await line.send(request(body, headers))
            seen = await line.answer()
            await line.close()
            return seen

    return asyncio.run(main())


async def until(holds: Callable[[], object]) -> None:
    """Turns the loop until `holds`; the suite's time limit ends it."""
    while not holds():  # noqa: ASYNC110 - what is awaited is another task's state and has no event
        await asyncio.sleep(0)


def unzip(data: bytes) -> bytes:
    return gzip.decompress(data)
