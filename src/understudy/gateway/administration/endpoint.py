"""One operation of the admin API, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from understudy.access.keys import Kept, Right
from understudy.gateway.refusing import RefusedError

if TYPE_CHECKING:
    from understudy.gateway.app import Gateway

JSON = "application/json"


class Asked(msgspec.Struct, frozen=True):
    """A request that was found good. `query`, `body` and `place` are structs of the types that its endpoint names.

    `actor` is who asks: the id of a virtual key, or where else the key is from. `key` is the former alone, and
    `keeps` what may be kept of it, where that is bounded.
    """

    gateway: Gateway
    actor: str
    key: str | None
    accept: str
    place: Any = None
    query: Any = None
    body: Any = None
    keeps: Kept | None = None


class Answered(msgspec.Struct, frozen=True):
    """An answer that is not 200 with JSON. `body` is bytes as they are, or anything that JSON can say."""

    body: Any
    status: int = 200
    media: str = JSON


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What one method does at one path.

    `path` may have names in braces, which `place` describes. `work` gives the answer, or `Answered`; a coroutine
    function runs in the event loop, a plain function in a thread: that is for whatever waits for a disk. `right` is
    what a key must be good for; "call" is any client's. `also` are further media types of the answer, each with an
    example. `errors` are statuses and codes beside those that every operation has.
    """

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    name: str
    summary: str
    description: str = ""
    right: Right
    work: Callable[[Asked], Any]
    place: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    example: Mapping[str, Any] | None = None
    answer: Any = None
    media: str = JSON
    also: Mapping[str, str] = {}
    status: int = 200
    needs: Literal["ledger", "keys"] | None = None
    errors: tuple[tuple[int, str], ...] = ()

    def refusals(self) -> dict[int, set[str]]:
        """Every error that the operation can give: codes by status."""
        found: dict[int, set[str]] = {400: {"invalid_value", "invalid_http"}, 401: {"invalid_api_key"},
                                      403: {"not_allowed"}, 431: {"headers_too_large"}, 500: {"internal"}}  # fmt: skip
        if self.right != "call":
            found[403].add("no_admin_key")
        if self.body is not None:
            found[400].add("invalid_body")
            found[413] = {"body_too_large"}
            found[415] = {"unsupported_media_type", "unsupported_encoding"}
        if self.needs is not None:
            found[501] = {"not_supported"}
            found[503] = {"overloaded", f"{self.needs}_unavailable"}
        for status, code in self.errors:
            found.setdefault(status, set()).add(code)
        return found


def not_supported(message: str) -> RefusedError:
    """The gateway has not what an operation needs; the message says what to set."""
    return RefusedError(501, "not_supported", message)
