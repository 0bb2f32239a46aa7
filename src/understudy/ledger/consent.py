"""What may be stored of an exchange: the strictest word of all who have one."""

from __future__ import annotations

from typing import Literal

Store = Literal["none", "metadata", "bodies"]

_STORES: tuple[Store, ...] = ("none", "metadata", "bodies")


def consent(*allowed: Store | None, asked: str | None = None) -> Store:
    """What may be stored: the strictest of what route and key allow (None: no word on it) and what the client asked.

    `asked` is the value of the client's header. One that cannot be read counts as "none": whoever wrote it meant to
    restrict something.
    """
    words: list[Store] = [word for word in allowed if word is not None]
    if asked is not None:
        written = asked.strip().lower()
        words.append(next((store for store in _STORES if store == written), "none"))
    return min(words, key=_STORES.index, default="bodies")
