"""Ids of things that live at one provider (files, batches), as clients see them.

A file is held by the provider it was sent to, so its id must say which one: `file-abc` of `openai` becomes
`understudy.openai.file-abc`. Whatever is not plain letters, digits, `-`, `_` (and in an id `.`) is written as `~` and
unpadded base64url, so that every id fits one segment of a URL. Nothing is stored, hence every instance reads every id.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from understudy.dialects.wire import Malformed

PREFIX = "understudy."
LIMIT = 512
"""The longest id given or read, in characters."""

FIELDS = ("id", "input_file_id", "output_file_id", "error_file_id", "first_id", "last_id")
"""Where ids stand in a file, a batch, or a list of them."""

IN_CALLS = ("file_id", "file_ids")
"""Where files stand in a call to a model: a part's `file_id`, a tool's `file_ids`."""

_FREE = frozenset({"args", "arguments", "input", "input_schema", "metadata", "parameters", "response", "schema"})
"""Objects of a call whose fields are the application's own: a `file_id` there is no file of the provider's."""

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


def known_to(names: Sequence[str], value: Any, path: str = "") -> Any:
    """A call's JSON with the files it names as their provider knows them; the very same where it names none of ours.

    `names` are those of the provider that the call goes to: its own, and its account's.

    Raises `Malformed` on a file that another provider holds, and on an id with our prefix that we did not write.
    """
    if isinstance(value, list):
        found = [known_to(names, entry, f"{path}[{i}]") for i, entry in enumerate(value)]
        return found if any(new is not old for new, old in zip(found, value, strict=True)) else value
    if not isinstance(value, dict):
        return value
    changed = {}
    for name, entry in value.items():
        if name in _FREE and isinstance(entry, dict):
            continue
        where = f"{path}.{name}" if path else name
        new = own(names, entry, where) if name in IN_CALLS else known_to(names, entry, where)
        if new is not entry:
            changed[name] = new
    return {**value, **changed} if changed else value


def own(names: Sequence[str], shown: Any, field: str) -> Any:
    """One id, or a list of them, as its provider knows it; what is none of ours as it is. Raises `Malformed`."""
    if isinstance(shown, list):
        found = [own(names, one, field) for one in shown]
        return found if found != shown else shown
    if not isinstance(shown, str) or not shown.startswith(PREFIX):
        return shown
    holder, known = unwrap(shown, field)
    if holder not in names:
        raise Malformed(field, f"names a file that provider {holder} holds, and {names[0]} cannot read it")
    return known


def segment(known: str, field: str = "id") -> str:
    """A provider's own id as one segment of a URL's path. Raises `Malformed` on one that could lead elsewhere."""
    if not known.strip(".") or not known.isprintable() or any(mark in known for mark in "/\\%?#"):
        raise Malformed(field, "cannot be the id of anything that a provider holds")
    return quote(known, safe="")


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
