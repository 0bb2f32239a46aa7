"""What telemetry needs of a finished exchange. The gateway's own record fits; nothing of the gateway is imported.

`Names` bounds what clients can make up: a name that the configuration does not list, such as a model asked for as
`provider/model`, is shown only once a provider has answered to it, and only so many of them. All others are `other`,
so a secret that somebody sends as a model's name ends up nowhere, and no metric grows without end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from understudy.canon import Fault, Loss, Usage

OTHER = "other"


class OverAttempt(Protocol):
    """See `gateway.record.Attempt`. Times are `clock.monotonic` seconds."""

    @property
    def target(self) -> str: ...
    @property
    def started(self) -> float: ...
    @property
    def first_content(self) -> float | None: ...
    @property
    def ended(self) -> float | None: ...
    @property
    def fault(self) -> Fault | None: ...
    @property
    def action(self) -> str | None: ...
    @property
    def way(self) -> str | None: ...
    @property
    def usage(self) -> Usage | None: ...
    @property
    def losses(self) -> Sequence[Loss]: ...


class _Door(Protocol):
    @property
    def dialect(self) -> str: ...


class _Call(Protocol):
    @property
    def door(self) -> _Door: ...
    @property
    def headers(self) -> Mapping[bytes, bytes]: ...
    @property
    def stream(self) -> bool: ...


class _Route(Protocol):
    @property
    def name(self) -> str: ...


class Over(Protocol):
    """See `gateway.record.Exchange`."""

    @property
    def id(self) -> str: ...
    @property
    def wall(self) -> float: ...
    @property
    def started(self) -> float: ...
    @property
    def ended(self) -> float | None: ...
    @property
    def status(self) -> int | None: ...
    @property
    def outcome(self) -> str | None: ...
    @property
    def call(self) -> Any: ...
    @property
    def route(self) -> Any: ...
    @property
    def attempts(self) -> Sequence[Any]: ...
    @property
    def cache(self) -> str | None: ...
    @property
    def hit(self) -> Any: ...


class Names:
    """Which names may be shown. `spare` is how many there may be beside the known ones."""

    def __init__(self, known: Iterable[str] = (), *, spare: int = 50) -> None:
        self._shown = {name: name for name in known}
        self._spare = spare

    def known(self, names: Iterable[str]) -> None:
        """The configuration lists these (now too)."""
        self._shown.update((name, name) for name in names)

    def shown(self, name: str, *, answered: bool) -> str:
        found = self._shown.get(name)
        if found is not None:
            return found
        if not answered or self._spare <= 0:
            return OTHER
        self._spare -= 1
        self._shown[name] = name
        return name
