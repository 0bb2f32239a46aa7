"""Ids of things that live at one provider (files, batches), as clients see them.

A file is held by the provider it was sent to, so its id must say which one: `file-abc` of `openai` becomes
`understudy.openai.file-abc`. Whatever is not plain letters, digits, `-`, `_` (and in an id `.`) is written as `~` and
unpadded base64url, so that every id fits one segment of a URL. Nothing is stored, hence every instance reads every id.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any

from understudy.dialects.wire import Malformed

PREFIX = "understudy."
LIMIT = 512
"""The longest id given or read, in characters."""

FIELDS = ("id", "input_file_id", "output_file_id", "error_file_id", "first_id", "last_id")
"""Where ids stand in a file, a batch, or a list of them."""

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


def wrap(provider: str, known: str, field: str = "id") -> str:
    """The id a client sees. Raises `Malformed` if either is empty, no Unicode text, or too long."""
    if not provider or not known:
        raise Malformed(field, "must not be empty")
    out = f"{PREFIX}{_written(provider, _NAME, field)}.{_written(known, _ID, field)}"
    if len(out) > LIMIT:
        raise Malformed(field, f"is too long: with its provider's name it may have {LIMIT} characters")
    return out


def unwrap(shown: str, field: str = "id") -> tuple[str, str]:
    """The provider and the id it knows. Raises `Malformed` on anything that `wrap` did not write."""
    provider, dot, known = shown.removeprefix(PREFIX).partition(".")
    if shown.startswith(PREFIX) and dot and len(shown) <= LIMIT:
        try:
            pair = _read(provider), _read(known)
            if wrap(*pair) == shown:
                return pair
        except ValueError:  # bad base64, bad UTF-8, or nothing that can be wrapped: all told alike below
            pass
    raise Malformed(field, f"is no id of this gateway; use one it gave, `{PREFIX}<provider>.<id>`")


def wrap_fields(value: Any, provider: str) -> Any:
    """A provider's JSON answer with its ids wrapped, also those of the entries of `data`. `value` stays as it is."""
    return _rewritten(value, lambda known, field: wrap(provider, known, field), "")


def unwrap_fields(value: Any, provider: str) -> Any:
    """A client's JSON request with its ids as `provider` knows them. Raises `Malformed` on another provider's id."""

    def known(shown: str, field: str) -> str:
        holder, own = unwrap(shown, field)
        if holder != provider:
            raise Malformed(field, f"is held by provider {holder}, but the request goes to {provider}; send it there")
        return own

    return _rewritten(value, known, "")


def _rewritten(value: Any, change: Callable[[str, str], str], path: str) -> Any:
    if not isinstance(value, dict):
        return value
    out = dict(value)
    for name in FIELDS:
        if isinstance(out.get(name), str) and out[name]:
            out[name] = change(out[name], path + name)
    if not path and isinstance(out.get("data"), list):
        out["data"] = [_rewritten(entry, change, f"data[{i}].") for i, entry in enumerate(out["data"])]
    return out


def _written(text: str, plain: re.Pattern[str], field: str) -> str:
    if plain.fullmatch(text):
        return text
    try:
        return "~" + base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
    except UnicodeEncodeError:
        raise Malformed(field, "is not Unicode text") from None


def _read(text: str) -> str:
    if not text.startswith("~"):
        return text
    try:
        return base64.urlsafe_b64decode(text[1:] + "=" * (-len(text[1:]) % 4)).decode()
    except binascii.Error as error:
        raise ValueError(str(error)) from None
