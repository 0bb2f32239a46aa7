"""Answers of the Responses API, kept so that a later call can refer to them, whichever provider gives the next one.

A provider's own state means nothing to another: `previous_response_id` is replaced by what it stands for before any
target is chosen. What a client is sent is read as it goes by; storing it comes after, off the way of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec

from understudy import clock
from understudy.dialects.wire import Malformed, parse
from understudy.gateway import keys, responses
from understudy.gateway.client import Client, Through
from understudy.gateway.record import Headers
from understudy.gateway.responses import BadPageError
from understudy.gateway.stored import Entry, Stored, owner_of

_PREVIOUS = b'"previous_response_id"'
_FINAL = (b"event: response.completed", b"event: response.incomplete")
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Head(msgspec.Struct):
    store: bool | None = None
    previous_response_id: str | None = None


async def expanded(body: bytes, headers: Mapping[bytes, bytes], store: Stored) -> bytes:
    """The body with what `previous_response_id` stands for in its place; as it came where that is not ours."""
    if _PREVIOUS not in body:
        return body
    try:
        previous = msgspec.json.decode(body, type=_Head).previous_response_id
    except _UNREADABLE:
        return body  # whoever reads it whole will say what is wrong
    items = await store.expand(previous, owner(headers)) if previous else None
    if items is None:
        return body
    try:
        return responses.expand(body, items)
    except ValueError:
        return body


class Keeper(Through):
    """A client whose answer is kept in passing."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self._kept: list[bytes] = []
        self._keeping = False

    async def write(self, data: bytes) -> None:
        self._keep(data)
        await self._client.write(data)

    async def end(self, data: bytes = b"") -> None:
        self._keep(data)
        await self._client.end(data)

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        if status == 200:
            self._kept = [body]
        await self._client.whole(status, headers, body)

    def _keep(self, data: bytes) -> None:
        # Whole events are written, so the last one is whole in what comes from here on.
        if not self._keeping:
            # At the start of a line: inside JSON a line end is escaped, so no answer's words are taken for it.
            found = max((b"\n" + data).find(b"\n" + mark) for mark in _FINAL)
            if found < 0:
                return
            self._keeping = True
            data = data[found:]
        self._kept.append(data)

    def put(self, body: bytes, headers: Mapping[bytes, bytes], store: Stored) -> None:
        """Keep what the client has got for `body`, if it is whole and the client did not ask otherwise."""
        try:
            if msgspec.json.decode(body, type=_Head).store is False:
                return
            items = responses.input_items_of(body)
        except (*_UNREADABLE, ValueError):
            return
        exchange, answer = self.exchange, self._answer()
        if answer is None or exchange is None or not isinstance(answer.get("id"), str):
            return
        target = exchange.attempts[-1].target if exchange.attempts else ""
        created, model = int(clock.wall()), exchange.call.model
        store.put(Entry(answer["id"], owner(headers), created, model, target, items, answer))

    def _answer(self) -> dict[str, Any] | None:
        text = b"".join(self._kept)
        try:
            if not self._keeping:
                found = parse(text) if text else None
            else:
                event = text.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
                found = parse(event.partition(b"data: ")[2]).get("response")
        except (Malformed, AttributeError):
            return None
        return found if isinstance(found, dict) and found.get("object") == "response" else None


def owner(headers: Mapping[bytes, bytes]) -> str:
    """Whose responses a request with these headers is about."""
    return owner_of(keys.given(headers))


def deleted(response_id: str) -> dict[str, Any]:
    """What a client is told whose response is gone."""
    return {"id": response_id, "object": "response.deleted", "deleted": True}


async def delete(response_id: str, headers: Mapping[bytes, bytes], store: Stored) -> dict[str, Any] | None:
    """Forget a response; None if there was none of this client's. Raises StoredError."""
    return deleted(response_id) if await store.delete(response_id, owner(headers)) else None


def items(entry: Entry, query: bytes) -> dict[str, Any]:
    """A page of what went into a response. Raises BadPageError."""
    said = {name: values[-1] for name, values in parse_qs(query.decode("latin-1")).items()}
    limit = said.get("limit", "20")
    if not limit.isascii() or not limit.isdigit() or len(limit) > 6:
        raise BadPageError("limit", "limit is no number")
    return responses.input_items(entry, int(limit), said.get("order", "desc"), said.get("after"))
