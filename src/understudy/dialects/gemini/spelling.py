"""Field names, which Google's servers take in two spellings: `inlineData` and `inline_data` are one field.

That is protobuf's JSON mapping (protobuf.dev/programming-guides/json). Here everything is read by its camelCase name;
how the client wrote it is noted under `~as`, by dotted path, so that its own dialect gets its own spelling back.
Answers and requests that come from another dialect are written in camelCase, as Google's documentation has it.
"""

from __future__ import annotations

from typing import Any

from understudy.canon import Extra
from understudy.dialects.wire import DICT, FORM, expect, keep, restore, split

Spelt = dict[str, str]
"""From the camelCase path of a field (`inlineData.mimeType`) to the last name that the client gave it."""


def _camel(name: str) -> str:
    head, *words = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in words) if head else name


def camel(value: Any, path: str, spelt: Spelt, prefix: str = "") -> dict[str, Any]:
    """A new dict with camelCase names; other spellings are added to `spelt`. Raises `Malformed` if it is no object."""
    source: dict[str, Any] = expect(value, DICT, path)
    out: dict[str, Any] = {}
    for name, item in source.items():
        known = _camel(name) if "_" in name else name
        if known != name and known not in source and known not in out:
            out[known] = item
            spelt[prefix + known] = name
        else:
            out[name] = item
    return out


def read(value: Any, path: str) -> tuple[dict[str, Any], dict[str, Any], Spelt]:
    """The fields of an object that say something, the blank ones, and their spellings."""
    spelt: Spelt = {}
    rest, blank = split(camel(value, path, spelt))
    return rest, blank, spelt


def note(rest: dict[str, Any], blank: dict[str, Any], spelt: Spelt, **form: Any) -> Extra:
    """An `extra` of what is left over, with all notes that have something to say (None says something here)."""
    notes = {key: value for key, value in form.items() if value is not False}
    if spelt:
        notes["spelt"] = spelt
    return keep(rest, blank, notes)


def form_of(extra: Extra) -> dict[str, Any]:
    form = extra.get(FORM)
    return form if isinstance(form, dict) else {}


def own(out: dict[str, Any], extra: Extra) -> dict[str, Any]:
    """`out` with what `extra` kept, spelt as the client did."""
    out = restore(out, extra)
    spelt = form_of(extra).get("spelt")
    return respell(out, spelt) if spelt else out


def respell(value: dict[str, Any], spelt: Spelt, prefix: str = "") -> dict[str, Any]:
    out = {}
    for name, item in value.items():
        path = prefix + name
        if isinstance(item, dict) and any(key.startswith(path + ".") for key in spelt):
            item = respell(item, spelt, path + ".")  # noqa: PLW2901  the same field, spelt otherwise
        out[spelt.get(path, name)] = item
    return out
