"""Comments to a client whose stream has not begun, so that nothing between the two takes the silence for an end.

The response then starts with status 200 before anything is known of the answer; nothing of an answer has gone out, so
the call can still be moved. What could have been an error with a status of its own has to come inside the stream.
"""

from __future__ import annotations

import asyncio

from understudy import clock, dialects
from understudy.gateway import surface
from understudy.gateway.client import Client, Through
from understudy.gateway.record import Exchange, Headers
from understudy.gateway.surface import Door

_COMMENT = b": keep-alive\n\n"


def patient(exchange: Exchange, client: Client) -> Patient | None:
    """`client` as one whose stream may begin with comments; None if it may not."""
    call, every = exchange.call, exchange.route.keep_alive
    if not every or not call.stream or surface.stream_type(call.door) != b"text/event-stream":
        return None
    return Patient(client, call.door, every)


class Patient(Through):
    """A client that hears a comment every `every` seconds until its answer begins, or until `close`."""

    def __init__(self, client: Client, door: Door, every: float) -> None:
        super().__init__(client)
        self._door = door
        self._every = every
        self._opened = False
        self._speaking: asyncio.Task[None] | None = asyncio.create_task(self._speak())
        self._begun = False

    @property
    def committed(self) -> bool:
        return self._begun  # comments commit to nothing

    async def close(self) -> None:
        """Nothing more is said."""
        await self._hush()

    async def start(self, status: int, headers: Headers) -> None:
        await self._hush()
        self._begun = True
        if not self._opened:
            await self._client.start(status, headers)

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        await self._hush()
        self._begun = True
        if not self._opened:
            await self._client.whole(status, headers, body)
        elif status == 200:
            await self._client.end(body)
        else:
            named = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
            fault = dialects.get(self._door.dialect).decode_fault(status, named, body)
            await self._client.end(surface.broken(fault, self._door))

    async def _speak(self) -> None:
        while True:
            await clock.sleep(self._every)
            if not self._opened:
                self._opened = True
                headers = [(b"content-type", surface.stream_type(self._door)), (b"cache-control", b"no-cache")]
                await self._client.start(200, headers)
            await self._client.write(_COMMENT)

    async def _hush(self) -> None:
        """From now on the answer alone speaks."""
        speaking, self._speaking = self._speaking, None
        if speaking is not None:
            speaking.cancel()
            await asyncio.wait({speaking})
